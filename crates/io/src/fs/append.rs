//! A file that grows at its end, past the page cache where that pays.

use std::fmt;
use std::io::{self, IoSlice, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;

use super::{ALIGNMENT, Block, DirectFile};

/// Bytes that are gathered before they are written past the page cache.
const BLOCK: usize = 1024 * 1024;
/// Blocks that are kept for later files.
const SPARE: usize = 8;

/// Blocks to be used again: fresh memory costs more than what is done with it here.
#[derive(Debug, Default)]
pub struct Blocks {
    spare: Mutex<Vec<Block>>,
}

impl Blocks {
    pub(super) fn get(&self) -> Block {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Block::new(BLOCK))
    }

    pub(super) fn put_back(&self, mut block: Block) {
        block.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(block);
        }
    }
}

/// A file that is appended to.
///
/// After [`Appender::gather`] bytes may wait in memory until [`Appender::flush`], which MUST be called before the
/// file is used in any other way.
pub struct Appender {
    file: DirectFile,
    gathered: Option<Box<Gathered>>,
}

/// Bytes that wait, in memory that goes back to where it came from.
struct Gathered {
    block: Block,
    blocks: Arc<Blocks>,
}

impl Appender {
    /// Takes a file that was opened to append.
    pub fn new(file: fs::File) -> Self {
        Self { file: DirectFile::plain(file), gathered: None }
    }

    /// The file.
    pub const fn file(&self) -> &fs::File {
        self.file.file()
    }

    /// Goes past the page cache from here on. The file's length MUST be a multiple of [`ALIGNMENT`].
    pub fn gather(&mut self, blocks: &Arc<Blocks>) {
        if self.gathered.is_none() && self.file.begin_direct() {
            self.gathered = Some(Box::new(Gathered { block: blocks.get(), blocks: Arc::clone(blocks) }));
        }
    }

    /// Whether whole blocks go past the page cache.
    pub const fn is_gathering(&self) -> bool {
        self.gathered.is_some()
    }

    /// Appends the slices. What is not in the file after an error is lost.
    pub fn append(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        if let Some(mut gathered) = self.gathered.take() {
            let block = &mut gathered.block;
            for slice in slices.iter() {
                let mut rest: &[u8] = slice;
                while !rest.is_empty() {
                    // What is a block already need not become one.
                    let whole = rest.len() - rest.len() % ALIGNMENT;
                    if block.is_empty() && whole > 0 && rest.as_ptr().align_offset(ALIGNMENT) == 0 {
                        let (now, later) = rest.split_at(whole);
                        self.file.write_all(now)?;
                        rest = later;
                        continue;
                    }
                    let count = block.take(rest);
                    rest = rest.get(count..).unwrap_or_default();
                    if block.is_full() {
                        self.file.write_all(block.filled())?;
                        block.clear();
                    }
                }
            }
            self.gathered = Some(gathered);
            return Ok(());
        }
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what waits in memory; from here on bytes take the usual way.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(gathered) = self.gathered.take() else { return Ok(()) };
        self.file.write_all(gathered.block.filled())?;
        gathered.blocks.put_back(gathered.block);
        self.file.end_direct()
    }
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_arrives_with_the_flush() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let blocks = Arc::default();
        let mut expected = Vec::new();
        let options = fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let mut file = Appender::new(options);
        for round in 0..3_u8 {
            if expected.len() % ALIGNMENT == 0 {
                file.gather(&blocks);
            }
            for length in [1, 4096, BLOCK - 4097, BLOCK, 3 * BLOCK + 5] {
                let bytes = vec![round.wrapping_mul(31).wrapping_add(7); length];
                let (one, two) = bytes.split_at(length / 3);
                file.append(&mut [IoSlice::new(one), IoSlice::new(two)]).unwrap();
                expected.extend_from_slice(&bytes);
            }
            file.flush().unwrap();
            assert!(!file.is_gathering());
            assert!(fs::read(&path).unwrap() == expected);
        }
    }
}
