//! The metadata of an image, with the fields of `skopeo inspect` in their order.

mod config;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::copy_image::{Choice, CopyImageError, MultiArch, load};
use super::open::OpenSource;
use super::schema1;
use hod_engine::copy::Engine;
use hod_engine::endpoint::{EndpointError, Prefix, Verified};
use hod_oci::{Descriptor, Digest, Graph, MANIFEST_LIMIT, Platform, Platforms, check_weight};

pub use config::{History, ImageConfig, RootFs, RunConfig};

/// An image, looked at.
#[derive(Debug)]
pub struct InspectedImage {
    /// The digest that the name stands for.
    pub digest: Digest,
    /// The bytes of that manifest.
    pub manifest: Bytes,
    /// The image that was chosen; the same where there was nothing to choose.
    pub instance: Graph,
    /// The bytes of its config.
    pub config: Bytes,
    /// The tag that it gives itself, as manifests of Docker's first format do.
    pub tag: Option<String>,
}

/// The errors of inspecting an image.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] CopyImageError),
    /// Its config cannot be read.
    #[error("cannot read the config {digest}")]
    Config {
        /// The config.
        digest: Digest,
        /// The reason.
        #[source]
        source: EndpointError,
    },
    /// An index without images.
    #[error("the index {0} has no image to inspect; --raw shows the index")]
    NoImage(Digest),
}

/// The fields of `inspect`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspection {
    /// The name without tag, where the transport knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tag that the manifest gives itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest that the name stands for.
    pub digest: Digest,
    /// All tags of the repository.
    pub repo_tags: Vec<String>,
    /// When it was made.
    pub created: Option<String>,
    /// The version of Docker that made it.
    pub docker_version: String,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Processor.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// The layers' digests, lowest first.
    pub layers: Vec<Digest>,
    /// The layers with their sizes.
    pub layers_data: Vec<LayerData>,
    /// Environment.
    pub env: Option<Vec<String>>,
}

/// A layer, as `inspect` tells it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerData {
    /// Its media type.
    #[serde(rename = "MIMEType")]
    pub mime_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its annotations.
    pub annotations: Option<BTreeMap<Box<str>, Box<str>>>,
}

/// Of an index nothing but itself, and what has no platform.
const fn root_alone() -> MultiArch {
    MultiArch::Sparse(Choice::of_indexes(Platforms::Only(Vec::new())))
}

/// The bytes of what a name stands for, and their digest.
pub async fn raw(engine: &Engine, from: &OpenSource) -> Result<(Digest, Bytes), InspectError> {
    match load(engine, from, &root_alone()).await {
        Err(error) if schema1::is_reason(&error) => {
            let first = schema1::first_format(engine, from).await?;
            Ok((first.manifest.digest, first.bytes))
        }
        graph => {
            let graph = graph?;
            Ok((graph.root.descriptor.digest, graph.root.bytes))
        }
    }
}

/// Looks at the image of a platform.
pub async fn inspect(engine: &Engine, from: &OpenSource, platform: &Platform) -> Result<InspectedImage, InspectError> {
    match inspect_as_it_is(engine, from, platform).await {
        Err(error) if schema1::is_reason(&error) => {
            let first = schema1::first_format(engine, from).await?;
            let outline = schema1::outline(&first, from)?;
            let inspected = inspect_as_it_is(engine, &outline, platform).await?;
            let tag = Some(first.manifest.tag).filter(|tag| !tag.is_empty());
            Ok(InspectedImage { digest: first.manifest.digest, manifest: first.bytes, tag, ..inspected })
        }
        inspected => inspected,
    }
}

async fn inspect_as_it_is(
    engine: &Engine,
    from: &OpenSource,
    platform: &Platform,
) -> Result<InspectedImage, InspectError> {
    let graph = load(engine, from, &root_alone()).await?;
    let (digest, manifest) = (graph.root.descriptor.digest, graph.root.bytes);
    let instance = load(engine, from, &MultiArch::System(platform.clone())).await?;
    let config = instance.root.manifest.config().ok_or(InspectError::NoImage(digest))?;
    let config =
        read_config(from, config).await.map_err(|source| InspectError::Config { digest: config.digest, source })?;
    Ok(InspectedImage { digest, manifest, instance, config, tag: None })
}

/// Reads a config whole, verified.
pub async fn read_config(from: &OpenSource, config: &Descriptor) -> Result<Bytes, EndpointError> {
    if config.size > MANIFEST_LIMIT {
        let problem = format!("{} has {} bytes, too many for a config", config.digest, config.size);
        return Err(EndpointError::new(hod_engine::endpoint::Fault::Rejected, problem));
    }
    let reader = from.source.open(config, 0).await?;
    let bytes = Verified::new(config, Prefix::none(config.digest.algorithm()), reader).collect().await?;
    match check_weight(&bytes) {
        Ok(()) => Ok(bytes),
        Err(heavy) => Err(EndpointError::new(hod_engine::endpoint::Fault::Rejected, heavy)),
    }
}

impl InspectedImage {
    /// The config as the OCI image-spec has it, without what only Docker knows.
    pub fn oci_config(&self) -> ImageConfig {
        // A config that is no image's, such as a chart's, has nothing of this.
        serde_json::from_slice(&self.config).unwrap_or_default()
    }

    /// The fields of `inspect`.
    pub fn fields(&self, name: Option<String>, repo_tags: Vec<String>) -> Inspection {
        let config = self.oci_config();
        let layers: Vec<&Descriptor> = self.instance.root.manifest.blobs().skip(1).collect();
        let data = |layer: &&Descriptor| LayerData {
            mime_type: layer.media_type.to_string(),
            digest: layer.digest,
            size: layer.size,
            annotations: (!layer.annotations.is_empty()).then(|| layer.annotations.clone()),
        };
        Inspection {
            name,
            tag: self.tag.clone(),
            digest: self.digest,
            repo_tags,
            created: config.created,
            docker_version: config.docker_version,
            labels: config.config.labels,
            architecture: config.architecture,
            os: config.os,
            layers: layers.iter().map(|layer| layer.digest).collect(),
            layers_data: layers.iter().map(data).collect(),
            env: config.config.env,
        }
    }
}
