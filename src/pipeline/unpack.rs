//! From a bundle to a registry root, in one pass: blobs are checked as they are written, links follow
//! when the whole bundle has been read.
//!
//! The root may be in use. Until the last byte of the bundle has been found right nothing of it is
//! visible; afterwards all of it is.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use super::base::{Lacking, lacking};
use crate::bundle::{BlobBody, BundleError, BundleReader, Header};
use crate::endpoint::Placed;
use crate::observe::{Event, Observer, Stop};
use crate::oci::{Descriptor, Digest, MediaType, RepositoryName, Tag, is_referrers_tag};
use crate::store::{Committers, Links, Store, StoreError, TagLink};

/// Bytes moved at a time.
const CHUNK: usize = 512 * 1024;

/// What to do with tags of the root that point to something else than the bundle's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingTags {
    /// Move them.
    Overwrite,
    /// Leave them.
    Skip,
    /// Refuse the bundle.
    Refuse,
}

/// What became of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagChange {
    /// There was none of that name.
    New,
    /// It pointed to the same image.
    Same,
    /// It pointed to another, and does no longer.
    Moved,
    /// It points to another, and still does.
    Skipped,
    /// It is an index of referrers, which now has those of both.
    Merged,
}

/// What unpacking did.
#[derive(Debug)]
pub struct Unpacked {
    /// The header of the bundle.
    pub header: Arc<Header>,
    /// Every tag of the bundle.
    pub tags: Vec<(RepositoryName, Tag, Digest, TagChange)>,
    /// Blobs that were written, and their bytes.
    pub written: (usize, u64),
    /// Blobs that were there, and their bytes.
    pub there: (usize, u64),
}

/// Why a bundle could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The root.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bundle builds on content that is not there.
    #[error("the bundle builds on {} that {} does not have", super::count(lacking.len(), "content"), root.display())]
    Required {
        /// The root.
        root: PathBuf,
        /// What is missing.
        lacking: Vec<Lacking>,
    },
    /// It would not fit.
    #[error("the bundle needs {needed} more bytes at {}, where {free} are free", root.display())]
    Full {
        /// The root.
        root: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The free space cannot be known.
    #[error("cannot tell how much space is free")]
    Space(#[source] std::io::Error),
    /// Tags that point to something else, which the user wants to keep.
    #[error("{} of the bundle point to other images in {}", super::count(tags.len(), "tag"), root.display())]
    Tags {
        /// The root.
        root: PathBuf,
        /// The tags, as `name:tag`.
        tags: Vec<String>,
    },
    /// Asked to stop.
    #[error("stopped before the bundle was unpacked")]
    Stopped,
}

/// Unpacks a bundle into a root.
///
/// Before the first write it is known that everything the bundle requires is there, that it fits,
/// and that its tags are welcome. Whose bundle it is must have been checked by then
/// ([`Trust`](crate::bundle::Trust)).
pub fn unpack(
    mut reader: BundleReader<impl Read>,
    store: &Store,
    existing: ExistingTags,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<Unpacked, UnpackError> {
    let header = reader.header().clone();
    check_required(&header, store)?;
    let tags = compare_tags(&header, store)?;
    if existing == ExistingTags::Refuse {
        refuse_moves(&tags, store)?;
    }
    check_space(&header, store)?;
    let all = header.blobs().iter().map(|blob| blob.size).sum();
    observer.on(&Event::Step { name: "unpack", images: header.images().len(), bytes: all });
    let mut blobs = Blobs { store, observer, stop, buffer: vec![0; CHUNK], written: (0, 0), there: (0, 0) };
    let committers = Committers::start()?;
    while let Some(body) = reader.next_blob()? {
        blobs.take(body, &committers)?;
    }
    let header = reader.finish()?;
    committers.finish()?;
    let tags: Tags = tags
        .into_iter()
        .map(|(name, tag, digest, change)| {
            let skipped = existing == ExistingTags::Skip && change == TagChange::Moved;
            (name, tag, digest, if skipped { TagChange::Skipped } else { change })
        })
        .collect();
    // A garbage collection may have taken some of it away in the meantime.
    check_required(&header, store)?;
    let links = merge_indexes(store, wanted_links(&header, &tags))?;
    store.commit(&links)?;
    Ok(Unpacked { tags, header, written: blobs.written, there: blobs.there })
}

/// The blobs of a bundle on their way to the root.
struct Blobs<'a> {
    store: &'a Store,
    observer: &'a dyn Observer,
    stop: &'a Stop,
    buffer: Vec<u8>,
    written: (usize, u64),
    there: (usize, u64),
}

impl Blobs<'_> {
    /// Writes a blob. One that the root has is read all the same: a damaged bundle is to be known as one.
    fn take(&mut self, mut body: BlobBody<'_, impl Read>, committers: &Committers) -> Result<(), UnpackError> {
        let (digest, size) = (*body.digest(), body.size());
        let Some(mut ingest) = self.store.ingest(&digest, size)? else {
            self.read(&mut body, |_| Ok(()))?;
            self.there = (self.there.0 + 1, self.there.1 + size);
            return Ok(());
        };
        let content = Descriptor::new(MediaType::Other("".into()), digest, size);
        self.observer.on(&Event::Begun { content: &content, offset: 0 });
        // What an interrupted run has left is not compared but written again: it is at hand.
        ingest.restart()?;
        match self.read(&mut body, |bytes| ingest.write(bytes)) {
            Ok(()) => {}
            Err(UnpackError::Bundle(error)) => {
                ingest.discard()?;
                return Err(error.into());
            }
            Err(error) => return Err(error),
        }
        committers.commit(ingest)?;
        self.written = (self.written.0 + 1, self.written.1 + size);
        self.observer.on(&Event::Settled { content: &content, placed: Placed::Written });
        Ok(())
    }

    /// Reads a blob to its end, where its digest is known to be right.
    fn read(
        &mut self,
        body: &mut BlobBody<'_, impl Read>,
        mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), UnpackError> {
        loop {
            let count = body.read_checked(&mut self.buffer)?;
            if count == 0 {
                return Ok(());
            }
            take(self.buffer.get(..count).unwrap_or_default())?;
            self.observer.on(&Event::Moved { digest: body.digest(), bytes: count as u64 });
            if self.stop.is_requested() {
                return Err(UnpackError::Stopped);
            }
        }
    }
}

