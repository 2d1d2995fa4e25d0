//! The one place that touches paths of a root: looks them up, makes directories, renames files in.
//!
//! Others may write to a root, too: its owner, where hod runs as root. So no path is resolved twice: whatever is
//! changed is a name in a directory that is held open, and no path leads out of the root through a symbolic link. What
//! is made belongs to whom the root belongs.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::StoreError;
use hod_io::fs::{Child, Directory};

/// hod's own directory in a root.
pub(super) const OWN: &str = ".hod";
/// As many symbolic links as the kernel follows on one way (`path_resolution(7)`).
const LINKS: usize = 40;
/// A file to be read, without waiting for somebody at the other end in case it is a pipe.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A root on disk.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// As the user named it.
    path: PathBuf,
    /// Without symbolic links.
    real: PathBuf,
    /// Held by who writes. Who only reads looks each time what the path leads to.
    held: Option<Directory>,
    /// Who gets new files, where that is not this process's own user anyway.
    owner: Option<(u32, u32)>,
}

impl Root {
    /// The root at `path`, which exists, to be read.
    pub(super) fn new(path: &Path) -> Result<Self, StoreError> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_dir() {
            return Err(StoreError::Kind { path: path.to_owned(), wanted: "folder" });
        }
        Ok(Self { path: path.to_owned(), real: fs::canonicalize(path)?, held: None, owner: None })
    }

    /// The same to be written to.
    pub(super) fn hold(path: &Path) -> Result<Self, StoreError> {
        let root = Self::new(path)?;
        let held = Directory::open(path)?;
        let stat = held.stat()?;
        let owner = (stat.st_uid, stat.st_gid);
        let owner = (nix::unistd::geteuid().is_root() && owner != (0, 0)).then_some(owner);
        Ok(Self { held: Some(held), owner, ..root })
    }

    /// The root as the user named it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn top(&self) -> io::Result<Directory> {
        self.held.clone().map_or_else(|| Directory::open(&self.path), Ok)
    }

    /// What is at a path below the root, if anything. Symbolic links are followed within the root.
    pub(super) fn look(&self, relative: &str) -> Result<Option<Metadata>, StoreError> {
        let found = self.find(relative, OFlags::PATH)?;
        Ok(found.map(|found| found.metadata()).transpose()?)
    }

    /// Opens the file at a path below the root, if there is one. Symbolic links are followed within the root.
    pub(super) fn open(&self, relative: &str) -> Result<Option<(fs::File, Metadata)>, StoreError> {
        let other = || StoreError::Kind { path: self.path.join(relative), wanted: "file" };
        let file = match self.find(relative, READ) {
            // A socket cannot be opened.
            Err(StoreError::Io(_)) if self.look(relative)?.is_some_and(|found| !found.is_file()) => return Err(other()),
            found => found?,
        };
        let Some(file) = file else { return Ok(None) };
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok(Some((file, metadata))) } else { Err(other()) }
    }

    /// Opens the directory at a path below the root, if there is one. Symbolic links are followed within the root.
    pub(super) fn directory(&self, relative: &str) -> Result<Option<Directory>, StoreError> {
        let found = self.find(relative, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(found.map(Directory::from_file))
    }

    /// The name at a path below the root, if the directory is there that it is in. What it names may be a link.
    pub(super) fn child(&self, relative: &str) -> Result<Option<Child>, StoreError> {
        let Some((above, name)) = relative.rsplit_once('/') else { return Ok(Some(self.top()?.child(relative))) };
        Ok(self.directory(above)?.map(|above| above.child(name)))
    }

    fn find(&self, relative: &str, flags: OFlags) -> Result<Option<fs::File>, StoreError> {
        match self.straight(relative, flags) {
            Err(Errno::LOOP) => self.find_through_links(relative, flags),
            found => self.there(relative.as_ref(), found),
        }
    }

    /// What came of opening a path below the root: `None` where nothing is there.
    fn there(&self, relative: &Path, found: Result<fs::File, Errno>) -> Result<Option<fs::File>, StoreError> {
        match found {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(hod_io::fs::with_path(&self.path.join(relative), &error.into()).into()),
        }
    }

    /// Opens what is at a path on whose way there is no symbolic link, in one call: a root is looked into so often that
    /// a call for each part of each path would be most of the work.
    fn straight(&self, relative: &str, flags: OFlags) -> Result<fs::File, Errno> {
        if let Some(held) = &self.held {
            return held.open_below(relative.as_ref(), flags);
        }
        let path = self.path.join(relative);
        match openat2(CWD, &path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(file) => Ok(fs::File::from_parts(file.into(), path)),
            // The root itself may be behind a link.
            Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => Err(Errno::LOOP),
            Err(error) => Err(error),
        }
    }

    /// Replaces link after link by what it stands for, as long as that is below the root.
    fn find_through_links(&self, relative: &str, flags: OFlags) -> Result<Option<fs::File>, StoreError> {
        let top = self.top()?;
        let mut way = PathBuf::from(relative);
        for _ in 0..=LINKS {
            match top.open_below(&way, flags) {
                Err(Errno::LOOP) => {}
                found => return self.there(&way, found),
            }
            let Some((link, rest)) = self.first_link(&top, &way)? else { continue };
            let path = self.path.join(&link);
            if link.starts_with(OWN) {
                return Err(StoreError::OwnLink { path });
            }
            let Some(target) = absent(fs::canonicalize(&path))? else { return Ok(None) };
            let Ok(inside) = target.strip_prefix(&self.real) else { return Err(StoreError::Outside { path, target }) };
            // Without a slash at the end, which would stand for a directory.
            way = inside.components().chain(rest.components()).collect();
            if way.as_os_str().is_empty() {
                way.push(".");
            }
        }
        Err(hod_io::fs::with_path(&self.path.join(relative), &Errno::LOOP.into()).into())
    }

    /// The first symbolic link on a way, and what comes after it.
    fn first_link(&self, top: &Directory, way: &Path) -> Result<Option<(PathBuf, PathBuf)>, StoreError> {
        let mut link = PathBuf::new();
        let mut parts = way.components();
        while let Some(part) = parts.next() {
            link.push(part);
            let found = top.open_below(&link, OFlags::PATH | OFlags::NOFOLLOW);
            let Some(found) = self.there(&link, found)? else { break };
            if found.metadata()?.is_symlink() {
                return Ok(Some((link, parts.as_path().to_owned())));
            }
        }
        Ok(None)
    }

    /// Makes a directory and those above it, where they are missing; says whether it made any.
    pub(super) fn folder(&self, relative: &str) -> Result<bool, StoreError> {
        Ok(self.make(relative)?.1)
    }

    /// The same, and opens it.
    pub(super) fn make(&self, relative: &str) -> Result<(Directory, bool), StoreError> {
        match self.directory(relative)? {
            Some(there) => Ok((there, false)),
            None => self.make_new(relative),
        }
    }

    /// The same for a directory that most likely is not there.
    fn make_new(&self, relative: &str) -> Result<(Directory, bool), StoreError> {
        let child = match relative.rsplit_once('/') {
            Some((above, name)) => self.make(above)?.0.child(name),
            None => self.top()?.child(relative),
        };
        match child.make_directory() {
            Ok(()) => {}
            // It is there after all, or something of another kind is.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let other = || StoreError::Kind { path: self.path.join(relative), wanted: "folder" };
                return Ok((self.directory(relative)?.ok_or_else(other)?, false));
            }
            Err(error) => return Err(StoreError::write(&child.path(), 0, error)),
        }
        Ok((self.made(&child)?, true))
    }

    /// Makes a directory where nothing is.
    pub(super) fn make_child(&self, child: &Child) -> Result<Directory, StoreError> {
        child.make_directory().map_err(|error| StoreError::write(&child.path(), 0, error))?;
        self.made(child)
    }

    /// Opens a directory that was just made, and hands it to the root's owner.
    pub(super) fn made(&self, child: &Child) -> Result<Directory, StoreError> {
        let made = child.directory()?;
        if let Some((user, group)) = self.owner {
            made.give(user, group)?;
        }
        Ok(made)
    }

    /// Renames a finished file or directory to its place below the root, over whatever file was there.
    pub(super) fn place(&self, from: &Child, relative: &str) -> Result<(), StoreError> {
        let to = match relative.rsplit_once('/') {
            // Of a blob or link, which has a directory for itself.
            Some((above, name)) => self.make_new(above)?.0.child(name),
            None => self.top()?.child(relative),
        };
        Ok(from.rename(&to)?)
    }

    /// Whether a file can be part of the root without a change of owner or mode.
    pub(super) fn owns_as_is(&self, metadata: &Metadata) -> bool {
        let owner = (metadata.uid(), metadata.gid());
        let wanted = self.owner.unwrap_or_else(|| (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()));
        owner == wanted && metadata.mode() & 0o444 == 0o444
    }

    /// Hands a file that was just made to the root's owner.
    pub(super) fn give(&self, file: &fs::File) -> Result<(), StoreError> {
        if let Some((user, group)) = self.owner {
            hod_io::fs::give_file(file, user, group)?;
        }
        Ok(())
    }

    /// Opens a file, or makes it and hands it to the root's owner.
    pub(super) fn open_or_create(&self, child: &Child, flags: OFlags) -> Result<fs::File, StoreError> {
        let (file, is_new) = child.open_or_create(flags).map_err(|error| own_link(child, 0, error))?;
        if is_new {
            self.give(&file)?;
        } else if !file.metadata()?.is_file() {
            return Err(StoreError::Kind { path: child.path(), wanted: "file" });
        }
        Ok(file)
    }

    /// The same for a file that is written to and that may be there already: one with another name elsewhere is not
    /// hod's alone, whoever has made that name, and a new file takes its place. `needed` bytes will be written to it.
    pub(super) fn open_alone(&self, child: &Child, flags: OFlags, needed: u64) -> Result<fs::File, StoreError> {
        loop {
            let (file, is_new) = child.open_or_create(flags).map_err(|error| own_link(child, needed, error))?;
            if is_new {
                self.give(&file)?;
                return Ok(file);
            }
            let metadata = file.metadata()?;
            if metadata.is_file() && metadata.nlink() == 1 {
                return Ok(file);
            }
            // Only that one: whoever has finished with it may have made way for a new file.
            if child.is(&metadata)? {
                absent(child.remove())?;
            }
        }
    }

    /// Makes a file, to which `needed` bytes will be written, and hands it to the root's owner.
    pub(super) fn create_new(&self, child: &Child, flags: OFlags, needed: u64) -> Result<fs::File, StoreError> {
        let file = child.create_new(flags).map_err(|error| StoreError::write(&child.path(), needed, error))?;
        self.give(&file)?;
        Ok(file)
    }
}

