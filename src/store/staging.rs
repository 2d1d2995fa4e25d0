//! hod's own folder in a root: who works on it, and what is not yet in its place.
//!
//! ```text
//! .hod/
//! ├── lock                        held shared by all that write, alone by who deletes
//! ├── partial/<algorithm>-<hex>   content on its way, locked while somebody writes to it
//! ├── partial/bundle-<hex>        how far a bundle with that id was read that is being unpacked
//! └── staged/<number>/            of one process, locked while it lives
//!     ├── <algorithm>-<hex>       complete small content that waits for the next sync
//!     ├── link-<number>           links likewise
//!     ├── tag-<number>/           a tag likewise, with both of its links
//!     ├── upload-<number>         content whose digest is not known yet, or links that are going away
//!     └── withdrawn/              tags that are going away with their manifests
//! ```
//!
//! A partial file only ever grows or is removed, so who has hashed its first bytes and finds the
//! same file with the same length knows all of it. What a process leaves behind when it dies
//! becomes partial content again, to be hashed before anyone trusts it; what is somebody else's file
//! as well is let go. Tags come back whose manifests are still there.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err as fs;

use super::StoreError;
use super::layout::{BLOBS, REPOSITORIES};
use super::root::{Root, absent};
use super::withdraw::{WITHDRAWN, restore};
use crate::fs::Blocks;
use crate::oci::{Algorithm, Digest};

/// Held shared by all that write, alone by who deletes.
pub(super) const LOCK: &str = ".hod/lock";
/// Content on its way.
const PARTIAL: &str = ".hod/partial";
/// What waits for its place, in a folder for each process.
pub(super) const STAGED: &str = ".hod/staged";

/// What a process that writes holds of a root.
#[derive(Debug)]
pub(super) struct Staging {
    root: Root,
    folder: PathBuf,
    partial: PathBuf,
    /// The file whose filesystem is synced; kept open so that no write error goes unreported.
    anchor: fs::File,
    /// Held for their locks.
    _locks: [fs::File; 2],
    links: AtomicU64,
    uploads: AtomicU64,
    blobs: Mutex<BTreeMap<Digest, u64>>,
    /// Memory for large content on its way.
    pub(super) blocks: Arc<Blocks>,
    /// Whether names have changed since the last sync.
    unsynced: AtomicBool,
}

impl Staging {
    /// Joins those that write to a root, and picks up what dead processes have left.
    pub(super) fn join(root: &Root) -> Result<Self, StoreError> {
        Self::with_lock(root, fs::File::try_lock_shared, StoreError::Locked)
    }

    /// The same for a process that deletes, while no other writes.
    pub(super) fn join_alone(root: &Root) -> Result<Self, StoreError> {
        Self::with_lock(root, fs::File::try_lock, StoreError::InUse)
    }

