//! Locks of files and directories (flock(2)), and file systems that have none.
//!
//! NFS without a lock service, Lustre mounted without `flock` and some file systems in user space refuse every lock.
//! That is no other process, and is said as what it is. Whoever knows that no other process uses a place may go on: then
//! the locks hold among the tasks of this process alone.

use std::collections::HashMap;
use std::fs::TryLockError;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fs_err as fs;
use nix::errno::Errno;

/// How often somebody who waits looks again.
const POLL: Duration = Duration::from_millis(5);

static GOES_ON: AtomicBool = AtomicBool::new(false);
static HOLDERS: Mutex<Option<Holders>> = Mutex::new(None);

/// Who has locked what within this process, by device and inode: descriptors, of which one that is closed holds nothing.
type Holders = HashMap<(u64, u64), Vec<(RawFd, Share)>>;

/// Who else may have a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Nobody,
    Others,
}

/// A file system without locks.
#[derive(Debug, thiserror::Error)]
#[error("the file system of {} has no locks ({source})", path.display())]
pub struct NoLocksError {
    /// What was to be locked.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// Has this process go on where a file system has no locks.
pub fn go_on_without_locks() {
    GOES_ON.store(true, Ordering::Relaxed);
}

/// Locks a file for this process alone; says whether it was free.
///
/// # Errors
/// [`NoLocksError`], as the cause of an [`io::Error`], where the file system has no locks.
pub fn try_lock(file: &fs::File) -> io::Result<bool> {
    taken(file, Share::Nobody, file.file().try_lock())
}

/// The same for one of several that share it.
pub fn try_lock_shared(file: &fs::File) -> io::Result<bool> {
    taken(file, Share::Others, file.file().try_lock_shared())
}

/// Locks a file for this process alone, and waits for it.
pub fn lock(file: &fs::File) -> io::Result<()> {
    while !taken(file, Share::Nobody, file.file().lock().map_err(TryLockError::Error))? {
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Gives a lock back; to close the file does so, too.
pub fn unlock(file: &fs::File) -> io::Result<()> {
    match file.file().unlock() {
        Err(error) if is_absent(&error) && GOES_ON.load(Ordering::Relaxed) => {
            let (place, own) = place_of(file)?;
            let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = holders.as_mut().and_then(|all| all.get_mut(&place)) {
                found.retain(|(holder, _)| *holder != own);
            }
            Ok(())
        }
        unlocked => unlocked,
    }
}

fn taken(file: &fs::File, share: Share, answer: Result<(), TryLockError>) -> io::Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if !is_absent(&error) => {
            Err(io::Error::new(error.kind(), format!("cannot lock {}: {error}", file.path().display())))
        }
        Err(TryLockError::Error(_)) if GOES_ON.load(Ordering::Relaxed) => within_this_process(file, share),
        Err(TryLockError::Error(source)) => {
            Err(io::Error::new(source.kind(), NoLocksError { path: file.path().to_owned(), source }))
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ENOLCK | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL)
    )
}

fn within_this_process(file: &fs::File, share: Share) -> io::Result<bool> {
    let (place, own) = place_of(file)?;
    let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = holders.get_or_insert_default().entry(place).or_default();
    found.retain(|(holder, _)| *holder != own && is_open(*holder, place));
    let is_free = found.iter().all(|(_, other)| (share, *other) == (Share::Others, Share::Others));
    if is_free {
        found.push((own, share));
    }
    Ok(is_free)
}

/// A file as the system knows it, and the descriptor by which it is open.
fn place_of(file: &fs::File) -> io::Result<((u64, u64), RawFd)> {
    let found = file.metadata()?;
    Ok(((found.dev(), found.ino()), file.as_raw_fd()))
}

/// Whether a descriptor is open, and leads to that file. Another file may have got its number.
fn is_open(descriptor: RawFd, place: (u64, u64)) -> bool {
    std::fs::metadata(format!("/proc/self/fd/{descriptor}")).is_ok_and(|found| (found.dev(), found.ino()) == place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_locks_of_the_system_tasks_still_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let open = || fs::File::open(&path).unwrap();
        let (one, two, three) = (open(), open(), open());
        let alone = |file: &fs::File| within_this_process(file, Share::Nobody).unwrap();
        let shared = |file: &fs::File| within_this_process(file, Share::Others).unwrap();
        assert!(alone(&one) && alone(&one));
        assert!(!alone(&two) && !shared(&two));
        drop(one);
        assert!(shared(&two) && shared(&three) && !alone(&three));
        drop(two);
        assert!(alone(&three));
        let other = tempfile::NamedTempFile::new().unwrap();
        assert!(alone(&fs::File::open(other.path()).unwrap()));
    }
}
