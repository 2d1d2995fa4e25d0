//! Writing past the page cache.
//!
//! What is written once and not read again soon costs the kernel memory for nothing: it has to find pages, copy into
//! them, and write them out later, when whoever makes the file durable waits for it. `O_DIRECT` (open(2)) leaves all
//! of that out. It wants whole blocks at whole blocks' places, in memory and in the file, and not every filesystem
//! has it; where either is not so, bytes take the usual way, and nobody has to know.

use std::io::{self, IoSlice, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;

use fs_err as fs;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{ALIGNMENT, with_path};

/// A file that is written from its beginning to its end, past the page cache as long as whole blocks come.
///
/// The first write that is none ends that for good: only the last one should be short.
#[derive(Debug)]
pub(crate) struct DirectFile {
    file: fs::File,
    is_direct: bool,
}

impl DirectFile {
    /// Takes a file whose position is a multiple of [`ALIGNMENT`].
    pub(crate) fn new(file: fs::File) -> Self {
        let is_direct = set_direct(&file, true).is_ok();
        Self { file, is_direct }
    }

    /// Takes a file that is written the usual way until [`DirectFile::begin_direct`].
    pub(super) const fn plain(file: fs::File) -> Self {
        Self { file, is_direct: false }
    }

    /// Goes past the page cache from here on, if the filesystem lets it; says whether it does.
    pub(super) fn begin_direct(&mut self) -> bool {
        self.is_direct = self.is_direct || set_direct(&self.file, true).is_ok();
        self.is_direct
    }

    /// Writes at another position from here on.
    pub(super) fn seek(&mut self, position: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(position)).map(drop)
    }

    /// The file, for the usual way of writing.
    pub(crate) fn into_file(mut self) -> io::Result<fs::File> {
        self.end_direct()?;
        Ok(self.file)
    }

    /// The file.
    pub(crate) const fn file(&self) -> &fs::File {
        &self.file
    }

    /// Takes the usual way from here on.
    pub(super) fn end_direct(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_direct) {
            set_direct(&self.file, false)?;
        }
        Ok(())
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let whole = bytes.len() - bytes.len() % ALIGNMENT;
        let is_aligned = whole > 0 && bytes.as_ptr().align_offset(ALIGNMENT) == 0;
        if self.is_direct && is_aligned {
            // Past `fs_err`, whose errors do not tell the system's number.
            let mut file = self.file.file();
            match file.write(bytes.get(..whole).unwrap_or_default()) {
                // The filesystem said yes to the flag and means no, or an earlier write ended between blocks.
                Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {}
                result => return result.map_err(|error| with_path(self.file.path(), &error)),
            }
        }
        self.end_direct()?;
        self.file.write(bytes)
    }

    /// Takes the usual way: what comes in pieces is not aligned.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end_direct()?;
        self.file.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Turns `O_DIRECT` on or off for an open file.
pub(super) fn set_direct(file: &fs::File, on: bool) -> io::Result<()> {
    let file = file.file().as_fd();
    let mut flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_DIRECT, on);
    fcntl(file, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Block;
    use super::*;

    #[test]
    fn whole_blocks_at_odd_places_take_the_usual_way() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = DirectFile::new(fs::File::create(folder.path().join("x")).unwrap());
        file.seek(1000).unwrap();
        let mut block = Block::new(ALIGNMENT);
        block.take(&[7; ALIGNMENT]);
        file.write_all(block.filled()).unwrap();
        let written = fs::read(folder.path().join("x")).unwrap();
        assert_eq!(written, [&[0; 1000][..], &[7; ALIGNMENT]].concat());
    }

    /// Whole blocks, pieces of blocks and blocks at odd addresses: the file is the same.
    #[test]
    fn all_ways_write_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        for (number, piece) in [64 * 1024, 3 * ALIGNMENT, 5000, 1].into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            let mut file = DirectFile::new(fs::File::create(&path).unwrap());
            let mut block = Block::new(64 * 1024);
            let mut rest = &content[..];
            while !rest.is_empty() {
                let count = block.take(&rest[..piece.min(rest.len())]);
                rest = &rest[count..];
                if block.is_full() || rest.is_empty() || piece > 1000 {
                    file.write_all(block.filled()).unwrap();
                    block.clear();
                }
            }
            let file = file.into_file().unwrap();
            let flags = OFlag::from_bits_retain(fcntl(file.file().as_fd(), FcntlArg::F_GETFL).unwrap());
            assert!(!flags.contains(OFlag::O_DIRECT));
            assert!(fs::read(&path).unwrap() == content, "{piece}");
        }
    }
}
