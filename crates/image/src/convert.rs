//! Rewrites manifests: to another format, or for recompressed layers.
//!
//! Configs stay as they are, byte for byte, and so do layers that nobody changed. A manifest that is what it
//! should be keeps its bytes and its digest.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use hod_oci::{Descriptor, Digest, Manifest, ManifestError, MediaType, Node};
use hod_transport::RecodedLayer;

/// The format that manifests are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCI image-spec.
    Oci,
    /// Docker's version 2 schema 2.
    Docker,
}

/// Layers that were made, found by the digests of what they were made of.
pub type ConvertedLayers = HashMap<Digest, Arc<RecodedLayer>>;

/// The errors of converting a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The other format has nothing of that kind.
    #[error("cannot convert {digest} to {format}: it has {what}, which that format does not support")]
    Unknown {
        /// The manifest.
        digest: Digest,
        /// The format's name.
        format: &'static str,
        /// The obstacle.
        what: String,
    },
    /// A conversion made something that is no manifest.
    #[error("cannot convert {digest}")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// The problem.
        #[source]
        source: ManifestError,
    },
    /// Conversion of an index needs all its children.
    #[error(
        "cannot convert the index {0}: {1} of its images are not copied, and their digests would change; use --all"
    )]
    Sparse(Digest, usize),
}

impl Format {
    /// The format of a manifest of this type.
    const fn of(media_type: &MediaType) -> Self {
        match media_type {
            MediaType::DockerManifest | MediaType::DockerList => Self::Docker,
            _ => Self::Oci,
        }
    }

    /// The name that flags have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::Docker => "v2s2",
        }
    }

    /// What a media type is called in this format; `None` where it has no such thing.
    fn media_type(self, found: &MediaType) -> Option<MediaType> {
        const PAIRS: [(&str, &str); 7] = [
            ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"),
            ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"),
            ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
            ("application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar.zstd"),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "application/vnd.docker.image.rootfs.foreign.diff.tar",
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            ),
            ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar+gzip"),
        ];
        let text = found.as_str();
        match (self, found) {
            (Self::Oci, MediaType::DockerManifest | MediaType::OciManifest) => Some(MediaType::OciManifest),
            (Self::Oci, MediaType::DockerList | MediaType::OciIndex) => Some(MediaType::OciIndex),
            (Self::Docker, MediaType::DockerManifest | MediaType::OciManifest) => Some(MediaType::DockerManifest),
            (Self::Docker, MediaType::DockerList | MediaType::OciIndex) => Some(MediaType::DockerList),
            // Artifacts and whatever else is at home in OCI stays what it is.
            (Self::Oci, _) => Some(
                PAIRS.iter().find(|(_, docker)| *docker == text).map_or_else(|| found.clone(), |pair| pair.0.into()),
            ),
            // Docker's own tools do not take zstd below version 2 schema 2.
            (Self::Docker, _) if text.ends_with("zstd") => None,
            (Self::Docker, _) if PAIRS.iter().any(|(_, docker)| *docker == text) => Some(found.clone()),
            (Self::Docker, _) => PAIRS.iter().find(|(oci, _)| *oci == text).map(|pair| pair.1.into()),
        }
    }
}

/// Rewrites manifests: to a format, and with the layers in `made`, which are found by what they were made of.
pub fn convert(mut node: Node, format: Option<Format>, made: &ConvertedLayers) -> Result<Node, ConvertError> {
    if format.is_none() && made.is_empty() {
        return Ok(node);
    }
    let digest = node.descriptor.digest;
    let mut value: Value = serde_json::from_slice(&node.bytes)
        .map_err(|error| ConvertError::Manifest { digest, source: ManifestError::Json(error) })?;
    let before = value.clone();
    let media_type = match format {
        Some(format) => retyped(digest, format, &node.manifest.media_type)?,
        None => node.manifest.media_type.clone(),
    };
    if media_type != node.manifest.media_type {
        set(&mut value, "mediaType", json!(media_type));
    }
    if format == Some(Format::Docker) && (value.get("subject").is_some() || value.get("artifactType").is_some()) {
        return Err(refused(digest, Format::Docker, "a subject or an artifact type"));
    }
    if node.manifest.media_type.is_index() {
        let absent = node.absent.len();
        node.children =
            node.children.into_iter().map(|child| convert(child, format, made)).collect::<Result<_, _>>()?;
        if let Some(entries) = value.get_mut("manifests").and_then(Value::as_array_mut) {
            children(digest, format, entries, &node.children)?;
        }
        if absent > 0 && (format.is_some() || value != before) {
            return Err(ConvertError::Sparse(digest, absent));
        }
    } else {
        let family = format.unwrap_or(Format::of(&media_type));
        contents(&node, (format, family), &mut value, made)?;
    }
    if value == before {
        return Ok(node);
    }
    let bytes = Bytes::from(value.to_string());
    let manifest = Manifest::parse(&media_type, &bytes).map_err(|source| ConvertError::Manifest { digest, source })?;
    let fresh = Descriptor::of(media_type, &bytes);
    node.descriptor =
        Descriptor { digest: fresh.digest, size: fresh.size, media_type: fresh.media_type, ..node.descriptor };
    Ok(Node { bytes, manifest: Arc::new(manifest), ..node })
}

