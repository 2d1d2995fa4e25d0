//! Pushes images of a store or bundle to a registry: blobs first, then manifests, tags last.

mod outbound;

use std::collections::HashSet;
use std::sync::Arc;

pub use outbound::{OutboundImage, PushError, PushOptions, PushedImage};

use super::push_referrers::{announce, is_index, push_index, spare_index};
use hod_engine::copy::Engine;
use hod_engine::observe::Event;
use hod_image::attached::belongs_to_another;
use hod_image::batch::{self, OnFailure, Transfer};
use hod_image::contents::StoredImage;
use hod_image::index_policy::{FormError, IndexPolicy, only_child, rewritten};
use hod_oci::{Digest, Graph, RepositoryName, Tag, is_companion_tag};
use hod_registry::Registries;

/// What a push did.
#[derive(Debug, Default)]
pub struct PushReceipt {
    /// The images that are there now.
    pub images: Vec<PushedImage>,
    /// Those that are not, by name.
    pub failed: Vec<(String, PushError)>,
    /// True if it ended before all images were tried.
    pub stopped_early: bool,
}

/// Pushes images, many at a time. One that fails does not keep the others from being pushed.
pub async fn push(
    engine: &Engine,
    registries: &Registries,
    images: Vec<OutboundImage>,
    options: &PushOptions,
) -> PushReceipt {
    let bytes = unique_bytes(&images);
    engine.observer().on(&Event::Step {
        name: "push",
        images: images.iter().filter(|image| !belongs_to_another(&image.held)).count(),
        bytes,
    });
    let mut receipt = PushReceipt::default();
    let (indexes, images): (Vec<_>, Vec<_>) = images.into_iter().enumerate().partition(|(_, image)| is_index(image));
    let listed = &listed(&indexes);
    let name = |(_, label): &(usize, String)| label.clone();
    let pushed = batch::run(engine, images, options.on_failure, name, |(position, image)| async move {
        let label = image.held.label();
        let result = push_one(engine, registries, image, (options, listed)).await;
        ((position, label), result.map(|(pushed, transfer)| (pushed, Some(transfer))))
    })
    .await;
    receipt.stopped_early = pushed.stopped_early;
    let mut done: Vec<_> = pushed.done.into_iter().map(|((position, _), pushed)| (position, pushed)).collect();
    let mut failed = pushed.failed;
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
                failed.push(((position, label), error));
                receipt.stopped_early = options.on_failure == OnFailure::Stop;
            }
        }
    }
    done.sort_by_key(|(position, _)| *position);
    failed.sort_by_key(|((position, _), _)| *position);
    receipt.images = done.into_iter().map(|(_, pushed)| pushed).collect();
    receipt.failed = failed.into_iter().map(|((_, label), error)| (label, error)).collect();
    receipt
}

/// Referrers by repository.
type Listed = HashSet<(RepositoryName, Digest)>;

/// The referrers that the lists among the images name: these lists bring them to the registry's.
fn listed(indexes: &[(usize, OutboundImage)]) -> Listed {
    let named = |(_, index): &(usize, OutboundImage)| {
        let name = index.held.name.repository.clone();
        let children = index.held.graph.root.children.iter();
        children.map(move |child| (name.clone(), child.descriptor.digest)).collect::<Vec<_>>()
    };
    indexes.iter().flat_map(named).collect()
}

/// Bytes of the different blobs, which are what moves at the most.
fn unique_bytes(images: &[OutboundImage]) -> u64 {
    let mut seen = HashSet::new();
    let blobs = images.iter().flat_map(|image| image.held.graph.blobs());
    blobs.filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size).sum()
}

async fn push_one(
    engine: &Engine,
    registries: &Registries,
    image: OutboundImage,
    (options, listed): (&PushOptions, &Listed),
) -> Result<(PushedImage, Transfer), PushError> {
    let OutboundImage { held, source } = image;
    let repository = options.destination.repository(&held.name.repository)?;
    let there = Arc::new(registries.repository(&options.destination.host, &repository));
    spare_index(engine, &there, &held).await?;
    let sink = options.sink(&there);
    let tags: Vec<Tag> = held.name.tag.iter().cloned().collect();
    let copy = |graph: Arc<Graph>| engine.copy(source.clone(), sink.clone(), graph, &tags);
    let label = held.label();
    let StoredImage { name, graph, pinned, .. } = held;
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
    let transfer = Transfer::new(new, &copied, graph.foreign());
    let changed_to = (new != digest).then_some(new);
    let destination = destination_name(options, &repository, name.tag.as_ref(), &new);
    let is_companion = name.tag.as_ref().is_some_and(is_companion_tag);
    Ok((PushedImage { label, destination, digest, changed_to, copied, is_companion }, transfer))
}

fn destination_name(options: &PushOptions, name: &RepositoryName, tag: Option<&Tag>, digest: &Digest) -> String {
    match tag {
        Some(tag) => format!("{}/{name}:{tag}", options.destination.host),
        None => format!("{}/{name}@{digest}", options.destination.host),
    }
}
