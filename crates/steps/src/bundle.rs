//! Fetches resolved images straight into a bundle, without a store: every byte is written once.
//!
//! The result has the same bytes as fetching into a store and packing that.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::pack::{self, PackError};
use super::room::{RoomError, require_room};
use hod_bundle::{BundleError, BundleSink, Done, Header, InPlace};
use hod_engine::copy::{CopyError, CopySummary, Engine};
use hod_engine::endpoint::{Placement, Sink};
use hod_engine::observe::Event;
use hod_image::attached::Attachment;
use hod_image::batch::{self, OnFailure, Transfer};
use hod_image::contents::ContentsError;
use hod_image::gathered::{TagConflict, in_store};
use hod_image::resolve::{Failed, ImageError, ResolvedImage};
use hod_oci::{Digest, Graph, Node, RegistryPath};

/// What writing a bundle in one pass did.
#[derive(Debug)]
pub struct BundleReceipt {
    /// The header of the bundle.
    pub header: Arc<Header>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Bytes that were fetched; the others were there from an earlier run.
    pub fetched: u64,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundlingError {
    /// The selected images do not make a valid bundle.
    #[error(transparent)]
    Header(#[from] PackError),
    /// An image cannot be described.
    #[error("cannot read the platform of {image}")]
    Describe {
        /// The image.
        image: String,
        /// The reason.
        #[source]
        source: CopyError,
    },
    /// What was found makes no sense.
    #[error(transparent)]
    Contents(#[from] ContentsError<TagConflict>),
    /// The file.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It would not fit.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Images that could not be fetched. What was fetched is kept for the next run.
    #[error("{} could not be fetched", hod_engine::count(.0.len(), "image"))]
    Images(Vec<Failed>),
}

/// Fetches images into a bundle at `output`, a `.tar`.
///
/// A bundle is whole or not there: one image that fails fails the bundle, after the others have been tried, and the
/// next run with the same list goes on from there. `mtime` is in seconds since 1970.
pub async fn bundle(
    engine: &Engine,
    images: Vec<ResolvedImage>,
    from: &RegistryPath,
    output: &Path,
    mtime: u64,
) -> Result<BundleReceipt, BundlingError> {
    let mut described = Vec::with_capacity(images.len());
    let mut reading =
        futures_util::stream::iter(images).map(|image| describe(engine, image)).buffered(engine.limits().lookups);
    while let Some(image) = reading.next().await {
        described.push(image?);
    }
    drop(reading);
    let held = in_store(&described, from)?;
    let header = Arc::new(pack::header(&held, mtime)?);
    let indexes = pack::made_indexes(&held).into_values().cloned().collect();
    drop(held);
    check_space(&header, output)?;
    let path = output.to_owned();
    let own = header.clone();
    let file =
        tokio::task::spawn_blocking(move || InPlace::open(&path, own)).await.map_err(std::io::Error::other)??;
    let label = output.display().to_string();
    let filled =
        BundleFill { engine, file: &file, label: &label, done: Done::default() }.fill(described, indexes).await;
    let fetched = filled?;
    let bytes = tokio::task::spawn_blocking(move || file.finish()).await.map_err(std::io::Error::other)??;
    Ok(BundleReceipt { header, bytes, fetched })
}

/// Learns the platforms of an image, and of what belongs to it, where manifests do not tell.
pub async fn describe(engine: &Engine, image: ResolvedImage) -> Result<ResolvedImage, BundlingError> {
    let failed = |source| BundlingError::Describe { image: image.line.reference.to_string(), source };
    let described = |graph: Arc<Graph>| engine.describe(&*image.source, Graph::clone(&graph));
    let graph = Arc::new(described(image.graph.clone()).await.map_err(failed)?);
    let mut attached = Vec::with_capacity(image.attached.len());
    for one in &image.attached {
        let graph = Arc::new(described(one.graph.clone()).await.map_err(failed)?);
        attached.push(Attachment { graph, ..one.clone() });
    }
    Ok(ResolvedImage { graph, attached, ..image })
}

fn check_space(header: &Header, output: &Path) -> Result<(), RoomError> {
    // The file is as long as the bundle from the start.
    let partial = fs_err::metadata(hod_io::fs::partial_of(output));
    let there = partial.map_or(0, |partial| hod_io::fs::bytes_on_disk(&partial));
    require_room("the bundle needs", hod_io::fs::folder_of(output), header.tar_size(None).saturating_sub(there))
}

/// A bundle that is being filled.
struct BundleFill<'a> {
    engine: &'a Engine,
    file: &'a InPlace,
    label: &'a str,
    done: Done,
}

impl BundleFill<'_> {
    /// Copies every image into its place, and the indexes of referrers; returns the bytes that were fetched.
    async fn fill(self, images: Vec<ResolvedImage>, indexes: Vec<Bytes>) -> Result<u64, BundlingError> {
        let header = self.file.header();
        let bytes = header.blobs().iter().map(|blob| blob.size).sum();
        self.engine.observer().on(&Event::Step { name: "bundle", images: images.len(), bytes });
        let (engine, this, name) = (self.engine, &self, |image: &ResolvedImage| image.name.to_string());
        let filled = batch::run(engine, images, OnFailure::KeepGoing, name, |image| async move {
            let result = async {
                let mut copied = this.image(&image).await.map_err(ImageError::Copy)?;
                let bytes = copied.bytes(Placement::Written);
                copied.unchanged = bytes == 0;
                let transfer = Transfer::new(image.graph.root.descriptor.digest, &copied, image.graph.foreign());
                Ok((bytes, Some(transfer)))
            }
            .await;
            (image, result)
        })
        .await;
        if !filled.failed.is_empty() {
            return Err(BundlingError::Images(filled.failed.into_iter().map(Failed::from).collect()));
        }
        let fetched = filled.done.iter().map(|(_, bytes)| bytes).sum();
        self.indexes(indexes).await?;
        let done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match header.blobs().iter().find(|blob| !done.contains(&blob.digest)) {
            None => Ok(fetched),
            Some(blob) => Err(BundleError::Unfinished(blob.digest).into()),
        }
    }

    /// Copies an image and what belongs to it. Indexes of referrers come later, when all are known.
    async fn image(&self, image: &ResolvedImage) -> Result<CopySummary, CopyError> {
        let copy = async |root: &Node| {
            let sink: Arc<dyn Sink> =
                Arc::new(BundleSink::new(self.file, self.label, &image.name.repository, &self.done));
            self.engine.copy(image.source.clone(), sink, Arc::new(Graph { root: root.clone() }), &[]).await
        };
        let mut total = copy(&image.graph.root).await?;
        for Attachment { graph, is_index, .. } in &image.attached {
            let roots = if *is_index { graph.root.children.as_slice() } else { std::slice::from_ref(&graph.root) };
            for root in roots {
                total.add_all(&copy(root).await?);
            }
        }
        Ok(total)
    }

    async fn indexes(&self, indexes: Vec<Bytes>) -> Result<(), BundlingError> {
        let (file, done) = (self.file.clone(), self.done.clone());
        let work = move || {
            for bytes in indexes {
                let digest = Digest::sha256(&bytes);
                file.write(&digest, &bytes)?;
                done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(digest);
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
    }
}
