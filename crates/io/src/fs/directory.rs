//! Directories that are held open, and names in them: what is done with a name is done in that directory.
//!
//! Every system call resolves a path anew. Whoever may write to a directory on its way can change where it leads
//! between two calls, for example to files that only root may touch. A directory that is held open stays the one that
//! it was, and its names are never followed through symbolic links.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// How deep a tree may be that is removed: deeper than any that hod makes, and less than a process may open files.
const DEPTH: usize = 200;
/// What every file is opened with: not through a link, and without waiting for the other end of a pipe.
const SAFE: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// A directory as a place for names, which needs no permission to read it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory that is held open. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Directory {
    held: Arc<OwnedFd>,
    /// Where it was, for messages alone.
    path: PathBuf,
}

/// A name in a directory that is held open.
#[derive(Debug, Clone)]
pub struct Child {
    directory: Directory,
    name: OsString,
}

impl Directory {
    /// Opens the directory that a path leads to, through whatever links the user has there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let held =
            rustix::fs::open(path, PLACE, Mode::empty()).map_err(|error| failed("open directory", path, error))?;
        Ok(Self { held: Arc::new(held), path: path.to_owned() })
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name in this directory, which need not be there. It MUST be one name.
    pub fn child(&self, name: impl AsRef<OsStr>) -> Child {
        Child { directory: self.clone(), name: name.as_ref().to_owned() }
    }

    /// Opens what is at a path below this directory.
    ///
    /// # Errors
    /// [`Errno::LOOP`] where a symbolic link is on the way, or at its end.
    pub fn open_below(&self, relative: &Path, flags: OFlags) -> Result<fs::File, Errno> {
        let opened = beneath(self.held.as_fd(), relative, flags)?;
        Ok(fs::File::from_parts(opened.into(), self.path.join(relative)))
    }

    /// A name below this directory, in one that is there.
    pub fn child_below(&self, relative: &str) -> io::Result<Child> {
        let Some((above, name)) = relative.rsplit_once('/') else { return Ok(self.child(relative)) };
        let opened = self.open_below(above.as_ref(), OFlags::PATH | OFlags::DIRECTORY);
        let above = opened.map_err(|error| failed("open directory", &self.path.join(above), error))?;
        Ok(Self::from_file(above).child(name))
    }

    /// A directory that was opened as a file.
    pub fn from_file(file: fs::File) -> Self {
        let (file, path) = file.into_parts();
        Self { held: Arc::new(file.into()), path }
    }

    /// This directory as a file, to be locked or synced.
    pub fn file(&self) -> io::Result<fs::File> {
        Ok(fs::File::from_parts(self.reopen()?.into(), &self.path))
    }

    fn reopen(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.held, ".", flags, Mode::empty());
        opened.map_err(|error| failed("open directory", &self.path, error))
    }

    /// What is known of it.
    pub fn stat(&self) -> io::Result<Stat> {
        rustix::fs::fstat(&self.held).map_err(|error| failed("query metadata of", &self.path, error))
    }

    /// The names in it, sorted, with the kinds of what they name.
    pub fn entries(&self) -> io::Result<Vec<(OsString, FileType)>> {
        let failed = |error| failed("read directory", &self.path, error);
        let mut found = Vec::new();
        for entry in Dir::new(self.reopen()?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every filesystem tells.
                FileType::Unknown => match self.child(name).stat() {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                },
                kind => kind,
            };
            found.push((name.to_owned(), kind));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }

    /// Everything below that is no directory: paths below this directory, with their kinds. Links are not followed.
    pub fn files_below(&self) -> io::Result<Vec<(PathBuf, FileType)>> {
        let mut found = Vec::new();
        let mut open = vec![(self.clone(), PathBuf::new())];
        while let Some((directory, way)) = open.pop() {
            for (name, kind) in directory.entries()? {
                let path = way.join(&name);
                if kind == FileType::Directory {
                    let deeper = directory.child(name).directory();
                    match deeper {
                        Ok(deeper) => open.push((deeper, path)),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                } else {
                    found.push((path, kind));
                }
            }
        }
        Ok(found)
    }

    /// Gives a directory that this process has just made to another owner.
    ///
    /// # Errors
    /// Where it is another directory by now, which somebody has put in the place of the new one.
    pub fn give(&self, owner: u32, group: u32) -> io::Result<()> {
        let stat = self.stat()?;
        if stat.st_uid != nix::unistd::geteuid().as_raw() || !self.entries()?.is_empty() {
            let problem = format!("{}: another process replaced this directory at the same time", self.path.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, problem));
        }
        give(self.held.as_fd(), owner, group).map_err(|error| failed("change the owner of", &self.path, error))
    }

    /// Removes everything in it; directories that are too deep are an error.
    fn clear(&self, depth: usize) -> io::Result<()> {
        for (name, kind) in self.entries()? {
            let child = self.child(name);
            if kind == FileType::Directory { child.remove_tree_to(depth)? } else { child.remove()? }
        }
        Ok(())
    }
}

