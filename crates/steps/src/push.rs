//! From a store or bundle to a registry: blobs first, then manifests, tags last, each image on its own.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::push_referrers::{announce, is_index, push_index, spare_index};
use hod_engine::copy::{Copied, CopyError, Engine};
use hod_engine::endpoint::{EndpointError, Placed, Sink, Source};
use hod_engine::observe::Event;
use hod_image::contents::Held;
use hod_image::destination::Destination;
use hod_image::elsewhere;
use hod_image::forced::forced;
use hod_image::index_policy::{FormError, IndexPolicy, only_child, rewritten};
use hod_oci::{Digest, Foreign, Graph, ManifestError, NameError, RepositoryName, Tag};
use hod_registry::{Registries, Repository};

/// An image on its way to a registry.
#[derive(Clone)]
pub struct Outbound {
    /// The image.
    pub held: Held,
    /// Where its content is read.
    pub source: Arc<dyn Source>,
}

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Its name is not valid there.
    #[error("the image has no valid name at the destination")]
    Name(#[from] NameError),
    /// Copying failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The registry does not say what it knows of something that belongs to an image.
    #[error("cannot find out what the registry knows of {digest}, which belongs to an image")]
    Referrers {
        /// The signature or other referrer.
        digest: Digest,
        /// Why.
        #[source]
        source: EndpointError,
    },
    /// A list of referrers that tells nobody what it lists.
    #[error("{digest} cannot be used as a list of referrers")]
    Index {
        /// The list.
        digest: Digest,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The tag of a list of referrers stands for something else, which would lose it.
    #[error("{name} should be a list of referrers, and is {found}")]
    Foreign {
        /// The name at the registry.
        name: String,
        /// What it stands for.
        found: Foreign,
    },
    /// The other way round.
    #[error("{0} is a list of referrers, which the image would replace")]
    Listed(String),
    /// `--index full`, and it is not.
    #[error("{} of the index {} not here", hod_engine::count(*.0, "manifest"), if *.0 == 1 { "is" } else { "are" })]
    NotFull(usize),
    /// The index has no form that could be pushed instead.
    #[error("the registry cannot take the index as it is")]
    Form(#[from] FormError),
    /// The registry refuses the index, and its digest is the name that somebody will ask for.
    #[error(
        "the registry wants every child of the index, and {0} is named by its digest, which would change: push it with --index rewrite or --index child, or pull it with --all-platforms"
    )]
    Pinned(Digest),
}

/// What became of one image.
#[derive(Debug)]
pub struct Pushed {
    /// Its name in the source.
    pub label: String,
    /// Its name at the destination.
    pub destination: String,
    /// The digest it had.
    pub digest: Digest,
    /// The digest it has there, where it had to change.
    pub changed_to: Option<Digest>,
    /// What copying it took.
    pub copied: Copied,
}

/// What a push did.
#[derive(Debug, Default)]
pub struct PushReceipt {
    /// The images that are there now.
    pub images: Vec<Pushed>,
    /// Those that are not, by name.
    pub failed: Vec<(String, PushError)>,
    /// Whether it ended before all images were tried.
    pub stopped_early: bool,
}

/// How to push.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// Where to.
    pub destination: Destination,
    /// What to do with indexes that are not whole.
    pub index: IndexPolicy,
    /// Whether the first failure ends it all.
    pub fail_fast: bool,
    /// Whether what the registry says that it has is sent once more.
    pub force: bool,
}

impl PushOptions {
    /// A repository of the destination, to be written.
    pub(super) fn sink(&self, repository: &Arc<Repository>) -> Arc<dyn Sink> {
        if self.force { forced(repository.clone()) } else { repository.clone() }
    }
}

