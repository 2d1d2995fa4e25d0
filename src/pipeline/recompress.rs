//! Layers that are to be compressed in another way: made before the manifests that name them can be written.
//!
//! The engine brings each layer to the [`Recompressor`] as to any other sink, with its patience and its progress. What
//! comes of it waits in a nameless file until the image has been copied; two images that share a layer share that too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::copy::{CopyError, Engine};
use crate::endpoint::{BlobReader, EndpointError, Fault, Place, Placed, Result, Sink, Source, Verified};
use crate::oci::{Descriptor, Digest, Graph, Tag, Version};
use crate::transport::{Compression, Recoded, recode};

/// Layers that are worked on at the same time; each takes a processor.
const AT_ONCE: usize = 4;

/// Which layers are compressed in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are not compressed at all.
    Uncompressed,
    /// All that are not compressed in the wanted way.
    Others,
}

/// Compresses layers in one way.
#[derive(Debug)]
pub struct Recompressor {
    place: Place,
    to: Compression,
    level: Option<u8>,
    scratch: PathBuf,
    /// What came of layers; `None` where one was as it should be in spite of its type.
    made: Mutex<HashMap<Digest, Option<Arc<Recoded>>>>,
}

/// A source some of whose layers were made here.
pub struct Recompressed {
    inner: Arc<dyn Source>,
    made: HashMap<Digest, Arc<Recoded>>,
}

impl Recompressor {
    /// Compresses to `to`, with files in the folder `scratch`.
    pub fn new(to: Compression, level: Option<u8>, scratch: &Path) -> Self {
        let place = Place::local(&format!("layers compressed by {}", to.name()), None);
        Self { place, to, level, scratch: scratch.to_owned(), made: Mutex::default() }
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
        which: Which,
    ) -> std::result::Result<HashMap<Digest, Arc<Recoded>>, CopyError> {
        let wanted = |blob: &&Descriptor| match Compression::of_layer(&blob.media_type) {
            Some(found) if found == self.to => false,
            Some(Compression::None) => true,
            Some(_) => which == Which::Others,
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
    ) -> std::result::Result<Option<Arc<Recoded>>, CopyError> {
        loop {
            engine.place(source, self, layer).await?;
            // Another image that is done with it may have let it go in the meantime.
            if let Some(made) = self.lock().get(&layer.digest) {
                return Ok(made.clone());
            }
        }
    }

    /// Lets go of what no image holds any more.
    pub fn forget(&self) {
        self.lock().retain(|_, made| made.as_ref().is_none_or(|made| Arc::strong_count(made) > 1));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Option<Arc<Recoded>>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for Recompressor {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, _: &Graph, _: &[Tag]) -> Result<bool> {
        Ok(false)
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        Ok(self.lock().contains_key(&content.digest))
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placed> {
        let made = recode(body, self.to, self.level, &self.scratch).await?;
        self.lock().insert(content.digest, made.map(Arc::new));
        Ok(Placed::Written)
    }

    async fn publish(&self, root: &Descriptor, _: Bytes, _: &[Tag]) -> Result<()> {
        Err(EndpointError::new(Fault::Rejected, format!("{} is no layer", root.digest)))
    }
}

impl std::fmt::Debug for Recompressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recompressed").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Recompressed {
    /// A source with more layers than it has itself.
    pub fn new(inner: Arc<dyn Source>, made: impl IntoIterator<Item = Arc<Recoded>>) -> Self {
        Self { inner, made: made.into_iter().map(|made| (made.digest, made)).collect() }
    }
}

#[async_trait]
impl Source for Recompressed {
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

    async fn file(&self, content: &Descriptor) -> Result<Option<PathBuf>> {
        if self.made.contains_key(&content.digest) { Ok(None) } else { self.inner.file(content).await }
    }
}
