//! hod's own folder in a root: who works on it, and what is not yet in its place.
//!
//! ```text
//! .hod/
//! ├── lock                        held shared by all that write, alone by who deletes
//! ├── referrers                   held by who changes an index of referrers
//! ├── removed                     names that are being removed, or were when the process was killed
//! ├── tls/                        the authority of a server
//! ├── partial/<algorithm>-<hex>   content on its way, locked while somebody writes to it
//! ├── hashed-<user>               files that were hashed, see `hashed`
//! ├── partial/bundle-<hex>        how far a bundle with that id was read that is being unpacked
//! └── staged/<number>/            of one process, locked while it lives
//!     ├── <algorithm>-<hex>       complete small content that waits for the next sync
//!     ├── link-<number>           links likewise
//!     ├── tag-<number>/           a tag likewise, with both of its links
//!     ├── upload-<number>         content whose digest is not known yet, or links that are going away
//!     └── withdrawn/              tags and manifests that are going away together
//! ```
//!
//! A partial file only ever grows or is removed, so who has hashed its first bytes and finds the
//! same file with the same length knows all of it. What a process leaves behind when it dies
//! becomes partial content again, to be hashed before anyone trusts it; what is somebody else's file
//! as well is let go. Tags and manifests that were to go together come back.
//!
//! There are no links here. Whoever may write to the root can put some, so nothing is opened through one, and whatever
//! hod has not made is left alone.

use std::collections::BTreeMap;
use std::io;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use rustix::fs::{FileType, OFlags};

use super::StoreError;
use super::layout::{BLOBS, REPOSITORIES};
use super::restore::{WITHDRAWN, restore};
use super::root::{OWN, Root, absent};
use hod_io::fs::{Child, Directory};
use hod_oci::{Algorithm, Digest};

/// Held shared by all that write, alone by who deletes.
pub(super) const LOCK: &str = ".hod/lock";
/// Content on its way.
pub(super) const PARTIAL: &str = ".hod/partial";
/// What waits for its place, in a directory for each process.
pub(super) const STAGED: &str = ".hod/staged";

/// The names that a removal takes, among hod's own files.
const REMOVED: &str = "removed";

/// What a process that writes holds of a root.
#[derive(Debug)]
pub(super) struct Staging {
    root: Root,
    hod: Directory,
    own: ProcessDirectory,
    partial: Directory,
    /// The file whose filesystem is synced; kept open so that no write error goes unreported.
    anchor: fs::File,
    /// Held for its lock.
    _lock: fs::File,
    numbers: AtomicU64,
    /// Whether nobody asks any more for the names that were removed.
    removal_ended: AtomicBool,
    blobs: Mutex<BTreeMap<Digest, u64>>,
    /// Whether names have changed since the last sync.
    unsynced: AtomicBool,
}

/// The directory of a process in `staged`.
#[derive(Debug)]
struct ProcessDirectory {
    name: Child,
    directory: Directory,
    /// Held for its lock.
    _held: fs::File,
}

impl Staging {
    /// Joins those that write to a root, and picks up what dead processes have left.
    pub(super) fn join(root: &Root) -> Result<Self, StoreError> {
        Self::with_lock(root, hod_io::fs::try_lock_shared, StoreError::Locked)
    }

    /// The same for a process that deletes, while no other writes.
    pub(super) fn join_alone(root: &Root) -> Result<Self, StoreError> {
        Self::with_lock(root, hod_io::fs::try_lock, StoreError::InUse)
    }

    fn with_lock(
        root: &Root,
        take: impl Fn(&fs::File) -> io::Result<bool>,
        refused: impl Fn(PathBuf) -> StoreError,
    ) -> Result<Self, StoreError> {
        let (blobs, repositories) = (root.make(BLOBS)?.0, root.make(REPOSITORIES)?.0);
        let (hod, partial, staged) = (root.make(OWN)?.0, root.make(PARTIAL)?.0, root.make(STAGED)?.0);
        let lock = root.open_or_create(&hod.child("lock"), OFlags::RDWR)?;
        if !take(&lock)? {
            return Err(refused(root.path().to_owned()));
        }
        for folder in [&blobs, &repositories, &partial, &staged] {
            one_filesystem(&hod, folder)?;
        }
        let queue = staged.file()?;
        hod_io::fs::lock(&queue)?;
        retire_dead(root, &staged, &partial)?;
        let own = ProcessDirectory::make(root, &staged)?;
        Ok(Self {
            root: root.clone(),
            anchor: hod.file()?,
            hod,
            own,
            partial,
            _lock: lock,
            numbers: AtomicU64::new(0),
            removal_ended: AtomicBool::new(false),
            blobs: Mutex::default(),
            unsynced: AtomicBool::new(false),
        })
    }

