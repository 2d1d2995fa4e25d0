//! Copies the planned images: many at a time, each completely or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image_syncer::platforms::PlatformFilter;
use super::{Task, familiar};
use hod_engine::copy::{CopyError, Engine};
use hod_engine::endpoint::Source;
use hod_engine::observe::Event;
use hod_image::batch::{self, OnFailure, Transfer};
use hod_image::copy_image::{CopiedImage, CopyImageError, Format, MultiArch, prepare, transfer};
use hod_image::forced::forced;
use hod_image::index_policy::FormError;
use hod_image::open::{OpenError, OpenSink, OpenSource};
use hod_oci::{Digest, Graph, MANIFEST_LIMIT};
use hod_transport::{DirTree, Location, TransportError};

/// How images are copied.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// Which part of images with several platforms.
    pub multi_arch: MultiArch,
    /// The format that manifests are to have.
    pub format: Option<Format>,
    /// What happens to the others where one fails.
    pub on_failure: OnFailure,
    /// The folder of the image directories, where images go to such.
    pub tree: Option<DirTree>,
    /// Which platforms are left of each image.
    pub filter: PlatformFilter,
    /// True if images are written that are there already.
    pub force: bool,
    /// How often those that failed are tried once more, when all others are done.
    pub passes: usize,
}

/// An image that is at its destination now.
#[derive(Debug)]
pub struct SyncedImage {
    /// The requested value.
    pub task: Task,
    /// What became of it.
    pub image: CopiedImage,
}

/// Why an image is not at its destination.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// One of its ends.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Copying it.
    #[error(transparent)]
    Image(#[from] CopyImageError),
    /// Learning its platforms.
    #[error(transparent)]
    Platforms(#[from] CopyError),
    /// Taking platforms out of it.
    #[error("cannot exclude platforms")]
    Form(#[from] FormError),
    /// Its image directory.
    #[error(transparent)]
    Directory(#[from] TransportError),
    /// Another image has its image directory.
    #[error("{path} contains another image, {found}, instead of {expected}: remove it, or choose another directory")]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// The digest of what is there.
        found: Box<Digest>,
        /// The digest of what should be.
        expected: Box<Digest>,
    },
    /// The destination names the image by a digest that is not its own.
    #[error(
        "the destination names {named}, but the copied image would be {digest}: an index keeps its digest with --all"
    )]
    Digest {
        /// Its name.
        named: Box<Digest>,
        /// What it is.
        digest: Box<Digest>,
    },
    /// A thread died, which is a defect of hod.
    #[error("a thread of hod ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct SyncReceipt {
    /// The images that are at their destinations, in the order of the plan.
    pub images: Vec<SyncedImage>,
    /// Those that are not.
    pub failed: Vec<(Task, SyncError)>,
    /// Those that have none of the platforms that are wanted.
    pub left_out: Vec<Task>,
    /// How many were not tried, since another failed before.
    pub untried: usize,
}

/// Copies all images.
pub async fn sync(engine: &Engine, tasks: Vec<Task>, options: &SyncOptions) -> SyncReceipt {
    engine.observer().on(&Event::Step { name: "sync", images: tasks.len(), bytes: 0 });
    let total = tasks.len();
    let mut receipt = SyncReceipt::default();
    let mut waiting: Vec<(usize, Task)> = tasks.into_iter().enumerate().collect();
    let mut done: Vec<(usize, SyncedImage)> = Vec::new();
    for pass in 0..=options.passes {
        let failed = pass_over(engine, waiting, options, (&mut done, &mut receipt.left_out)).await;
        if pass == options.passes || failed.is_empty() || options.on_failure == OnFailure::Stop {
            receipt.failed = failed.into_iter().map(|(_, task, error)| (task, error)).collect();
            break;
        }
        waiting = failed.into_iter().map(|(position, task, _)| (position, task)).collect();
    }
    done.sort_by_key(|(position, _)| *position);
    receipt.images = done.into_iter().map(|(_, synced)| synced).collect();
    let tried = receipt.images.len() + receipt.failed.len() + receipt.left_out.len();
    receipt.untried = total.saturating_sub(tried);
    receipt
}

