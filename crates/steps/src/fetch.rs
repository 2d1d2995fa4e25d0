//! Fetches missing content into a store, and publishes each image when it is complete.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::incoming;
use super::room::{RoomError, require_room};
use hod_engine::copy::{CopyError, CopySummary, Engine};
use hod_engine::endpoint::{Placement, Sink};
use hod_engine::observe::Event;
use hod_image::batch::{self, OnFailure, Transfer};
use hod_image::resolve::{Failed, ImageError, Resolution, ResolvedImage};
use hod_oci::{Digest, Graph, Tag};
use hod_store::{Store, StoreError};
use hod_transport::Location;

/// The result of a run.
#[derive(Debug, Default)]
pub struct Receipt {
    /// The images that are done, in the order of the list.
    pub images: Vec<ImageReceipt>,
    /// Those that are not.
    pub failed: Vec<Failed>,
    /// Contents by how they came to be there, and their bytes.
    pub placed: BTreeMap<Placement, (usize, u64)>,
    /// Bytes of all images, each counted as if it were alone.
    pub bytes_of_images: u64,
    /// Bytes of the different contents among them.
    pub bytes_unique: u64,
    /// True if the run was ended before all images were tried.
    pub stopped_early: bool,
}

/// The outcome of one image.
#[derive(Debug)]
pub struct ImageReceipt {
    /// The image.
    pub image: ResolvedImage,
    /// True if nothing had to be done.
    pub unchanged: bool,
}

impl Receipt {
    /// Bytes that were moved.
    pub fn bytes_written(&self) -> u64 {
        self.placed.get(&Placement::Written).map_or(0, |(_, bytes)| *bytes)
    }
}

/// Why nothing could be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It would not fit.
    #[error(transparent)]
    Room(#[from] RoomError),
}

/// The contents of some images: sizes by digest, and what of it is missing in a store.
#[derive(Debug, Default)]
pub(crate) struct Need {
    /// Bytes of all images, each counted as if it were alone.
    pub bytes_of_images: u64,
    /// Bytes of the different contents.
    pub bytes_unique: u64,
    /// Bytes of those that the store lacks.
    pub bytes_missing: u64,
    /// How many of the contents it lacks.
    pub missing: usize,
    /// Bytes that it has no room for yet: of what is missing, neither what an interrupted run has left, nor blobs of
    /// places on the same filesystem, which get a second name.
    pub bytes_to_write: u64,
}

impl Need {
    /// Adds up what some images need that a store does not have.
    pub(crate) fn of(images: &[ResolvedImage], store: &Store) -> Result<Self, StoreError> {
        let mut sizes: HashMap<Digest, u64> = HashMap::new();
        let mut linked: HashSet<Digest> = HashSet::new();
        let mut need = Self::default();
        for image in images {
            if is_linked(image, store) {
                linked.extend(image.graph.blobs().iter().map(|blob| blob.digest));
            }
            for graph in std::iter::once(&image.graph).chain(image.attached.iter().map(|attached| &attached.graph)) {
                need.bytes_of_images = need.bytes_of_images.saturating_add(graph.size());
                let blobs = graph.blobs().into_iter().map(|blob| (blob.digest, blob.size));
                let manifests = graph.manifests();
                sizes.extend(blobs.chain(manifests.iter().map(|node| (node.descriptor.digest, node.descriptor.size))));
            }
        }
        for (digest, size) in sizes {
            need.bytes_unique = need.bytes_unique.saturating_add(size);
            if !store.has(&digest, size)? {
                need.bytes_missing = need.bytes_missing.saturating_add(size);
                need.missing += 1;
                if !linked.contains(&digest) {
                    let left = size - store.kept(&digest, size)?;
                    need.bytes_to_write = need.bytes_to_write.saturating_add(left);
                }
            }
        }
        Ok(need)
    }
}