    /// Where content grows.
    pub(super) fn partial(&self, digest: &Digest) -> Child {
        self.partial.child(file_name(digest))
    }

    /// Where it stands how far a bundle was read.
    pub(super) fn passed(&self, bundle: &Digest) -> Child {
        self.partial.child(format!("bundle-{}", bundle.hex()))
    }

    /// A name among hod's own files for what has nothing to do with content.
    pub(super) fn private(&self, name: &str) -> Child {
        self.hod.child(name)
    }

    /// The file that is locked by who changes an index of referrers, and in which that is noted.
    pub(super) fn referrers(&self) -> Result<fs::File, StoreError> {
        self.root.open_alone(&self.hod.child("referrers"), OFlags::RDWR, 0)
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
    pub(super) fn staged(&self, digest: &Digest) -> Child {
        self.own.directory.child(file_name(digest))
    }

    /// What nobody is writing and nobody will miss but for the time it took: files and their bytes.
    pub(super) fn unfinished(&self) -> io::Result<Vec<(Child, u64)>> {
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

    /// Takes complete content, which waits from here on.
    ///
    /// Whoever asks in between whether it waits would write it once more, over this file, and the one that is placed
    /// last would be gone already. So all of it is done while nobody can ask.
    pub(super) fn add(&self, from: &Child, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let mut blobs = self.blobs();
        if blobs.contains_key(digest) {
            // The same bytes, and those may be on the disk already.
            return Ok(from.remove()?);
        }
        from.rename(&self.staged(digest))?;
        blobs.insert(*digest, size);
        Ok(())
    }

    /// Lets content be put in its place, if it still waits.
    pub(super) fn place(
        &self,
        digest: &Digest,
        put: impl FnOnce(&Child) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut blobs = self.blobs();
        if blobs.contains_key(digest) {
            put(&self.staged(digest))?;
            blobs.remove(digest);
        }
        Ok(())
    }

    /// Throws away what waits, because the system could not say that it is on the disk.
    pub(super) fn distrust(&self, digests: &[Digest]) {
        let mut blobs = self.blobs();
        for digest in digests {
            blobs.remove(digest);
            let _ = self.staged(digest).remove();
        }
    }

    /// Writes a link file that waits for its place.
    pub(super) fn link(&self, digest: &Digest) -> Result<Child, StoreError> {
        let link = self.own.directory.child(format!("link-{}", self.number()));
        self.write_link(&link, digest)?;
        Ok(link)
    }

    /// Writes a tag that waits for its place: a directory with its links, so that it appears as a whole.
    pub(super) fn tag(&self, digest: &Digest, links: &[String; 2]) -> Result<Child, StoreError> {
        let tag = self.own.directory.child(format!("tag-{}", self.number()));
        let top = self.root.make_child(&tag)?;
        for link in links {
            let (above, name) = link.rsplit_once('/').unwrap_or(("", link));
            let mut directory = top.clone();
            for part in above.split('/').filter(|part| !part.is_empty()) {
                directory = self.root.make_child(&directory.child(part))?;
            }
            self.write_link(&directory.child(name), digest)?;
        }
        Ok(tag)
    }

    fn write_link(&self, link: &Child, digest: &Digest) -> Result<(), StoreError> {
        let text = digest.to_string();
        let length = text.len() as u64;
        let mut file = self.root.create_new(link, OFlags::WRONLY, length)?;
        file.write_all(text.as_bytes()).map_err(|error| StoreError::write(file.path(), length, error))
    }

    /// A new number, higher than those before.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A new name of this process's own, which goes when it goes.
    pub(super) fn upload(&self) -> Child {
        self.own.directory.child(format!("upload-{}", self.number()))
    }

    /// Where tags and manifests are kept until all that go together are gone.
    pub(super) fn withdrawn(&self) -> Child {
        self.own.directory.child(WITHDRAWN)
    }

    /// The place for what is going away with that number, which is `folder` below the repositories.
    pub(super) fn withdraw_to(&self, number: u64, folder: &str) -> Result<Child, StoreError> {
        let mut directory = self.withdrawn().make_or_open(0o777)?.child(number.to_string()).make_or_open(0o777)?;
        let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        for part in above.split('/').filter(|part| !part.is_empty()) {
            directory = directory.child(part).make_or_open(0o777)?;
        }
        Ok(directory.child(name))
    }

    /// The file with the names that a removal takes.
    pub(super) fn removed(&self) -> Child {
        self.private(REMOVED)
    }

    /// Forgets what was removed when this process ends: until then it may be killed, and run again.
    pub(super) fn end_removal(&self) {
        self.removal_ended.store(true, Ordering::SeqCst);
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
            hod_io::fs::with_path(self.anchor.path(), &error.into()).into()
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = retire(&self.root, &self.own.name, &self.own.directory, &self.partial);
        if self.removal_ended.load(Ordering::SeqCst) {
            let _ = self.removed().remove();
        }
    }
}

/// The same in a root that is only looked at: with the complete content that dead processes have left, and live ones
/// have not committed.
pub(super) fn unfinished(root: &Root) -> Result<Vec<(Child, u64)>, StoreError> {
    let partial = root.directory(PARTIAL)?.map(|partial| files(&partial, |_| true)).transpose()?;
    let mut found = partial.unwrap_or_default();
    let Some(staged) = root.directory(STAGED)? else { return Ok(found) };
    for (name, kind) in staged.entries()? {
        // Its process may have ended meanwhile.
        if kind == FileType::Directory
            && let Some(folder) = absent(staged.child(name).directory())?
        {
            found.extend(absent(files(&folder, is_content))?.unwrap_or_default());
        }
    }
    Ok(found)
}

/// The files of a directory with such names, and their bytes.
fn files(folder: &Directory, is_meant: impl Fn(&str) -> bool) -> io::Result<Vec<(Child, u64)>> {
    let mut found = Vec::new();
    for (name, kind) in folder.entries()? {
        if kind == FileType::RegularFile && name.to_str().is_some_and(&is_meant) {
            let child = folder.child(name);
            if let Some(stat) = absent(child.stat())? {
                found.push((child, u64::try_from(stat.st_size).unwrap_or_default()));
            }
        }
    }
    Ok(found)
}

/// `sha256-<hex>`, the name of a file for content.
fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// Whether a file of that name may be in `partial`.
pub(super) fn is_partial(name: &str) -> bool {
    name.strip_prefix("bundle-").is_some_and(|hex| Digest::from_parts(Algorithm::Sha256, hex).is_ok())
        || is_content(name)
}

fn is_content(name: &str) -> bool {
    name.split_once('-').is_some_and(|(algorithm, hex)| {
        Algorithm::from_name(algorithm).is_some_and(|algorithm| Digest::from_parts(algorithm, hex).is_ok())
    })
}

fn one_filesystem(first: &Directory, second: &Directory) -> Result<(), StoreError> {
    if first.stat()?.st_dev == second.stat()?.st_dev {
        return Ok(());
    }
    Err(StoreError::Filesystems { first: first.path().to_owned(), second: second.path().to_owned() })
}

impl ProcessDirectory {
    /// Makes the directory and locks it; the caller holds the lock of the one above.
    fn make(root: &Root, staged: &Directory) -> Result<Self, StoreError> {
        let mut number = 0_u64;
        let name = loop {
            let name = staged.child(number.to_string());
            match name.make_directory() {
                Ok(()) => break name,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(StoreError::write(&name.path(), 0, error)),
            }
        };
        let directory = root.made(&name)?;
        let held = directory.file()?;
        hod_io::fs::lock(&held)?;
        Ok(Self { name, directory, _held: held })
    }
}

/// Cleans up after processes that died. What cannot be removed stays: it is in nobody's way.
fn retire_dead(root: &Root, staged: &Directory, partial: &Directory) -> io::Result<()> {
    for (name, kind) in staged.entries()? {
        // Nothing but directories is hod's own here, least of all a link.
        if kind != FileType::Directory {
            continue;
        }
        let name = staged.child(name);
        let Ok(folder) = name.directory() else { continue };
        let Ok(held) = folder.file() else { continue };
        if hod_io::fs::try_lock(&held).unwrap_or_default() {
            let _ = retire(root, &name, &folder, partial);
        }
    }
    Ok(())
}

/// Removes the directory of a process; complete content of its own becomes partial content, to be resumed.
fn retire(root: &Root, name: &Child, folder: &Directory, partial: &Directory) -> Result<(), StoreError> {
    if let Some(withdrawn) = absent(folder.child(WITHDRAWN).directory())? {
        restore(root, &withdrawn)?;
    }
    for (entry, kind) in folder.entries()? {
        let child = folder.child(&entry);
        // What has another name is somebody else's file too (`Store::link_in`): it must not grow, nor change its owner.
        if kind == FileType::RegularFile && entry.to_str().is_some_and(is_content) && child.stat()?.st_nlink == 1 {
            // A link and not a rename: it must not replace a file that somebody writes to.
            let _ = child.link(&partial.child(&entry));
        }
        child.remove_tree()?;
    }
    Ok(name.remove_directory()?)
}
