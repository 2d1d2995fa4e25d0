//! The seek table at the end of a compressed bundle.
//!
//! The form is that of the Zstandard seekable format, version 0.1.0 (`contrib/seekable_format` of the
//! zstd sources), without checksums, since every frame has its own:
//!
//! ```text
//! 5E 2A 4D 18  length of what follows: u32
//! for each frame: compressed length u32, length of its content u32
//! number of frames u32, descriptor 00, B1 EA 92 8F
//! ```
//!
//! All numbers are little-endian. To other zstd programs the table is a skippable frame.

use super::frame::{COMPRESSED_LIMIT, FRAME};

/// The first bytes of the table, a skippable frame's magic.
pub(super) const MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
/// The last bytes of the table.
const END: [u8; 4] = 0x8F92_EAB1_u32.to_le_bytes();
/// The most frames that a bundle has, so that what is held of each, 8 bytes, needs no more than 32 MiB. With whole frames
/// that are 4 TiB.
pub(super) const FRAMES_LIMIT: usize = 4 * 1024 * 1024;
/// How many entries are read or written at a time.
pub(super) const PIECE: usize = 1024;
/// Bytes before the first entry.
pub(super) const PREFACE: usize = 8;
/// Bytes after the last entry.
pub(super) const FOOTER: usize = 9;
/// Bytes of an entry.
pub(super) const ENTRY: usize = 8;

/// The lengths of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameLengths {
    /// As it lies in the file.
    pub(super) compressed: u32,
    /// Expanded.
    pub(super) content: u32,
}

impl FrameLengths {
    /// The lengths of a frame and of its content. `None` for those that no frame of a bundle has.
    pub(super) fn of(frame: &[u8], content: &[u8]) -> Option<Self> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).ok();
        Some(Self { compressed: length(frame)?, content: length(content)? })
    }
}

/// The length of the table of that many frames.
pub(super) const fn length(frames: u64) -> u64 {
    frames.saturating_mul(ENTRY as u64).saturating_add((PREFACE + FOOTER) as u64)
}

/// The bytes before the entries. `None` for more frames than a bundle has.
pub(super) fn preface(frames: usize) -> Option<[u8; PREFACE]> {
    if frames > FRAMES_LIMIT {
        return None;
    }
    let rest = u32::try_from(length(frames as u64) - PREFACE as u64).ok()?;
    let mut bytes = [0; PREFACE];
    let (magic, stated) = bytes.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    stated.copy_from_slice(&rest.to_le_bytes());
    Some(bytes)
}

/// The entries of some frames.
pub(super) fn entries(frames: &[FrameLengths]) -> Vec<u8> {
    frames.iter().flat_map(|frame| [frame.compressed, frame.content]).flat_map(u32::to_le_bytes).collect()
}

/// The bytes after the entries.
pub(super) fn footer(frames: usize) -> Option<[u8; FOOTER]> {
    let count = u32::try_from(frames).ok()?.to_le_bytes();
    let mut bytes = [0; FOOTER];
    bytes.iter_mut().zip(count.iter().chain(&[0]).chain(&END)).for_each(|(byte, value)| *byte = *value);
    Some(bytes)
}

/// The table of frames in the order of the file, in pieces of a few KiB. `None` where there are more than a bundle has.
pub(super) fn encode(frames: &[FrameLengths]) -> Option<impl Iterator<Item = Vec<u8>>> {
    let (preface, footer) = (preface(frames.len())?.to_vec(), footer(frames.len())?.to_vec());
    let entries = frames.chunks(PIECE).map(entries);
    Some(std::iter::once(preface).chain(entries).chain(std::iter::once(footer)))
}

/// The number of frames, from the last nine bytes of a table.
pub(super) fn count(footer: &[u8]) -> Result<u32, &'static str> {
    let Some((count, rest)) = footer.split_first_chunk::<4>() else { return Err("it is too short") };
    match rest {
        [0, end @ ..] if end == END => Ok(u32::from_le_bytes(*count)),
        [_, end @ ..] if end == END => Err("it has a format that hod does not write"),
        _ => Err("it is missing"),
    }
}

/// The frames of some entries.
pub(super) fn parse(entries: &[u8]) -> Result<Vec<FrameLengths>, &'static str> {
    let (numbers, _) = entries.as_chunks::<4>();
    let (pairs, _) = numbers.as_chunks::<2>();
    let frame = |&[compressed, content]: &[[u8; 4]; 2]| FrameLengths {
        compressed: u32::from_le_bytes(compressed),
        content: u32::from_le_bytes(content),
    };
    let frames: Vec<_> = pairs.iter().map(frame).collect();
    // Whoever reads a frame makes room for all of it first.
    let sound = |frame: &FrameLengths| {
        (1..=COMPRESSED_LIMIT).contains(&(frame.compressed as usize)) && (1..=FRAME).contains(&(frame.content as usize))
    };
    if frames.iter().all(sound) { Ok(frames) } else { Err("it has a frame of an impossible length") }
}
