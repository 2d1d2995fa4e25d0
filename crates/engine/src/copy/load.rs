//! Following an image's manifests from its name.

use std::sync::PoisonError;

use bytes::Bytes;

use super::{CopyError, Engine, Side, correct_sizes};
use crate::endpoint::{EndpointError, Place, Prefix, Source, Verified};
use hod_oci::{Descriptor, Digest, Graph, Node, Platform, PlatformOffer, Platforms, Version, Walk};

/// The largest config that is read to learn an image's platform. Real ones have a few KiB.
const CONFIG_LIMIT: u64 = 4 * 1024 * 1024;

/// What is wanted of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFilter {
    /// Which manifest.
    pub version: Version,
    /// Which of its platforms.
    pub platforms: Platforms,
    /// Whether somebody asked for these platforms. Where nobody did, an image that is not an index
    /// is taken as it is, whatever its platform.
    pub asked: bool,
}

/// Where manifests come from: the source, and what is kept of it at hand.
#[derive(Clone, Copy)]
struct From<'a> {
    source: &'a dyn Source,
    kept: Option<&'a dyn Source>,
}

impl Engine {
    /// Loads an image's manifests and those of its children that are wanted.
    ///
    /// What `kept` has by digest is not asked for again. Where it knows the tag, the source is
    /// asked what the tag stands for now before any manifest is moved: one request where nothing has
    /// changed. Elsewhere it is one request for each manifest.
    pub async fn load(
        &self,
        source: &dyn Source,
        kept: Option<&dyn Source>,
        wanted: &LoadFilter,
    ) -> Result<Graph, CopyError> {
        let from = From { source, kept };
        let (descriptor, bytes) = self.root(from, &wanted.version).await?;
        let (root, offer) = self.node(from, descriptor, bytes, &wanted.platforms, Walk::default()).await?;
        if root.manifest.media_type.is_index() {
            wanted.platforms.check(&offer)?;
        }
        let mut graph = Graph { root };
        // Before the config is read, which may be of another length, too.
        correct_sizes(source, &mut graph).await.map_err(|error| unresolved(source, &wanted.version, error))?;
        if let (Platforms::Only(_), true) = (&wanted.platforms, wanted.asked) {
            self.check_platform(source, &mut graph.root, &wanted.platforms).await?;
        }
        Ok(graph)
    }

    async fn root(&self, from: From<'_>, version: &Version) -> Result<(Descriptor, Bytes), CopyError> {
        let known_tag = match (from.kept, version) {
            (Some(kept), Version::Tag(_)) => kept.resolve(version).await.is_ok(),
            _ => false,
        };
        let version = if known_tag {
            let _permit = self.lookups.acquire(0).await;
            let what = format!("{version} in {}", from.source.place());
            let found = self.retry.run(&what, from.source.place(), || from.source.resolve(version)).await;
            Version::Digest(found.map_err(|error| unresolved(from.source, version, error))?.digest)
        } else {
            version.clone()
        };
        match &version {
            Version::Digest(digest) => self.by_digest(from, digest).await,
            Version::Tag(_) => self.ask(from.source, &version).await,
        }
    }

    async fn by_digest(&self, from: From<'_>, digest: &Digest) -> Result<(Descriptor, Bytes), CopyError> {
        let cell = {
            let mut manifests = self.memory.manifests.lock().unwrap_or_else(PoisonError::into_inner);
            manifests.entry(*digest).or_default().clone()
        };
        let version = Version::Digest(*digest);
        let fetch = || async {
            if let Some(kept) = from.kept
                && let Ok(found) = kept.manifest(&version).await
            {
                return Ok(found);
            }
            self.ask(from.source, &version).await
        };
        cell.get_or_try_init(fetch).await.cloned()
    }

    async fn ask(&self, source: &dyn Source, version: &Version) -> Result<(Descriptor, Bytes), CopyError> {
        let _permit = self.lookups.acquire(0).await;
        let what = format!("{version} in {}", source.place());
        let found = self.retry.run(&what, source.place(), || source.manifest(version)).await;
        let found = found.and_then(|found| self.memory.admit(source.place(), &found.1).map(|()| found));
        found.map_err(|error| unresolved(source, version, error))
    }

    /// Asks a registry something small, with the patience and the limits of this run.
    pub async fn question<T, F>(&self, what: &str, place: &Place, ask: impl FnMut() -> F) -> Result<T, EndpointError>
    where
        F: Future<Output = Result<T, EndpointError>>,
    {
        let _permit = self.lookups.acquire(0).await;
        self.retry.run(what, place, ask).await
    }