    fn with_lock(
        root: &Root,
        take: impl Fn(&fs::File) -> Result<(), TryLockError>,
        refused: impl Fn(PathBuf) -> StoreError,
    ) -> Result<Self, StoreError> {
        for folder in [BLOBS, REPOSITORIES, PARTIAL, STAGED] {
            root.folder(folder)?;
        }
        let own = root.path().join(".hod");
        let path = root.path().join(LOCK);
        let lock = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        root.give(&path)?;
        match take(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refused(root.path().to_owned())),
            Err(TryLockError::Error(error)) => return Err(crate::fs::with_path(&path, &error).into()),
        }
        for folder in [BLOBS, REPOSITORIES] {
            one_filesystem(&own, &root.path().join(folder))?;
        }
        let (staged, partial) = (root.path().join(STAGED), root.path().join(PARTIAL));
        let queue = fs::File::open(&staged)?;
        queue.lock()?;
        retire_dead(root, &staged, &partial)?;
        let (folder, held) = open_own(root, &staged)?;
        Ok(Self {
            root: root.clone(),
            folder,
            partial,
            anchor: fs::File::open(&own)?,
            _locks: [lock, held],
            links: AtomicU64::new(0),
            uploads: AtomicU64::new(0),
            blobs: Mutex::default(),
            blocks: Arc::default(),
            unsynced: AtomicBool::new(false),
        })
    }

    /// Where content grows.
    pub(super) fn partial(&self, digest: &Digest) -> PathBuf {
        self.partial.join(file_name(digest))
    }

    /// Where it stands how far a bundle was read.
    pub(super) fn passed(&self, bundle: &Digest) -> PathBuf {
        self.partial.join(format!("bundle-{}", bundle.hex()))
    }

    /// Where content grows, as a path below the root.
    pub(super) fn partial_below(digest: &Digest) -> String {
        format!("{PARTIAL}/{}", file_name(digest))
    }

    /// Complete content in the folder of some process, as a path below the root.
    pub(super) fn staged_below(folder: &str, digest: &Digest) -> String {
        format!("{STAGED}/{folder}/{}", file_name(digest))
    }

    /// Where complete content waits.
    pub(super) fn staged(&self, digest: &Digest) -> PathBuf {
        self.folder.join(file_name(digest))
    }

    /// What nobody is writing and nobody will miss but for the time it took: files and their bytes.
    pub(super) fn unfinished(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        files(&self.partial, |_| true)
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The length of content that waits.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        self.blobs().get(digest).copied()
    }

    /// Everything that waits.
    pub(super) fn waiting(&self) -> Vec<Digest> {
        self.blobs().keys().copied().collect()
    }

    /// Takes complete content from its partial file.
    pub(super) fn add(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        fs::rename(self.partial(digest), self.staged(digest))?;
        self.blobs().insert(*digest, size);
        Ok(())
    }

    /// Takes complete content that is somebody else's file too.
    pub(super) fn link_content(&self, digest: &Digest, size: u64, file: &Path) -> io::Result<()> {
        fs::hard_link(file, self.staged(digest))?;
        self.blobs().insert(*digest, size);
        Ok(())
    }

    /// Content waits no longer, because it is in its place.
    pub(super) fn remove(&self, digest: &Digest) {
        self.blobs().remove(digest);
    }

    /// Throws away what waits, because the system could not say that it is on the disk.
    pub(super) fn distrust(&self, digests: &[Digest]) {
        for digest in digests {
            self.remove(digest);
            let _ = fs::remove_file(self.staged(digest));
        }
    }

    /// Writes a link file that waits for its place.
    pub(super) fn link(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.folder.join(format!("link-{}", self.links.fetch_add(1, Ordering::Relaxed)));
        self.write_link(&path, digest)?;
        Ok(path)
    }

    /// Writes a tag that waits for its place: a directory with its links, so that it appears as a whole.
    pub(super) fn tag(&self, digest: &Digest, links: &[String; 2]) -> Result<PathBuf, StoreError> {
        let path = self.folder.join(format!("tag-{}", self.links.fetch_add(1, Ordering::Relaxed)));
        self.directory(&path)?;
        for link in links {
            let mut above = link.match_indices('/').filter_map(|(end, _)| link.get(..end));
            above.try_for_each(|above| self.directory(&path.join(above)))?;
            self.write_link(&path.join(link), digest)?;
        }
        Ok(path)
    }

    fn directory(&self, path: &Path) -> Result<(), StoreError> {
        fs::create_dir(path).map_err(|error| StoreError::write(path, 0, error))?;
        self.root.give(path)
    }

    fn write_link(&self, path: &Path, digest: &Digest) -> Result<(), StoreError> {
        let text = digest.to_string();
        let write = |error| StoreError::write(path, text.len() as u64, error);
        let mut file = fs::File::create_new(path).map_err(write)?;
        file.write_all(text.as_bytes()).map_err(write)?;
        self.root.give(path)
    }

    /// A new path of this process's own, which goes when it goes.
    pub(super) fn upload(&self) -> PathBuf {
        self.folder.join(format!("upload-{}", self.uploads.fetch_add(1, Ordering::Relaxed)))
    }

    /// Where tags are kept until their manifests are gone.
    pub(super) fn withdrawn(&self) -> PathBuf {
        self.folder.join(WITHDRAWN)
    }

    /// Notes that names have changed, so that the next sync is not skipped.
    pub(super) fn touch(&self) {
        self.unsynced.store(true, Ordering::SeqCst);
    }

    /// Whether names have changed since the last sync.
    pub(super) fn is_touched(&self) -> bool {
        self.unsynced.load(Ordering::SeqCst)
    }

    /// Makes everything durable that this process has written to the root so far.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.unsynced.store(false, Ordering::SeqCst);
        nix::unistd::syncfs(&self.anchor).map_err(|error| {
            self.touch();
            crate::fs::with_path(self.anchor.path(), &error.into()).into()
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = retire(&self.root, &self.folder, &self.partial);
    }
}

