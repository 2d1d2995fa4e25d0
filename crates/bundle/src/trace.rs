//! Distinguishes a damaged bundle from a file of another format.

use super::frame::{self, COMPRESSED_LIMIT, FrameError};
use super::seek_table;

/// How far to look for a trace: past one damaged frame, and to the end of the next.
pub(super) const LOOK: u64 = 2 * COMPRESSED_LIMIT as u64 + 1024;
/// How the header of every bundle begins.
const HEADER: &[u8] = br#"{"format":"hod-bundle","version":"#;

/// Returns true if the bytes behind a first block that is none of a bundle are those of one: a header, or frames.
pub(super) fn is_in(bytes: &[u8]) -> bool {
    has_frame(bytes) || bytes.windows(HEADER.len()).take(2048).any(|window| window == HEADER)
}

/// Returns true if there is a frame of a bundle in these bytes, or the table at its end.
pub(super) fn has_frame(bytes: &[u8]) -> bool {
    (0..bytes.len()).filter_map(|at| bytes.get(at..)).any(|rest| is_frame(rest) || is_table(rest))
}

/// Whether a file that has no table may be the beginning of a bundle: its first frame is one, as far as it goes.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let frame = bytes.strip_prefix(&frame::MAGIC).map(|mut rest| frame::read(&mut rest, &mut Vec::new()));
    frame.is_some_and(|frame| !matches!(frame, Err(FrameError::Foreign)))
}

fn is_frame(bytes: &[u8]) -> bool {
    bytes.strip_prefix(&frame::MAGIC).is_some_and(|mut rest| frame::read(&mut rest, &mut Vec::new()).is_ok())
}

/// Returns true if a table begins here, by its length and its first entry.
fn is_table(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(&seek_table::MAGIC) else { return false };
    let Some((length, entries)) = rest.split_first_chunk::<4>() else { return false };
    let entry = entries.get(..seek_table::ENTRY);
    let length = (u32::from_le_bytes(*length) as usize).checked_sub(seek_table::FOOTER);
    length.is_some_and(|length| length.is_multiple_of(seek_table::ENTRY))
        && entry.is_some_and(|entry| seek_table::parse(entry).is_ok())
}
