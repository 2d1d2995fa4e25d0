//! The frames of a compressed bundle file: their positions and their content.

use zstd::bulk::Decompressor;

use super::frame::{self, FrameError};
use super::seek_table::{self, FrameLengths};
use super::{BundleError, Result};

/// Where a frame begins, in the file and in the tar stream, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// Position in the file.
    pub file: u64,
    /// Its length in the file.
    pub compressed: u64,
    /// Position of its content in the tar stream.
    pub tar: u64,
    /// The length of its content.
    pub content: u64,
}

/// The frames of a bundle, in 8 bytes each.
#[derive(Debug, Default)]
pub struct Frames {
    lengths: Vec<FrameLengths>,
    /// Where every so many frames begin, in the file and in the tar stream.
    marks: Vec<(u64, u64)>,
    /// The length of all in the file.
    file: u64,
    /// The length of their contents.
    tar: u64,
}

/// How many frames there are from one mark to the next.
const STEP: usize = 256;

impl Frames {
    fn push(&mut self, lengths: FrameLengths) {
        if self.lengths.len().is_multiple_of(STEP) {
            self.marks.push((self.file, self.tar));
        }
        self.lengths.push(lengths);
        self.file += u64::from(lengths.compressed);
        self.tar += u64::from(lengths.content);
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The length of the tar stream.
    pub const fn tar_size(&self) -> u64 {
        self.tar
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<FramePlace> {
        self.after_mark(index / STEP).nth(index % STEP)
    }

    /// How many begin at this position of the tar stream or before it; the last of them has what is there.
    pub fn begun(&self, position: u64) -> usize {
        let Some(mark) = self.marks.partition_point(|(_, tar)| *tar <= position).checked_sub(1) else { return 0 };
        mark * STEP + self.after_mark(mark).take(STEP).take_while(|place| place.tar <= position).count()
    }

    /// The frames from a mark on.
    fn after_mark(&self, mark: usize) -> impl Iterator<Item = FramePlace> {
        let (mut file, mut tar) = self.marks.get(mark).copied().unwrap_or_default();
        let lengths = self.lengths.get(mark.saturating_mul(STEP)..).unwrap_or_default();
        lengths.iter().map(move |lengths| {
            let (compressed, content) = (u64::from(lengths.compressed), u64::from(lengths.content));
            let place = FramePlace { file, compressed, tar, content };
            file += compressed;
            tar += content;
            place
        })
    }
}

/// What is said where the table is not at the end of a bundle.
pub(super) const NO_TABLE: &str = "it is missing: the file is damaged or truncated";

/// Reads some bytes at a position, all of them or none.
type ReadAt<'a> = &'a dyn Fn(&mut [u8], u64) -> Result<()>;

/// Reads the table at the end of a compressed bundle of that many bytes.
///
/// It is read in pieces, and the first entry that cannot be ends it: a file may say anything of its length and have no
/// bytes there.
pub fn load(size: u64, read: ReadAt<'_>) -> Result<Frames> {
    let none = || BundleError::SeekTable(NO_TABLE);
    let start = size.checked_sub(seek_table::FOOTER as u64).ok_or_else(none)?;
    let mut footer = [0; seek_table::FOOTER];
    read(&mut footer, start)?;
    let count = seek_table::count(&footer).map_err(|_| none())? as usize;
    let start = size.checked_sub(seek_table::length(count as u64));
    let start = start.ok_or(BundleError::SeekTable("its declared length exceeds the file"))?;
    let expected = seek_table::preface(count).ok_or(BundleError::SeekTable("it declares too many frames"))?;
    let mut preface = [0; seek_table::PREFACE];
    read(&mut preface, start)?;
    if preface != expected {
        return Err(BundleError::SeekTable("it does not start at the expected position"));
    }
    let mut frames = Frames::default();
    let mut entries = vec![0; seek_table::PIECE * seek_table::ENTRY];
    while frames.len() < count {
        let piece = (count - frames.len()).min(seek_table::PIECE) * seek_table::ENTRY;
        let entries = entries.get_mut(..piece).unwrap_or_default();
        read(entries, start + (seek_table::PREFACE + frames.len() * seek_table::ENTRY) as u64)?;
        seek_table::parse(entries)
            .map_err(BundleError::SeekTable)?
            .into_iter()
            .for_each(|lengths| frames.push(lengths));
    }
    if frames.file != start {
        return Err(BundleError::SeekTable("the sizes of its frames do not add up to the length of the file"));
    }
    Ok(frames)
}

impl FramePlace {
    /// Returns true if these bytes begin as a frame does.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&frame::MAGIC)
    }

    /// Expands the bytes of this frame.
    pub fn expand(&self, bytes: &[u8], decompressor: &mut Decompressor<'_>, content: &mut Vec<u8>) -> Result<()> {
        let damaged = |problem: &str| BundleError::Zstd { offset: self.file, problem: problem.to_owned() };
        let mut rest = bytes.strip_prefix(&frame::MAGIC).ok_or_else(|| damaged("no frame starts here"))?;
        let mut walked = Vec::with_capacity(bytes.len());
        let expanded = frame::read(&mut rest, &mut walked)
            .and_then(|length| frame::expand(decompressor, &walked, length, content));
        match expanded {
            Ok(()) if rest.is_empty() && content.len() as u64 == self.content => Ok(()),
            Ok(()) => Err(damaged("the length of a frame differs from the table")),
            Err(FrameError::Truncated) => Err(damaged("a frame is longer than in the table")),
            // The table says that it is one of ours.
            Err(FrameError::Foreign) => Err(damaged(frame::NOT_OURS)),
            Err(FrameError::Damaged(problem)) => Err(damaged(&problem)),
            Err(FrameError::Read(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::COMPRESSED_LIMIT;
    use super::*;

    fn table(frames: &[FrameLengths]) -> Vec<u8> {
        seek_table::encode(frames).unwrap().flatten().collect()
    }

    /// Reads the table of a file that has these bytes in place of its frames.
    fn read(before: u64, table: &[u8]) -> Result<Frames> {
        load(before + table.len() as u64, &|bytes, offset| {
            for (byte, position) in bytes.iter_mut().zip(offset..) {
                let position = position.checked_sub(before).map(|position| usize::try_from(position).unwrap());
                *byte = position.map_or(0, |position| table[position]);
            }
            Ok(())
        })
    }

    #[test]
    fn reads_what_is_written() {
        let lengths: Vec<_> =
            (1..3000).map(|number| FrameLengths { compressed: number, content: number * 7 }).collect();
        for count in [0, 1, 255, 256, 257, 1023, 1024, 1025, 2999] {
            let lengths = &lengths[..count];
            let before = lengths.iter().map(|frame| u64::from(frame.compressed)).sum();
            let table = table(lengths);
            assert_eq!(table.len() as u64, seek_table::length(count as u64));
            let frames = read(before, &table).unwrap();
            assert_eq!(frames.lengths, lengths);
            let places: Vec<_> = (0..count).map(|index| frames.get(index).unwrap()).collect();
            assert!(frames.get(count).is_none());
            let (mut file, mut tar) = (0, 0);
            for (index, place) in places.iter().enumerate() {
                assert_eq!((place.file, place.tar), (file, tar));
                assert_eq!((frames.begun(tar), frames.begun(tar + place.content - 1)), (index + 1, index + 1));
                (file, tar) = (file + place.compressed, tar + place.content);
            }
            assert_eq!((frames.tar_size(), frames.begun(tar)), (tar, count));
        }
    }

    #[test]
    fn refuses_every_shorter_or_longer_table() {
        let lengths = [FrameLengths { compressed: 300, content: 4 }; 5];
        let table = table(&lengths);
        for end in 0..table.len() {
            assert!(read(1500, &table[..end]).is_err());
        }
        for position in 0..table.len() {
            let mut longer = table.clone();
            longer.insert(position, 0);
            assert!(read(1500, &longer).is_err(), "{position}");
        }
        assert!(read(1499, &table).is_err() && read(1501, &table).is_err());
        let limit = u32::try_from(COMPRESSED_LIMIT).unwrap();
        for (lengths, is_good) in [
            ((0, 1), false),
            ((1, 0), false),
            ((1, 1 + 1024 * 1024), false),
            ((limit + 1, 1), false),
            ((u32::MAX, 1024 * 1024), false),
            ((limit, 1024 * 1024), true),
        ] {
            let frame = FrameLengths { compressed: lengths.0, content: lengths.1 };
            assert_eq!(read(u64::from(lengths.0), &self::table(&[frame])).is_ok(), is_good);
        }
    }

    #[test]
    fn no_more_is_read_than_can_be_true() {
        for (count, expected) in
            [(4_000_000_u32, "an impossible length"), (u32::MAX / 8 - 2, "declares too many frames")]
        {
            let mut preface = seek_table::MAGIC.to_vec();
            preface.extend((count * 8 + 9).to_le_bytes());
            let footer = seek_table::footer(count as usize).unwrap();
            let size = 100_000_000_000;
            let start = size - seek_table::length(u64::from(count));
            let asked = std::cell::Cell::new(0);
            let error = load(size, &|bytes, offset| {
                asked.set(asked.get() + bytes.len());
                bytes.fill(0);
                if offset == start {
                    bytes.copy_from_slice(&preface);
                } else if offset == size - 9 {
                    bytes.copy_from_slice(&footer);
                }
                Ok(())
            });
            let text = error.unwrap_err().to_string();
            assert!(text.contains(expected) && asked.get() < 64 * 1024, "{text}, {} bytes read", asked.get());
        }
    }
}