fn refused(digest: Digest, format: Format, what: impl Into<String>) -> ConvertError {
    ConvertError::Unknown { digest, format: format.name(), what: what.into() }
}

fn retyped(digest: Digest, format: Format, found: &MediaType) -> Result<MediaType, ConvertError> {
    format.media_type(found).ok_or_else(|| refused(digest, format, found.to_string()))
}

/// Lets the entries of an index name what its children are now, by what they were.
fn children(
    digest: Digest,
    format: Option<Format>,
    entries: &mut [Value],
    children: &[Node],
) -> Result<(), ConvertError> {
    let mut children = children.iter();
    for entry in entries {
        if let Some(format) = format {
            let wanted = retyped(digest, format, &media_type_of(entry))?;
            set(entry, "mediaType", json!(wanted));
        }
        if let Some(child) = children.next() {
            set(entry, "digest", json!(child.descriptor.digest));
            set(entry, "size", json!(child.descriptor.size));
        }
    }
    Ok(())
}

/// Lets an image name its layers as they are now, and its config and layers by the types of the format.
fn contents(
    node: &Node,
    (format, family): (Option<Format>, Format),
    value: &mut Value,
    made: &ConvertedLayers,
) -> Result<(), ConvertError> {
    let digest = node.descriptor.digest;
    if let (Some(format), Some(config), Some(found)) = (format, value.get_mut("config"), node.manifest.config()) {
        // Older ones call it application/octet-stream.
        let wanted = retyped(digest, format, &found.media_type)?;
        set(config, "mediaType", json!(wanted));
    }
    for layer in value.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
        let mut media_type = media_type_of(layer);
        let found = layer.get("digest").and_then(Value::as_str).and_then(|text| text.parse::<Digest>().ok());
        let made = found.and_then(|found| made.get(&found));
        if let Some(made) = made {
            media_type = made.compression.layer_type(&media_type);
            set(layer, "digest", json!(made.digest));
            set(layer, "size", json!(made.size));
            forget_index(layer);
        }
        let is_typed = !media_type.as_str().is_empty();
        if made.is_some() || format.is_some() && (is_typed || family == Format::Docker) {
            let wanted = family.media_type(&media_type);
            let wanted = wanted.ok_or_else(|| refused(digest, family, unknown_layer(&media_type)))?;
            set(layer, "mediaType", json!(wanted));
        }
    }
    Ok(())
}

fn unknown_layer(media_type: &MediaType) -> String {
    let is_zstd = media_type.as_str().ends_with("zstd");
    let instead = if is_zstd { " (use --format oci, or --dest-compress-format gzip)" } else { "" };
    format!("a layer of type {media_type}{instead}")
}

fn media_type_of(entry: &Value) -> MediaType {
    MediaType::parse(entry.get("mediaType").and_then(Value::as_str).unwrap_or_default())
}

/// Removes the annotations that say where files are in a compressed layer: they are somewhere else now.
fn forget_index(layer: &mut Value) {
    const PREFIXES: [&str; 2] = ["containerd.io/snapshot/stargz/", "io.github.containers.zstd-chunked."];
    if let Some(annotations) = layer.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
    }
}

/// Sets a field of a JSON object.
fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}
