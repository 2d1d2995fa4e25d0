//! Builds an index from images: its children, their platforms and its format.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use super::convert::Format;
use super::copy_image::{Choice, CopyImageError, MultiArch, load};
use super::inspect::read_config;
use super::open::OpenSource;
use hod_engine::copy::Engine;
use hod_engine::endpoint::{BlobReader, EndpointError, Fault, LocalFile, Place, Result, Source};
use hod_oci::{Descriptor, Digest, Graph, Manifest, ManifestError, MediaType, Node, Platform, Platforms, Version};

/// An image that goes into an index.
#[derive(Clone)]
pub struct Child {
    /// Its manifest.
    pub node: Node,
    /// The source of its content.
    pub source: Arc<dyn Source>,
}

/// An index that is being put together.
#[derive(Debug, Default, Clone)]
pub struct IndexBuilder {
    /// Replaces an image when another for its platform is added. Otherwise that is an error.
    pub replace: bool,
    children: Vec<Child>,
}

/// How the index is to be.
#[derive(Debug, Default, Clone)]
pub struct IndexOptions {
    /// Its format, where that is not left to its images.
    pub format: Option<Format>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The errors of creating an index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// An image cannot be loaded.
    #[error(transparent)]
    Load(#[from] CopyImageError),
    /// Its config, which says for which platform it is, cannot be read.
    #[error("cannot read the config {digest}")]
    Config {
        /// The config.
        digest: Digest,
        /// The reason.
        #[source]
        source: EndpointError,
    },
    /// The same platform twice.
    #[error("{first} and {second} are both for {platform}: use --replace to keep the later one")]
    Twice {
        /// The platform.
        platform: Platform,
        /// One of them.
        first: Digest,
        /// The other.
        second: Box<Digest>,
    },
    /// The image to remove is missing.
    #[error("the index has no {0}")]
    Unknown(String),
    /// A platform for an image that has several of its own.
    #[error("{0} is an index: its images have platforms of their own")]
    Platform(Digest),
    /// The bytes are no index that a registry would take.
    #[error("the index cannot be used")]
    Manifest(#[from] ManifestError),
}

impl IndexBuilder {
    /// Takes an image, or all images of an index that are for these platforms.
    pub async fn add(
        &mut self,
        engine: &Engine,
        from: &OpenSource,
        platforms: &Platforms,
        platform: Option<Platform>,
    ) -> std::result::Result<(), IndexError> {
        let part = match platforms {
            Platforms::All => MultiArch::All,
            only @ Platforms::Only(_) => MultiArch::Sparse(Choice::of_indexes(only.clone())),
        };
        let graph = load(engine, from, &part).await?;
        let mut root = graph.root;
        if root.manifest.media_type.is_index() {
            if platform.is_some() {
                return Err(IndexError::Platform(root.descriptor.digest));
            }
            for child in root.children {
                self.insert(child, from)?;
            }
            return Ok(());
        }
        root.descriptor.platform = match platform {
            Some(platform) => Some(platform),
            None => match root.manifest.config().filter(|config| config.media_type.is_image_config()) {
                Some(config) => {
                    let digest = config.digest;
                    let bytes = read_config(from, config).await;
                    Platform::of_config(&bytes.map_err(|source| IndexError::Config { digest, source })?)
                }
                None => None,
            },
        };
        self.insert(root, from)
    }

    fn insert(&mut self, node: Node, from: &OpenSource) -> std::result::Result<(), IndexError> {
        let child = Child { node, source: from.source.clone() };
        let (digest, platform) = (child.node.descriptor.digest, child.node.descriptor.platform.clone());
        if self.children.iter().any(|known| known.node.descriptor.digest == digest) {
            return Ok(());
        }
        let same = |known: &Child| platform.is_some() && known.node.descriptor.platform == platform;
        let is_image = child.node.descriptor.attests().is_none();
        match self.children.iter().position(same).filter(|_| is_image).zip(platform.clone()) {
            None => self.children.push(child),
            Some((position, _)) if self.replace => {
                if let Some(known) = self.children.get_mut(position) {
                    *known = child;
                }
            }
            Some((position, platform)) => {
                let first = self.children.get(position).map_or(digest, |known| known.node.descriptor.digest);
                return Err(IndexError::Twice { platform, first, second: Box::new(digest) });
            }
        }
        Ok(())
    }

    /// Removes the image with a digest, or those of a platform.
    pub fn remove(&mut self, what: &str) -> std::result::Result<(), IndexError> {
        let before = self.children.len();
        let platform = what.parse::<Platform>().ok();
        self.children.retain(|child| {
            let descriptor = &child.node.descriptor;
            let named = descriptor.digest.to_string() == what;
            !(named || platform.is_some() && descriptor.platform == platform)
        });
        if self.children.len() == before { Err(IndexError::Unknown(what.to_owned())) } else { Ok(()) }
    }

    /// The index, and where the content of all its images is.
    pub fn finish(self, options: &IndexOptions) -> std::result::Result<(Graph, Arc<dyn Source>), IndexError> {
        let docker = |child: &Child| child.node.descriptor.media_type == MediaType::DockerManifest;
        let format = options.format.unwrap_or(if !self.children.is_empty() && self.children.iter().all(docker) {
            Format::Docker
        } else {
            Format::Oci
        });
        let media_type = if format == Format::Docker { MediaType::DockerList } else { MediaType::OciIndex };
        let descriptors: Vec<&Descriptor> = self.children.iter().map(|child| &child.node.descriptor).collect();
        let mut value = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": descriptors });
        if let (false, Value::Object(fields)) = (options.annotations.is_empty(), &mut value) {
            fields.insert("annotations".to_owned(), json!(options.annotations));
        }
        let bytes = Bytes::from(value.to_string());
        let manifest = Manifest::parse(&media_type, &bytes)?;
        let descriptor = Descriptor::of(media_type, &bytes);
        let mut joined = JoinedSource { place: Place::local("the images of the index", None), sources: HashMap::new() };
        for child in &self.children {
            let graph = Graph { root: child.node.clone() };
            let manifests = graph.manifests().into_iter().map(|node| node.descriptor.digest);
            let all: Vec<Digest> = graph.blobs().into_iter().map(|blob| blob.digest).chain(manifests).collect();
            for digest in all {
                joined.sources.insert(digest, child.source.clone());
            }
            if child.source.place().is_remote() {
                joined.place = child.source.place().clone();
            }
        }
        let children = self.children.into_iter().map(|child| child.node).collect();
        let root = Node::new(descriptor, bytes, manifest, children, Vec::new());
        Ok((Graph { root }, Arc::new(joined)))
    }
}

/// Several sources as one: each content comes from the one that has it.
struct JoinedSource {
    place: Place,
    sources: HashMap<Digest, Arc<dyn Source>>,
}

impl JoinedSource {
    fn of(&self, digest: &Digest) -> Result<&Arc<dyn Source>> {
        let absent = || EndpointError::new(Fault::Missing, format!("{digest} is in none of the images"));
        self.sources.get(digest).ok_or_else(absent)
    }
}

#[async_trait]
impl Source for JoinedSource {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        match version {
            Version::Digest(digest) => self.of(digest)?.manifest(version).await,
            Version::Tag(tag) => {
                Err(EndpointError::new(Fault::Missing, format!("images of an index have no tag {tag}")))
            }
        }
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        self.of(&content.digest)?.open(content, offset).await
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        self.of(&content.digest)?.size(content).await
    }

    async fn file(&self, content: &Descriptor) -> Result<Option<LocalFile>> {
        self.of(&content.digest)?.file(content).await
    }
}

impl std::fmt::Debug for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Child").field("descriptor", &self.node.descriptor).finish_non_exhaustive()
    }
}
