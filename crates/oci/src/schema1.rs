//! Docker's schema 1 manifests, read-only (distribution, "Image Manifest V 2, Schema 1").
//!
//! It names the layers newest first, without their lengths, and has what is a config today in pieces: a JSON text for
//! each layer, of which the newest says how the image runs. Its digest is that of the bytes without their signatures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::descriptor::null_is_empty;
use super::{Digest, MANIFEST_LIMIT, ManifestError, signed_digest};

/// A manifest in the first format, read.
#[derive(Debug, Clone)]
pub struct Schema1 {
    /// Its digest.
    pub digest: Digest,
    /// The tag that it was pushed as, where it says so.
    pub tag: String,
    /// The layers, lowest first.
    pub layers: Vec<Schema1Layer>,
    /// What the newest layer says of the whole image.
    newest: String,
}

/// A layer of the first format.
#[derive(Debug, Clone)]
pub struct Schema1Layer {
    /// The blob.
    pub blob: Digest,
    /// True if it changes no file; it is left out where images have configs.
    pub is_empty: bool,
    history: History,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u64,
    #[serde(default)]
    tag: String,
    fs_layers: Vec<FsLayer>,
    history: Vec<Compatibility>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FsLayer {
    blob_sum: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compatibility {
    v1_compatibility: String,
}

/// What a layer says of itself.
#[derive(Deserialize)]
struct Version1 {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    throwaway: bool,
    #[serde(default, deserialize_with = "null_is_empty")]
    container_config: ContainerConfig,
}

#[derive(Deserialize, Default)]
struct ContainerConfig {
    #[serde(default, rename = "Cmd", deserialize_with = "null_is_empty")]
    command: Vec<String>,
}

/// An entry of a config's history, in the order of the Go type.
#[derive(Debug, Clone, Serialize)]
struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: &'a [Digest],
}

impl Schema1 {
    /// Returns true if bytes are a manifest of this format, usable or not.
    pub fn is(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            schema_version: u64,
        }
        serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.schema_version == 1)
    }

    /// Reads a manifest. Its signatures are not checked: nobody knows their keys.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(ManifestError::Large(bytes.len() as u64));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if wire.schema_version != 1 {
            return Err(ManifestError::SchemaVersion(wire.schema_version));
        }
        if wire.fs_layers.len() != wire.history.len() {
            return Err(ManifestError::Missing("entry of the history for each layer"));
        }
        let newest = wire.history.first().ok_or(ManifestError::Missing("layers"))?.v1_compatibility.clone();
        let layers = wire.fs_layers.iter().zip(&wire.history).rev();
        let layers = layers.map(|(layer, history)| Schema1Layer::parse(layer.blob_sum, &history.v1_compatibility));
        Ok(Self { digest: signed_digest(bytes), tag: wire.tag, layers: layers.collect::<Result<_, _>>()?, newest })
    }

    /// The config that an image of today would have. `diff_ids` are the digests of the layers that are not empty,
    /// expanded, lowest first.
    pub fn config(&self, diff_ids: &[Digest]) -> Result<Vec<u8>, ManifestError> {
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&self.newest).map_err(ManifestError::Json)?;
        for old in ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"] {
            fields.remove(old);
        }
        let raw = |value: serde_json::Result<Box<RawValue>>| value.map_err(ManifestError::Json);
        let rootfs = serde_json::value::to_raw_value(&RootFs { kind: "layers", diff_ids });
        fields.insert("rootfs".to_owned(), raw(rootfs)?);
        let history: Vec<&History> = self.layers.iter().map(|layer| &layer.history).collect();
        fields.insert("history".to_owned(), raw(serde_json::value::to_raw_value(&history))?);
        let text = serde_json::to_string(&fields).map_err(ManifestError::Json)?;
        // As Go writes JSON, so that the image gets the id that other tools give it.
        Ok(text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e").into_bytes())
    }
}

impl Schema1Layer {
    fn parse(blob: Digest, text: &str) -> Result<Self, ManifestError> {
        let version1: Version1 = serde_json::from_str(text).map_err(ManifestError::Json)?;
        let history = History {
            created: version1.created,
            author: version1.author,
            created_by: version1.container_config.command.join(" "),
            comment: version1.comment,
            empty_layer: version1.throwaway,
        };
        Ok(Self { blob, is_empty: version1.throwaway, history })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned() -> String {
        let blob = |number: u8| Digest::sha256(&[number]);
        serde_json::json!({
            "schemaVersion": 1, "name": "a/b", "tag": "1", "architecture": "amd64",
            "fsLayers": [{"blobSum": blob(3)}, {"blobSum": blob(2)}, {"blobSum": blob(1)}],
            "history": [
                {"v1Compatibility": "{\"id\":\"c\",\"parent\":\"b\",\"os\":\"linux\",\"config\":{\"Z\":1,\"A\":\"<\"},\"throwaway\":true}"},
                {"v1Compatibility": "{\"id\":\"b\",\"author\":\"me\",\"container_config\":{\"Cmd\":[\"a\",\"&\",\"b\"]}}"},
                {"v1Compatibility": "{\"id\":\"a\",\"created\":\"2016-01-01T00:00:00Z\",\"container_config\":null}"},
            ],
        })
        .to_string()
    }

    #[test]
    fn reads_what_old_registries_have() {
        let text = unsigned();
        let manifest = Schema1::parse(text.as_bytes()).unwrap();
        assert!(Schema1::is(text.as_bytes()) && !Schema1::is(b"{\"schemaVersion\":2}"));
        assert_eq!((manifest.digest, manifest.tag.as_str()), (Digest::sha256(text.as_bytes()), "1"));
        let blobs: Vec<_> = manifest.layers.iter().map(|layer| (layer.blob, layer.is_empty)).collect();
        let expected = [(1, false), (2, false), (3, true)].map(|(number, empty)| (Digest::sha256(&[number]), empty));
        assert_eq!(blobs, expected);
        let diffs = [Digest::sha256(b"x"), Digest::sha256(b"y")];
        let config = String::from_utf8(manifest.config(&diffs).unwrap()).unwrap();
        let wanted = format!(
            r#"{{"config":{{"Z":1,"A":"\u003c"}},"history":[{{"created":"2016-01-01T00:00:00Z"}},{{"author":"me","created_by":"a \u0026 b"}},{{"empty_layer":true}}],"os":"linux","rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
            diffs[0], diffs[1]
        );
        assert_eq!(config, wanted);
    }

    #[test]
    fn refuses_what_makes_no_image() {
        for bad in [
            r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#,
            r#"{"schemaVersion":2,"fsLayers":[],"history":[]}"#,
            r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"x"}],"history":[{"v1Compatibility":"{}"}]}"#,
            r#"{"schemaVersion":1,"fsLayers":[],"history":[{"v1Compatibility":"{}"}]}"#,
            r#"{"schemaVersion":1}"#,
        ] {
            assert!(Schema1::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
