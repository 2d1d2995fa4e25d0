//! Content on its way: a file that one writer has, and that grows until it gets its name.

use std::fmt;
use std::io::{self, IoSlice, Read, Write as _};

use fs_err as fs;
use rustix::fs::OFlags;

use super::{ALIGNMENT, Block, Child, DirectFile};

/// Bytes that are gathered before they are written past the page cache.
const BLOCK: usize = 1024 * 1024;

/// A file that is locked, and appended to under a name that it has until it is complete.
///
/// Whoever comes next with the same name finds it busy. Dropping it keeps what was written for the next time, unless
/// that is nothing. It only ever grows: who wants to begin anew puts another file in its place.
pub struct PartialFile {
    name: Child,
    file: DirectFile,
    /// Bytes that were appended.
    length: u64,
    /// Bytes that wait.
    gathered: Option<Block>,
    at_end: AtEnd,
}

/// What becomes of the file when its value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// It is kept, to be continued.
    Keep,
    /// It is removed: nobody could continue it.
    Remove,
    /// It is no longer this value's business.
    Leave,
}

impl PartialFile {
    /// Opens the file and locks it; `None` where `lock` says that somebody else has it.
    ///
    /// It is the file of this name then, which it need not have been any more before it was locked.
    pub fn lock<E: From<io::Error>>(
        name: Child,
        mut open: impl FnMut(&Child) -> Result<fs::File, E>,
        lock: impl Fn(&fs::File) -> io::Result<bool>,
    ) -> Result<Option<Self>, E> {
        let mut length = 0;
        let is_there = |file: &fs::File| {
            let found = file.metadata()?;
            length = found.len();
            name.is(&found)
        };
        let file = super::lock_where(|| open(&name), lock, is_there)?;
        let new = |file| Self { name, file: DirectFile::plain(file), length, gathered: None, at_end: AtEnd::Keep };
        Ok(file.map(new))
    }

    /// The same file, to be removed when it is dropped before it is complete.
    #[must_use]
    pub const fn to_be_removed(mut self) -> Self {
        self.at_end = AtEnd::Remove;
        self
    }

    /// The same file with nothing in it, whatever was left there.
    pub fn emptied(mut self) -> io::Result<Self> {
        self.file().set_len(0)?;
        self.length = 0;
        Ok(self)
    }

    /// The name that it has for the time being.
    pub const fn name(&self) -> &Child {
        &self.name
    }

    /// The file. What [`PartialFile::gather`] lets wait is not in it.
    pub const fn file(&self) -> &fs::File {
        self.file.file()
    }

    /// How many bytes are there.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// What is there from an earlier attempt.
    pub fn reader(&self) -> impl Read {
        super::from_start(self.file())
    }

    /// Puts another file in the place of this one, with its lock: there is no moment at which somebody else could have
    /// it.
    pub fn replace(&mut self, mut other: Self) -> io::Result<()> {
        other.name.rename(&self.name)?;
        other.at_end = AtEnd::Leave;
        std::mem::swap(&mut self.file, &mut other.file);
        std::mem::swap(&mut self.length, &mut other.length);
        std::mem::swap(&mut self.gathered, &mut other.gathered);
        Ok(())
    }

    /// Makes the file, which is empty, share the blocks of another (a reflink); says whether the filesystem can.
    pub fn clone_from(&mut self, other: &fs::File) -> io::Result<bool> {
        // A reflink is not made to a file that was opened for appending.
        let is_cloned = super::clone_file(other, &self.name.open(OFlags::WRONLY)?)?;
        self.length = self.file().metadata()?.len();
        Ok(is_cloned)
    }

    /// Goes past the page cache from here on, where the filesystem lets it and the file ends between blocks. Bytes may
    /// wait in memory until [`PartialFile::flush`].
    pub fn gather(&mut self) {
        let is_even = self.gathered.is_none() && self.length.is_multiple_of(ALIGNMENT as u64);
        if is_even && self.file.begin_direct() {
            self.gathered = Some(Block::new(BLOCK));
        }
    }

