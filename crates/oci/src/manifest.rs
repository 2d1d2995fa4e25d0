//! The only parser of manifests.
//!
//! It reads what the copy engine needs to follow references, and nothing is ever written from
//! it: manifests travel as the bytes they came in. The rules are those by which the CNCF registry
//! decides what a stored manifest is, since one that it cannot read stops its garbage collection.

use serde::Deserialize;

use super::descriptor::null_is_empty;
use super::weight::{WeightError, check_weight};
use super::{Descriptor, MediaType};

/// The largest manifest that registries accept (distribution's limit on a manifest's body).
pub const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;

/// A manifest, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it says it is, or what its shape says.
    pub media_type: MediaType,
    /// The content that it refers to.
    pub kind: ManifestKind,
    /// The manifest that this one is about, for referrers such as signatures.
    pub subject: Option<Descriptor>,
    /// What kind of artifact it is, where it says so.
    pub artifact_type: Option<Box<str>>,
    /// Its own annotations.
    pub annotations: std::collections::BTreeMap<Box<str>, Box<str>>,
}

/// The two shapes of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestKind {
    /// One image, or an artifact in an image's clothes.
    Image {
        /// The configuration.
        config: Box<Descriptor>,
        /// The layers, lowest first.
        layers: Vec<Descriptor>,
    },
    /// A list of manifests, which may be lists again.
    Index {
        /// The children, in the order written.
        manifests: Vec<Descriptor>,
    },
}

/// Bytes that are no manifest that could be stored and served.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than any registry takes.
    #[error("the manifest has {0} bytes: registries accept at most {MANIFEST_LIMIT}")]
    Large(u64),
    /// More values than memory takes.
    #[error("the manifest cannot be read")]
    Heavy(#[from] WeightError),
    /// Not the JSON of a manifest.
    #[error("the manifest is not valid JSON, or not a manifest")]
    Json(#[source] serde_json::Error),
    /// Docker's first format.
    #[error(
        "the manifest has the Docker schema 1 format, which version 3 registries refuse: convert it with hod pull or hod copy, or push the image again with a current tool"
    )]
    Schema1,
    /// A `schemaVersion` that does not exist.
    #[error("the manifest has schemaVersion {0}: only version 2 exists")]
    SchemaVersion(u64),
    /// A `mediaType` that registries do not know.
    #[error("the manifest has media type {0:?}, which registries cannot store")]
    MediaType(String),
    /// The bytes say one thing, the descriptor or header another.
    #[error("the manifest has the media type {found}, but was announced as {expected}")]
    Mismatch {
        /// The value in the descriptor or header.
        expected: MediaType,
        /// The value in the content.
        found: MediaType,
    },
    /// A Docker manifest has to name its type, or a registry would serve it as another.
    #[error("the manifest was announced as {0}, but has no mediaType: registries would serve it as OCI")]
    Unmarked(MediaType),
    /// Both a config or layers and children, so that readers would disagree on what it is.
    #[error("the manifest has both layers and child manifests: it is either an image or an index")]
    Ambiguous,
    /// A field without which it cannot be used.
    #[error("the manifest has no {0}")]
    Missing(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u64>,
    #[serde(default, deserialize_with = "null_is_empty")]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// Go writes an empty list as `null`, which differs from none where nothing else says that it is an index.
    #[serde(default, deserialize_with = "is_there")]
    #[expect(clippy::option_option, reason = "absent, null and a list are three things")]
    manifests: Option<Option<Vec<Descriptor>>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
    subject: Option<Descriptor>,
    artifact_type: Option<Box<str>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: std::collections::BTreeMap<Box<str>, Box<str>>,
}

fn is_there<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The head alone, for manifests whose body may have any shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u64>,
    #[serde(default, deserialize_with = "null_is_empty")]
    media_type: String,
}

impl Manifest {
    /// Reads a manifest whose digest was asked for, and is right. What it says of its type counts more than what names
    /// it: lists of Docker's have been seen to call OCI's images theirs. An index is none of an image's all the same.
    pub fn parse_proven(announced: &MediaType, bytes: &[u8]) -> Result<Self, ManifestError> {
        match Self::parse(announced, bytes) {
            Err(ManifestError::Mismatch { found, .. }) if found.is_index() == announced.is_index() => {
                Self::parse(&found, bytes)
            }
            parsed => parsed,
        }
    }

