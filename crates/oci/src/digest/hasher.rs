//! Running hashes, one at a time or two in turns.
//!
//! Within one SHA-256, each step waits for the one before it, and the processor's instructions for it are idle most of
//! that time. The blocks of two hashes in turns fill the gaps: together they take three quarters of what they take one
//! after the other, on one and the same core.

use std::fmt;
use std::io::{self, Read};

use sha2::digest::array::Array;
use sha2::digest::block_api::{BlockSizeUser as _, CoreProxy as _, UpdateCore as _};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{Algorithm, Digest};

/// Blocks of one hash before it is the other's turn: as many as let the processor see both at once.
const TURN: usize = 2;
/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// A running hash of one of the algorithms.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256, with the processor's own instructions where it has them.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(Sha384),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// A hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Adds all that a reader gives.
    pub fn read(&mut self, mut reader: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.update(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds to this hash and to another what there are bytes for both, in whole blocks, and says how many bytes that were
    /// for each.
    ///
    /// Nothing is added where one of them is no SHA-256, or stands within a block.
    pub fn update_both(&mut self, bytes: &[u8], other: &mut Self, of_other: &[u8]) -> usize {
        match (self, other) {
            (Self::Sha256(a), Self::Sha256(b)) => in_turns((a, bytes), (b, of_other)),
            _ => 0,
        }
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let mut copy = |hash: &[u8]| bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
        let algorithm = match self {
            Self::Sha256(hasher) => {
                copy(&hasher.finalize());
                Algorithm::Sha256
            }
            Self::Sha384(hasher) => {
                copy(&hasher.finalize());
                Algorithm::Sha384
            }
            Self::Sha512(hasher) => {
                copy(&hasher.finalize());
                Algorithm::Sha512
            }
        };
        Digest { algorithm, bytes }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

fn in_turns(first: (&mut Sha256, &[u8]), second: (&mut Sha256, &[u8])) -> usize {
    let ((a, of_a), (b, of_b)) = (first, second);
    let ((mut core_a, buffer_a), (mut core_b, buffer_b)) =
        (std::mem::take(a).decompose(), std::mem::take(b).decompose());
    let mut count = 0;
    if buffer_a.get_pos() == 0 && buffer_b.get_pos() == 0 {
        let (blocks_a, _) = Array::slice_as_chunks(of_a);
        let (blocks_b, _) = Array::slice_as_chunks(of_b);
        let common = blocks_a.len().min(blocks_b.len());
        let turns = |blocks| <[_]>::chunks(<[_]>::get(blocks, ..common).unwrap_or_default(), TURN);
        for (turn_a, turn_b) in turns(blocks_a).zip(turns(blocks_b)) {
            core_a.update_blocks(turn_a);
            core_b.update_blocks(turn_b);
        }
        count = common * Sha256::block_size();
    }
    *a = Sha256::compose(core_a, buffer_a);
    *b = Sha256::compose(core_b, buffer_b);
    count
}

impl Digest {
    /// The SHA-256 digest of some bytes.
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, content)
    }

    /// The digest of some bytes.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes two contents in pieces of their own lengths, in turns as long as that goes.
    fn both(a: (Algorithm, &[u8], usize), b: (Algorithm, &[u8], usize)) -> [Digest; 2] {
        let mut hashers = [Hasher::new(a.0), Hasher::new(b.0)];
        let mut pieces = [a.1.chunks(a.2), b.1.chunks(b.2)];
        loop {
            let next = pieces.each_mut().map(|pieces| pieces.next().unwrap_or_default());
            if next.iter().all(|piece| piece.is_empty()) {
                return hashers.map(Hasher::finish);
            }
            let [first, second] = &mut hashers;
            let count = first.update_both(next[0], second, next[1]);
            first.update(&next[0][count..]);
            second.update(&next[1][count..]);
        }
    }

    #[test]
    fn two_in_turns_are_what_each_is_alone() {
        let content: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
        for (length_a, piece_a) in [(0, 64), (63, 64), (64, 64), (65, 64), (4096, 128), (70_001, 192), (99_999, 4096)] {
            for (length_b, piece_b) in [(0, 64), (1, 1), (64, 32), (8192, 8192), (10_000, 64), (100_000, 333)] {
                for other in Algorithm::ALL {
                    let (a, b) = (&content[..length_a], &content[100_000 - length_b..]);
                    let found = both((Algorithm::Sha256, a, piece_a), (other, b, piece_b));
                    assert_eq!(found, [Digest::sha256(a), Digest::of(other, b)], "{length_a}, {length_b}, {other:?}");
                }
            }
        }
    }

    #[test]
    fn takes_whole_blocks_of_both() {
        let bytes = [7; 1000];
        let count =
            |a: (&mut Hasher, usize), b: (&mut Hasher, usize)| a.0.update_both(&bytes[..a.1], b.0, &bytes[..b.1]);
        let mut hashers = [Algorithm::Sha256, Algorithm::Sha256, Algorithm::Sha512].map(Hasher::new);
        let [a, b, other] = &mut hashers;
        assert_eq!(count((a, 1000), (b, 200)), 192);
        assert_eq!(count((a, 63), (b, 1000)), 0);
        assert_eq!(count((a, 1000), (other, 1000)), 0);
        a.update(&bytes[..1]);
        assert_eq!(count((a, 1000), (b, 1000)), 0);
        a.update(&bytes[..63]);
        assert_eq!(count((b, 1000), (a, 1000)), 960);
    }
}