impl Child {
    /// The directory that it is in.
    pub const fn parent(&self) -> &Directory {
        &self.directory
    }

    /// The name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Where it is, for messages, and for those who only read.
    pub fn path(&self) -> PathBuf {
        self.directory.path.join(&self.name)
    }

    fn failed(&self, what: &str, error: Errno) -> io::Error {
        failed(what, &self.path(), error)
    }

    /// Opens the file, which must be there.
    pub fn open(&self, flags: OFlags) -> io::Result<fs::File> {
        let file = rustix::fs::openat(&self.directory.held, &self.name, flags | SAFE, Mode::empty());
        Ok(fs::File::from_parts(file.map_err(|error| self.failed("open file", error))?.into(), self.path()))
    }

    /// Makes the file, which must not be there: it is this process's own.
    pub fn create_new(&self, flags: OFlags) -> io::Result<fs::File> {
        self.create_new_as(flags, 0o666)
    }

    /// The same with a mode, from its first moment on.
    pub fn create_new_as(&self, flags: OFlags, mode: u32) -> io::Result<fs::File> {
        let flags = flags | OFlags::CREATE | OFlags::EXCL | SAFE;
        let file = rustix::fs::openat(&self.directory.held, &self.name, flags, Mode::from_raw_mode(mode));
        Ok(fs::File::from_parts(file.map_err(|error| self.failed("create file", error))?.into(), self.path()))
    }

