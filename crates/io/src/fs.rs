//! What the standard library lacks for files that have to survive a crash.

mod behind;
mod block;
mod cold;
mod direct;
mod directory;
mod locks;
mod numbered;
mod partial;
mod removal;
mod replace;
mod resumed;
mod spelling;
mod stretch;

use std::io;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;

pub use behind::WriteBehind;
use block::ALIGNMENT;
pub use block::Block;
pub use cold::ColdFile;
pub(crate) use direct::DirectFile;
pub use directory::{Child, Directory, give_file, open_plain};
pub use locks::{NoLocksError, go_on_without_locks, lock, try_lock, try_lock_shared, unlock};
pub use numbered::{remove_numbered, write_numbered};
pub use partial::PartialFile;
pub use removal::Removal;
pub use replace::{write_atomically, write_atomically_as, write_atomically_in};
pub use resumed::ResumedFile;
pub use spelling::other_spelling;
pub use stretch::{FileRange, RangedFile};

/// The longest configuration file that is read, in bytes: what is in it takes many times that in memory.
pub const CONFIG_LIMIT: u64 = 2 * 1024 * 1024;

/// Reads a configuration file as text.
pub fn read_config(path: &Path) -> io::Result<String> {
    let bytes = read_within(path, CONFIG_LIMIT)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{} is not valid UTF-8", path.display())))
}

/// Reads the first bytes of a file, `most` and no more: it may be somebody else's, and of any length.
pub fn read_head(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file of somebody else's, which is no longer than `limit`.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] where it is, and then little memory was taken to find that out.
pub fn read_within(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let bytes = read_head(path, limit.saturating_add(1))?;
    if bytes.len() as u64 <= limit {
        return Ok(bytes);
    }
    let problem = format!("{} has more than {limit} bytes, the limit for such a file", path.display());
    Err(io::Error::new(io::ErrorKind::FileTooLarge, problem))
}

/// Takes a file for one writer alone, with whatever a writer that was killed has left in it.
///
/// The claim ends when the file is closed.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] where another process has it, and those of [`open_own`].
pub fn claim(path: &Path) -> io::Result<fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    loop {
        let file = lock_at(path, || open_own(path, options.clone()), try_lock)?.ok_or_else(|| {
            let problem = format!("{}: another process is writing it", path.display());
            io::Error::new(io::ErrorKind::ResourceBusy, problem)
        })?;
        // A run that was killed between two names has left one: the other is of a file that is whole.
        if file.metadata()?.nlink() <= 1 {
            return Ok(file);
        }
        fs::remove_file(path)?;
    }
}

/// Makes a file durable that is complete, and gives it its name in the same directory.
pub fn publish(file: &fs::File, to: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(file.path(), to)?;
    sync_directory(folder_of(to))
}

/// Opens a file or directory and locks it; `None` where `lock` says that somebody else has it.
pub fn lock_at<E: From<io::Error>>(
    path: &Path,
    open: impl FnMut() -> Result<fs::File, E>,
    lock: impl Fn(&fs::File) -> io::Result<bool>,
) -> Result<Option<fs::File>, E> {
    lock_where(open, lock, |file| is_at(file, path))
}

/// The same for a file that is where it should be as long as `is_there` says so.
///
/// Whoever had it may have renamed or removed it after it was opened and before it was locked. Such a lock keeps nobody
/// away, and what is written goes into content that is in its place: the file is opened again.
fn lock_where<E: From<io::Error>>(
    mut open: impl FnMut() -> Result<fs::File, E>,
    lock: impl Fn(&fs::File) -> io::Result<bool>,
    mut is_there: impl FnMut(&fs::File) -> io::Result<bool>,
) -> Result<Option<fs::File>, E> {
    loop {
        let file = open()?;
        #[cfg(any(test, feature = "testing"))]
        pause::here();
        if !lock(&file)? {
            return Ok(None);
        }
        if is_there(&file)? {
            return Ok(Some(file));
        }
    }
}

/// Whether a path leads to a file that was opened by it.
pub(crate) fn is_at(file: &fs::File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok(is_same_file(&own, &found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A moment between two system calls, at which a test has somebody else do something.
#[cfg(any(test, feature = "testing"))]
pub mod pause {
    use std::cell::RefCell;

    type Work = Box<dyn FnOnce()>;

    thread_local! {
        static WORK: RefCell<Option<Work>> = const { RefCell::new(None) };
    }

    /// Has this done once, when this thread comes to the next such moment.
    pub fn with(work: impl FnOnce() + 'static) {
        WORK.set(Some(Box::new(work)));
    }

    /// Does what waits for this moment.
    pub fn here() {
        if let Some(work) = WORK.take() {
            work();
        }
    }
}

/// Opens a file under a name that hod has thought of, and not the user.
///
/// # Errors
/// Where that is a symbolic link: whoever made it would choose the file that is written.
pub fn open_own(path: &Path, mut options: std::fs::OpenOptions) -> io::Result<fs::File> {
    options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    fs::OpenOptions::from_options(options).open(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            let problem =
                format!("{} is a symbolic link, and hod does not write through links: remove it", path.display());
            io::Error::new(io::ErrorKind::InvalidInput, problem)
        }
        _ => error,
    })
}

/// Makes the names in a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Makes everything durable that was written to the filesystem that holds `path`.
///
/// One call stands for an `fsync` of each file; since Linux 5.8 it reports write errors as that does.
pub fn sync_filesystem(path: &Path) -> io::Result<()> {
    let file = fs::File::open(path)?;
    nix::unistd::syncfs(file).map_err(|error| with_path(path, &error.into()))
}

/// A file from its beginning on, whatever the position of its handle is.
pub fn from_start(file: &fs::File) -> impl Read {
    struct FromStart<'a>(&'a fs::File, u64);
    impl Read for FromStart<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read_at(buffer, self.1)?;
            self.1 += count as u64;
            Ok(count)
        }
    }
    FromStart(file, 0)
}