/// Tries each task once; returns those that failed.
async fn pass_over(
    engine: &Engine,
    tasks: Vec<(usize, Task)>,
    options: &SyncOptions,
    (done, left_out): (&mut Vec<(usize, SyncedImage)>, &mut Vec<Task>),
) -> Vec<(usize, Task, SyncError)> {
    let name = |(_, task): &(usize, Task)| familiar(&task.from.location);
    let passed = batch::run(engine, tasks, options.on_failure, name, |image| async move {
        let result = async {
            let (_, task) = &image;
            let image = one(engine, task, options).await?;
            if image.is_none() {
                let text = format!("{} has none of the requested platforms: skipped", familiar(&task.from.location));
                engine.observer().on(&Event::Notice(&text));
            }
            let transfer = image.as_ref().map(|image| Transfer::new(image.digest, &image.copied, &image.foreign));
            Ok((image, transfer))
        }
        .await;
        (image, result)
    })
    .await;
    for ((position, task), image) in passed.done {
        match image {
            Some(image) => done.push((position, SyncedImage { task, image })),
            None => left_out.push(task),
        }
    }
    passed.failed.into_iter().map(|((position, task), error)| (position, task, error)).collect()
}

/// Copies one image; `None` where it has no platform that is wanted.
async fn one(engine: &Engine, task: &Task, options: &SyncOptions) -> Result<Option<CopiedImage>, SyncError> {
    let from = task.from.clone();
    let source: OpenSource = blocking(move || Ok(from.places.source(&from.location)?)).await?;
    let mut prepared = prepare(engine, &source, &options.multi_arch, &options.format.into()).await?;
    let filtered = filtered(engine, &*prepared.source, prepared.graph, &options.filter).await?;
    let Some(graph) = filtered else { return Ok(None) };
    prepared.graph = graph;
    let digest = prepared.graph.root.descriptor.digest;
    let (task, tree) = (task.clone(), options.tree.clone());
    // Nothing is made for an image that cannot go there.
    let mut to = blocking(move || open(&task, tree, digest)).await?;
    if options.force {
        to.sink = forced(to.sink);
    }
    Ok(Some(transfer(engine, &source, &to, prepared).await?))
}

async fn filtered(
    engine: &Engine,
    source: &dyn Source,
    graph: Graph,
    filter: &PlatformFilter,
) -> Result<Option<Graph>, SyncError> {
    if filter.is_empty() {
        return Ok(Some(graph));
    }
    let graph = engine.describe(source, graph).await?;
    Ok(filter.apply(&graph)?)
}

/// Opens the destination of an image, where that image may go there.
fn open(task: &Task, tree: Option<DirTree>, digest: Digest) -> Result<OpenSink, SyncError> {
    let location = &task.to.location;
    match location {
        Location::Dir(path) => {
            vacant(path, digest)?;
            if let Some(tree) = tree {
                let signatures = task.to.places.takes_signatures();
                return Ok(OpenSink { sink: Arc::new(tree.sink(path)?), tags: Vec::new(), signatures, signing: None });
            }
        }
        Location::Docker(reference) => {
            if let Some(named) = reference.digest.filter(|named| *named != digest) {
                return Err(SyncError::Digest { named: Box::new(named), digest: Box::new(digest) });
            }
        }
        _ => {}
    }
    Ok(task.to.places.sink(location)?)
}

/// Refuses an image directory with another image; one with the same, or the beginning of one, is taken up again.
fn vacant(path: &Path, expected: Digest) -> Result<(), SyncError> {
    match hod_io::fs::read_within(&path.join("manifest.json"), MANIFEST_LIMIT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(TransportError::from(error).into()),
        Ok(bytes) => {
            let found = Digest::of(expected.algorithm(), &bytes);
            if found == expected {
                return Ok(());
            }
            Err(SyncError::Occupied { path: path.to_owned(), found: Box::new(found), expected: Box::new(expected) })
        }
    }
}

/// Runs work that blocks on a thread for such work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SyncError> + Send + 'static,
) -> Result<T, SyncError> {
    tokio::task::spawn_blocking(work).await.map_err(SyncError::Thread)?
}
