//! Content on its way to a file: written beside it, checked, made durable, renamed.
//!
//! What an interrupted run has written stays in a partial file, is hashed by the next run and
//! continued there. A partial file is locked while somebody writes to it; who comes second writes to another, whose
//! name the next run finds, too.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{FileType, OFlags};

use super::TransportError;
use super::files::blocking;
use hod_engine::endpoint::{EndpointError, Fault, LocalFile, Mismatch, Placement, Prefix, Received, Result, Verified};
use hod_io::fs::{Child, Directory, PartialFile};
use hod_oci::{Algorithm, Descriptor, Digest};

/// Locks a file, if nobody else may have it; says whether it did.
fn is_free(file: &fs::File) -> bool {
    hod_io::fs::try_lock(file).unwrap_or_default()
}

/// Where content lands in a folder, and what of it is under way.
#[derive(Debug, Clone)]
pub(super) struct PartialFiles {
    /// Where partial files are.
    folder: Directory,
    parked: Arc<Mutex<HashMap<Digest, PartialFile>>>,
}

impl PartialFiles {
    /// Partial files are kept in `folder`, which is there, on the filesystem of their places.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: Directory::open(folder)?, parked: Arc::default() })
    }

    /// Where partial files are.
    pub(super) const fn folder(&self) -> &Directory {
        &self.folder
    }

    /// A name for content on its way, the first or another.
    fn partial(&self, digest: &Digest, number: u32) -> Child {
        self.folder.child(partial_name(digest, number))
    }

    fn take(&self, digest: &Digest) -> Option<PartialFile> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(digest)
    }

    /// Hashes what an earlier run has left of some content, and keeps it locked for [`PartialFiles::receive`].
    pub(super) async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        let (this, content) = (self.clone(), content.clone());
        blocking(move || {
            let digest = content.digest;
            drop(this.take(&digest));
            let none = || Prefix::none(digest.algorithm());
            let open = |partial: &Child| partial.open(OFlags::RDWR | OFlags::APPEND);
            // Where the system gives no lock, somebody else may have it.
            let file = match PartialFile::lock(this.partial(&digest, 0), open, |file| Ok(is_free(file))) {
                Ok(Some(file)) => file,
                Ok(None) => return Ok(none()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none()),
                Err(error) => return Err(error.into()),
            };
            if !is_alone(file.file())? {
                file.leave();
                return Ok(none());
            }
            let Some(prefix) = Prefix::of(&file, &digest, content.size)? else {
                file.remove()?;
                return Ok(none());
            };
            this.parked.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, file);
            Ok(prefix)
        })
        .await
    }

    /// Writes a body to its place. Wrong bytes are thrown away, too few are kept.
    pub(super) async fn receive(&self, content: &Descriptor, place: &Path, body: Verified) -> Result<Placement> {
        let start = body.start();
        let file = match self.take(&content.digest).filter(|file| file.length() == start) {
            Some(file) => file,
            None if start == 0 => {
                let (this, digest) = (self.clone(), content.digest);
                blocking(move || this.create(&digest)).await?
            }
            None => {
                let problem = format!("another process removed the first bytes of {}", content.digest);
                return Err(EndpointError::new(Fault::Busy(None), problem));
            }
        };
        let write = |file: &mut PartialFile, chunks: &[Bytes]| file.append_chunks(chunks);
        let Received { mut file, rest, end } = Received::from(body, file, write).await?;
        let place = place.to_owned();
        blocking(move || {
            match end {
                Err(ref error) if Mismatch::is_of_bytes(error) => drop(file.remove()),
                Err(_) => drop(file.append_chunks(&rest)),
                Ok(()) => {
                    file.append_chunks(&rest)?;
                    settle(file, &place)?;
                }
            }
            Ok(end)
        })
        .await?
        .map(|()| Placement::Written)
    }

    /// Writes content that is at hand to its place. Several may write the same at once, each to a partial file.
    pub(super) fn write(&self, digest: &Digest, content: &[u8], place: &Path) -> super::Result<()> {
        let mut file = self.create(digest)?;
        file.append_chunks(&[content])?;
        Ok(settle(file, place)?)
    }

    /// Makes an empty file for content: one that nobody else has, and that the next run finds where this one is killed.
    fn create(&self, digest: &Digest) -> super::Result<PartialFile> {
        // Somebody else may be writing the same content; each has a file then.
        for number in 0_u32.. {
            let is_new = Cell::new(false);
            let open = |partial: &Child| {
                let (file, made) = partial.open_or_create(OFlags::RDWR | OFlags::APPEND)?;
                is_new.set(made);
                Ok::<_, io::Error>(file)
            };
            // On a filesystem without locks, only a new file is nobody else's.
            let lock = |file: &fs::File| hod_io::fs::try_lock(file).or_else(|_| Ok(is_new.get()));
            let Some(file) = PartialFile::lock(self.partial(digest, number), open, lock)? else { continue };
            if is_alone(file.file())? {
                return Ok(file.emptied()?);
            }
            file.leave();
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists).into())
    }

    /// Removes files of such names that nobody is writing: what killed runs have left.
    pub(super) fn tidy(&self, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
        for (name, kind) in self.folder.entries()? {
            // Where the system gives no lock, somebody may have it.
            let open = |left: &Child| left.open(OFlags::RDONLY);
            if kind == FileType::RegularFile
                && is_ours(&name.to_string_lossy())
                && let Ok(Some(file)) = PartialFile::lock(self.folder.child(&name), open, |file| Ok(is_free(file)))
            {
                file.remove()?;
            }
        }
        Ok(())
    }

    /// Removes partial files of content that is in its place by now, however it came there.
    pub(super) fn tidy_landed(&self, is_there: impl Fn(&Digest) -> bool) -> io::Result<()> {
        self.tidy(|name| digest_on_its_way(name).is_some_and(|digest| is_there(&digest)))
    }

    /// Takes a file by a hard link or a reflink, and checks it before it is in its place; `None` where neither is possible.
    pub(super) async fn link(&self, content: &Descriptor, file: LocalFile, place: &Path) -> Result<Option<Placement>> {
        let (this, digest, size, place) = (self.clone(), content.digest, content.size, place.to_owned());
        blocking(move || {
            let metadata = file.file().metadata()?;
            if metadata.len() != size || metadata.dev() != this.folder.stat()?.st_dev {
                return Ok(None);
            }
            let check = |partial: &PartialFile| {
                file.check(partial.name(), &digest, |found| {
                    let (expected, found) = (Box::new(digest), Box::new(found));
                    TransportError::Corrupt { path: file.path().to_owned(), expected, found }
                })
            };
            // Whatever is in the way of a link, the bytes may still be read, and that says more where they cannot.
            if let Some(partial) = this.hard_link(&file, &digest) {
                check(&partial)?;
                let place = entry(&place)?;
                // A rename would leave both names, and without the lock the first may soon be that of another writer's.
                if place.is(&partial.file().metadata()?)? { partial.remove() } else { partial.rename(&place) }?;
                return Ok(Some(Placement::Linked));
            }
            let mut partial = this.create(&digest)?.to_be_removed();
            if !partial.clone_from(file.file())? {
                return Ok(None);
            }
            check(&partial)?;
            settle(partial, &place)?;
            Ok(Some(Placement::Cloned))
        })
        .await
    }

    /// Makes a hard link under a name for content on its way, if that is possible, and locks it, so that nobody takes it
    /// for one that was left. All who link a file have the lock together.
    fn hard_link(&self, file: &LocalFile, digest: &Digest) -> Option<PartialFile> {
        for number in 0_u32.. {
            let partial = self.partial(digest, number);
            match file.link_to(&partial) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Ok(false) | Err(_) => return None,
            }
            // Who cannot have the lock goes on without.
            let lock = |file: &fs::File| file.lock_shared().map(|()| true).or(Ok(true));
            match PartialFile::lock(partial.clone(), |partial| partial.open(OFlags::RDONLY), lock) {
                Ok(locked) => return locked.map(PartialFile::to_be_removed),
                // Somebody has taken it for one that was left.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => {
                    let _ = partial.remove();
                    return None;
                }
            }
        }
        None
    }
}

