//! One image from any place to any other: which part of it, in which format.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::admission::AdmissionError;
use super::open::{OpenSink, OpenSource};
use crate::copy::{Copied, CopyError, Engine, Wanted};
use crate::endpoint::EndpointError;
use crate::oci::{
    AbsentPlatforms, Descriptor, Digest, Graph, Manifest, ManifestError, MediaType, Node, Platform, Platforms,
};

/// Which part of an image that has several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiArch {
    /// The image of this platform alone, which then is what the name stands for.
    System(Platform),
    /// All of it.
    All,
    /// These platforms, below the index as it is.
    Sparse(Platforms),
    /// The index without any of its images.
    IndexOnly,
}

/// The format that manifests are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCI image-spec.
    Oci,
    /// Docker's version 2 schema 2.
    Docker,
}

/// What became of an image.
#[derive(Debug)]
pub struct CopiedImage {
    /// The digest of the root at the source.
    pub source_digest: Digest,
    /// The digest that it has at the destination.
    pub digest: Digest,
    /// What copying took.
    pub copied: Copied,
    /// How many signatures came with it.
    pub signatures: usize,
    /// How many did not, since its destination has no room for them or its digest has changed.
    pub signatures_left: usize,
}

/// Why an image was not copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyImageError {
    /// The trust policy is against it.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// Its signatures could not be had or kept.
    #[error("cannot copy the signatures of {0}")]
    Signatures(Digest, #[source] EndpointError),
    /// The engine failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The platform is not there.
    #[error("cannot choose an image of the index")]
    Platform(#[from] AbsentPlatforms),
    /// The other format has nothing of that kind.
    #[error("cannot convert {digest} to {format}: it has {what}, which that format does not know")]
    Convert {
        /// The manifest.
        digest: Digest,
        /// The format's name.
        format: &'static str,
        /// What stands in the way.
        what: String,
    },
    /// A conversion made something that is no manifest.
    #[error("cannot convert {digest}")]
    Converted {
        /// The manifest.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
    /// Conversion of an index needs all its children.
    #[error(
        "cannot convert the index {0}: {1} of its images are not copied, and their digests would change; use --all"
    )]
    Sparse(Digest, usize),
}

/// An image that is about to be copied.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The digest of the root at the source.
    pub source_digest: Digest,
    /// What is copied, in the format that is wanted.
    pub graph: Graph,
}

/// Copies an image and returns what it is at the destination.
pub async fn copy_image(
    engine: &Engine,
    from: &OpenSource,
    to: &OpenSink,
    multi_arch: &MultiArch,
    format: Option<Format>,
) -> Result<CopiedImage, CopyImageError> {
    let prepared = prepare(engine, from, multi_arch, format).await?;
    transfer(engine, from, to, prepared).await
}

/// Loads the part of an image that is wanted, and converts it.
pub async fn prepare(
    engine: &Engine,
    from: &OpenSource,
    multi_arch: &MultiArch,
    format: Option<Format>,
) -> Result<Prepared, CopyImageError> {
    let graph = load(engine, from, multi_arch).await?;
    let source_digest = graph.root.descriptor.digest;
    let graph = match format {
        Some(format) => Graph { root: convert(graph.root, format)? },
        None => graph,
    };
    Ok(Prepared { source_digest, graph })
}

/// Copies what was prepared.
pub async fn transfer(
    engine: &Engine,
    from: &OpenSource,
    to: &OpenSink,
    Prepared { source_digest, graph }: Prepared,
) -> Result<CopiedImage, CopyImageError> {
    let digest = graph.root.descriptor.digest;
    let graph = Arc::new(graph);
    let copied = engine.copy(from.source.clone(), to.sink.clone(), graph.clone(), &to.tags).await?;
    let mut image = CopiedImage { source_digest, digest, copied, signatures: 0, signatures_left: 0 };
    copy_signatures(from, to, &graph, &mut image).await?;
    Ok(image)
}

/// Copies the signatures of the manifests that were copied; those of what was converted are worth nothing any more.
async fn copy_signatures(
    from: &OpenSource,
    to: &OpenSink,
    graph: &Graph,
    image: &mut CopiedImage,
) -> Result<(), CopyImageError> {
    if !to.signatures {
        return Ok(());
    }
    let root = graph.root.descriptor.digest;
    let copied: Vec<Digest> = graph.manifests().iter().map(|node| node.descriptor.digest).collect();
    let converted = (!copied.contains(&image.source_digest)).then_some(image.source_digest);
    for manifest in copied.into_iter().chain(converted) {
        let failed = |error| CopyImageError::Signatures(manifest, error);
        let signatures = from.source.signatures(&manifest).await.map_err(failed)?;
        if signatures.is_empty() {
            continue;
        }
        let taken = Some(manifest) != converted
            && to.sink.keep_signatures(&manifest, manifest == root, &signatures).await.map_err(failed)?;
        *(if taken { &mut image.signatures } else { &mut image.signatures_left }) += signatures.len();
    }
    Ok(())
}

/// Loads the part of an image that is wanted, and has it show what the trust policy asks for.
pub async fn load(engine: &Engine, from: &OpenSource, multi_arch: &MultiArch) -> Result<Graph, CopyImageError> {
    let graph = load_unguarded(engine, from, multi_arch).await?;
    if let Some(guard) = &from.guard {
        guard.check(&*from.source, &graph).await?;
    }
    Ok(graph)
}

