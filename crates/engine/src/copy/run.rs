//! Copying one image: blobs, then child manifests, then the root with its tags.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use tokio::task::JoinSet;

use super::flight::Flight;
use super::{CopyError, Engine, Side};
use crate::endpoint::{EndpointError, Fault, Placement, Sink, Source, Verified};
use crate::observe::Event;
use hod_oci::{Descriptor, Graph, Node, Tag};

/// What copying an image took.
#[derive(Debug, Clone, Default)]
pub struct CopySummary {
    /// Whether everything was there and the tags pointed to it.
    pub unchanged: bool,
    /// How many contents came to be there in which way, and their bytes.
    pub placed: BTreeMap<Placement, (usize, u64)>,
}

impl CopySummary {
    /// Adds one content, and how it came to be there.
    pub fn add(&mut self, content: &Descriptor, placed: Placement) {
        let (count, bytes) = self.placed.entry(placed).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(content.size);
    }

    /// Adds what copying something else took.
    pub fn add_all(&mut self, other: &Self) {
        self.unchanged &= other.unchanged;
        for (placed, (count, bytes)) in &other.placed {
            let sum = self.placed.entry(*placed).or_default();
            *sum = (sum.0 + count, sum.1.saturating_add(*bytes));
        }
    }

    /// Bytes of contents that came in this way.
    pub fn bytes(&self, placed: Placement) -> u64 {
        self.placed.get(&placed).map_or(0, |(_, bytes)| *bytes)
    }
}

/// Whether content is sent although it is said to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resend {
    No,
    Yes,
}

impl Engine {
    /// Copies a graph to a sink and points the tags to its root.
    ///
    /// Nothing of the image is visible under a tag before all of it is there. When this fails or
    /// is dropped, what has been transferred so far is kept as far as the sink keeps it.
    pub async fn copy(
        &self,
        source: Arc<dyn Source>,
        sink: Arc<dyn Sink>,
        graph: Arc<Graph>,
        tags: &[Tag],
    ) -> Result<CopySummary, CopyError> {
        if self.has(&*sink, &graph, tags).await? {
            for blob in graph.blobs() {
                self.observer.on(&Event::Settled { content: blob, placed: Placement::AlreadyThere });
            }
            return Ok(CopySummary { unchanged: true, ..CopySummary::default() });
        }
        let mut copied = self.blobs(&source, &sink, &graph, Resend::No).await?;
        match self.manifests(&*sink, &graph, tags, Resend::No, &mut copied).await {
            // A registry that has said that it has a blob, or has taken it over, may lack it all the same.
            Err(error) if sink.place().is_remote() && lacks_blob(&error, &graph) => {
                copied = self.blobs(&source, &sink, &graph, Resend::Yes).await?;
                self.manifests(&*sink, &graph, tags, Resend::Yes, &mut copied).await?;
            }
            // Registries have been seen to miss a manifest while another image that has it, too, is being written.
            Err(error) if error.fault() == Some(Fault::Incomplete) && graph.manifests().len() > 1 => {
                self.manifests(&*sink, &graph, tags, Resend::Yes, &mut copied).await?;
            }
            result => result?,
        }
        Ok(copied)
    }

    /// Whether all of the image is there. What an index names is asked of registries side by side, once they have the
    /// index itself: an index of many platforms costs no more round trips than one of two.
    async fn is_published(&self, sink: &dyn Sink, graph: &Graph, tags: &[Tag]) -> Result<bool, EndpointError> {
        let what = format!("asking {}", sink.place());
        let manifests = graph.manifests();
        let root = if sink.place().is_remote() { &graph.without_children() } else { graph };
        {
            // Images with the most to ask come first, or they would be what is waited for in the end.
            let _permit = self.lookup(sink, manifests.len()).await;
            if !self.retry.run(&what, sink.place(), || sink.published(root, tags)).await? {
                return Ok(false);
            }
        }
        if !sink.place().is_remote() {
            return Ok(true);
        }
        let children = manifests.iter().rev().skip(1).map(|child| async {
            let _permit = self.lookup(sink, manifests.len()).await;
            self.retry.run(&what, sink.place(), || sink.contains(&child.descriptor)).await
        });
        children.collect::<FuturesUnordered<_>>().try_all(std::future::ready).await
    }

