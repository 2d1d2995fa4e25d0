//! Unpacks a bundle into a registry root in one pass: checks blobs while writing them, and writes links last.
//!
//! The root may be in use. Until the last byte of the bundle has been found right nothing of it is
//! visible; afterwards all of it is.
//!
//! A run that is interrupted leaves a note of how far it has read. The next one leaves out what of that is in the root, if
//! the bundle is at rest ([`BundleReader::at_rest`]), and reads the rest.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::incoming::TagChange;
use super::incoming::{self, ExistingTags, IncomingError, Tags};
use super::processors::{WorkQueue, on_all_processors};
use super::room::{RoomError, free_near, require_room};
use hod_bundle::{Blob, BlobBody, BundleError, BundleReader, Content, Header};
use hod_engine::endpoint::Placement;
use hod_engine::observe::{Event, Observer, Stop};
use hod_image::base::{MissingBase, lacking};
use hod_oci::{Descriptor, Digest, MediaType};
use hod_store::{Ingest, Store, StoreError, Writers};

/// Bytes that are read at a time of what is not written.
const CHUNK: usize = 128 * 1024;
/// Bytes of the bundle after which it is noted how far it was read.
const NOTE: u64 = 64 * 1024 * 1024;

/// The result of unpacking.
#[derive(Debug)]
pub struct UnpackReceipt {
    /// The header of the bundle.
    pub header: Arc<Header>,
    /// Every tag of the bundle.
    pub tags: Tags,
    /// Blobs that were written, and their bytes.
    pub written: (usize, u64),
    /// Blobs that were there, and their bytes.
    pub there: (usize, u64),
}

/// The changes that unpacking would make.
#[derive(Debug)]
pub struct UnpackPreview {
    /// Every tag of the bundle.
    pub tags: Tags,
    /// Blobs that are missing in the root, and the bytes that they need.
    pub to_write: (usize, u64),
    /// Bytes that are free there.
    pub free: u64,
}

/// The errors of unpacking a bundle.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The root.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bundle builds on content that is not there.
    #[error("the bundle requires {} that {} does not have", hod_engine::count(lacking.contents.len(), "blob"), root.display())]
    Required {
        /// The root.
        root: PathBuf,
        /// The missing content, and what has it.
        lacking: MissingBase,
    },
    /// The root does not take it.
    #[error(transparent)]
    Incoming(#[from] IncomingError),
    /// Asked to stop.
    #[error("stopped before the bundle was unpacked")]
    Stopped,
}