/// Whether the blobs of an image are files that the store takes by a link. Where one cannot be had after all the disk
/// may be too small for a copy, which then says so.
fn is_linked(image: &ResolvedImage, store: &Store) -> bool {
    match image.place.as_deref() {
        Some(Location::Dir(path) | Location::Oci(path, _)) if image.converted_from.is_none() => {
            hod_io::fs::same_filesystem(path, store.root()).unwrap_or(false)
        }
        _ => false,
    }
}

/// Fetches everything that was resolved into the store.
///
/// Images come to be visible one by one, as each is whole. One that fails does not keep the others
/// from being fetched, unless `on_failure` says so.
pub async fn fetch(
    engine: &Engine,
    store: &Store,
    resolution: Resolution,
    on_failure: OnFailure,
) -> Result<Receipt, FetchError> {
    let Resolution { images, failed } = resolution;
    let need = Need::of(&images, store)?;
    require_room("the images need", store.root(), need.bytes_to_write)?;
    let own = images.iter().filter_map(|image| Some((&image.name.repository, image.name.tag.as_ref()?)));
    let attached = images.iter().flat_map(|image| image.attached.iter().map(|it| (&image.name.repository, &it.tag)));
    store.check_spelling(own.chain(attached))?;
    engine.observer().on(&Event::Step { name: "fetch", images: images.len(), bytes: need.bytes_missing });
    let mut receipt = Receipt {
        failed,
        bytes_of_images: need.bytes_of_images,
        bytes_unique: need.bytes_unique,
        ..Receipt::default()
    };
    let fetched = batch::run(
        engine,
        images,
        on_failure,
        |image: &ResolvedImage| image.name.to_string(),
        |image| async move {
            let result = async {
                let copied = fetch_one(engine, store, &image).await?;
                let transfer = Transfer::new(image.graph.root.descriptor.digest, &copied, image.graph.foreign());
                Ok((copied, Some(transfer)))
            }
            .await;
            (image, result)
        },
    )
    .await;
    receipt.stopped_early = fetched.stopped_early;
    let mut copied = CopySummary::default();
    for (image, taken) in fetched.done {
        copied.add_all(&taken);
        receipt.images.push(ImageReceipt { image, unchanged: taken.unchanged });
    }
    receipt.placed = copied.placed;
    receipt.failed.extend(fetched.failed.into_iter().map(Failed::from));
    receipt.failed.sort_by(|a, b| a.line.origin.cmp(&b.line.origin));
    let finishing = store.clone();
    // What failed images left is kept for the next run.
    let finished = tokio::task::spawn_blocking(move || finishing.finish()).await;
    finished.unwrap_or(Ok(()))?;
    incoming::tell_repaired(store, engine.observer())?;
    Ok(receipt)
}

/// Fetches an image: first what belongs to it, so that nobody sees it without its signatures.
async fn fetch_one(engine: &Engine, store: &Store, image: &ResolvedImage) -> Result<CopySummary, ImageError> {
    let repository = &image.name.repository;
    let copy = async |graph: Arc<Graph>, tags: &[Tag]| {
        let sink: Arc<dyn Sink> = Arc::new(store.repository(repository));
        engine.copy(image.source.clone(), sink, graph, tags).await
    };
    let mut total = CopySummary { unchanged: true, ..CopySummary::default() };
    for attached in &image.attached {
        if !attached.is_index {
            total.add_all(&copy(attached.graph.clone(), std::slice::from_ref(&attached.tag)).await?);
            continue;
        }
        for child in &attached.graph.root.children {
            total.add_all(&copy(Arc::new(Graph { root: child.clone() }), &[]).await?);
        }
        let (store, name, tag) = (store.clone(), repository.clone(), attached.tag.clone());
        let bytes = attached.graph.root.bytes.clone();
        let merged = tokio::task::spawn_blocking(move || store.merge_referrers(&name, &tag, &bytes)).await;
        merged.map_err(CopyError::Task)??;
    }
    let tags: Vec<Tag> = image.name.tag.clone().into_iter().collect();
    total.add_all(&copy(image.graph.clone(), &tags).await?);
    Ok(total)
}
