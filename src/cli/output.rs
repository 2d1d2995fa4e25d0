//! Small files whose names the user gives: a lock, an inventory, a list of digests.
//!
//! A file comes to its place as a whole. What is no file, such as a pipe, a device or a link, is written through and
//! stays what it is; `-` is standard output.

use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use fs_err as fs;

use super::failure::{Failure, Kind};
use super::terminal;

/// Whether a name stands for standard output.
pub(super) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes what goes to a file of that name. A pipe is waited for until somebody reads it.
pub(super) async fn write(path: &Path, content: Vec<u8>) -> Result<(), Failure> {
    let failed = |error| if is_standard(path) { Failure::output(error) } else { Failure::of(Kind::Failed, error) };
    try_write(path, content).await.map_err(failed)
}

/// The same for who says in own words what failed.
pub(super) async fn try_write(path: &Path, content: Vec<u8>) -> io::Result<()> {
    if is_standard(path) {
        return terminal::data(&content);
    }
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || write_to(&path, &content)).await.map_err(io::Error::other)?
}

fn write_to(path: &Path, content: &[u8]) -> io::Result<()> {
    let Ok(found) = fs::metadata(path) else { return crate::fs::write_atomically(path, content) };
    if found.file_type().is_char_device() || found.file_type().is_fifo() {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(content);
    }
    // The file that a link leads to is replaced, and not the link.
    crate::fs::write_atomically(&fs::canonicalize(path)?, content)
}
