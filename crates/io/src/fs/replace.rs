//! Files that are replaced as a whole.
//!
//! The new content grows under a temporary name that is the same on every run, so that what a killed one has left does
//! not stay for ever. Who writes holds the lock of that file: without a lock it is of a process that has died.

use std::io;
use std::path::Path;

use fs_err as fs;
use rustix::fs::OFlags;

use super::{Child, Directory, PartialFile};

/// How many may write one file at the same time.
const WRITERS: u32 = 1000;

/// Writes a file so that a reader sees either the old content or the new, and a crash leaves one
/// of the two: temporary file beside it, `fsync`, rename, `fsync` of the directory.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    write_atomically_as(path, content, 0o666)
}

/// The same with a mode, from which the process's own mask takes bits.
pub fn write_atomically_as(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = Directory::open(super::folder_of(path))?;
    write_atomically_in(&directory.child(path.file_name().unwrap_or_default()), content, mode)
}

/// The same in a directory that is held open.
pub fn write_atomically_in(place: &Child, content: &[u8], mode: u32) -> io::Result<()> {
    let (number, mut file) = begin(place, mode)?;
    file.append_chunks(&[content])?;
    file.file().sync_all()?;
    file.rename(place)?;
    // Those of processes that were killed while others wrote the same file.
    for number in number + 1..WRITERS {
        let Ok(Some(_)) = clear(&temporary_of(place, number)) else { break };
    }
    place.parent().file()?.sync_all()
}

/// Makes the first of the temporary files that no other process has.
fn begin(place: &Child, mode: u32) -> io::Result<(u32, PartialFile)> {
    for number in 0..WRITERS {
        let temporary = temporary_of(place, number);
        loop {
            // Before it has its lock, it looks as if nobody were writing it. Not every filesystem has locks: without one,
            // the worst that can come is a write that fails.
            let lock = |file: &fs::File| file.lock().map(|()| true).or(Ok(true));
            match PartialFile::lock(temporary.clone(), |name| name.create_new_as(OFlags::WRONLY, mode), lock) {
                Ok(Some(file)) => return Ok((number, file.to_be_removed())),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if clear(&temporary)? == Some(false) {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{}: too many processes write it", place.path().display())))
}

/// Removes a temporary file of a process that has died; says whether it did, and `None` where there is none.
fn clear(temporary: &Child) -> io::Result<Option<bool>> {
    let file = match temporary.open(OFlags::RDONLY) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link, or something else that hod has not made.
        Err(_) => return Ok(Some(temporary.remove().is_ok())),
    };
    if matches!(super::try_lock(&file), Ok(false)) {
        return Ok(Some(false));
    }
    // Whoever had it may have finished and renamed it before it was locked here. The lock is held until it is gone.
    Ok(Some(!temporary.is(&file.metadata()?)? || temporary.remove().is_ok()))
}

fn temporary_of(place: &Child, number: u32) -> Child {
    let name = place.name().to_string_lossy();
    place.parent().child(if number == 0 { format!(".{name}.tmp") } else { format!(".{name}.{number}.tmp") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn threads_may_write_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| write_atomically(&path, b"1").unwrap()));
            }
        });
        write_atomically(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_a_killed_process_has_left_goes_with_the_next_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "old").unwrap();
        for left in [".a.tmp", ".a.1.tmp", ".b.tmp"] {
            fs::write(path(left), "half").unwrap();
        }
        write_atomically(&path("a"), b"new").unwrap();
        assert_eq!(fs::read(path("a")).unwrap(), b"new");
        assert_eq!(names(folder.path()), [".b.tmp", "a"]);
    }

    #[test]
    fn what_another_process_is_writing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let other = fs::File::create(path(".a.tmp")).unwrap();
        other.lock().unwrap();
        write_atomically(&path("a"), b"1").unwrap();
        assert_eq!(names(folder.path()), [".a.tmp", "a"]);
    }

    #[test]
    fn nothing_is_written_through_what_somebody_else_has_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("other"), "of somebody else").unwrap();
        let link: [fn(&Path, &Path) -> io::Result<()>; 3] = [
            |other, link| fs_err::os::unix::fs::symlink(other, link),
            |other, link| fs::hard_link(other, link),
            |_, link| Ok(nix::unistd::mkfifo(link, nix::sys::stat::Mode::S_IRWXU)?),
        ];
        for link in link {
            link(&path("other"), &path(".a.tmp")).unwrap();
            write_atomically(&path("a"), b"1").unwrap();
            assert_eq!(fs::read_to_string(path("other")).unwrap(), "of somebody else");
            assert_eq!(names(folder.path()), ["a", "other"]);
        }
    }

    #[test]
    fn a_mode_is_that_of_the_file_from_its_first_moment() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o700] {
            write_atomically_as(&folder.path().join("a"), b"1", mode).unwrap();
            assert_eq!(fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