    /// Reads a manifest.
    ///
    /// `announced` is what a descriptor or a `Content-Type` header calls it; where that is no
    /// type of a manifest (some registries send `application/json`) the bytes alone decide.
    ///
    /// # Errors
    /// Whatever a registry would refuse, or could not collect garbage around later.
    pub fn parse(announced: &MediaType, bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(ManifestError::Large(bytes.len() as u64));
        }
        check_weight(bytes)?;
        let head: Head = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let named = MediaType::parse(&head.media_type);
        match head.schema_version {
            Some(2) => {}
            Some(1) => return Err(ManifestError::Schema1),
            Some(other) => return Err(ManifestError::SchemaVersion(other)),
            None => return Err(ManifestError::Missing("schemaVersion")),
        }
        if !head.media_type.is_empty() && !MediaType::MANIFESTS.contains(&named) {
            return Err(ManifestError::MediaType(head.media_type));
        }
        let mut wire: Wire = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        // The manifests of all images are in memory at once.
        wire.layers.iter_mut().chain(wire.manifests.iter_mut().flatten()).for_each(Vec::shrink_to_fit);
        if wire.schema_version == Some(1) || wire.fs_layers.is_some() {
            return Err(ManifestError::Schema1);
        }
        let is_null = wire.manifests == Some(None);
        let found = if !wire.media_type.is_empty() {
            named
        } else if wire.manifests.is_some() && !(is_null && wire.config.is_some()) {
            MediaType::OciIndex
        } else {
            MediaType::OciManifest
        };
        if announced.is_manifest() && *announced != found {
            return Err(match announced {
                MediaType::DockerManifest | MediaType::DockerList if wire.media_type.is_empty() => {
                    ManifestError::Unmarked(announced.clone())
                }
                _ => ManifestError::Mismatch { expected: announced.clone(), found },
            });
        }
        let manifests = wire.manifests.filter(|_| found.is_index() || !is_null).map(Option::unwrap_or_default);
        let kind = match (found.is_index(), manifests, wire.config, wire.layers) {
            (true, Some(manifests), None, None) => ManifestKind::Index {
                manifests: manifests.into_iter().map(|child| typed_child(&found, child)).collect(),
            },
            (true, None, None, None) => return Err(ManifestError::Missing("manifests")),
            (false, None, Some(config), layers) => {
                let config = Box::new(typed_config(&found, config));
                ManifestKind::Image { config, layers: layers.unwrap_or_default() }
            }
            (false, None, None, _) => return Err(ManifestError::Missing("config")),
            _ => return Err(ManifestError::Ambiguous),
        };
        Ok(Self {
            media_type: found,
            kind,
            subject: wire.subject,
            artifact_type: wire.artifact_type,
            annotations: wire.annotations,
        })
    }

    /// The child manifests; none for an image.
    pub fn children(&self) -> &[Descriptor] {
        match &self.kind {
            ManifestKind::Index { manifests } => manifests,
            ManifestKind::Image { .. } => &[],
        }
    }

    /// Config and layers, in that order; none for an index.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match &self.kind {
            ManifestKind::Image { config, layers } => (Some(&**config), layers.as_slice()),
            ManifestKind::Index { .. } => (None, &[][..]),
        };
        config.into_iter().chain(layers)
    }

    /// The same, to give them the lengths that they really have.
    pub fn blobs_mut(&mut self) -> impl Iterator<Item = &mut Descriptor> {
        let (config, layers) = match &mut self.kind {
            ManifestKind::Image { config, layers } => (Some(&mut **config), layers.as_mut_slice()),
            ManifestKind::Index { .. } => (None, &mut [][..]),
        };
        config.into_iter().chain(layers)
    }

    /// The configuration of an image.
    pub const fn config(&self) -> Option<&Descriptor> {
        match &self.kind {
            ManifestKind::Image { config, .. } => Some(config),
            ManifestKind::Index { .. } => None,
        }
    }
}

/// A child of an index, which is a manifest of the index's own format if it does not say what it is.
fn typed_child(index: &MediaType, child: Descriptor) -> Descriptor {
    match index {
        _ if !child.media_type.as_str().is_empty() => child,
        MediaType::DockerList => Descriptor { media_type: MediaType::DockerManifest, ..child },
        _ => Descriptor { media_type: MediaType::OciManifest, ..child },
    }
}