/// The name of a partial file of content, the first or another.
fn partial_name(digest: &Digest, number: u32) -> String {
    let name = format!(".{}-{}", digest.algorithm().name(), digest.hex());
    if number == 0 { format!("{name}.partial") } else { format!("{name}.{number}.partial") }
}

/// The content that a partial file of that name is for.
fn digest_on_its_way(name: &str) -> Option<Digest> {
    let name = name.strip_prefix('.')?.strip_suffix(".partial")?;
    let (algorithm, hex) = name.split('.').next()?.split_once('-')?;
    Digest::from_parts(Algorithm::from_name(algorithm)?, hex).ok()
}

/// Whether a name is that of a file for content on its way.
pub(super) fn is_partial(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".partial")
}

/// The name that a file on its way will have, with more after a dot; of small files, too.
pub(super) fn name_on_its_way(name: &str) -> Option<&str> {
    let name = name.strip_prefix('.')?;
    name.strip_suffix(".partial").or_else(|| name.strip_suffix(".tmp"))
}

/// Whether a file has no other name: what is written to it would be written there.
fn is_alone(file: &fs::File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(metadata.is_file() && metadata.nlink() == 1)
}

/// Makes a complete file durable and puts it in its place.
fn settle(partial: PartialFile, place: &Path) -> io::Result<()> {
    partial.file().sync_data()?;
    partial.rename(&entry(place)?)
}

/// The name for a complete file, in a folder that is there.
fn entry(place: &Path) -> io::Result<Child> {
    let folder = hod_io::fs::folder_of(place);
    fs::create_dir_all(folder)?;
    Ok(Directory::open(folder)?.child(place.file_name().unwrap_or_default()))
}
