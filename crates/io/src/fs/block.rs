//! Memory for bytes on their way. It is used again, since the kernel takes longer to find fresh memory than to fill it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What addresses, offsets and lengths must be multiples of; enough for every disk with 4 KiB blocks.
pub(super) const ALIGNMENT: usize = 4096;

/// Memory up to this size, in bytes, is not worth to be kept.
const SMALL: usize = 64 * 1024;
/// Bytes that are kept, of all that have come back.
const KEPT: usize = 16 * 1024 * 1024;

/// The memory of blocks that nobody has any more.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer of fixed size that begins where direct writes may begin.
///
/// What its memory held before may still be in it, so that nobody has to fill it twice; none of that can be read.
pub struct Block {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
    capacity: usize,
}

impl Block {
    /// An empty block for that many bytes, which are to be a multiple of 4096.
    pub fn new(capacity: usize) -> Self {
        let length = capacity + ALIGNMENT;
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let found = spare.iter().rposition(|memory| memory.len() == length);
        let bytes = found.map(|position| spare.swap_remove(position));
        drop(spare);
        let bytes = bytes.unwrap_or_else(|| vec![0; length]);
        // The vector never grows, so that its bytes stay where they are.
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { bytes, start, length: 0, capacity }
    }

    /// Takes as many of the bytes as there is room for; says how many.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let count = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.grow(count);
        count
    }

    /// Where more bytes can be put, for [`Block::grow`] to count them.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start + self.length..self.start + self.capacity).unwrap_or_default()
    }

    /// Counts bytes that were put into the room; no more than there is.
    pub fn grow(&mut self, count: usize) {
        self.length = self.capacity.min(self.length + count);
    }

    /// Whether there is no room left.
    pub const fn is_full(&self) -> bool {
        self.length == self.capacity
    }

    /// The bytes that were taken.
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.length).unwrap_or_default()
    }

    /// Whether nothing was taken.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forgets what was taken.
    pub const fn clear(&mut self) {
        self.length = 0;
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.bytes);
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() > SMALL && spare.iter().map(Vec::len).sum::<usize>() + memory.len() <= KEPT {
            spare.push(memory);
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("length", &self.length).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_begin_where_direct_writes_may() {
        for _ in 0..20 {
            let mut block = Block::new(2 * ALIGNMENT);
            assert_eq!(block.filled().as_ptr().align_offset(ALIGNMENT), 0);
            assert_eq!(block.take(&[7; 5000]), 5000);
            assert!(!block.is_full());
            assert_eq!(block.take(&[8; 5000]), 2 * ALIGNMENT - 5000);
            assert!(block.is_full());
            assert_eq!(block.take(b"x"), 0);
            assert_eq!(block.filled()[4999..=5000], [7, 8]);
            block.clear();
            assert!(block.filled().is_empty());
        }
    }
}