/// Pushes images, many at a time. One that fails does not keep the others from being pushed.
pub async fn push(
    engine: &Engine,
    registries: &Registries,
    images: Vec<Outbound>,
    options: &PushOptions,
) -> PushReceipt {
    let bytes = unique_bytes(&images);
    engine.observer().on(&Event::Step { name: "push", images: images.len(), bytes });
    let mut receipt = PushReceipt::default();
    let (indexes, images): (Vec<_>, Vec<_>) = images.into_iter().enumerate().partition(|(_, image)| is_index(image));
    let listed = &listed(&indexes);
    let mut running = futures_util::stream::iter(images)
        .map(|(position, image)| async move {
            let label = image.held.label();
            let foreign: Vec<_> = image.held.graph.foreign().into_iter().cloned().collect();
            let result = push_one(engine, registries, image, (options, listed)).await;
            if result.is_ok() {
                elsewhere::tell(engine.observer(), &label, &foreign);
            }
            (position, label, result)
        })
        .buffer_unordered(engine.limits().images);
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    while let Some((position, label, result)) = running.next().await {
        match result {
            Ok(pushed) => {
                let (digest, unchanged) = (pushed.changed_to.unwrap_or(pushed.digest), pushed.copied.unchanged);
                let bytes = pushed.copied.bytes(Placed::Written);
                engine.observer().on(&Event::ImageDone { name: &label, digest: &digest, unchanged, bytes });
                done.push((position, pushed));
            }
            Err(error) => {
                engine.observer().on(&Event::ImageFailed { name: &label, cause: &error });
                failed.push((position, label, error));
                if options.fail_fast {
                    receipt.stopped_early = true;
                    break;
                }
            }
        }
    }
    drop(running);
    // One after the other, since two may be merged into the same index.
    for (position, index) in indexes {
        if receipt.stopped_early {
            break;
        }
        let label = index.held.label();
        match push_index(engine, registries, index, options).await {
            Ok(pushed) => done.push((position, pushed)),
            Err(error) => {
                engine.observer().on(&Event::ImageFailed { name: &label, cause: &error });
                failed.push((position, label, error));
                receipt.stopped_early = options.fail_fast;
            }
        }
    }
    done.sort_by_key(|(position, _)| *position);
    failed.sort_by_key(|(position, ..)| *position);
    receipt.images = done.into_iter().map(|(_, pushed)| pushed).collect();
    receipt.failed = failed.into_iter().map(|(_, label, error)| (label, error)).collect();
    receipt
}

/// Referrers by repository.
type Listed = HashSet<(RepositoryName, Digest)>;

/// The referrers that the lists among the images name: these lists bring them to the registry's.
fn listed(indexes: &[(usize, Outbound)]) -> Listed {
    let named = |(_, index): &(usize, Outbound)| {
        let name = index.held.name.repository.clone();
        let children = index.held.graph.root.children.iter();
        children.map(move |child| (name.clone(), child.descriptor.digest)).collect::<Vec<_>>()
    };
    indexes.iter().flat_map(named).collect()
}

/// Bytes of the different blobs, which are what moves at the most.
fn unique_bytes(images: &[Outbound]) -> u64 {
    let mut seen = HashSet::new();
    let blobs = images.iter().flat_map(|image| image.held.graph.blobs());
    blobs.filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size).sum()
}

async fn push_one(
    engine: &Engine,
    registries: &Registries,
    image: Outbound,
    (options, listed): (&PushOptions, &Listed),
) -> Result<Pushed, PushError> {
    let Outbound { held, source } = image;
    let repository = options.destination.repository(&held.name.repository)?;
    let there = Arc::new(registries.repository(&options.destination.host, &repository));
    spare_index(engine, &there, &held).await?;
    let sink = options.sink(&there);
    let tags: Vec<Tag> = held.name.tag.iter().cloned().collect();
    let copy = |graph: Arc<Graph>| engine.copy(source.clone(), sink.clone(), graph, &tags);
    let (label, Held { name, graph, pinned, .. }) = (held.label(), held);
    let digest = graph.root.descriptor.digest;
    let missing: usize = graph.manifests().iter().map(|node| node.absent.len()).sum();
    let mut graph = Arc::new(match options.index {
        _ if missing == 0 => graph,
        IndexPolicy::Full => return Err(PushError::NotFull(missing)),
        IndexPolicy::Rewrite => rewritten(&graph)?,
        IndexPolicy::Child => only_child(&graph)?,
        IndexPolicy::Auto | IndexPolicy::Sparse => graph,
    });
    let copied = match copy(graph.clone()).await {
        Err(error) if missing > 0 && options.index == IndexPolicy::Auto && error.refuses_index() => {
            if pinned || tags.is_empty() {
                return Err(PushError::Pinned(digest));
            }
            graph = Arc::new(match only_child(&graph) {
                Err(FormError::Several(_)) => rewritten(&graph)?,
                other => other?,
            });
            copy(graph.clone()).await?
        }
        copied => copied?,
    };
    let new = graph.root.descriptor.digest;
    if graph.root.manifest.subject.is_some() && !listed.contains(&(name.repository, new)) {
        Box::pin(announce(engine, registries, &there, &graph.root, options)).await?;
    }
    Ok(Pushed {
        label,
        destination: destination_name(options, &repository, name.tag.as_ref(), &new),
        digest,
        changed_to: (new != digest).then_some(new),
        copied,
    })
}

fn destination_name(options: &PushOptions, name: &RepositoryName, tag: Option<&Tag>, digest: &Digest) -> String {
    match tag {
        Some(tag) => format!("{}/{name}:{tag}", options.destination.host),
        None => format!("{}/{name}@{digest}", options.destination.host),
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("name", &self.held.name).finish_non_exhaustive()
    }
}