async fn load_unguarded(engine: &Engine, from: &OpenSource, multi_arch: &MultiArch) -> Result<Graph, CopyImageError> {
    let platforms = match multi_arch {
        MultiArch::System(platform) => Platforms::Only(vec![platform.clone()]),
        MultiArch::All | MultiArch::IndexOnly => Platforms::All,
        MultiArch::Sparse(platforms) => platforms.clone(),
    };
    if let (Some(held), Platforms::All) = (&from.held, &platforms) {
        let graph = Graph::clone(held);
        return Ok(if *multi_arch == MultiArch::IndexOnly { index_only(graph) } else { graph });
    }
    let wanted = Wanted { version: from.version.clone(), platforms, asked: false };
    let graph = engine.load(&*from.source, None, &wanted).await?;
    Ok(match multi_arch {
        MultiArch::System(platform) => Graph { root: instance(graph.root, platform)? },
        MultiArch::IndexOnly => index_only(graph),
        MultiArch::All | MultiArch::Sparse(_) => graph,
    })
}

fn index_only(mut graph: Graph) -> Graph {
    if graph.root.manifest.media_type.is_index() {
        graph.root.children.clear();
        graph.root.absent = graph.root.manifest.children().to_vec();
    }
    graph
}

/// The image of a platform, from indexes however deep; an image that is no index is itself.
fn instance(node: Node, platform: &Platform) -> Result<Node, AbsentPlatforms> {
    if !node.manifest.media_type.is_index() {
        return Ok(node);
    }
    let descriptors: Vec<Descriptor> = node.children.iter().map(|child| child.descriptor.clone()).collect();
    let wanted = Platforms::Only(vec![platform.clone()]);
    let choice = wanted.choose(&descriptors);
    if !choice.open {
        wanted.check(&choice.offer)?;
    }
    let image = |position: &usize| descriptors.get(*position).is_some_and(|child| child.attests().is_none());
    let absent = || AbsentPlatforms { absent: vec![platform.clone()], present: Vec::new() };
    let position = choice.positions.into_iter().find(image).ok_or_else(absent)?;
    let child = node.children.into_iter().nth(position).ok_or_else(absent)?;
    instance(child, platform)
}

impl Format {
    const fn name(self) -> &'static str {
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
            (Self::Docker, _) if PAIRS.iter().any(|(_, docker)| *docker == text) => Some(found.clone()),
            // Docker's own tools do not take zstd below version 2 schema 2.
            (Self::Docker, _) if text.ends_with("+zstd") => None,
            (Self::Docker, _) => PAIRS.iter().find(|(oci, _)| *oci == text).map(|pair| pair.1.into()),
        }
    }
}

/// Rewrites the media types of manifests; configs and layers stay as they are, byte for byte.
///
/// A manifest that has the format already keeps its digest.
fn convert(mut node: Node, format: Format) -> Result<Node, CopyImageError> {
    let digest = node.descriptor.digest;
    let refuse = |what: String| CopyImageError::Convert { digest, format: format.name(), what };
    let is_index = node.manifest.media_type.is_index();
    if is_index && !node.absent.is_empty() {
        return Err(CopyImageError::Sparse(digest, node.absent.len()));
    }
    let mut value: Value = serde_json::from_slice(&node.bytes)
        .map_err(|error| CopyImageError::Converted { digest, source: ManifestError::Json(error) })?;
    let before = value.clone();
    let media_type = format.media_type(&node.manifest.media_type);
    let media_type = media_type.ok_or_else(|| refuse(node.manifest.media_type.to_string()))?;
    if media_type != node.manifest.media_type {
        set(&mut value, "mediaType", json!(media_type));
    }
    if format == Format::Docker && (value.get("subject").is_some() || value.get("artifactType").is_some()) {
        return Err(refuse("a subject or an artifact type".to_owned()));
    }
    let retype = |entry: &mut Value| -> Result<(), CopyImageError> {
        let found = MediaType::parse(entry.get("mediaType").and_then(Value::as_str).unwrap_or_default());
        let wanted = format.media_type(&found).ok_or_else(|| refuse(found.to_string()))?;
        if wanted != found {
            set(entry, "mediaType", json!(wanted));
        }
        Ok(())
    };
    if is_index {
        node.children = node.children.into_iter().map(|child| convert(child, format)).collect::<Result<_, _>>()?;
        if let Some(entries) = value.get_mut("manifests").and_then(Value::as_array_mut) {
            for (entry, child) in entries.iter_mut().zip(&node.children) {
                retype(entry)?;
                set(entry, "digest", json!(child.descriptor.digest));
                set(entry, "size", json!(child.descriptor.size));
            }
        }
    } else {
        value.get_mut("config").map_or(Ok(()), retype)?;
        value
            .get_mut("layers")
            .and_then(Value::as_array_mut)
            .map_or(Ok(()), |all| all.iter_mut().try_for_each(retype))?;
    }
    if value == before {
        return Ok(node);
    }
    let bytes = Bytes::from(value.to_string());
    let manifest =
        Manifest::parse(&media_type, &bytes).map_err(|source| CopyImageError::Converted { digest, source })?;
    let fresh = Descriptor::of(media_type, &bytes);
    node.descriptor =
        Descriptor { digest: fresh.digest, size: fresh.size, media_type: fresh.media_type, ..node.descriptor };
    Ok(Node { bytes, manifest, ..node })
}

/// Sets a field of a JSON object.
fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}
