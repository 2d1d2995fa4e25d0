//! Copies one image between any two places: selects its parts and its format.

mod error;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use error::CopyImageError;

pub use super::convert::Format;
use super::convert::convert;
use super::multi_arch::load_part;
pub use super::multi_arch::{Choice, MultiArch};
use super::open::{OpenSink, OpenSource};
use super::recompress::{LayerChoice, RecompressedSource, Recompressor};
use super::schema1;
use hod_engine::copy::{CopyError, CopySummary, Engine};
use hod_engine::endpoint::{Fault, Placement, Source};
use hod_oci::{Descriptor, Digest, Graph, MediaType};
use hod_transport::SCRATCH;

impl From<Option<Format>> for Changes {
    fn from(format: Option<Format>) -> Self {
        Self { format, layers: None, preserve: false, pinned: None, scratch: SCRATCH.into() }
    }
}

/// The outcome of an image.
#[derive(Debug)]
pub struct CopiedImage {
    /// The digest of the root at the source.
    pub source_digest: Digest,
    /// The digest that it has at the destination.
    pub digest: Digest,
    /// The cost of the copy.
    pub copied: CopySummary,
    /// How many signatures came with it.
    pub signatures: usize,
    /// How many did not, since its destination has no room for them or its digest has changed.
    pub signatures_left: usize,
    /// How many layers were compressed in another way.
    pub recompressed: usize,
    /// The layers that are not carried.
    pub foreign: Vec<Descriptor>,
    /// The type of the root's manifest at the destination.
    pub media_type: MediaType,
}

/// What is changed of an image on its way: nothing, unless somebody asks or the destination has to.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The format of its manifests.
    pub format: Option<Format>,
    /// How its layers are compressed.
    pub layers: Option<(Arc<Recompressor>, LayerChoice)>,
    /// True if no digest may change, not even that of a manifest which nobody takes any more.
    pub preserve: bool,
    /// The digest that it has to have in the end, where its destination names one.
    pub pinned: Option<Digest>,
    /// The directory for large temporary files.
    pub scratch: PathBuf,
}

/// An image that is about to be copied.
pub struct PreparedImage {
    /// The digest of the root at the source.
    pub source_digest: Digest,
    /// The content to copy, in the requested format.
    pub graph: Graph,
    /// The source of that content.
    pub source: Arc<dyn Source>,
    recompressed: usize,
    recompressor: Option<Arc<Recompressor>>,
}

impl fmt::Debug for PreparedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("source_digest", &self.source_digest).finish_non_exhaustive()
    }
}

/// Copies an image and returns what it is at the destination.
pub async fn copy_image(
    engine: &Engine,
    from: &OpenSource,
    to: &OpenSink,
    multi_arch: &MultiArch,
    changes: impl Into<Changes> + Send,
) -> Result<CopiedImage, CopyImageError> {
    let prepared = prepare(engine, from, multi_arch, &changes.into()).await?;
    transfer(engine, from, to, prepared).await
}

/// Loads the part of an image that is wanted, and makes of it what it is to become.
pub async fn prepare(
    engine: &Engine,
    from: &OpenSource,
    multi_arch: &MultiArch,
    changes: &Changes,
) -> Result<PreparedImage, CopyImageError> {
    let (source_digest, mut source, graph) = match load(engine, from, multi_arch).await {
        Err(error) if schema1::is_reason(&error) => {
            if changes.preserve {
                return Err(CopyImageError::Preserve(from.version.clone()));
            }
            let (digest, modern) = schema1::modern(engine, from, &changes.scratch).await?;
            let graph = load(engine, &modern, multi_arch).await?;
            (digest, modern.source, graph)
        }
        graph => {
            let graph = graph?;
            (graph.root.descriptor.digest, from.source.clone(), graph)
        }
    };
    let mut made = HashMap::new();
    if let Some((recompressor, which)) = &changes.layers {
        made = recompressor.prepare(engine, &source, &graph, *which).await?;
        source = Arc::new(RecompressedSource::new(source, made.values().cloned()));
    }
    let graph = Graph { root: convert(graph.root, changes.format, &made)? };
    let found = graph.root.descriptor.digest;
    if let Some(pinned) = changes.pinned.filter(|pinned| *pinned != found) {
        return Err(CopyImageError::Pinned { pinned, found });
    }
    let recompressor = changes.layers.as_ref().map(|(recompressor, _)| recompressor.clone());
    Ok(PreparedImage { source_digest, graph, source, recompressed: made.len(), recompressor })
}

