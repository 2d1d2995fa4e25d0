//! Copies images from one store to another: blobs by hard links, with new links of repositories.
//!
//! Link files are written anew, since registries change theirs in place; `data` files never change, and
//! so may have a name in both roots. Where that cannot be, the file shares its blocks (a reflink), and
//! where that cannot be either, its bytes are copied. Bytes that hod has not hashed before are hashed in all three cases.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;

use super::incoming::{self, ExistingTags, IncomingError, Tags};
use super::pack;
use super::processors::{WorkQueue, on_all_processors};
use hod_bundle::Blob;
use hod_engine::endpoint::Placement;
use hod_engine::observe::{Event, Observer, Stop};
use hod_oci::{Digest, Hasher};
use hod_store::{Store, StoreError};

/// Bytes moved at a time.
const CHUNK: usize = 512 * 1024;

/// A number of blobs and their bytes.
pub type Sum = (usize, u64);

/// What selecting did.
#[derive(Debug, Default)]
pub struct SelectReceipt {
    /// What became of each tag.
    pub tags: Tags,
    /// Blobs that are one file with those of the source.
    pub linked: Sum,
    /// Blobs that are files of their own and share their blocks with those of the source.
    pub cloned: Sum,
    /// Blobs whose bytes were copied.
    pub copied: Sum,
    /// Blobs that were there.
    pub there: Sum,
}

/// Why images could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum SelectIntoError {
    /// The destination does not take them.
    #[error(transparent)]
    Incoming(#[from] IncomingError),
    /// A blob that the images need cannot be had.
    #[error("cannot copy {digest}, which is needed by {}", images.join(", "))]
    Source {
        /// The blob.
        digest: Digest,
        /// The images that need it.
        images: Vec<String>,
        /// The reason.
        #[source]
        source: StoreError,
    },
    /// The destination.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Asked to stop.
    #[error("stopped before all images were selected")]
    Stopped,
}

/// Takes over the images of a selection. They become visible in `to` when all of their content is there and durable.
pub fn select_into(
    pack::Selection { store: from, images, header }: pack::Selection<'_>,
    to: &Store,
    existing: ExistingTags,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<SelectReceipt, SelectIntoError> {
    incoming::welcome(header, to, existing)?;
    if !hod_io::fs::same_filesystem(from.root(), to.root()).map_err(StoreError::from)? {
        incoming::check_space(header, to, stop)?;
    }
    let bytes = header.blobs().iter().map(|blob| blob.size).sum();
    observer.on(&Event::Step { name: "select", images: header.image_count(), bytes });
    let mut done = SelectReceipt::default();
    let failed = AtomicBool::new(false);
    let placed = on_all_processors(header.blobs(), stop, |taken: WorkQueue<'_, Blob>, found| {
        for blob in taken.take_while(|_| !failed.load(Ordering::Relaxed)) {
            let placed = place(from, to, (&blob.digest, blob.size), stop);
            failed.fetch_or(placed.is_err(), Ordering::Relaxed);
            found((blob.digest, blob.size, placed));
            observer.on(&Event::Moved { digest: &blob.digest, bytes: blob.size });
        }
    });
    if stop.is_requested() {
        return Err(SelectIntoError::Stopped);
    }
    for (digest, size, placed) in placed {
        let placed = placed.map_err(|failed| match failed {
            Failed::Source(source) => SelectIntoError::Source { digest, images: pack::users(images, &digest), source },
            Failed::Destination(error) => error.into(),
        })?;
        let sum = match placed {
            Placement::Linked => &mut done.linked,
            Placement::Cloned => &mut done.cloned,
            Placement::AlreadyThere => &mut done.there,
            Placement::Written | Placement::Mounted => &mut done.copied,
        };
        *sum = (sum.0 + 1, sum.1.saturating_add(size));
    }
    done.tags = incoming::link(header, to, existing)?;
    incoming::tell_repaired(to, observer)?;
    Ok(done)
}

/// Which of the two stores failed.
enum Failed {
    Source(StoreError),
    Destination(StoreError),
}

/// Brings a blob to its store in the cheapest way.
fn place(from: &Store, to: &Store, (digest, size): (&Digest, u64), stop: &Stop) -> Result<Placement, Failed> {
    if to.holds(digest).map_err(Failed::Destination)? {
        return Ok(Placement::AlreadyThere);
    }
    if let Some(file) = from.file(digest, size).map_err(Failed::Source)? {
        let linked = to.link_in(digest, size, &file).map_err(|error| match error {
            StoreError::Corrupt { .. } => Failed::Source(error),
            error => Failed::Destination(error),
        });
        if let Some(placed) = linked? {
            return Ok(placed);
        }
    }
    let file = from.open_blob(digest).map_err(Failed::Source)?;
    copy(file, to, (digest, size), stop)
}

fn copy(mut file: fs::File, to: &Store, (digest, size): (&Digest, u64), stop: &Stop) -> Result<Placement, Failed> {
    let Some(mut ingest) = to.ingest(digest, size).map_err(Failed::Destination)? else {
        return Ok(Placement::AlreadyThere);
    };
    ingest.restart().map_err(Failed::Destination)?;
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; CHUNK];
    while !stop.is_requested() {
        let count = file.read(&mut buffer).map_err(|error| Failed::Source(error.into()))?;
        let chunk = buffer.get(..count).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        hasher.update(chunk);
        ingest.write(chunk).map_err(Failed::Destination)?;
    }
    let found = hasher.finish();
    if found != *digest {
        ingest.discard().map_err(Failed::Destination)?;
        return Err(Failed::Source(StoreError::Corrupt { path: file.path().to_owned(), found }));
    }
    ingest.commit().map_err(Failed::Destination)?;
    Ok(Placement::Written)
}
