//! zstd frames, one at a time (RFC 8878).
//!
//! A compressed bundle is cut into frames that say how long their content is and end with a
//! checksum. A reader walks the blocks of a frame to find its end and expands it only when all of it is
//! there, so what it needs in memory is bounded before anything is expanded.

use std::io::{self, Read};

use zstd::bulk::Decompressor;

/// The most content that a frame holds, in bytes.
pub(super) const FRAME: usize = 1024 * 1024;
/// The most that a frame takes compressed: its content, and room for the headers of its blocks.
pub(super) const COMPRESSED_LIMIT: usize = FRAME + 64 * 1024;
/// The first bytes of a frame.
pub(super) const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// The length of the checksum at the end.
const CHECKSUM: usize = 4;

/// What is said of a frame in a bundle that hod did not write.
pub(super) const NOT_OURS: &str = "a frame has a format that hod does not write";

/// What is wrong with a frame.
#[derive(Debug)]
pub(super) enum FrameError {
    /// The bytes end within it.
    Truncated,
    /// It was not made for a bundle: too long, or without length or checksum.
    Foreign,
    /// It cannot be expanded.
    Damaged(String),
    /// The bytes cannot be read.
    Read(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Read(error) }
    }
}

/// Reads the rest of a frame whose magic has been read, into `frame`, magic included.
///
/// Returns the length of its content.
pub(super) fn read(input: &mut impl Read, frame: &mut Vec<u8>) -> Result<usize, FrameError> {
    frame.clear();
    frame.extend_from_slice(&MAGIC);
    let [descriptor] = take(input, frame)?;
    let single_segment = descriptor & 0x20 != 0;
    if descriptor & 0x08 != 0 {
        return Err(FrameError::Damaged("a reserved bit of a frame is set".to_owned()));
    }
    // No dictionary, and a checksum.
    if descriptor & 0x07 != 0x04 {
        return Err(FrameError::Foreign);
    }
    if !single_segment {
        take::<1>(input, frame)?;
    }
    let content = match (descriptor >> 6, single_segment) {
        (0, true) => u64::from(u8::from_le_bytes(take(input, frame)?)),
        (0, false) => return Err(FrameError::Foreign),
        (1, _) => u64::from(u16::from_le_bytes(take(input, frame)?)) + 256,
        (2, _) => u64::from(u32::from_le_bytes(take(input, frame)?)),
        _ => u64::from_le_bytes(take(input, frame)?),
    };
    let content = usize::try_from(content).ok().filter(|content| (1..=FRAME).contains(content));
    let content = content.ok_or(FrameError::Foreign)?;
    read_blocks(input, frame)?;
    Ok(content)
}

fn read_blocks(input: &mut impl Read, frame: &mut Vec<u8>) -> Result<(), FrameError> {
    loop {
        let [low, middle, high] = take(input, frame)?;
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let size = match header >> 1 & 3 {
            1 => 1,
            3 => return Err(FrameError::Damaged("a block of a frame has an unknown type".to_owned())),
            _ => header as usize >> 3,
        };
        let is_last = header & 1 != 0;
        let length = if is_last { size + CHECKSUM } else { size };
        if frame.len() + length > COMPRESSED_LIMIT {
            return Err(FrameError::Foreign);
        }
        let before = frame.len();
        input.by_ref().take(length as u64).read_to_end(frame)?;
        if frame.len() - before < length {
            return Err(FrameError::Truncated);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn take<const N: usize>(input: &mut impl Read, frame: &mut Vec<u8>) -> Result<[u8; N], FrameError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    frame.extend_from_slice(&bytes);
    Ok(bytes)
}

/// Expands a frame as [`read`] leaves it, checks its checksum, and puts its content into `into`.
pub(super) fn expand(
    decompressor: &mut Decompressor<'_>,
    frame: &[u8],
    content: usize,
    into: &mut Vec<u8>,
) -> Result<(), FrameError> {
    into.clear();
    into.reserve_exact(content);
    let expanded = decompressor.decompress_to_buffer(frame, into);
    match expanded.map_err(|error| FrameError::Damaged(error.to_string()))? {
        length if length == content => Ok(()),
        _ => Err(FrameError::Damaged("a frame is shorter than declared".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use zstd::bulk::Compressor;
    use zstd::zstd_safe::CParameter;

    use super::*;

    fn frame(content: &[u8], checksum: bool) -> Vec<u8> {
        let mut compressor = Compressor::new(3).unwrap();
        compressor.set_parameter(CParameter::ChecksumFlag(checksum)).unwrap();
        compressor.compress(content).unwrap()
    }

    fn content(mut bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
        let (mut frame, mut content) = (Vec::new(), Vec::new());
        bytes = &bytes[4..];
        let length = read(&mut bytes, &mut frame)?;
        assert_eq!(bytes, b"next");
        expand(&mut Decompressor::new().unwrap(), &frame, length, &mut content)?;
        Ok(content)
    }

    #[test]
    fn finds_the_end_of_every_kind_of_frame() {
        let mixed: Vec<u8> =
            (0..400_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let flat = vec![7; FRAME];
        for bytes in [b"a", &flat[..200], &flat[..300], &flat[..70_000], &flat, &mixed[..FRAME], &mixed[..255]] {
            let mut stream = frame(bytes, true);
            stream.extend_from_slice(b"next");
            assert_eq!(content(&stream).unwrap(), bytes);
        }
    }

    #[test]
    fn refuses_frames_that_no_bundle_has() {
        assert!(matches!(content(&frame(b"a", false)), Err(FrameError::Foreign)));
        assert!(matches!(content(&frame(&vec![0; FRAME + 1], true)), Err(FrameError::Foreign)));
        assert!(matches!(content(&frame(b"", true)), Err(FrameError::Foreign)));
        let streamed = zstd::stream::encode_all(&b"abc"[..], 3).unwrap();
        assert!(matches!(content(&streamed), Err(FrameError::Foreign)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good: Vec<u8> = (0..200_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        let bytes = frame(&good, true);
        for position in 4..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[position] ^= 1 << bit;
                bytes.extend_from_slice(b"next");
                let mut rest = &bytes[4..];
                let (mut frame, mut content) = (Vec::new(), Vec::new());
                let result = read(&mut rest, &mut frame)
                    .and_then(|length| expand(&mut Decompressor::new().unwrap(), &frame, length, &mut content));
                // A window larger than needed is the one change that alters nothing.
                assert!(result.is_err() || content == good, "bit {bit} of byte {position}");
            }
        }
    }
}