/// Unpacks a bundle into a root.
///
/// Before the first write it is known that everything the bundle requires is there, that it fits,
/// and that its tags are welcome. Whose bundle it is must have been checked by then
/// ([`Trust`](hod_bundle::Trust)).
pub fn unpack(
    mut reader: BundleReader<impl Read>,
    store: &Store,
    existing: ExistingTags,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<UnpackReceipt, UnpackError> {
    let header = reader.header().clone();
    check_required(&header, store, stop)?;
    incoming::welcome(&header, store, existing)?;
    incoming::check_space(&header, store, stop)?;
    if stop.is_requested() {
        return Err(UnpackError::Stopped);
    }
    let all = header.blobs().iter().map(|blob| blob.size).sum();
    observer.on(&Event::Step { name: "unpack", images: header.image_count(), bytes: all });
    let (mut written, mut there) = ((0, 0), (0, 0));
    let (passed, mut unnoted) = (store.passed(&header.id())?, 0);
    let mut writers = Writers::start()?;
    for (position, Blob { digest, size, .. }) in header.blobs().iter().enumerate() {
        let ingest = store.ingest(digest, *size)?;
        let counted = if ingest.is_some() { &mut written } else { &mut there };
        *counted = (counted.0 + 1, counted.1 + size);
        if ingest.is_none() && position < passed && reader.is_at_rest() {
            reader.next_blob()?;
            let content = Descriptor::new(MediaType::Other("".into()), *digest, *size);
            observer.on(&Event::Begun { content: &content, offset: *size });
            observer.on(&Event::Settled { content: &content, placed: Placement::AlreadyThere });
            continue;
        }
        let Some(body) = reader.next_blob()? else { break };
        match ingest {
            Some(ingest) => receive(body, ingest, &mut writers, observer, stop)?,
            None => read(body, observer, stop)?,
        }
        unnoted += size;
        if unnoted >= NOTE && position >= passed {
            store.note_passed(&header.id(), position + 1)?;
            unnoted = 0;
        }
    }
    let header = reader.finish()?;
    writers.finish()?;
    // A garbage collection may have taken some of it away in the meantime.
    check_required(&header, store, stop)?;
    let tags = incoming::link(&header, store, existing)?;
    store.forget_passed(&header.id())?;
    incoming::tell_repaired(store, observer)?;
    Ok(UnpackReceipt { header, tags, written, there })
}

/// Makes the checks that come before the first write, and writes nothing. The root need not exist.
pub fn preview(
    header: &Header,
    root: &Path,
    existing: ExistingTags,
    stop: &Stop,
) -> Result<UnpackPreview, UnpackError> {
    let store = match Store::open(root) {
        Ok(store) => Some(store),
        Err(StoreError::NoRoot(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let (tags, to_write) = if let Some(store) = &store {
        check_required(header, store, stop)?;
        (incoming::welcome(header, store, existing)?, incoming::to_write(header, store, stop)?)
    } else {
        refuse_missing(header, root, &header.requires().iter().map(|content| content.digest).collect())?;
        let repositories = header.repositories().iter();
        let tags = repositories.flat_map(|links| links.tags.iter().map(move |tag| (&links.name, tag)));
        let tags = tags.map(|(name, tag)| (name.clone(), tag.name.clone(), tag.digest, TagChange::New)).collect();
        (tags, (header.blobs().len(), header.blobs().iter().map(|blob| blob.size).sum()))
    };
    if stop.is_requested() {
        return Err(UnpackError::Stopped);
    }
    let failed = |error: RoomError| UnpackError::Incoming(error.into());
    let (folder, free) = free_near(root).map_err(failed)?;
    require_room("the images need", &folder, to_write.1).map_err(failed)?;
    Ok(UnpackPreview { tags, to_write, free })
}

/// Reads a blob that the root has: a damaged bundle is to be known as one.
fn read(mut body: BlobBody<'_, impl Read>, observer: &dyn Observer, stop: &Stop) -> Result<(), UnpackError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = body.read_checked(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        observer.on(&Event::Moved { digest: body.digest(), bytes: count as u64 });
        if stop.is_requested() {
            return Err(UnpackError::Stopped);
        }
    }
}

/// Reads a blob and checks it, while a thread writes it.
fn receive(
    mut body: BlobBody<'_, impl Read>,
    mut ingest: Ingest,
    writers: &mut Writers,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<(), UnpackError> {
    let digest = *body.digest();
    let content = Descriptor::new(MediaType::Other("".into()), digest, body.size());
    observer.on(&Event::Begun { content: &content, offset: 0 });
    // What an interrupted run has left is not compared but written again: it is at hand.
    ingest.restart()?;
    let mut outgoing = writers.begin(ingest)?;
    let mut block = outgoing.block()?;
    loop {
        let count = match body.read_checked(block.room()) {
            Ok(count) => count,
            Err(error) => {
                outgoing.discard();
                return Err(error.into());
            }
        };
        block.grow(count);
        observer.on(&Event::Moved { digest: &digest, bytes: count as u64 });
        if count == 0 {
            break;
        }
        if block.is_full() {
            let next = outgoing.block()?;
            outgoing.append(std::mem::replace(&mut block, next));
        }
        if stop.is_requested() {
            return Err(UnpackError::Stopped);
        }
    }
    outgoing.append(block);
    outgoing.commit();
    observer.on(&Event::Settled { content: &content, placed: Placement::Written });
    Ok(())
}

fn check_required(header: &Header, store: &Store, stop: &Stop) -> Result<(), UnpackError> {
    let looked = on_all_processors(header.requires(), stop, |taken: WorkQueue<'_, Content>, found| {
        taken.map(|it| Ok((it.digest, store.holds(&it.digest)?))).for_each(found);
    });
    if stop.is_requested() {
        return Err(UnpackError::Stopped);
    }
    let looked = looked.into_iter().collect::<Result<Vec<_>, StoreError>>()?;
    let missing: BTreeSet<_> = looked.into_iter().filter(|(_, held)| !held).map(|(digest, _)| digest).collect();
    refuse_missing(header, store.root(), &missing)
}

fn refuse_missing(header: &Header, root: &Path, missing: &BTreeSet<Digest>) -> Result<(), UnpackError> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(UnpackError::Required { root: root.to_owned(), lacking: lacking(header, missing) })
}