/// Why one of hod's own files cannot be opened: where somebody has put a link there, that says more.
fn own_link(child: &Child, needed: u64, error: io::Error) -> StoreError {
    match child.stat() {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            StoreError::OwnLink { path: child.path() }
        }
        _ => StoreError::write(&child.path(), needed, error),
    }
}

/// `None` for what does not exist.
pub(super) fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_links_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("root"), folder.path().join("outside"));
        for path in [&inside, &outside, &inside.join("real")] {
            fs::create_dir(path).unwrap();
        }
        fs_err::os::unix::fs::symlink(&outside, inside.join("out")).unwrap();
        fs_err::os::unix::fs::symlink("real", inside.join("in")).unwrap();
        fs_err::os::unix::fs::symlink("nowhere", inside.join("broken")).unwrap();
        let root = Root::new(&inside).unwrap();

        assert!(root.folder("in/a/b").unwrap());
        assert!(!root.folder("real/a/b").unwrap());
        assert!(matches!(root.folder("out/a"), Err(StoreError::Outside { .. })));
        assert!(matches!(root.look("out"), Err(StoreError::Outside { .. })));
        assert!(root.look("broken").unwrap().is_none());
        fs::write(inside.join("real/file"), "content").unwrap();
        fs::write(outside.join("file"), "secret").unwrap();
        for path in ["real/file", "in/file"] {
            let (file, metadata) = root.open(path).unwrap().unwrap();
            assert_eq!((io::read_to_string(file).unwrap().as_str(), metadata.len()), ("content", 7));
            assert!(root.look(path).unwrap().unwrap().is_file());
        }
        assert!(matches!(root.open("out/file"), Err(StoreError::Outside { .. })));
        assert!(root.open("broken").unwrap().is_none());
        assert!(root.open("absent/file").unwrap().is_none());
        assert!(matches!(root.folder("broken"), Err(StoreError::Kind { .. } | StoreError::Io(_))));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was made there");
    }

    #[test]
    fn a_file_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let root = Root::new(folder.path()).unwrap();
        assert!(matches!(root.folder("file/a"), Err(StoreError::Kind { .. })));
        assert!(root.look("file/a").unwrap().is_none());
        assert!(root.open("file/a").unwrap().is_none());
    }

    #[test]
    fn what_is_no_file_is_not_opened_as_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let root = Root::new(folder.path()).unwrap();
        for path in ["folder", "pipe", "socket"] {
            assert!(matches!(root.open(path), Err(StoreError::Kind { wanted: "file", .. })), "{path}");
        }
    }

    #[test]
    fn a_root_behind_a_link_is_whatever_the_link_stands_for_now() {
        let folder = tempfile::tempdir().unwrap();
        let (link, of) = (folder.path().join("now"), |name: &str| folder.path().join(name));
        for name in ["one", "two"] {
            fs::create_dir(of(name)).unwrap();
            fs::write(of(name).join("file"), name).unwrap();
        }
        fs_err::os::unix::fs::symlink("one", &link).unwrap();
        let root = Root::new(&link).unwrap();
        let content = || io::read_to_string(root.open("file").unwrap().unwrap().0).unwrap();
        assert_eq!(content(), "one");
        fs::remove_file(&link).unwrap();
        fs_err::os::unix::fs::symlink("two", &link).unwrap();
        assert_eq!(content(), "two");
    }
}