    async fn blobs(
        &self,
        source: &Arc<dyn Source>,
        sink: &Arc<dyn Sink>,
        graph: &Arc<Graph>,
        resend: Resend,
    ) -> Result<CopySummary, CopyError> {
        let mut copied = CopySummary::default();
        let mut tasks: JoinSet<Result<_, CopyError>> = JoinSet::new();
        for blob in graph.blobs() {
            let (engine, source, sink) = (self.clone(), source.clone(), sink.clone());
            let (graph, blob) = (graph.clone(), blob.clone());
            tasks.spawn(async move {
                let placed = engine.blob(&source, &*sink, Some(&graph), &blob, resend).await?;
                engine.observer.on(&Event::Settled { content: &blob, placed });
                Ok((blob, placed))
            });
        }
        // One blob that fails fails the image, and not the others: what they bring is there the next time, and
        // other images may be waiting for it.
        let mut failure = None;
        while let Some(done) = tasks.join_next().await {
            match done.map_err(CopyError::Task).flatten() {
                Ok((blob, placed)) => copied.add(&blob, placed),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(copied), Err)
    }

    /// Whether a sink has all of an image. A sink hears of an image by this, and of what is in it afterwards.
    pub async fn has(&self, sink: &dyn Sink, graph: &Graph, tags: &[Tag]) -> Result<bool, CopyError> {
        let refused = |source| CopyError::Publish { place: Box::new(sink.place().clone()), source };
        self.is_published(sink, graph, tags).await.map_err(refused)
    }

    /// Brings one blob to a sink, ahead of the images that will need it.
    pub async fn place(
        &self,
        source: &Arc<dyn Source>,
        sink: &dyn Sink,
        blob: &Descriptor,
    ) -> Result<Placement, CopyError> {
        let placed = self.blob(source, sink, None, blob, Resend::No).await?;
        self.observer.on(&Event::Settled { content: blob, placed });
        Ok(placed)
    }

    /// Brings one blob to the sink in the cheapest way: there, next door, or from the source.
    async fn blob(
        &self,
        source: &Arc<dyn Source>,
        sink: &dyn Sink,
        graph: Option<&Graph>,
        blob: &Descriptor,
        resend: Resend,
    ) -> Result<Placement, CopyError> {
        let place = sink.place();
        let failed = |error| CopyError::content(blob, Side::Destination, place, error);
        let since = Instant::now();
        let flight = self.flights.board(place.domain(), &blob.digest).await;
        // A local sink has to hear of everything that its image needs; asking it costs nothing.
        if resend == Resend::No && place.is_remote() && flight.is_held_by(place.repository()) {
            return Ok(Placement::AlreadyThere);
        }
        // In which repository it is matters where one repository is asked to take it from another.
        let repository = place.repository().filter(|_| place.is_remote());
        if resend == Resend::No
            && let Some(placed) = self.without_bytes(sink, blob, &flight).await.map_err(failed)?
        {
            flight.landed(repository);
            return Ok(placed);
        }
        let _permit = self.budget.acquire(blob.size).await;
        let placed = match graph.and_then(|graph| graph.config(&blob.digest)) {
            Some(bytes) => self.small(sink, blob, &bytes).await.map_err(failed)?,
            None => match self.linked(&**source, sink, blob).await? {
                Some(placed) => placed,
                None => match self.failed.find(source.place(), blob, since) {
                    Some(error) => return Err(CopyError::content(blob, Side::Source, source.place(), error)),
                    None => self.transfer(source, sink, blob).await?,
                },
            },
        };
        flight.landed(repository);
        Ok(placed)
    }

    /// Lets the sink take the source's own file, where both are at hand.
    async fn linked(
        &self,
        source: &dyn Source,
        sink: &dyn Sink,
        blob: &Descriptor,
    ) -> Result<Option<Placement>, CopyError> {
        let (from, to) = (source.place(), sink.place());
        if from.is_remote() || to.is_remote() {
            return Ok(None);
        }
        let file = source.file(blob).await.map_err(|error| CopyError::content(blob, Side::Source, from, error))?;
        let Some(file) = file else { return Ok(None) };
        sink.link(blob, file).await.map_err(|error| match error.fault() {
            // What the sink has hashed is the source's file.
            Fault::Corrupt => CopyError::content(blob, Side::Source, from, error),
            _ => CopyError::content(blob, Side::Destination, to, error),
        })
    }

    /// Whether the sink has the blob, or can take it from another repository of its place.
    async fn without_bytes(
        &self,
        sink: &dyn Sink,
        blob: &Descriptor,
        flight: &Flight,
    ) -> Result<Option<Placement>, EndpointError> {
        let _permit = self.lookup(sink, 0).await;
        let what = format!("asking {} for {}", sink.place(), blob.digest);
        self.retry
            .run(&what, sink.place(), || async {
                // Where a sibling is known to have it, asking to mount is cheaper than asking twice.
                if !flight.is_there() && sink.contains(blob).await? {
                    return Ok(Some(Placement::AlreadyThere));
                }
                sink.adopt(blob, flight.holder()).await
            })
            .await
    }

    async fn manifests(
        &self,
        sink: &dyn Sink,
        graph: &Graph,
        tags: &[Tag],
        resend: Resend,
        copied: &mut CopySummary,
    ) -> Result<(), CopyError> {
        let _permit = self.lookup(sink, 0).await;
        let manifests = graph.manifests();
        let Some((root, children)) = manifests.split_last() else { return Ok(()) };
        for child in children {
            let placed = self
                .child_manifest(sink, child, resend)
                .await
                .map_err(|error| CopyError::content(&child.descriptor, Side::Destination, sink.place(), error))?;
            copied.add(&child.descriptor, placed);
        }
        let what = format!("publishing in {}", sink.place());
        let publish = || sink.publish(&root.descriptor, root.bytes.clone(), tags);
        let published = self.retry.run(&what, sink.place(), publish).await;
        published.map_err(|source| CopyError::Publish { place: Box::new(sink.place().clone()), source })?;
        copied.add(&root.descriptor, Placement::Written);
        Ok(())
    }

    /// Puts a manifest below the root.
    ///
    /// A registry is not asked for it: sending it takes no longer, and a registry may know the digest of one that an
    /// interrupted push never completed. What another image has sent is not sent again.
    async fn child_manifest(&self, sink: &dyn Sink, child: &Node, resend: Resend) -> Result<Placement, EndpointError> {
        let place = sink.place();
        let flight = self.flights.board(place.domain(), &child.descriptor.digest).await;
        let there = if place.is_remote() {
            resend == Resend::No && flight.is_held_by(place.repository())
        } else {
            sink.contains(&child.descriptor).await?
        };
        if there {
            return Ok(Placement::AlreadyThere);
        }
        let placed = self.small(sink, &child.descriptor, &child.bytes).await?;
        flight.landed(place.repository().filter(|_| place.is_remote()));
        Ok(placed)
    }

    /// Puts content whose bytes are at hand.
    async fn small(
        &self,
        sink: &dyn Sink,
        content: &Descriptor,
        bytes: &bytes::Bytes,
    ) -> Result<Placement, EndpointError> {
        let what = format!("{} to {}", content.digest, sink.place());
        let put = || sink.put(content, Verified::bytes(content, bytes.clone()));
        self.retry.run(&what, sink.place(), put).await
    }

    /// A place among the questions to registries; local sinks need none, since they queue by themselves.
    /// Of those who wait, the one with the most questions goes first.
    async fn lookup(&self, sink: &dyn Sink, questions: usize) -> Option<super::budget::Permit> {
        if sink.place().is_remote() { Some(self.lookups.acquire(questions as u64).await) } else { None }
    }
}

/// Returns true if a place has refused the manifest of an image, and not of an index, because it lacks what that names.
fn lacks_blob(error: &CopyError, graph: &Graph) -> bool {
    let refused = match error {
        CopyError::Publish { .. } => Some(&graph.root.descriptor),
        CopyError::Content { digest, .. } => {
            let manifests = graph.manifests();
            manifests.into_iter().map(|node| &node.descriptor).find(|descriptor| descriptor.digest == *digest)
        }
        CopyError::Resolve { .. } | CopyError::Manifest { .. } | CopyError::Platform(_) | CopyError::Task(_) => None,
    };
    error.fault() == Some(Fault::Incomplete) && refused.is_some_and(|refused| !refused.media_type.is_index())
}
