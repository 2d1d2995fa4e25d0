//! Frames with uncompressed content, for data that does not compress (RFC 8878, section 3.1.1).
//!
//! Layers are compressed already. To compress them again takes most of the time of a `.tar.zst` and saves less than
//! one byte in a hundred, so a sample of the content decides whether it is tried.

use std::io;

use twox_hash::XxHash64;
use zstd::bulk::Compressor;

use super::frame::MAGIC;

/// The most that a block holds (RFC 8878, section 3.1.1.2.3).
const BLOCK: usize = 128 * 1024;
/// A single segment, a checksum, and the length of the content in four bytes.
const DESCRIPTOR: u8 = 0xA4;
/// Content that is shorter is compressed in any case.
const SAMPLED_FROM: usize = 64 * 1024;
/// How many pieces of the content are tried, and how long they are.
const PIECES: usize = 4;
const PIECE: usize = 4096;
/// Of a hundred bytes of the sample, those that must be left at the least for the content to be stored.
const DENSE: usize = 97;

/// Finds content that does not compress. What it says depends on the content alone.
pub(super) struct Sampler {
    compressor: Compressor<'static>,
    sample: Vec<u8>,
    compressed: Vec<u8>,
}

impl Sampler {
    pub(super) fn new() -> io::Result<Self> {
        let compressed = Vec::with_capacity(zstd::zstd_safe::compress_bound(PIECES * PIECE));
        Ok(Self { compressor: Compressor::new(1)?, sample: Vec::with_capacity(PIECES * PIECE), compressed })
    }

    /// Returns true if compressing would save next to nothing.
    pub(super) fn is_dense(&mut self, content: &[u8]) -> io::Result<bool> {
        if content.len() < SAMPLED_FROM {
            return Ok(false);
        }
        self.sample.clear();
        for piece in content.chunks(content.len().div_ceil(PIECES)) {
            self.sample.extend_from_slice(piece.get(..PIECE).unwrap_or(piece));
        }
        self.compressed.clear();
        let length = self.compressor.compress_to_buffer(&self.sample, &mut self.compressed)?;
        Ok(length * 100 >= self.sample.len() * DENSE)
    }
}

/// Appends the frame that stores the content.
pub(super) fn store(content: &[u8], frame: &mut Vec<u8>) {
    let blocks = content.len().div_ceil(BLOCK);
    frame.reserve(content.len() + 3 * blocks + 13);
    frame.extend_from_slice(&MAGIC);
    frame.push(DESCRIPTOR);
    let length = u32::try_from(content.len()).unwrap_or_default();
    frame.extend_from_slice(&length.to_le_bytes());
    for (number, block) in content.chunks(BLOCK).enumerate() {
        let is_last = u32::from(number + 1 == blocks);
        let size = u32::try_from(block.len()).unwrap_or_default();
        let [low, middle, high, _] = (size << 3 | is_last).to_le_bytes();
        frame.extend_from_slice(&[low, middle, high]);
        frame.extend_from_slice(block);
    }
    let [one, two, three, four, ..] = XxHash64::oneshot(0, content).to_le_bytes();
    frame.extend_from_slice(&[one, two, three, four]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    /// The zstd program is the judge: it checks lengths and checksum.
    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn zstd_expands_what_is_stored() {
        for length in [1, 255, 256, 70_000, BLOCK, BLOCK + 1, 1024 * 1024] {
            let content = noise(length);
            let mut frame = Vec::new();
            store(&content, &mut frame);
            let mut file = tempfile::NamedTempFile::new().unwrap();
            io::Write::write_all(&mut file, &frame).unwrap();
            let done = std::process::Command::new("zstd").arg("-dcq").arg(file.path()).output().unwrap();
            assert!(done.status.success(), "{length}: {}", String::from_utf8_lossy(&done.stderr));
            assert!(done.stdout == content, "{length}");
            let mut wrong = frame;
            let last = wrong.len() - 5;
            wrong[last] ^= 1;
            assert!(zstd::bulk::decompress(&wrong, length).is_err(), "{length}");
        }
    }

    #[test]
    fn only_what_does_not_compress_is_dense() {
        let mut sampler = Sampler::new().unwrap();
        let mut content = noise(1024 * 1024);
        assert!(sampler.is_dense(&content).unwrap());
        assert!(!sampler.is_dense(&content[..SAMPLED_FROM - 1]).unwrap());
        content[..300_000].fill(7);
        assert!(!sampler.is_dense(&content).unwrap());
        assert!(!sampler.is_dense(&vec![b'a'; 1024 * 1024]).unwrap());
    }
}
