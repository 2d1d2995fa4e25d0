//! Reading past the page cache what is not in it.
//!
//! What was written past the cache (see [`super::direct`]) is on the disk alone. Read the usual way it would be put
//! into the cache first, for which the kernel has to find pages, and copied from there: for a file that is read once
//! that is most of the work. What the cache has is read from the cache.

use std::io::{self, IoSliceMut, Read};
use std::sync::mpsc::{Receiver, sync_channel};

use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;
use nix::errno::Errno;
use rustix::io::{ReadWriteFlags, preadv2};

use super::direct::set_direct;
use super::{ALIGNMENT, Block, with_path};

/// Bytes that are read at a time.
const BUFFER: usize = 1024 * 1024;
/// Buffers in all.
const BUFFERS: usize = 3;

/// A file that is read to its end: from the cache as long as it is there, then past it, on a thread
/// that reads ahead.
#[derive(Debug)]
pub struct ColdFile {
    from: From,
    /// Nothing that lies behind is read ahead.
    end: u64,
}

#[derive(Debug)]
enum From {
    /// The cache, up to now.
    Cache { file: fs::File, position: u64 },
    /// The disk.
    Disk(Ahead),
    /// Wherever the kernel has it.
    Anywhere(fs::File),
}

impl ColdFile {
    /// What is smaller, in bytes, is not worth a thread.
    pub const LARGE: u64 = 4 * 1024 * 1024;

    /// Reads a file from its beginning. No other handle MUST share its position and flags.
    pub const fn new(file: fs::File) -> Self {
        Self::at(file, 0)
    }

    /// The same from a position on.
    pub const fn at(file: fs::File, position: u64) -> Self {
        Self { from: From::Cache { file, position }, end: u64::MAX }
    }

    /// The same for who will not read on behind `end`.
    #[must_use]
    pub fn until(self, end: u64) -> Self {
        Self { end, ..self }
    }
}

impl Read for ColdFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let From::Cache { file, position } = &mut self.from {
            match preadv2(file.file(), &mut [IoSliceMut::new(bytes)], *position, ReadWriteFlags::NOWAIT) {
                // Some kernels call it the end where only what they have at hand ends (preadv2(2), bugs).
                Ok(0) => {
                    let count = file.read_at(bytes, *position)?;
                    *position += count as u64;
                    return Ok(count);
                }
                Ok(count) => {
                    *position += count as u64;
                    return Ok(count);
                }
                Err(rustix::io::Errno::INTR) => return Err(io::ErrorKind::Interrupted.into()),
                // Not in the cache, or not a question that this filesystem answers.
                Err(problem) => self.leave_cache(problem == rustix::io::Errno::AGAIN)?,
            }
        }
        match &mut self.from {
            From::Disk(ahead) => ahead.read(bytes),
            From::Cache { file, .. } | From::Anywhere(file) => file.read(bytes),
        }
    }
}

impl ColdFile {
    /// Reads on past the cache, where there is enough left and the filesystem lets it, or the usual way.
    fn leave_cache(&mut self, is_cold: bool) -> io::Result<()> {
        let From::Cache { file, position } = &self.from else { return Ok(()) };
        let (mut file, position) = (fs::File::from_parts(file.file().try_clone()?, file.path()), *position);
        let end = self.end.min(file.metadata()?.len());
        let is_large = end.saturating_sub(position) >= Self::LARGE;
        self.from = if is_cold && is_large && set_direct(&file, true).is_ok() {
            From::Disk(Ahead::begin(file, position, self.end)?)
        } else {
            io::Seek::seek(&mut file, io::SeekFrom::Start(position))?;
            From::Anywhere(file)
        };
        Ok(())
    }
}

/// Blocks of a file, read by a thread that ends with this value.
#[derive(Debug)]
struct Ahead {
    filled: Receiver<io::Result<Block>>,
    current: Option<Block>,
    /// Bytes of the current block that were handed out.
    taken: usize,
    has_ended: bool,
}

