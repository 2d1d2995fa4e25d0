//! Content on its way to a file: written beside it, checked, made durable, renamed.
//!
//! What an interrupted run has written stays in a partial file, is hashed by the next run and
//! continued there. A partial file is locked while somebody writes to it; who comes second writes to a
//! file of its own.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fs_err as fs;
use futures_util::StreamExt as _;

use super::TransportError;
use crate::endpoint::{EndpointError, Fault, Mismatch, Placed, Prefix, Result, Verified};
use crate::oci::{Descriptor, Digest, Hasher};

/// How many bytes are gathered before they are written.
const GATHER: usize = 512 * 1024;

/// Where content lands in a folder, and what of it is under way.
#[derive(Debug, Clone)]
pub(super) struct Landings {
    /// Where partial files are.
    folder: PathBuf,
    parked: Arc<Mutex<HashMap<Digest, Landing>>>,
}

#[derive(Debug)]
struct Landing {
    file: fs::File,
    length: u64,
}

impl Landings {
    /// Partial files are kept in `folder`, which is there, on the filesystem of their places.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), parked: Arc::default() }
    }

    fn partial(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!(".{}-{}.partial", digest.algorithm().name(), digest.hex()))
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
            let path = this.partial(&digest);
            let open = || fs::OpenOptions::new().read(true).append(true).open(&path);
            // Where the system gives no lock, somebody else may have it.
            let file = match crate::fs::lock_at(&path, open, |file| Ok(file.try_lock().is_ok())) {
                Ok(Some(file)) => file,
                Ok(None) => return Ok(none()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none()),
                Err(error) => return Err(error.into()),
            };
            let length = file.metadata()?.len();
            if length > content.size {
                fs::remove_file(&path)?;
                return Ok(none());
            }
            let hasher = hash(&path, Hasher::new(digest.algorithm()))?;
            if length == content.size && hasher.clone().finish() != digest {
                fs::remove_file(&path)?;
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
        let (path, landing) = match parked {
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
                        let _ = fs::remove_file(&path);
                    }
                    return Err(error);
                }
                Some(Ok(())) => {
                    let place = place.to_owned();
                    blocking(move || Ok(settle(&file, &path, &place)?)).await?;
                    return Ok(Placed::Written);
                }
            }
        }
    }

    fn create(&self, digest: &Digest) -> super::Result<(PathBuf, Landing)> {
        let path = self.partial(digest);
        let open = || fs::OpenOptions::new().read(true).append(true).create(true).open(&path);
        if let Some(file) = crate::fs::lock_at(&path, open, |file| Ok(file.try_lock().is_ok()))? {
            file.set_len(0)?;
            return Ok((path, Landing { file, length: 0 }));
        }
        // Somebody else is writing the same content: this copy goes its own way.
        for number in 0_u32.. {
            let own = path.with_extension(format!("{}-{number}.partial", std::process::id()));
            match fs::File::create_new(&own) {
                Ok(file) => return Ok((own, Landing { file, length: 0 })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists).into())
    }

    /// Takes a file by a hard link, or by a copy that the filesystem may make without moving bytes.
    pub(super) async fn link(&self, content: &Descriptor, file: &Path, place: &Path) -> Result<Placed> {
        let (this, digest, size) = (self.clone(), content.digest, content.size);
        let (file, place) = (file.to_owned(), place.to_owned());
        blocking(move || {
            let found = fs::metadata(&file)?.len();
            if found != size {
                return Err(TransportError::Size { path: file, found, expected: size });
            }
            // Whatever is in the way of a link, a copy may still be possible, and says more where it is not.
            if fs::hard_link(&file, &place).is_ok() {
                return Ok(Placed::Linked);
            }
            let (path, landing) = this.create(&digest)?;
            let mut from = fs::File::open(&file)?;
            // Neither a reflink nor copy_file_range takes a file that was opened for appending.
            let mut to = fs::OpenOptions::new().write(true).open(&path)?;
            if crate::fs::clone_file(&from, &to)? && to.metadata()?.len() == size {
                settle(&landing.file, &path, &place)?;
                return Ok(Placed::Cloned);
            }
            let copied = io::copy(from.file_mut(), to.file_mut())?;
            if copied != size {
                return Err(TransportError::Size { path: file, found: copied, expected: size });
            }
            settle(&landing.file, &path, &place)?;
            Ok(Placed::Written)
        })
        .await
    }
}

/// Makes a complete file durable and puts it in its place.
fn settle(file: &fs::File, path: &Path, place: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.sync_data()?;
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::rename(path, place)
}

/// Whether the bytes themselves are wrong, and not only too few.
fn is_wrong(error: &EndpointError) -> bool {
    error.fault() == Fault::Corrupt && !matches!(error.cause().downcast_ref(), Some(Mismatch::Short { .. }))
}

/// Adds a file's bytes to a hash.
fn hash(path: &Path, mut hasher: Hasher) -> io::Result<Hasher> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// A file of a place that cannot vouch for its bytes: `path` if they are the content, now that they were hashed.
pub(super) async fn checked(content: &Descriptor, path: PathBuf) -> Result<Option<PathBuf>> {
    let content = content.clone();
    blocking(move || {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !metadata.is_file() || metadata.len() != content.size {
            return Ok(None);
        }
        let found = hash(&path, Hasher::new(content.digest.algorithm()))?.finish();
        if found != content.digest {
            let (expected, found) = (Box::new(content.digest), Box::new(found));
            return Err(TransportError::Corrupt { path, expected, found });
        }
        Ok(Some(path))
    })
    .await
}

/// Runs file work where it may take its time.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> super::Result<T> + Send + 'static) -> Result<T> {
    crate::endpoint::blocking(work).await
}