/// The bundle's links, without tags that stay as they are in the root.
fn wanted_links(header: &Header, tags: &Tags) -> Vec<Links> {
    let is_skipped = |name: &RepositoryName, tag: &Tag| {
        tags.iter().any(|(other, it, _, change)| other == name && it == tag && *change == TagChange::Skipped)
    };
    let wanted = |mut links: Links| {
        links.tags.retain(|tag| !is_skipped(&links.name, &tag.name));
        links
    };
    header.repositories().iter().cloned().map(wanted).collect()
}

/// Merges the bundle's indexes of referrers into those of the root; returns the links that are left.
///
/// All of them go this way, also those that the root did not have a moment ago.
fn merge_indexes(store: &Store, mut links: Vec<Links>) -> Result<Vec<Links>, StoreError> {
    let mut indexes = Vec::new();
    for links in &mut links {
        let (merge, plain): (Vec<TagLink>, Vec<TagLink>) =
            std::mem::take(&mut links.tags).into_iter().partition(|tag| is_referrers_tag(&tag.name));
        links.tags = plain;
        indexes.extend(merge.into_iter().map(|tag| (links.name.clone(), tag)));
    }
    if indexes.is_empty() {
        return Ok(links);
    }
    // What the indexes name must be there before they are.
    let content: Vec<Links> = links.iter().map(|links| Links { tags: Vec::new(), ..links.clone() }).collect();
    store.commit(&content)?;
    for (name, tag) in indexes {
        let index = store.read_manifest(&tag.digest)?;
        match store.merge_referrers(&name, &tag.name, &index) {
            Ok(_) => {}
            // By its tag it could have been one; it is something else, and moves as any tag does.
            Err(StoreError::Manifest { .. }) => {
                store.commit(&[Links { tags: vec![tag], ..Links::none(name) }])?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(links)
}

type Tags = Vec<(RepositoryName, Tag, Digest, TagChange)>;

/// What the bundle's tags would change in the root.
fn compare_tags(header: &Header, store: &Store) -> Result<Tags, StoreError> {
    let mut tags = Vec::new();
    for links in header.repositories() {
        for tag in &links.tags {
            let change = match store.tag(&links.name, &tag.name) {
                Ok(None) => TagChange::New,
                Ok(Some(digest)) if digest == tag.digest => TagChange::Same,
                Ok(Some(_)) if is_referrers_tag(&tag.name) => TagChange::Merged,
                Ok(Some(_)) | Err(StoreError::Link { .. }) => TagChange::Moved,
                Err(error) => return Err(error),
            };
            tags.push((links.name.clone(), tag.name.clone(), tag.digest, change));
        }
    }
    Ok(tags)
}

fn refuse_moves(tags: &Tags, store: &Store) -> Result<(), UnpackError> {
    let moved: Vec<String> = tags
        .iter()
        .filter(|(.., change)| *change == TagChange::Moved)
        .map(|(name, tag, ..)| format!("{name}:{tag}"))
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    Err(UnpackError::Tags { root: store.root().to_owned(), tags: moved })
}

fn check_required(header: &Header, store: &Store) -> Result<(), UnpackError> {
    let mut missing = BTreeSet::new();
    for content in header.requires() {
        if !store.has(&content.digest, content.size)? {
            missing.insert(content.digest);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(UnpackError::Required { root: store.root().to_owned(), lacking: lacking(header, &missing) })
}

fn check_space(header: &Header, store: &Store) -> Result<(), UnpackError> {
    let mut needed = 0_u64;
    for blob in header.blobs() {
        if !store.has(&blob.digest, blob.size)? {
            needed = needed.saturating_add(blob.size);
        }
    }
    let free = crate::fs::free_space(store.root()).map_err(UnpackError::Space)?;
    if needed <= free {
        return Ok(());
    }
    Err(UnpackError::Full { root: store.root().to_owned(), needed, free })
}
