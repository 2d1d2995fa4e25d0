//! The frames of a compressed bundle at rest: where each lies, and what is in it.

use zstd::bulk::Decompressor;

use super::frame::{self, FrameError};
use super::{BundleError, Result, seek_table};

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

/// Reads some bytes at a position, all of them or none.
type ReadAt<'a> = &'a dyn Fn(&mut [u8], u64) -> Result<()>;

/// Reads the table at the end of a compressed bundle of that many bytes.
pub fn load(size: u64, read: ReadAt<'_>) -> Result<Vec<FramePlace>> {
    let none = BundleError::SeekTable("there is none: the file was cut off, or compressed by another program");
    let Some(start) = size.checked_sub(seek_table::FOOTER as u64) else { return Err(none) };
    let mut footer = [0; seek_table::FOOTER];
    read(&mut footer, start)?;
    let count = seek_table::count(&footer).map_err(|_| none)?;
    let length = seek_table::length(u64::from(count));
    let wrong = BundleError::SeekTable("it says that it is longer than the file");
    let Some(start) = size.checked_sub(length) else { return Err(wrong) };
    let mut table = vec![0; usize::try_from(length).map_err(|_| wrong)?];
    read(&mut table, start)?;
    let (mut file, mut tar) = (0, 0);
    let place = |lengths: seek_table::FrameLengths| {
        let (compressed, content) = (u64::from(lengths.compressed), u64::from(lengths.content));
        let place = FramePlace { file, compressed, tar, content };
        file += compressed;
        tar += content;
        place
    };
    let frames = seek_table::parse(&table).map_err(BundleError::SeekTable)?.into_iter().map(place).collect();
    if file != start {
        return Err(BundleError::SeekTable("its frames do not add up to the length of the file"));
    }
    Ok(frames)
}

impl FramePlace {
    /// Whether these bytes begin as a frame does.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&frame::MAGIC)
    }

    /// Expands the bytes of this frame.
    pub fn expand(&self, bytes: &[u8], decompressor: &mut Decompressor<'_>, content: &mut Vec<u8>) -> Result<()> {
        let damaged = |problem: &str| BundleError::Zstd { offset: self.file, problem: problem.to_owned() };
        let mut rest = bytes.strip_prefix(&frame::MAGIC).ok_or_else(|| damaged("no frame begins here"))?;
        let mut walked = Vec::with_capacity(bytes.len());
        let expanded = frame::read(&mut rest, &mut walked)
            .and_then(|length| frame::expand(decompressor, &walked, length, content));
        match expanded {
            Ok(()) if rest.is_empty() && content.len() as u64 == self.content => Ok(()),
            Ok(()) => Err(damaged("a frame has another length than the table says")),
            Err(FrameError::Truncated) => Err(damaged("a frame is longer than the table says")),
            Err(FrameError::Foreign) => Err(BundleError::ForeignCompression),
            Err(FrameError::Damaged(problem)) => Err(damaged(&problem)),
            Err(FrameError::Read(error)) => Err(error.into()),
        }
    }
}
