//! Recompresses layers before the manifests that name them are written.
//!
//! What
//! comes of a layer waits in a nameless file until the image has been copied; two images that share a layer share that too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use hod_engine::copy::{CopyError, Engine};
use hod_engine::endpoint::{BlobReader, LocalFile, Place, Result, Source};
use hod_oci::{Descriptor, Digest, Graph, Version};
use hod_transport::{Compression, RecodedLayer, recode};

/// Layers that are worked on at the same time; each takes a processor.
const AT_ONCE: usize = 4;

/// Which layers are compressed in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerChoice {
    /// Those that are not compressed at all.
    Uncompressed,
    /// All that are not compressed in the wanted way.
    Others,
}

/// Compresses layers in one way.
#[derive(Debug)]
pub struct Recompressor {
    to: Compression,
    level: Option<u8>,
    scratch: PathBuf,
    made: Mutex<HashMap<Digest, Arc<OnceCell<Remade>>>>,
}

/// What came of a layer; `None` where it was as it should be in spite of its type.
type Remade = Option<Arc<RecodedLayer>>;

/// A source some of whose layers were made here.
pub(crate) struct RecompressedSource {
    inner: Arc<dyn Source>,
    made: HashMap<Digest, Arc<RecodedLayer>>,
}

impl Recompressor {
    /// Compresses to `to`, with files in the folder `scratch`.
    pub fn new(to: Compression, level: Option<u8>, scratch: &Path) -> Self {
        Self { to, level, scratch: scratch.to_owned(), made: Mutex::default() }
    }

    /// What layers are compressed to.
    pub const fn to(&self) -> Compression {
        self.to
    }

    /// Makes the layers of an image that have to be made, found by the digests of what they were made of.
    pub async fn prepare(
        &self,
        engine: &Engine,
        source: &Arc<dyn Source>,
        graph: &Graph,
        which: LayerChoice,
    ) -> std::result::Result<HashMap<Digest, Arc<RecodedLayer>>, CopyError> {
        let wanted = |blob: &&Descriptor| match Compression::of_layer(&blob.media_type) {
            Some(found) if found == self.to => false,
            Some(Compression::None) => true,
            Some(_) => which == LayerChoice::Others,
            None => false,
        };
        let layers: Vec<Descriptor> = graph.blobs().into_iter().filter(wanted).cloned().collect();
        let made = futures_util::stream::iter(layers).map(|layer| async move {
            let made = self.layer(engine, source, &layer).await?;
            Ok::<_, CopyError>(made.map(|made| (layer.digest, made)))
        });
        let made: Vec<_> = made.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(made.into_iter().flatten().collect())
    }

    async fn layer(
        &self,
        engine: &Engine,
        source: &Arc<dyn Source>,
        layer: &Descriptor,
    ) -> std::result::Result<Remade, CopyError> {
        let cell = self.made().entry(layer.digest).or_default().clone();
        let name = format!("layers compressed by {}", self.to.name());
        let work = |body| async { Ok(recode(body, self.to, self.level, &self.scratch).await?.map(Arc::new)) };
        cell.get_or_try_init(|| engine.read_layer(source, &name, layer, work)).await.cloned()
    }

    /// Lets go of what no image holds any more.
    pub fn forget(&self) {
        let is_held = |made: &Arc<RecodedLayer>| Arc::strong_count(made) > 1;
        self.made().retain(|_, cell| cell.get().and_then(Option::as_ref).is_none_or(is_held));
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Digest, Arc<OnceCell<Remade>>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RecompressedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recompressed").field("made", &self.made).finish_non_exhaustive()
    }
}

impl RecompressedSource {
    /// A source with more layers than it has itself.
    pub(crate) fn new(inner: Arc<dyn Source>, made: impl IntoIterator<Item = Arc<RecodedLayer>>) -> Self {
        Self { inner, made: made.into_iter().map(|made| (made.digest, made)).collect() }
    }
}

#[async_trait]
impl Source for RecompressedSource {
    fn place(&self) -> &Place {
        self.inner.place()
    }

    async fn resolve(&self, version: &Version) -> Result<Descriptor> {
        self.inner.resolve(version).await
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        self.inner.manifest(version).await
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        match self.made.get(&content.digest) {
            Some(made) => Ok(made.stream(offset)),
            None => self.inner.open(content, offset).await,
        }
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        if self.made.contains_key(&content.digest) { Ok(None) } else { self.inner.size(content).await }
    }

    async fn file(&self, content: &Descriptor) -> Result<Option<LocalFile>> {
        if self.made.contains_key(&content.digest) { Ok(None) } else { self.inner.file(content).await }
    }
}