/// Copies what was prepared.
pub async fn transfer(
    engine: &Engine,
    from: &OpenSource,
    to: &OpenSink,
    prepared: PreparedImage,
) -> Result<CopiedImage, CopyImageError> {
    let PreparedImage { source_digest, graph, source, recompressed, recompressor } = prepared;
    let digest = graph.root.descriptor.digest;
    let graph = Arc::new(graph);
    let (brought, foreign) = bring_foreign(engine, &source, to, &graph).await?;
    let is_part = graph.manifests().iter().any(|node| !node.absent.is_empty());
    let copied = engine.copy(source, to.sink.clone(), graph.clone(), &to.tags).await;
    let mut copied = copied.map_err(|error| match to.sink.place() {
        place if is_part && place.is_remote() && error.refuses_index() => {
            CopyImageError::Part(place.domain().to_owned(), error)
        }
        _ => CopyImageError::Copy(error),
    })?;
    copied.add_all(&brought);
    if let Some(recompressor) = recompressor {
        recompressor.forget();
    }
    let (signatures, signatures_left) = (0, 0);
    let media_type = graph.root.manifest.media_type.clone();
    let mut image =
        CopiedImage { source_digest, digest, copied, signatures, signatures_left, recompressed, foreign, media_type };
    copy_signatures(from, to, &graph, &mut image).await?;
    Ok(image)
}

/// Brings the layers that lie elsewhere to a place that has to hold them; returns what that took, and those that are
/// not carried. A registry is asked for their addresses, and places on this machine have them or have not.
async fn bring_foreign(
    engine: &Engine,
    source: &Arc<dyn Source>,
    to: &OpenSink,
    graph: &Graph,
) -> Result<(CopySummary, Vec<Descriptor>), CopyError> {
    let (mut brought, mut left) = (CopySummary { unchanged: true, ..CopySummary::default() }, Vec::new());
    if to.sink.holds_foreign_layers() && !graph.foreign().is_empty() {
        // Whatever the answer: a folder may have all but these, and a daemon that has the image has them too.
        engine.has(&*to.sink, graph, &to.tags).await?;
    }
    for layer in graph.foreign() {
        if !to.sink.holds_foreign_layers() {
            left.push(layer.clone());
            continue;
        }
        match engine.place(source, &*to.sink, layer).await {
            Ok(placed) => {
                brought.unchanged &= placed == Placement::AlreadyThere;
                brought.add(layer, placed);
            }
            Err(error) if error.fault() == Some(Fault::Missing) && !source.place().is_remote() => {
                left.push(layer.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok((brought, left))
}

/// Copies the signatures of the manifests that were copied, and adds new ones where somebody signs; those of what was
/// converted are worth nothing any more.
async fn copy_signatures(
    from: &OpenSource,
    to: &OpenSink,
    graph: &Graph,
    image: &mut CopiedImage,
) -> Result<(), CopyImageError> {
    let root = graph.root.descriptor.digest;
    let copied: Vec<Digest> = graph.manifests().iter().map(|node| node.descriptor.digest).collect();
    let converted = (!copied.contains(&image.source_digest)).then_some(image.source_digest);
    for manifest in copied.into_iter().chain(converted) {
        let failed = |error| CopyImageError::Signatures(manifest, error);
        let mut signatures =
            if to.signatures { from.source.signatures(&manifest).await.map_err(failed)? } else { Vec::new() };
        let signs = to.signing.as_ref().filter(|_| Some(manifest) != converted);
        if let Some(signs) = signs {
            signatures.push(signs.sign(manifest).await?);
        }
        if signatures.is_empty() {
            continue;
        }
        let taken = Some(manifest) != converted
            && to.sink.keep_signatures(&manifest, manifest == root, &signatures).await.map_err(failed)?;
        if signs.is_some() && !taken {
            return Err(CopyImageError::NotKept(manifest));
        }
        *(if taken { &mut image.signatures } else { &mut image.signatures_left }) += signatures.len();
    }
    Ok(())
}

/// Loads the part of an image that is wanted, and has it show what the trust policy asks for.
pub async fn load(engine: &Engine, from: &OpenSource, multi_arch: &MultiArch) -> Result<Graph, CopyImageError> {
    let graph = load_part(engine, from, multi_arch).await?;
    if let Some(guard) = &from.guard {
        guard.check(&*from.source, &graph).await?;
    }
    Ok(graph)
}
