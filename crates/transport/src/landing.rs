//! Content on its way to a file: written beside it, checked, made durable, renamed.
//!
//! What an interrupted run has written stays in a partial file, is hashed by the next run and
//! continued there. A partial file is locked while somebody writes to it; who comes second writes to another, whose
//! name the next run finds, too.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fs_err as fs;
use futures_util::StreamExt as _;
use rustix::fs::{FileType, OFlags};

use super::TransportError;
use super::files::blocking;
use hod_engine::endpoint::{EndpointError, Fault, LocalFile, Mismatch, Placed, Prefix, Result, Verified};
use hod_io::fs::{Child, Directory, from_start};
use hod_oci::{Algorithm, Descriptor, Digest, Hasher};

/// How many bytes are gathered before they are written.
const GATHER: usize = 512 * 1024;

/// Where content lands in a folder, and what of it is under way.
#[derive(Debug, Clone)]
pub(super) struct Landings {
    /// Where partial files are.
    folder: Directory,
    parked: Arc<Mutex<HashMap<Digest, Landing>>>,
}

#[derive(Debug)]
struct Landing {
    file: fs::File,
    length: u64,
}

impl Landings {
    /// Partial files are kept in `folder`, which is there, on the filesystem of their places.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: Directory::open(folder)?, parked: Arc::default() })
    }

    /// Where partial files are.
    pub(super) const fn folder(&self) -> &Directory {
        &self.folder
    }

    fn partial(&self, digest: &Digest) -> Child {
        self.folder.child(partial_name(digest, 0))
    }

    fn park(&self, digest: Digest, landing: Landing) {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, landing);
    }

    fn take(&self, digest: &Digest) -> Option<Landing> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(digest)
    }

    /// Hashes what an earlier run has left of some content, and keeps it locked for [`Landings::receive`].
    pub(super) async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        let (this, content) = (self.clone(), content.clone());
        blocking(move || {
            let digest = content.digest;
            drop(this.take(&digest));
            let none = || Prefix::none(digest.algorithm());
            let partial = this.partial(&digest);
            let open = || partial.open(OFlags::RDWR | OFlags::APPEND);
            // Where the system gives no lock, somebody else may have it.
            let (file, length) = match partial.lock(open, |file| Ok(file.try_lock().is_ok())) {
                Ok(Some((file, length))) if is_alone(&file)? => (file, length),
                Ok(_) => return Ok(none()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none()),
                Err(error) => return Err(error.into()),
            };
            if length > content.size {
                partial.remove()?;
                return Ok(none());
            }
            let mut hasher = Hasher::new(digest.algorithm());
            hasher.read(from_start(&file))?;
            if length == content.size && hasher.clone().finish() != digest {
                partial.remove()?;
                return Ok(none());
            }
            this.park(digest, Landing { file, length });
            Ok(Prefix::new(length, hasher))
        })
        .await
    }

    /// Writes a body to its place. Wrong bytes are thrown away, too few are kept.
    pub(super) async fn receive(&self, content: &Descriptor, place: &Path, mut body: Verified) -> Result<Placed> {
        let start = body.start();
        let parked = self.take(&content.digest).filter(|landing| landing.length == start);
        let (partial, landing) = match parked {
            Some(landing) => (self.partial(&content.digest), landing),
            None if start == 0 => {
                let (this, digest) = (self.clone(), content.digest);
                blocking(move || this.create(&digest)).await?
            }
            None => {
                let problem = format!("the first bytes of {} are gone: somebody else removed them", content.digest);
                return Err(EndpointError::new(Fault::Busy(None), problem));
            }
        };
        let mut file = landing.file;
        let mut gathered: Vec<Bytes> = Vec::new();
        loop {
            let (ended, full) = match body.next().await {
                Some(Ok(chunk)) => {
                    gathered.push(chunk);
                    (None, gathered.iter().map(Bytes::len).sum::<usize>() >= GATHER)
                }
                Some(Err(error)) => (Some(Err(error)), true),
                None => (Some(Ok(())), true),
            };
            if full {
                let chunks = std::mem::take(&mut gathered);
                file = blocking(move || {
                    chunks.iter().try_for_each(|chunk| file.write_all(chunk))?;
                    Ok(file)
                })
                .await?;
            }
            match ended {
                None => {}
                Some(Err(error)) => {
                    // A file with nothing in it is nothing to go on from.
                    if is_wrong(&error) || file.metadata().is_ok_and(|found| found.len() == 0) {
                        let _ = partial.remove();
                    }
                    return Err(error);
                }
                Some(Ok(())) => {
                    let place = place.to_owned();
                    blocking(move || Ok(settle(&file, &partial, &place)?)).await?;
                    return Ok(Placed::Written);
                }
            }
        }
    }

    /// Writes content that is at hand to its place. Several may write the same at once, each to a partial file.
    pub(super) fn write(&self, digest: &Digest, content: &[u8], place: &Path) -> super::Result<()> {
        let (partial, mut landing) = self.create(digest)?;
        let mut write = || {
            landing.file.write_all(content)?;
            settle(&landing.file, &partial, place)
        };
        Ok(write().inspect_err(|_| {
            let _ = partial.remove();
        })?)
    }

    /// Makes an empty file for content: one that nobody else has, and that the next run finds where this one is killed.
    fn create(&self, digest: &Digest) -> super::Result<(Child, Landing)> {
        // Somebody else may be writing the same content; each has a file then.
        for number in 0_u32.. {
            let partial = self.folder.child(partial_name(digest, number));
            let mut is_new = false;
            let open = || {
                let (file, made) = partial.open_or_create(OFlags::RDWR | OFlags::APPEND)?;
                is_new = made;
                Ok::<_, io::Error>(file)
            };
            // On a filesystem without locks, only a new file is nobody else's.
            let lock = |file: &fs::File| Ok(file.try_lock().is_ok());
            if let Some((file, _)) = partial.lock(open, lock)?
                && is_alone(&file)?
            {
                file.set_len(0)?;
                return Ok((partial, Landing { file, length: 0 }));
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists).into())
    }

    /// Removes files of such names that nobody is writing: what killed runs have left.
    pub(super) fn tidy(&self, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
        for (name, kind) in self.folder.entries()? {
            let left = self.folder.child(&name);
            if kind == FileType::RegularFile
                && is_ours(&name.to_string_lossy())
                && let Ok(file) = left.open(OFlags::RDONLY)
                // Where the system gives no lock, somebody may have it.
                && file.try_lock().is_ok()
                && left.is(&file.metadata()?)?
            {
                left.remove()?;
            }
        }
        Ok(())
    }

    /// Removes partial files of content that is in its place by now, however it came there.
    pub(super) fn tidy_landed(&self, is_there: impl Fn(&Digest) -> bool) -> io::Result<()> {
        self.tidy(|name| digest_on_its_way(name).is_some_and(|digest| is_there(&digest)))
    }

    /// Takes a file by a hard link or a reflink, and checks it before it is in its place; `None` where neither is possible.
    pub(super) async fn link(&self, content: &Descriptor, file: LocalFile, place: &Path) -> Result<Option<Placed>> {
        let (this, digest, size, place) = (self.clone(), content.digest, content.size, place.to_owned());
        blocking(move || {
            let metadata = file.file().metadata()?;
            if metadata.len() != size || metadata.dev() != this.folder.stat()?.st_dev {
                return Ok(None);
            }
            // Whatever is in the way of a link, the bytes may still be read, and that says more where they cannot.
            if let Some((partial, _lock)) = this.hard_link(&file, &digest) {
                let placed = check(&file, &partial, &digest).and_then(|()| Ok(put_at(&partial, &place)?));
                // A rename leaves both names where they are those of one file already.
                let _ = partial.remove();
                return placed.map(|()| Some(Placed::Linked));
            }
            let (partial, landing) = this.create(&digest)?;
            let take = || {
                // A reflink is not made to a file that was opened for appending.
                if !hod_io::fs::clone_file(file.file(), &partial.open(OFlags::WRONLY)?)? {
                    return Ok(None);
                }
                check(&file, &partial, &digest)?;
                settle(&landing.file, &partial, &place)?;
                Ok(Some(Placed::Cloned))
            };
            let placed = take();
            if !matches!(placed, Ok(Some(_))) {
                let _ = partial.remove();
            }
            placed
        })
        .await
    }

    /// Makes a hard link under a name for content on its way, if that is possible, and locks it, so that nobody takes it
    /// for one that was left. All who link a file have the lock together.
    fn hard_link(&self, file: &LocalFile, digest: &Digest) -> Option<(Child, Option<fs::File>)> {
        for number in 0_u32.. {
            let partial = self.folder.child(partial_name(digest, number));
            match file.link_to(&partial) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Ok(false) | Err(_) => return None,
            }
            match partial.lock(|| partial.open(OFlags::RDONLY), |file| Ok(file.lock_shared().is_ok())) {
                Ok(locked) => return Some((partial, locked.map(|(file, _)| file))),
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

/// Refuses what was made of a file and has other bytes than the content.
fn check(file: &LocalFile, linked: &Child, expected: &Digest) -> super::Result<()> {
    let found = file.digest_of(linked, expected)?;
    if found == *expected {
        return Ok(());
    }
    let (path, expected, found) = (file.path().to_owned(), Box::new(*expected), Box::new(found));
    Err(TransportError::Corrupt { path, expected, found })
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
fn settle(file: &fs::File, partial: &Child, place: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.sync_data()?;
    put_at(partial, place)
}

/// Renames a complete file to its place.
fn put_at(partial: &Child, place: &Path) -> io::Result<()> {
    let folder = hod_io::fs::folder_of(place);
    fs::create_dir_all(folder)?;
    partial.rename(&Directory::open(folder)?.child(place.file_name().unwrap_or_default()))
}

/// Whether the bytes themselves are wrong, and not only too few.
fn is_wrong(error: &EndpointError) -> bool {
    error.fault() == Fault::Corrupt && !matches!(error.cause().downcast_ref(), Some(Mismatch::Short { .. }))
}