    /// Opens the file, or makes it; says whether it is new.
    pub fn open_or_create(&self, flags: OFlags) -> io::Result<(fs::File, bool)> {
        loop {
            match self.create_new(flags) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok((made?, true)),
            }
            match self.open(flags) {
                // Somebody has removed it in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return Ok((opened?, false)),
            }
        }
    }

    /// What is known of it; of a link itself.
    pub fn stat(&self) -> io::Result<Stat> {
        rustix::fs::statat(&self.directory.held, &self.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed("query metadata of", error))
    }

    /// Whether this is a name of that file.
    pub fn is(&self, file: &Metadata) -> io::Result<bool> {
        match self.stat() {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (file.dev(), file.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves it, over whatever file was there.
    pub fn rename(&self, to: &Self) -> io::Result<()> {
        let renamed = rustix::fs::renameat(&self.directory.held, &self.name, &to.directory.held, &to.name);
        renamed.map_err(|error| self.failed(&format!("rename to `{}` the file", to.path().display()), error))
    }

    /// Gives the file one more name, where nothing may be.
    pub fn link(&self, to: &Self) -> io::Result<()> {
        let linked =
            rustix::fs::linkat(&self.directory.held, &self.name, &to.directory.held, &to.name, AtFlags::empty());
        linked.map_err(|error| self.failed(&format!("link to `{}` the file", to.path().display()), error))
    }

    /// The same for the file at any path.
    pub fn link_from(&self, file: &Path) -> io::Result<()> {
        let linked = rustix::fs::linkat(CWD, file, &self.directory.held, &self.name, AtFlags::empty());
        linked.map_err(|error| failed(&format!("link to `{}` the file", self.path().display()), file, error))
    }

    /// Removes the file.
    pub fn remove(&self) -> io::Result<()> {
        let removed = rustix::fs::unlinkat(&self.directory.held, &self.name, AtFlags::empty());
        removed.map_err(|error| self.failed("remove file", error))
    }

    /// Removes the directory, which must be empty.
    pub fn remove_directory(&self) -> io::Result<()> {
        let removed = rustix::fs::unlinkat(&self.directory.held, &self.name, AtFlags::REMOVEDIR);
        removed.map_err(|error| self.failed("remove directory", error))
    }

    /// Removes the file, or the directory with all that is in it.
    pub fn remove_tree(&self) -> io::Result<()> {
        match self.remove() {
            // POSIX has another error for a directory than Linux.
            Err(error) if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::PermissionDenied) => {
                self.remove_tree_to(DEPTH)
            }
            removed => removed,
        }
    }

    fn remove_tree_to(&self, depth: usize) -> io::Result<()> {
        let deeper =
            depth.checked_sub(1).ok_or_else(|| self.failed("remove deeply nested directory", Errno::NAMETOOLONG))?;
        self.directory()?.clear(deeper)?;
        self.remove_directory()
    }

    /// Opens the directory, which must be there.
    pub fn directory(&self) -> io::Result<Directory> {
        let held = rustix::fs::openat(&self.directory.held, &self.name, PLACE | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|error| self.failed("open directory", error))?;
        Ok(Directory { held: Arc::new(held), path: self.path() })
    }

    /// Makes the directory with a mode where it is missing, and opens it.
    pub fn make_or_open(&self, mode: u32) -> io::Result<Directory> {
        match self.make_directory_as(mode) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.directory(),
        }
    }

    /// Makes the directory, which must not be there.
    pub fn make_directory(&self) -> io::Result<()> {
        self.make_directory_as(0o777)
    }

    /// The same with a mode, from its first moment on.
    pub fn make_directory_as(&self, mode: u32) -> io::Result<()> {
        rustix::fs::mkdirat(&self.directory.held, &self.name, Mode::from_raw_mode(mode))
            .map_err(|error| self.failed("create directory", error))
    }
}

/// Opens the file at a path to be read: not through a link, and without waiting where it is a pipe.
pub fn open_plain(path: &Path) -> io::Result<fs::File> {
    Directory::open(super::folder_of(path))?.child(path.file_name().unwrap_or_default()).open(OFlags::RDONLY)
}

/// Gives a file that this process has made to another owner.
pub fn give_file(file: &fs::File, owner: u32, group: u32) -> io::Result<()> {
    give(file.file().as_fd(), owner, group).map_err(|error| failed("change the owner of", file.path(), error))
}

fn give(file: BorrowedFd<'_>, owner: u32, group: u32) -> Result<(), Errno> {
    let (owner, group) = (rustix::fs::Uid::from_raw(owner), rustix::fs::Gid::from_raw(group));
    // Unlike `fchown`, this takes directories that are open as places.
    rustix::fs::chownat(file, "", Some(owner), Some(group), AtFlags::EMPTY_PATH)
}

/// Opens what is at a path below a directory, if no symbolic link is on its way, in one call: a root is looked into so
/// often that a call for each part of each path would be most of the work.
fn beneath(directory: BorrowedFd<'_>, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(directory, relative, flags, Mode::empty(), resolve) {
        // The kernel has no such call (before Linux 5.6), or the sandbox lets nobody use it.
        Err(Errno::NOSYS | Errno::PERM) => by_steps(directory, relative, flags),
        opened => opened,
    }
}

/// The same with a call for each part of the path.
fn by_steps(directory: BorrowedFd<'_>, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut parts = relative.iter().peekable();
    let mut held: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        if part == ".." || part == "/" {
            return Err(Errno::XDEV);
        }
        let at = held.as_ref().map_or(directory, OwnedFd::as_fd);
        let is_last = parts.peek().is_none();
        let opened =
            rustix::fs::openat(at, part, if is_last { flags } else { PLACE } | OFlags::NOFOLLOW, Mode::empty());
        let is_link = || {
            let stat = rustix::fs::statat(at, part, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        let opened = match opened {
            Err(Errno::NOTDIR) if is_link() => return Err(Errno::LOOP),
            opened => opened?,
        };
        if is_last && flags.contains(OFlags::PATH) && !flags.contains(OFlags::NOFOLLOW) {
            let stat = rustix::fs::fstat(&opened)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                return Err(Errno::LOOP);
            }
        }
        held = Some(opened);
    }
    held.ok_or(Errno::NOENT)
}

