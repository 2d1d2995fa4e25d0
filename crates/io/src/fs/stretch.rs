//! A stretch in the middle of a file that is filled from its beginning to its end, past the page cache where it can be.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;
use nix::fcntl::OFlag;

use super::{ALIGNMENT, Block};

/// A file whose stretches are filled, by several at a time.
#[derive(Debug)]
pub struct RangedFile {
    usual: fs::File,
    /// The same file for direct writes, where the filesystem has them.
    direct: Option<fs::File>,
}

impl RangedFile {
    /// Takes a file, whose path this is, that was opened to read and write.
    pub fn new(file: fs::File, path: &Path) -> Self {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).custom_flags(OFlag::O_DIRECT.bits());
        let direct = fs::OpenOptions::from_options(options).open(path).ok();
        Self { usual: file, direct }
    }

    /// The file.
    pub const fn file(&self) -> &fs::File {
        &self.usual
    }
}

/// What is being filled: whole blocks of the file directly, the ends of the stretch, which share their blocks
/// with others, the usual way.
#[derive(Debug)]
pub struct FileRange {
    file: Arc<RangedFile>,
    /// Where the block's first byte belongs.
    position: u64,
    block: Option<Block>,
}

/// Bytes that are gathered before they are written directly.
const BLOCK: usize = 1024 * 1024;
/// Stretches that are shorter, in bytes, are written the usual way: a block of memory for each of many would be most
/// of what a run takes.
const SHORT: u64 = 256 * 1024;

impl FileRange {
    /// Begins at a position of the file, for that many bytes.
    pub fn new(file: &Arc<RangedFile>, position: u64, length: u64) -> Self {
        let block = (length >= SHORT).then(|| Block::new(BLOCK));
        Self { file: file.clone(), position, block }
    }

    /// Where what has been written ends.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Appends bytes; some may wait in memory until [`FileRange::flush`], which MUST be called.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let odd = usize::try_from(self.position % ALIGNMENT as u64).unwrap_or_default();
            let usual = if self.block.is_none() { bytes.len() } else { ALIGNMENT - odd };
            let Some(block) = self.block.as_mut().filter(|_| odd == 0) else {
                let (now, later) = bytes.split_at(bytes.len().min(usual));
                self.file.usual.write_all_at(now, self.position)?;
                self.position += now.len() as u64;
                bytes = later;
                continue;
            };
            let count = block.take(bytes);
            bytes = bytes.get(count..).unwrap_or_default();
            if block.is_full() {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// Writes what waits in memory.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_block()
    }

    fn write_block(&mut self) -> io::Result<()> {
        let Some(block) = &mut self.block else { return Ok(()) };
        let filled = block.filled();
        let (whole, rest) = filled.split_at(filled.len() - filled.len() % ALIGNMENT);
        write_direct(&self.file, whole, self.position)?;
        self.file.usual.write_all_at(rest, self.position + whole.len() as u64)?;
        self.position += filled.len() as u64;
        block.clear();
        Ok(())
    }
}

fn write_direct(file: &RangedFile, bytes: &[u8], position: u64) -> io::Result<()> {
    let Some(direct) = file.direct.as_ref() else { return file.usual.write_all_at(bytes, position) };
    match direct.write_all_at(bytes, position) {
        // The filesystem said yes to the flag and means no.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => file.usual.write_all_at(bytes, position),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neighbours that share blocks of the file, filled in turns, in pieces of all sizes.
    #[test]
    fn stretches_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let lengths = [512, 1, 3_000_000, 4096, 5000, 2_097_152 - 512, 700, 1_048_576];
        let total: usize = lengths.iter().sum();
        file.set_len(total as u64).unwrap();
        let file = Arc::new(RangedFile::new(file, &path));
        let expected: Vec<u8> = (0..=250).cycle().take(total).collect();
        let mut rest = &expected[..];
        let mut stretches: Vec<(FileRange, &[u8])> = Vec::new();
        for length in lengths {
            let (own, later) = rest.split_at(length);
            stretches.push((FileRange::new(&file, (total - rest.len()) as u64, length as u64), own));
            rest = later;
        }
        for piece in [100, 5000, 100_000, 4096, 600_000].into_iter().cycle() {
            for (stretch, rest) in &mut stretches {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                stretch.append(now).unwrap();
                *rest = later;
            }
            if stretches.iter().all(|(_, rest)| rest.is_empty()) {
                break;
            }
        }
        for (stretch, _) in &mut stretches {
            stretch.flush().unwrap();
        }
        assert_eq!(stretches.last().unwrap().0.position(), total as u64);
        assert!(fs::read(&path).unwrap() == expected);
    }
}
