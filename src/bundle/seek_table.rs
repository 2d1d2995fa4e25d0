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
/// Bytes before the first entry.
const PREFACE: usize = 8;
/// Bytes after the last entry.
pub(super) const FOOTER: usize = 9;
/// Bytes of an entry.
const ENTRY: usize = 8;

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

/// The table of frames in the order of the file. `None` where there are more than the format can count.
pub(super) fn encode(frames: &[FrameLengths]) -> Option<Vec<u8>> {
    let count = u32::try_from(frames.len()).ok()?;
    let rest = u32::try_from(length(u64::from(count)) - PREFACE as u64).ok()?;
    let mut table = Vec::with_capacity(PREFACE + rest as usize);
    table.extend_from_slice(&MAGIC);
    table.extend_from_slice(&rest.to_le_bytes());
    for frame in frames {
        table.extend_from_slice(&frame.compressed.to_le_bytes());
        table.extend_from_slice(&frame.content.to_le_bytes());
    }
    table.extend_from_slice(&count.to_le_bytes());
    table.push(0);
    table.extend_from_slice(&END);
    Some(table)
}

/// The number of frames, from the last nine bytes of a table.
pub(super) fn count(footer: &[u8]) -> Result<u32, &'static str> {
    let Some((count, rest)) = footer.split_first_chunk::<4>() else { return Err("it is too short") };
    match rest {
        [0, end @ ..] if end == END => Ok(u32::from_le_bytes(*count)),
        [_, end @ ..] if end == END => Err("it has a form that hod does not write"),
        _ => Err("there is none"),
    }
}

/// The frames of a whole table.
pub(super) fn parse(table: &[u8]) -> Result<Vec<FrameLengths>, &'static str> {
    let shape = "its length is wrong";
    let (entries, footer) = table.split_at_checked(table.len().saturating_sub(FOOTER)).ok_or(shape)?;
    let count = count(footer)?;
    let entries = entries.strip_prefix(&MAGIC).ok_or("it does not begin where it should")?;
    let (stated, entries) = entries.split_first_chunk::<4>().ok_or(shape)?;
    let (entries, rest) = entries.as_chunks::<4>();
    let expected = length(u64::from(count));
    if expected != table.len() as u64
        || u64::from(u32::from_le_bytes(*stated)) != expected - PREFACE as u64
        || !rest.is_empty()
    {
        return Err(shape);
    }
    let numbers: Vec<u32> = entries.iter().map(|number| u32::from_le_bytes(*number)).collect();
    let (pairs, _) = numbers.as_chunks::<2>();
    let frames: Vec<_> = pairs.iter().map(|&[compressed, content]| FrameLengths { compressed, content }).collect();
    // Whoever reads a frame makes room for all of it first.
    let sound = |frame: &FrameLengths| {
        (1..=COMPRESSED_LIMIT).contains(&(frame.compressed as usize)) && (1..=FRAME).contains(&(frame.content as usize))
    };
    if frames.iter().all(sound) { Ok(frames) } else { Err("it has a frame of an impossible length") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let frames: Vec<_> = (1..100).map(|number| FrameLengths { compressed: number, content: number * 7 }).collect();
        for count in [0, 1, 99] {
            let table = encode(&frames[..count]).unwrap();
            assert_eq!(table.len() as u64, length(count as u64));
            assert_eq!(parse(&table).unwrap(), &frames[..count]);
            assert_eq!(super::count(&table[table.len() - FOOTER..]).unwrap() as usize, count);
        }
    }

    #[test]
    fn refuses_every_shorter_or_longer_table() {
        let table = encode(&[FrameLengths { compressed: 3, content: 4 }; 5]).unwrap();
        for end in 0..table.len() {
            assert!(parse(&table[..end]).is_err());
        }
        for position in 0..table.len() {
            let mut longer = table.clone();
            longer.insert(position, 0);
            assert!(parse(&longer).is_err(), "{position}");
        }
        let limit = u32::try_from(COMPRESSED_LIMIT).unwrap();
        for lengths in [(0, 1), (1, 0), (1, 1 + 1024 * 1024), (limit + 1, 1), (u32::MAX, 1024 * 1024)] {
            let frame = FrameLengths { compressed: lengths.0, content: lengths.1 };
            assert!(parse(&encode(&[frame]).unwrap()).is_err());
        }
        assert!(parse(&encode(&[FrameLengths { compressed: limit, content: 1024 * 1024 }]).unwrap()).is_ok());
    }
}
