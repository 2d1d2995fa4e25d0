//! Content as it comes, in chunks.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream::BoxStream;

use hod_io::fs::Block;

/// Bytes as they come from a place, in chunks of its choosing, checked by nobody.
///
/// Chunks and not `AsyncRead`: what the network delivers is passed on without a copy.
pub type BlobReader = BoxStream<'static, super::Result<Bytes>>;

/// Reads up to `length` bytes, fewer only at the end.
pub fn read_chunk(reader: &mut impl Read, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // Of few sizes, so that memory is used again.
    let mut block = Block::new(length.checked_next_power_of_two().unwrap_or(length));
    while block.filled().len() < length {
        let left = length - block.filled().len();
        match reader.read(block.room().get_mut(..left).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => block.grow(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Bytes::from_owner(block))
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