    /// Reads a manifest and loads the children that are wanted, side by side; with what they offer.
    ///
    /// An index within the index that has nothing of what is wanted counts as absent.
    async fn node(
        &self,
        from: From<'_>,
        descriptor: Descriptor,
        bytes: Bytes,
        platforms: &Platforms,
        walk: Walk,
    ) -> Result<(Node, PlatformOffer), CopyError> {
        let unusable = |source| {
            let place = Box::new(from.source.place().clone());
            CopyError::Manifest { digest: descriptor.digest, place, source }
        };
        let (manifest, below) = walk.read(&descriptor.media_type, &bytes).map_err(unusable)?;
        let choice = platforms.choose(manifest.children());
        if manifest.media_type.is_index() && walk.is_at_root() && !choice.open {
            // What is missing is known before anything is fetched.
            platforms.check(&choice.offer)?;
        }
        let mut absent = manifest.children().to_vec();
        let mut loading = Vec::with_capacity(choice.positions.len());
        for position in choice.positions.into_iter().rev() {
            loading.push(self.child(from, absent.remove(position), platforms, below.clone()));
        }
        loading.reverse();
        let mut offer = choice.offer;
        let mut children = Vec::with_capacity(loading.len());
        for (child, inner) in futures_util::future::try_join_all(loading).await? {
            let useless = child.descriptor.hides_platforms() && inner.is_empty() && *platforms != Platforms::All;
            offer.add(inner);
            if useless {
                absent.push(child.descriptor);
            } else {
                children.push(child);
            }
        }
        Ok((Node::new(descriptor, bytes, manifest, children, absent), offer))
    }

    fn child<'a>(
        &'a self,
        from: From<'a>,
        child: Descriptor,
        platforms: &'a Platforms,
        walk: Walk,
    ) -> futures_util::future::BoxFuture<'a, Result<(Node, PlatformOffer), CopyError>> {
        Box::pin(async move {
            let (_, bytes) = self.by_digest(from, &child.digest).await?;
            self.node(from, child, bytes, platforms, walk).await
        })
    }

    /// Checks the platform of an image that is not an index, which only its config knows.
    async fn check_platform(
        &self,
        source: &dyn Source,
        root: &mut Node,
        platforms: &Platforms,
    ) -> Result<(), CopyError> {
        self.read_config(source, root).await?;
        if let Some(platform) = &root.platform {
            platforms.accepts(platform)?;
        }
        Ok(())
    }

    /// Learns the platforms of all manifests whose index does not say them, from their configs.
    pub async fn describe(&self, source: &dyn Source, mut graph: Graph) -> Result<Graph, CopyError> {
        let mut waiting = vec![&mut graph.root];
        while let Some(node) = waiting.pop() {
            if node.descriptor.platform.is_none() && node.config.is_none() {
                self.read_config(source, node).await?;
            }
            waiting.extend(&mut node.children);
        }
        Ok(graph)
    }

    /// Reads the config of a runnable image, and with it the platform.
    async fn read_config(&self, source: &dyn Source, node: &mut Node) -> Result<(), CopyError> {
        let Some(config) = node.manifest.config() else { return Ok(()) };
        if !config.media_type.is_image_config() || config.size > CONFIG_LIMIT {
            return Ok(());
        }
        let bytes = {
            let permit = self.lookups.acquire(0).await;
            let what = format!("config {} from {}", config.digest, source.place());
            let mut read = self.retry.run(&what, source.place(), || read_small(source, config)).await;
            drop(permit);
            if let Err(error) = &read
                && let Some(config) = self.corrected(source, config, error).await
            {
                read = read_small(source, &config).await;
            }
            let read = read.and_then(|bytes| self.memory.admit(source.place(), &bytes).map(|()| bytes));
            read.map_err(|error| CopyError::content(config, Side::Source, source.place(), error))?
        };
        node.platform = Platform::of_config(&bytes);
        node.config = Some(bytes);
        Ok(())
    }
}

/// Reads small content whole, verified.
async fn read_small(source: &dyn Source, content: &Descriptor) -> Result<Bytes, EndpointError> {
    let reader = source.open(content, 0).await?;
    Verified::new(content, Prefix::none(content.digest.algorithm()), reader).collect().await
}

fn unresolved(source: &dyn Source, version: &Version, error: EndpointError) -> CopyError {
    CopyError::Resolve { version: version.clone(), place: Box::new(source.place().clone()), source: error }
}
