//! From digests straight to a bundle, without a store: every byte is written once, where it belongs.
//!
//! The result has the same bytes as fetching into a store and packing that.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::contents::Held;
use super::pack::{self, PackError};
use super::resolve::{DefaultRegistry, Failed, ImageError, Resolved};
use crate::bundle::{BundleError, BundleSink, Done, Header, InPlace};
use crate::copy::{CopyError, Engine};
use crate::endpoint::{Placed, Sink};
use crate::observe::Event;
use crate::oci::{Digest, Graph};

/// What writing a bundle in one pass did.
#[derive(Debug)]
pub struct Bundled {
    /// The header of the bundle.
    pub header: Header,
    /// Its length in bytes.
    pub bytes: u64,
    /// Bytes that were fetched; the others were there from an earlier run.
    pub fetched: u64,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundlingError {
    /// What was chosen makes no bundle.
    #[error(transparent)]
    Header(#[from] PackError),
    /// An image cannot be described.
    #[error("cannot learn the platform of {image}")]
    Describe {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: CopyError,
    },
    /// The file.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It would not fit.
    #[error("the bundle needs {needed} more bytes at {place}, where {free} are free")]
    Full {
        /// Where.
        place: String,
        /// Bytes to come.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Images that could not be fetched. What was fetched is kept for the next run.
    #[error("{} could not be fetched", super::count(.0.len(), "image"))]
    Images(Vec<Failed>),
}

/// Fetches images into a bundle at `output`, a `.tar`.
///
/// A bundle is whole or not there: one image that fails fails the bundle, after the others have been tried, and the
/// next run with the same list goes on from there. `mtime` is in seconds since 1970.
pub async fn bundle(
    engine: &Engine,
    images: Vec<Resolved>,
    from: &DefaultRegistry,
    output: &Path,
    mtime: u64,
) -> Result<Bundled, BundlingError> {
    let mut described = Vec::with_capacity(images.len());
    let mut reading = futures_util::stream::iter(images)
        .map(|image| async {
            let graph = engine.describe(&*image.source, (*image.graph).clone()).await;
            (image, graph)
        })
        .buffered(engine.limits().lookups);
    while let Some((image, graph)) = reading.next().await {
        let named = image.line.reference.to_string();
        let graph = graph.map_err(|source| BundlingError::Describe { image: named, source })?;
        described.push(Resolved { graph: Arc::new(graph), ..image });
    }
    drop(reading);
    let held: Vec<Held> = described.iter().map(|image| held(image, from)).collect();
    let header = pack::header(&held, mtime)?;
    drop(held);
    check_space(&header, output)?;
    let path = output.to_owned();
    let own = header.clone();
    let file =
        tokio::task::spawn_blocking(move || InPlace::open(&path, own)).await.map_err(std::io::Error::other)??;
    let fetched = fill(engine, described, &file, &output.display().to_string()).await?;
    let bytes = tokio::task::spawn_blocking(move || file.finish()).await.map_err(std::io::Error::other)??;
    Ok(Bundled { header, bytes, fetched })
}

/// The image as it would be found in a store.
pub fn held(image: &Resolved, from: &DefaultRegistry) -> Held {
    let source = from.qualify(&image.line.reference).ok().map(|reference| reference.to_string().into());
    let graph = Graph::clone(&image.graph);
    let pinned = image.line.reference.digest.is_some();
    Held { name: image.name.clone(), graph, group: image.line.group.clone(), source, pinned }
}

fn check_space(header: &Header, output: &Path) -> Result<(), BundlingError> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let free = crate::fs::free_space(folder)?;
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let partial = output.with_file_name(format!(".{name}.partial"));
    let there = {
        use std::os::unix::fs::MetadataExt as _;
        // The file is as long as the bundle from the start; what counts is what the disk has given to it.
        fs_err::metadata(&partial).map_or(0, |metadata| metadata.blocks() * 512)
    };
    let needed = header.tar_size(None).saturating_sub(there);
    if needed <= free {
        return Ok(());
    }
    Err(BundlingError::Full { place: folder.display().to_string(), needed, free })
}

/// Copies every image into its place; returns the bytes that were fetched.
async fn fill(engine: &Engine, images: Vec<Resolved>, file: &InPlace, label: &str) -> Result<u64, BundlingError> {
    let header = file.header();
    let bytes = header.blobs().iter().map(|blob| blob.size).sum();
    engine.observer().on(&Event::Step { name: "bundle", images: images.len(), bytes });
    let done = Done::default();
    let (mut fetched, mut failed) = (0, Vec::new());
    let mut running = futures_util::stream::iter(images)
        .map(|image| async {
            let sink: Arc<dyn Sink> = Arc::new(BundleSink::new(file, label, &image.name.repository, &done));
            let result = engine.copy(image.source.clone(), sink, image.graph.clone(), &[]).await;
            (image, result)
        })
        .buffer_unordered(engine.limits().images);
    while let Some((image, result)) = running.next().await {
        let name = image.name.to_string();
        match result {
            Ok(copied) => {
                let (digest, bytes) = (image.graph.root.descriptor.digest, copied.bytes(Placed::Written));
                fetched += bytes;
                engine.observer().on(&Event::ImageDone { name: &name, digest: &digest, unchanged: bytes == 0, bytes });
            }
            Err(error) => {
                let error = ImageError::Copy(error);
                engine.observer().on(&Event::ImageFailed { name: &name, cause: &error });
                failed.push(Failed { line: image.line, error });
            }
        }
    }
    drop(running);
    let missing: Vec<Digest> = {
        let done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        header.blobs().iter().map(|blob| blob.digest).filter(|digest| !done.contains(digest)).collect()
    };
    match (failed.is_empty(), missing.first()) {
        (true, None) => Ok(fetched),
        (true, Some(digest)) => Err(BundleError::Unfinished(*digest).into()),
        (false, _) => Err(BundlingError::Images(failed)),
    }
}