    /// Appends the slices. After a failure [`PartialFile::length`] tells how much is there, except of what was to wait.
    pub fn append(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        if let Some(mut block) = self.gathered.take() {
            for slice in slices.iter() {
                gather(slice, &mut block, &mut self.file)?;
                self.length += slice.len() as u64;
            }
            self.gathered = Some(block);
            return Ok(());
        }
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.length += count as u64;
                    IoSlice::advance_slices(&mut slices, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends chunks, without gathering them first.
    pub fn append_chunks(&mut self, chunks: &[impl AsRef<[u8]>]) -> io::Result<()> {
        self.append(&mut chunks.iter().map(|chunk| IoSlice::new(chunk.as_ref())).collect::<Vec<_>>())
    }

    /// Writes what waits in memory; from here on bytes take the usual way.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(block) = self.gathered.take() else { return Ok(()) };
        self.file.write_all(block.filled())?;
        self.file.end_direct()
    }

    /// Lets others write to it, until [`PartialFile::relock`].
    pub fn unlock(&mut self) -> io::Result<()> {
        self.flush()?;
        super::unlock(self.file())?;
        self.at_end = AtEnd::Leave;
        Ok(())
    }

    /// Takes up where [`PartialFile::unlock`] left off; says whether the file was free.
    pub fn relock(&mut self) -> io::Result<bool> {
        let is_free = super::try_lock(self.file())?;
        if is_free {
            self.at_end = AtEnd::Keep;
        }
        Ok(is_free)
    }

    /// Whether it is still in its place and as long as it was.
    pub fn is_unchanged(&self) -> io::Result<bool> {
        let found = self.file().metadata()?;
        Ok(self.name.is(&found)? && found.len() == self.length)
    }

    /// Gives the file its name. It MUST be complete, and durable where that matters.
    pub fn rename(self, to: &Child) -> io::Result<()> {
        self.name.rename(to)?;
        self.leave();
        Ok(())
    }

    /// Removes the file.
    pub fn remove(self) -> io::Result<()> {
        self.name.remove()?;
        self.leave();
        Ok(())
    }

    /// Lets go of the file, whose name somebody else has taken from here.
    pub fn leave(mut self) {
        self.at_end = AtEnd::Leave;
    }
}

/// Writes what makes whole blocks, and lets the rest wait in `block`.
fn gather(mut bytes: &[u8], block: &mut Block, file: &mut DirectFile) -> io::Result<()> {
    while !bytes.is_empty() {
        // What is a block already need not become one.
        let whole = bytes.len() - bytes.len() % ALIGNMENT;
        if block.is_empty() && whole > 0 && bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
            let (now, later) = bytes.split_at(whole);
            file.write_all(now)?;
            bytes = later;
            continue;
        }
        let count = block.take(bytes);
        bytes = bytes.get(count..).unwrap_or_default();
        if block.is_full() {
            file.write_all(block.filled())?;
            block.clear();
        }
    }
    Ok(())
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        match self.at_end {
            // An empty file would be nothing to resume.
            AtEnd::Keep if self.length > 0 => drop(self.flush()),
            AtEnd::Keep | AtEnd::Remove => drop(self.name.remove()),
            AtEnd::Leave => {}
        }
    }
}

impl fmt::Debug for PartialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialFile").field("file", &self.file).field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Directory;
    use super::*;

    fn try_begin(folder: &Path) -> Option<PartialFile> {
        let open = |name: &Child| name.open_or_create(OFlags::RDWR | OFlags::APPEND).map(|(file, _)| file);
        let name = Directory::open(folder).unwrap().child("a");
        PartialFile::lock::<io::Error>(name, open, super::super::try_lock).unwrap()
    }

    fn begin(folder: &Path) -> PartialFile {
        try_begin(folder).unwrap()
    }

    #[test]
    fn what_is_gathered_arrives_with_the_flush() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut expected = Vec::new();
        let mut file = begin(folder.path());
        for round in 0..3_u8 {
            file.gather();
            for length in [1, 4096, BLOCK - 4097, BLOCK, 3 * BLOCK + 5] {
                let bytes = vec![round.wrapping_mul(31).wrapping_add(7); length];
                let (one, two) = bytes.split_at(length / 3);
                file.append(&mut [IoSlice::new(one), IoSlice::new(two)]).unwrap();
                expected.extend_from_slice(&bytes);
            }
            file.flush().unwrap();
            assert_eq!(file.length(), expected.len() as u64);
            assert!(fs::read(&path).unwrap() == expected);
        }
    }

    #[test]
    fn a_file_has_one_writer_who_may_let_go_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = begin(folder.path());
        assert!(try_begin(folder.path()).is_none());
        file.append_chunks(&["br", "i"]).unwrap();
        file.unlock().unwrap();
        let mut other = begin(folder.path());
        assert!(!file.relock().unwrap());
        assert_eq!(io::read_to_string(other.reader()).unwrap(), "bri");
        other.append_chunks(&["ck"]).unwrap();
        drop(other);
        assert!(file.relock().unwrap());
        assert!(!file.is_unchanged().unwrap());
        drop(file);
        assert_eq!(begin(folder.path()).length(), 5);
    }

    #[test]
    fn what_cannot_be_continued_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        drop(begin(folder.path()));
        assert!(!path.exists());
        let mut file = begin(folder.path()).to_be_removed();
        file.append_chunks(&["bricks"]).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn another_file_takes_the_place_with_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let mut file = begin(folder.path());
        file.append_chunks(&["old"]).unwrap();
        let new = |name: &Child| name.create_new(OFlags::RDWR | OFlags::APPEND);
        let other = PartialFile::lock(directory.child("b"), new, super::super::try_lock).unwrap().unwrap();
        file.replace(other.to_be_removed()).unwrap();
        assert!(try_begin(folder.path()).is_none());
        file.append_chunks(&["new"]).unwrap();
        file.rename(&directory.child("c")).unwrap();
        assert_eq!(fs::read(folder.path().join("c")).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