fn failed(what: &str, path: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("failed to {what} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_followed_on_any_way() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "x").unwrap();
        for (name, target) in [("link", "a"), ("a/link", "b"), ("a/b/link", "file"), ("a/b/broken", "none")] {
            fs_err::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        }
        let top = Directory::open(folder.path()).unwrap();
        for open in [beneath, by_steps] {
            let error = |path: &str, flags| open(top.held.as_fd(), Path::new(path), flags).err();
            for path in ["a", "a/b", "a/b/file"] {
                assert_eq!(error(path, OFlags::PATH), None, "{path}");
                assert_eq!(error(path, OFlags::RDONLY), None, "{path}");
            }
            for path in ["link", "link/b", "link/b/file", "a/link", "a/link/file", "a/b/link", "a/b/broken"] {
                for flags in [OFlags::PATH, OFlags::RDONLY, PLACE] {
                    assert_eq!(error(path, flags), Some(Errno::LOOP), "{path}");
                }
            }
            assert_eq!(error("a/b/link", OFlags::PATH | OFlags::NOFOLLOW), None);
            assert_eq!(error("none", OFlags::PATH), Some(Errno::NOENT));
            assert_eq!(error("a/none/x", OFlags::PATH), Some(Errno::NOENT));
            assert_eq!(error("a/b/file/x", OFlags::PATH), Some(Errno::NOTDIR));
            assert_eq!(error("a/b/file", PLACE), Some(Errno::NOTDIR));
            for path in ["../x", "a/../..", "/etc"] {
                assert_eq!(error(path, OFlags::PATH), Some(Errno::XDEV), "{path}");
            }
        }
    }

    #[test]
    fn a_tree_is_removed_and_nothing_that_it_links_to() {
        let folder = tempfile::tempdir().unwrap();
        let (outside, tree) = (folder.path().join("outside"), folder.path().join("tree"));
        for path in [&outside, &tree.join("a/b")] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(outside.join("file"), "kept").unwrap();
        fs::write(tree.join("a/file"), "").unwrap();
        fs_err::os::unix::fs::symlink(&outside, tree.join("a/b/out")).unwrap();
        nix::unistd::mkfifo(&tree.join("a/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs_err::os::unix::fs::symlink(&outside, folder.path().join("link")).unwrap();
        let top = Directory::open(folder.path()).unwrap();
        for name in ["tree", "link"] {
            top.child(name).remove_tree().unwrap();
        }
        assert_eq!(top.entries().unwrap().len(), 1);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
        let deep = folder.path().join("d/".repeat(DEPTH + 1));
        fs::create_dir_all(&deep).unwrap();
        assert!(top.child("d").remove_tree().is_err());
        assert!(deep.exists());
    }

    #[test]
    fn a_directory_that_was_held_is_meant_whatever_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("mine")).unwrap();
        fs::create_dir(path("other")).unwrap();
        let mine = Directory::open(&path("mine")).unwrap();
        fs::rename(path("mine"), path("moved")).unwrap();
        fs_err::os::unix::fs::symlink("other", path("mine")).unwrap();
        mine.child("file").create_new(OFlags::WRONLY).unwrap();
        assert!(path("moved/file").exists() && !path("other/file").exists());
    }

    #[test]
    fn what_is_not_this_process_s_own_is_not_given_away() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("full")).unwrap();
        fs::write(folder.path().join("full/file"), "").unwrap();
        let full = Directory::open(folder.path()).unwrap().child("full").directory().unwrap();
        let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        assert_eq!(full.give(user, group).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        full.child("file").remove().unwrap();
        full.give(user, group).unwrap();
    }
}