/// The config of an image. Docker up to 1.9 and registries of its time called it `application/octet-stream`, and images
/// of theirs are still around.
fn typed_config(manifest: &MediaType, config: Descriptor) -> Descriptor {
    match (manifest, config.media_type.as_str()) {
        (MediaType::DockerManifest, "" | "application/octet-stream") => {
            Descriptor { media_type: MediaType::parse("application/vnd.docker.container.image.v1+json"), ..config }
        }
        (_, "") => Descriptor { media_type: MediaType::parse("application/vnd.oci.image.config.v1+json"), ..config },
        _ => config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn unknown() -> MediaType {
        MediaType::parse("application/json")
    }

    fn image(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{D}","size":0}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{D}","size":0}}]}}"#
        )
    }

    #[test]
    fn bytes_decide_what_it_is() {
        let plain = Manifest::parse(&unknown(), image("").as_bytes()).unwrap();
        assert_eq!(plain.media_type, MediaType::OciManifest);
        assert_eq!(plain.blobs().count(), 2);
        let docker = format!(r#""mediaType":"{}","#, MediaType::DockerManifest);
        let docker = Manifest::parse(&unknown(), image(&docker).as_bytes()).unwrap();
        assert_eq!(docker.media_type, MediaType::DockerManifest);
        let index = Manifest::parse(&MediaType::OciIndex, br#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
        assert_eq!((index.media_type.clone(), index.children().len()), (MediaType::OciIndex, 0));
    }

    #[test]
    fn refuses_what_would_break_a_registry() {
        let refused = |announced: &MediaType, text: &str| {
            Manifest::parse(announced, text.as_bytes()).map(|_| ()).unwrap_err().to_string()
        };
        assert!(refused(&unknown(), "").contains("not valid JSON"));
        assert!(refused(&unknown(), "[]").contains("not valid JSON"));
        assert!(refused(&unknown(), "{}").contains("no schemaVersion"));
        assert!(refused(&unknown(), r#"{"schemaVersion":1,"fsLayers":[]}"#).contains("schema 1"));
        assert!(refused(&unknown(), r#"{"schemaVersion":3}"#).contains("schemaVersion 3"));
        assert!(refused(&unknown(), r#"{"schemaVersion":2}"#).contains("no config"));
        assert!(
            refused(&unknown(), r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#)
                .contains("cannot store")
        );
        assert!(refused(&MediaType::DockerManifest, &image("")).contains("has no mediaType"));
        assert!(refused(&MediaType::OciIndex, &image("")).contains("announced"));
        assert!(refused(&unknown(), &image(r#""manifests":[],"#)).contains("both"));
        assert!(refused(&unknown(), &image("").replace(D, "sha256:xyz")).contains("not valid JSON"));
        assert!(refused(&unknown(), &image("").replace(r#""size":0"#, r#""size":-1"#)).contains("not valid JSON"));
        let large = vec![b' '; usize::try_from(MANIFEST_LIMIT).unwrap() + 1];
        assert!(matches!(Manifest::parse(&unknown(), &large), Err(ManifestError::Large(_))));
    }

    #[test]
    fn an_octet_stream_config_of_a_docker_image_is_a_config() {
        let config = |kind: &MediaType, config: &str| {
            let text = image(&format!(r#""mediaType":"{kind}","#));
            let text = text.replace(r#""mediaType":"application/vnd.oci.image.config.v1+json","#, config);
            Manifest::parse(&unknown(), text.as_bytes()).unwrap().config().unwrap().media_type.to_string()
        };
        let octets = r#""mediaType":"application/octet-stream","#;
        let docker = "application/vnd.docker.container.image.v1+json";
        assert_eq!(config(&MediaType::DockerManifest, octets), docker);
        assert_eq!(config(&MediaType::DockerManifest, ""), docker);
        assert_eq!(config(&MediaType::OciManifest, ""), "application/vnd.oci.image.config.v1+json");
        // That is what an artifact may have.
        assert_eq!(config(&MediaType::OciManifest, octets), "application/octet-stream");
    }

    #[test]
    fn a_descriptor_without_media_type_is_what_its_place_says() {
        for (kind, child) in
            [(MediaType::OciIndex, MediaType::OciManifest), (MediaType::DockerList, MediaType::DockerManifest)]
        {
            let text =
                format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{{"digest":"{D}","size":0}}]}}"#);
            assert_eq!(Manifest::parse(&kind, text.as_bytes()).unwrap().children()[0].media_type, child);
        }
        let text = image("").replace(r#""mediaType":"application/vnd.oci.image.layer.v1.tar","#, "");
        assert_eq!(Manifest::parse(&unknown(), text.as_bytes()).unwrap().blobs().count(), 2);
    }

    #[test]
    fn null_means_nothing() {
        for kind in ["", r#""mediaType":"application/vnd.oci.image.index.v1+json","#] {
            let text = format!(r#"{{"schemaVersion":2,{kind}"manifests":null}}"#);
            let index = Manifest::parse(&MediaType::OciIndex, text.as_bytes()).unwrap();
            assert_eq!((index.media_type.clone(), index.children().len()), (MediaType::OciIndex, 0), "{kind}");
        }
        let text = image(r#""manifests":null,"#);
        assert_eq!(Manifest::parse(&unknown(), text.as_bytes()).unwrap().media_type, MediaType::OciManifest);
        let text = image(r#""annotations":null,"subject":null,"#);
        assert!(Manifest::parse(&unknown(), text.as_bytes()).unwrap().subject.is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Manifest::parse(&unknown(), &bytes);
        }
    }
}