impl Ahead {
    fn begin(file: fs::File, position: u64, end: u64) -> io::Result<Self> {
        // One more is being filled, and one read.
        let (full, filled) = sync_channel(BUFFERS - 2);
        let odd = position % ALIGNMENT as u64;
        let mut position = position - odd;
        std::thread::Builder::new().name("read".to_owned()).spawn(move || {
            loop {
                let mut block = Block::new(BUFFER);
                let read = if position < end { fill(&file, &mut block, position) } else { Ok(0) };
                let count = *read.as_ref().unwrap_or(&0);
                position += count as u64;
                // Nobody may be left who wants to know.
                if full.send(read.map(|_| block)).is_err() || count == 0 {
                    break;
                }
            }
        })?;
        Ok(Self { filled, current: None, taken: usize::try_from(odd).unwrap_or_default(), has_ended: false })
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(block) = &mut self.current {
                let rest = block.filled().get(self.taken..).unwrap_or_default();
                let count = rest.len().min(bytes.len());
                if let (Some(to), Some(from)) = (bytes.get_mut(..count), rest.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.taken += count;
                if count > 0 || bytes.is_empty() {
                    return Ok(count);
                }
            }
            if self.has_ended {
                return Ok(0);
            }
            if self.current.take().is_some() {
                self.taken = 0;
            }
            let block = self.filled.recv().map_err(|_| io::Error::other("the reader thread ended unexpectedly"))??;
            self.has_ended = block.is_empty();
            self.current = Some(block);
        }
    }
}

/// Fills a block from a position that is a multiple of [`ALIGNMENT`]; an empty one is the end.
fn fill(file: &fs::File, block: &mut Block, mut position: u64) -> io::Result<usize> {
    loop {
        // Past `fs_err`, whose errors do not tell the system's number.
        let count = match std::os::unix::fs::FileExt::read_at(file.file(), block.room(), position) {
            // The filesystem said yes to the flag and means no; or the last read ended between blocks, and this is
            // the rest of a file that has grown.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                set_direct(file, false)?;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(|error| with_path(file.path(), &error))?,
        };
        block.grow(count);
        position += count as u64;
        if count == 0 || block.is_full() {
            return Ok(block.filled().len());
        }
        if count % ALIGNMENT != 0 {
            // What follows is at an odd place, if it is not the end.
            set_direct(file, false)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

    use super::*;

    /// A file of that many bytes, of which only those before `cached` are in the cache (as far as the kernel heeds it).
    fn file(folder: &std::path::Path, length: usize, cached: i64) -> (fs::File, Vec<u8>) {
        let content: Vec<u8> = (0..=250).cycle().take(length).collect();
        let path = folder.join("a");
        fs::write(&path, &content).unwrap();
        let file = fs::File::open(path).unwrap();
        file.sync_all().unwrap();
        posix_fadvise(file.file(), cached, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        (file, content)
    }

    #[test]
    fn bytes_are_those_of_the_file_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 5, 5_000_000, 4 * 1024 * 1024 + 4096] {
            for cached in [0, 40_960, 1 << 40] {
                for (piece, start) in [(5000, 0), (5000, 777), (2 * 1024 * 1024, 4096)] {
                    let (file, content) = file(folder.path(), length, cached);
                    let start = length.min(start);
                    let mut cold = ColdFile::at(file, start as u64);
                    let (mut found, mut buffer) = (content[..start].to_vec(), vec![0; piece]);
                    loop {
                        match cold.read(&mut buffer).unwrap() {
                            0 => break,
                            count => found.extend_from_slice(&buffer[..count]),
                        }
                    }
                    assert!(found == content, "{length} bytes, {cached} cached, {piece} at a time");
                    assert_eq!(cold.read(&mut buffer).unwrap(), 0);
                }
            }
        }
    }

    #[test]
    fn who_stops_early_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (file, content) = file(folder.path(), 20_000_000, 0);
        let mut cold = ColdFile::new(file);
        let mut first = [0; 10];
        cold.read_exact(&mut first).unwrap();
        assert_eq!(first, content[..10]);
    }
}