/// Makes an empty file share the blocks of another (a reflink); says whether the filesystem can.
fn clone_file(from: &fs::File, to: &fs::File) -> io::Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        Err(
            Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::PERM | Errno::TXTBSY | Errno::NOSYS,
        ) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether two paths are on one filesystem.
pub fn same_filesystem(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(fs::metadata(one)?.dev() == fs::metadata(other)?.dev())
}

/// Whether two looks at files were looks at one and the same, by whatever names.
pub fn is_same_file(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// The folder that a path is in; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name beside its place that a file has until it is whole. It is the same on every run, so that what a killed one
/// has left is taken up or written over.
pub fn partial_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// Gives a file another name, unless something has that; says whether it has it now.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] on filesystems that cannot do both in one step.
pub fn rename_to_free(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
        Err(error) => Err(with_path(to, &error.into())),
    }
}

/// The file that a path leads to through symbolic links, whether it is there or not.
pub fn behind_links(path: &Path) -> io::Result<PathBuf> {
    /// As many as the kernel follows (`path_resolution(7)`).
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..=LINKS {
        if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Ok(path);
        }
        path = folder_of(&path).join(fs::read_link(&path)?);
    }
    Err(with_path(&path, &nix::errno::Errno::ELOOP.into()))
}

/// Bytes that the disk has given to a file, whose holes take none.
pub fn bytes_on_disk(file: &std::fs::Metadata) -> u64 {
    // Of 512 bytes whatever the filesystem's own blocks are: stat(2).
    file.blocks() * 512
}

/// Bytes that an unprivileged process can still write to the filesystem that holds `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|error| with_path(path, &error.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Has the disk give a file the room for its first `length` bytes, where the filesystem can promise that.
pub fn allocate(file: &fs::File, length: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};
    let length = i64::try_from(length).map_err(io::Error::other)?;
    loop {
        match fallocate(file.file(), FallocateFlags::empty(), 0, length) {
            Err(Errno::EINTR) => {}
            // Not on this filesystem, or by this kernel; nor does nothing take room.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) | Ok(()) => return Ok(()),
            Err(error) => return Err(with_path(file.path(), &error.into())),
        }
    }
}

/// An error of a bare system call, with the path that it was about.
pub fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, b"1").unwrap();
        write_atomically(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(free_space(folder.path()).unwrap() > 0);
        sync_filesystem(folder.path()).unwrap();
    }

    #[test]
    fn a_claim_leaves_a_file_alone_that_has_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, temporary) = (folder.path().join("a"), folder.path().join(".a.partial"));
        fs::write(&path, "whole").unwrap();
        fs::hard_link(&path, &temporary).unwrap();
        claim(&temporary).unwrap().set_len(0).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn only_a_free_name_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        fs::write(&one, "1").unwrap();
        assert!(rename_to_free(&one, &other).unwrap());
        fs::write(&one, "2").unwrap();
        assert!(!rename_to_free(&one, &other).unwrap());
        assert_eq!((fs::read(&one).unwrap(), fs::read(&other).unwrap()), (b"2".to_vec(), b"1".to_vec()));
    }

    #[test]
    fn a_clone_has_the_same_bytes_or_is_not_possible() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "bricks").unwrap();
        let (from, to) = (fs::File::open(&one).unwrap(), fs::File::create(&two).unwrap());
        let expected = if clone_file(&from, &to).unwrap() { "bricks" } else { "" };
        assert_eq!(fs::read_to_string(&two).unwrap(), expected);
        assert!(same_filesystem(&one, &two).unwrap());
    }

    #[test]
    fn a_claim_is_for_one_and_keeps_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "left").unwrap();
        let first = claim(&path).unwrap();
        assert_eq!(claim(&path).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(first.metadata().unwrap().len(), 4);
        drop(first);
        claim(&path).unwrap();
    }

    #[test]
    fn a_claim_is_for_the_file_that_is_at_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("a"), folder.path().join("place"));
        let (from, to) = (path.clone(), place.clone());
        pause::with(move || fs::rename(from, to).unwrap());
        claim(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&place).unwrap()), (b"new".to_vec(), Vec::new()));
    }

    #[test]
    fn links_lead_to_files_that_are_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("d")).unwrap();
        for (link, target) in [("a", "d/b"), ("d/b", "../c"), ("r", "r")] {
            fs_err::os::unix::fs::symlink(target, path(link)).unwrap();
        }
        assert_eq!(behind_links(&path("a")).unwrap(), folder.path().join("d/../c"));
        assert_eq!(behind_links(&path("x")).unwrap(), path("x"));
        assert_eq!(behind_links(Path::new("x")).unwrap(), Path::new("x"));
        assert!(behind_links(&path("r")).is_err());
    }

    #[test]
    fn a_claim_does_not_go_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other, absent) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        fs::write(&other, "of somebody else").unwrap();
        for target in [&other, &absent] {
            fs_err::os::unix::fs::symlink(target, &path).unwrap();
            let error = claim(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()) && error.contains("symbolic link"), "{error}");
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "of somebody else");
        assert!(!absent.exists());
    }
}