/// The same in a root that is only looked at: with the complete content that dead processes have left, and live ones
/// have not committed.
pub(super) fn unfinished(root: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = absent(files(&root.join(PARTIAL), |_| true))?.unwrap_or_default();
    for folder in absent(fs::read_dir(root.join(STAGED)))?.into_iter().flatten() {
        // Its process may have ended meanwhile.
        let staged = absent(files(&folder?.path(), is_content))?.unwrap_or_default();
        found.extend(staged);
    }
    Ok(found)
}

/// The files of a folder with such names, and their bytes.
fn files(folder: &Path, is_meant: impl Fn(&str) -> bool) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && entry.file_name().to_str().is_some_and(&is_meant) {
            found.push((entry.path(), metadata.len()));
        }
    }
    Ok(found)
}

/// `sha256-<hex>`, the name of a file for content.
fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

fn is_content(name: &str) -> bool {
    name.split_once('-').is_some_and(|(algorithm, hex)| {
        Algorithm::from_name(algorithm).is_some_and(|algorithm| Digest::from_parts(algorithm, hex).is_ok())
    })
}

fn one_filesystem(first: &Path, second: &Path) -> Result<(), StoreError> {
    if fs::metadata(first)?.dev() == fs::metadata(second)?.dev() {
        return Ok(());
    }
    Err(StoreError::Filesystems { first: first.to_owned(), second: second.to_owned() })
}

/// Makes this process's own folder and locks it; the caller holds the lock of the folder above.
fn open_own(root: &Root, staged: &Path) -> Result<(PathBuf, fs::File), StoreError> {
    let mut number = 0_u64;
    let folder = loop {
        let folder = staged.join(number.to_string());
        match fs::create_dir(&folder) {
            Ok(()) => break folder,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(StoreError::write(&folder, 0, error)),
        }
    };
    root.give(&folder)?;
    let held = fs::File::open(&folder)?;
    held.lock()?;
    Ok((folder, held))
}

/// Cleans up after processes that died. What cannot be removed stays: it is in nobody's way.
fn retire_dead(root: &Root, staged: &Path, partial: &Path) -> io::Result<()> {
    for entry in fs::read_dir(staged)? {
        let path = entry?.path();
        let Ok(folder) = fs::File::open(&path) else { continue };
        if folder.try_lock().is_ok() {
            let _ = retire(root, &path, partial);
        }
    }
    Ok(())
}

/// Removes the folder of a process; complete content of its own becomes partial content, to be resumed.
fn retire(root: &Root, folder: &Path, partial: &Path) -> Result<(), StoreError> {
    restore(root, &folder.join(WITHDRAWN))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What has another name is somebody else's file too (`link_content`): it must not grow, nor change its owner.
        if entry.file_name().to_str().is_some_and(is_content) && entry.metadata()?.nlink() == 1 {
            // A link and not a rename: it must not replace a file that somebody writes to.
            let _ = fs::hard_link(entry.path(), partial.join(entry.file_name()));
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
            continue;
        }
        fs::remove_file(entry.path())?;
    }
    Ok(fs::remove_dir(folder)?)
}
