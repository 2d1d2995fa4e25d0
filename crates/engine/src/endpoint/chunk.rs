//! Chunks in memory that is used again: the kernel takes longer to find fresh memory than to fill it.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::BoxStream;

/// Bytes as they come from a place, in chunks of its choosing, checked by nobody.
///
/// Chunks and not `AsyncRead`: what the network delivers is passed on without a copy.
pub type BlobReader = BoxStream<'static, super::Result<Bytes>>;

/// Chunks that are kept, of all that have come back.
const SPARE: usize = 32;

static SPARE_CHUNKS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Memory of a chunk, which comes back when nobody has the chunk any more. What it held before is still in it, so
/// that nobody has to fill it twice.
struct Lent {
    memory: Vec<u8>,
    length: usize,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = SPARE_CHUNKS.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.memory));
        }
    }
}

/// Reads up to `length` bytes, fewer only at the end.
pub fn read_chunk(reader: &mut impl Read, length: u64) -> io::Result<Bytes> {
    let spare = SPARE_CHUNKS.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut chunk = Lent { memory: spare.unwrap_or_default(), length: 0 };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if chunk.memory.len() < length {
        chunk.memory.resize(length, 0);
    }
    while chunk.length < length {
        match reader.read(chunk.memory.get_mut(chunk.length..length).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => chunk.length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Bytes::from_owner(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_only_when_nobody_has_it() {
        let kept = read_chunk(&mut io::repeat(1), 1000).unwrap();
        let part = read_chunk(&mut io::repeat(2), 1000).unwrap().slice(10..20);
        for byte in 3..50 {
            let chunk = read_chunk(&mut io::repeat(byte), 2000).unwrap();
            assert!(chunk == vec![byte; 2000]);
        }
        assert!(kept == vec![1; 1000]);
        assert!(part == vec![2; 10]);
        assert_eq!(read_chunk(&mut &b"short"[..], 1000).unwrap(), "short");
    }
}
