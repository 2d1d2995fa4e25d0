//! The one place that touches paths of a root: looks them up, makes folders, renames files in.
//!
//! No path that is used here passes through a symbolic link that leads out of the root, and what
//! is made belongs to whom the root belongs.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::StoreError;

/// A root on disk.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// As the user named it.
    path: PathBuf,
    /// Without symbolic links.
    real: PathBuf,
    /// Who gets new files, where that is not this process's own user anyway.
    owner: Option<(u32, u32)>,
}

impl Root {
    /// The root at `path`, which exists.
    pub(super) fn new(path: &Path) -> Result<Self, StoreError> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_dir() {
            return Err(StoreError::Kind { path: path.to_owned(), wanted: "folder" });
        }
        let owner = (metadata.uid(), metadata.gid());
        let owner = (nix::unistd::geteuid().is_root() && owner != (0, 0)).then_some(owner);
        Ok(Self { path: path.to_owned(), real: fs::canonicalize(path)?, owner })
    }

    /// The root as the user named it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is at a path below the root, if anything. Symbolic links are followed within the root.
    pub(super) fn look(&self, relative: &str) -> Result<Option<(PathBuf, Metadata)>, StoreError> {
        let path = self.path.join(relative);
        match straight(&path, OFlags::PATH) {
            Ok(Some(found)) => Ok(Some((path, found.metadata()?))),
            Ok(None) => Ok(None),
            Err(_) => self.look_along(relative),
        }
    }

    /// Opens the file at a path below the root, if there is one. Symbolic links are followed within the root.
    pub(super) fn open(&self, relative: &str) -> Result<Option<(fs::File, Metadata)>, StoreError> {
        let path = self.path.join(relative);
        // Without waiting for somebody at the other end, in case it is a pipe.
        let file = match straight(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Ok(found) => found,
            Err(_) => match self.look_along(relative)? {
                Some((path, metadata)) if metadata.is_file() => absent(fs::File::open(path))?,
                Some(_) => return Err(StoreError::Kind { path, wanted: "file" }),
                None => None,
            },
        };
        let Some(file) = file else { return Ok(None) };
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok(Some((file, metadata))) } else { Err(StoreError::Kind { path, wanted: "file" }) }
    }

    /// Looks at one part of a path after the other.
    fn look_along(&self, relative: &str) -> Result<Option<(PathBuf, Metadata)>, StoreError> {
        let mut path = self.path.clone();
        let mut metadata = None;
        for component in relative.split('/') {
            path.push(component);
            metadata = self.look_at(&path)?;
            if metadata.is_none() {
                return Ok(None);
            }
        }
        Ok(metadata.map(|metadata| (path, metadata)))
    }

    fn look_at(&self, path: &Path) -> Result<Option<Metadata>, StoreError> {
        let metadata = absent(fs::symlink_metadata(path))?;
        if !metadata.as_ref().is_some_and(Metadata::is_symlink) {
            return Ok(metadata);
        }
        let Some(target) = absent(fs::canonicalize(path))? else { return Ok(None) };
        if !target.starts_with(&self.real) {
            return Err(StoreError::Outside { path: path.to_owned(), target });
        }
        Ok(absent(fs::metadata(path))?)
    }

    /// Makes a folder and those above it, where they are missing; says whether it made any.
    pub(super) fn folder(&self, relative: &str) -> Result<bool, StoreError> {
        let path = self.path.join(relative);
        match straight(&path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(Some(_)) => return Ok(false),
            // No link stands before what is missing, which is the folder alone, most of the time.
            Ok(None) => {
                if let Some(made) = absent(fs::create_dir(&path)).transpose() {
                    return self.made(path, made);
                }
            }
            Err(_) => {}
        }
        if let Some((above, _)) = relative.rsplit_once('/') {
            self.folder(above)?;
        }
        if self.is_folder(&path)? {
            return Ok(false);
        }
        let made = fs::create_dir(&path);
        self.made(path, made)
    }

    /// What came of making a folder: whether it is a new one. Somebody else may have been faster.
    fn made(&self, path: PathBuf, result: io::Result<()>) -> Result<bool, StoreError> {
        match result {
            Ok(()) => {
                self.give(&path)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is_folder(&path)? => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(StoreError::Kind { path, wanted: "folder" })
            }
            Err(error) => Err(StoreError::write(&path, 0, error)),
        }
    }

    fn is_folder(&self, path: &Path) -> Result<bool, StoreError> {
        match self.look_at(path)? {
            Some(metadata) if metadata.is_dir() => Ok(true),
            Some(_) => Err(StoreError::Kind { path: path.to_owned(), wanted: "folder" }),
            None => Ok(false),
        }
    }

    /// Renames a finished file to its place below the root, over whatever file was there.
    pub(super) fn place(&self, from: &Path, relative: &str) -> Result<(), StoreError> {
        if let Some((folder, _)) = relative.rsplit_once('/') {
            self.folder(folder)?;
        }
        Ok(fs::rename(from, self.path.join(relative))?)
    }

    /// Whether a file can be part of the root without a change of owner or mode.
    pub(super) fn owns_as_is(&self, metadata: &Metadata) -> bool {
        let owner = (metadata.uid(), metadata.gid());
        let wanted = self.owner.unwrap_or_else(|| (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()));
        owner == wanted && metadata.mode() & 0o444 == 0o444
    }

    /// Hands a new file or folder to the root's owner.
    pub(super) fn give(&self, path: &Path) -> Result<(), StoreError> {
        if let Some((user, group)) = self.owner {
            fs_err::os::unix::fs::lchown(path, Some(user), Some(group))?;
        }
        Ok(())
    }
}

/// Opens what is at a path on whose way there is no symbolic link, in one call: a root is looked into so often that a
/// call for each part of each path would be most of the work. An error means that every part has to be looked at:
/// there is a link, it cannot be opened, or the kernel has no such call (before Linux 5.6, and in some sandboxes).
fn straight(path: &Path, flags: OFlags) -> io::Result<Option<fs::File>> {
    let found = openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    Ok(absent(found.map_err(io::Error::from))?.map(|file| fs::File::from_parts(file.into(), path)))
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
            assert!(root.look(path).unwrap().unwrap().1.is_file());
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
