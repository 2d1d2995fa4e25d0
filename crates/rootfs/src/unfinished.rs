//! The temporary directory of an unpacked image, renamed to the target when it is complete and durable.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use rustix::fs::Mode;

use super::rootfs::FOLDER;
use super::{Target, UnpackImageError};
use hod_io::fs::Directory;

/// A target on its way: a folder beside it, which nobody else uses.
#[derive(Debug)]
pub(super) struct PartialTarget {
    target: Target,
    path: PathBuf,
    published: AtomicBool,
    /// Held for its lock.
    _lock: fs::File,
}

impl PartialTarget {
    /// Makes the folder; what a killed run has left there is removed.
    pub(super) fn begin(target: &Target) -> Result<Self, UnpackImageError> {
        let path = target.path();
        if fs::symlink_metadata(path).is_ok() {
            return Err(UnpackImageError::Exists(path.to_owned()));
        }
        let name = path.file_name().ok_or_else(|| UnpackImageError::Exists(path.to_owned()))?.to_string_lossy();
        let beside = above(path).join(format!(".{name}.unpacking"));
        fs::create_dir_all(above(path))?;
        let lock = loop {
            let made = match fs::create_dir(&beside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                made => made.map(|()| true)?,
            };
            match hod_io::fs::lock_at(&beside, || open(&beside), hod_io::fs::try_lock) {
                Ok(Some(lock)) if made => break lock,
                // What a run has left that is dead.
                Ok(Some(_)) => remove_tree(&beside)?,
                Ok(None) => return Err(UnpackImageError::Busy(path.to_owned())),
                // Somebody else has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        };
        let unfinished = Self { target: target.clone(), path: beside, published: AtomicBool::new(false), _lock: lock };
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&unfinished.path, private)?;
        if unfinished.bundle().is_some() {
            fs::create_dir(unfinished.rootfs())?;
        }
        Ok(unfinished)
    }

    /// The folder on its way, if a bundle is wanted.
    pub(super) fn bundle(&self) -> Option<&Path> {
        matches!(self.target, Target::Bundle(_)).then_some(&self.path)
    }

    fn rootfs(&self) -> PathBuf {
        match self.target {
            Target::Bundle(_) => self.path.join("rootfs"),
            Target::Rootfs(_) => self.path.clone(),
        }
    }

    pub(super) fn open_rootfs(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(self.rootfs(), FOLDER, Mode::empty())?)
    }

    /// Gives it its name, with everything in it on the disk.
    pub(super) fn publish(&self) -> Result<(), UnpackImageError> {
        let path = self.target.path();
        hod_io::fs::sync_filesystem(&self.path)?;
        match hod_io::fs::rename_to_free(&self.path, path) {
            Ok(true) => {}
            Ok(false) => return Err(UnpackImageError::Exists(path.to_owned())),
            // A folder replaces none that has something in it.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => fs::rename(&self.path, path)?,
            Err(error) => return Err(error.into()),
        }
        self.published.store(true, Ordering::SeqCst);
        Ok(hod_io::fs::sync_directory(above(path))?)
    }
}

impl Drop for PartialTarget {
    fn drop(&mut self) {
        if !self.published.load(Ordering::SeqCst) {
            let _ = remove_tree(&self.path);
        }
    }
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a directory, and not one that a link leads to: that would not be what a run has left.
fn open(beside: &Path) -> io::Result<fs::File> {
    Directory::open(above(beside))?.child(beside.file_name().unwrap_or_default()).directory()?.file()
}

/// Removes a tree that may have folders which are closed to their owner.
fn remove_tree(path: &Path) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return fs::remove_dir_all(path);
    }
    for entry in walkdir::WalkDir::new(path).into_iter().filter_map(Result::ok).filter(|it| it.file_type().is_dir()) {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let _ = fs::set_permissions(entry.path(), open);
    }
    fs::remove_dir_all(path)
}
