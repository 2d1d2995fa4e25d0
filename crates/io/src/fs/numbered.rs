//! Files with numbers for names, written and removed together.

use std::io;
use std::path::PathBuf;

use fs_err as fs;

use super::write_atomically;

/// Makes these the files 1, 2, … of a series, and removes those of the series that follow.
pub fn write_numbered(file: impl Fn(usize) -> PathBuf, contents: &[impl AsRef<[u8]>]) -> io::Result<()> {
    for (position, content) in contents.iter().enumerate() {
        write_atomically(&file(position + 1), content.as_ref())?;
    }
    remove_numbered(contents.len() + 1, file).map(drop)
}

/// Removes the files of a series from a number on, up to the first that is not there; returns how many there were.
pub fn remove_numbered(first: usize, file: impl Fn(usize) -> PathBuf) -> io::Result<usize> {
    for number in first.. {
        match fs::remove_file(file(number)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(number - first);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(0)
}
