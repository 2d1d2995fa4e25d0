//! Writes output files that the user names: a lock, an inventory, a list of digests, a bundle.
//!
//! A file comes to its place as a whole. What is no file, such as a pipe, a device or a link, is written through and
//! stays what it is; `-` is standard output.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::failure::{Failure, Kind};
use super::terminal;

/// Returns true if a name stands for standard output.
pub(super) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Returns true if what goes to a file of that name comes out at standard output, by whatever name: `-`, `/dev/stdout`.
pub(super) fn leads_to_standard(path: &Path) -> bool {
    let is_same = || {
        let (found, out) = (fs::metadata(path).ok()?, rustix::fs::fstat(io::stdout()).ok()?);
        Some((found.dev(), found.ino()) == (out.st_dev, out.st_ino))
    };
    is_standard(path) || is_same().unwrap_or_default()
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
    match stream(path)? {
        Some(mut stream) => stream.write_all(content),
        // The file that a link leads to is replaced, and not the link.
        None => hod_io::fs::write_atomically(&hod_io::fs::behind_links(path)?, content),
    }
}

/// Where a bundle goes: behind a link, which stays what it is. What can only be written from front to back, such as a
/// pipe, is for who `streams`.
pub(super) fn bundle(path: &Path, streams: bool) -> Result<PathBuf, Failure> {
    if is_standard(path) {
        return Ok(path.to_owned());
    }
    let place = hod_io::fs::behind_links(path).map_err(|error| Failure::of(Kind::Failed, error))?;
    let problem = match fs::metadata(&place) {
        Ok(found) if found.is_dir() => "is a directory",
        Ok(found) if !found.is_file() && !streams => "is not a regular file, which this bundle requires",
        _ => return Ok(place),
    };
    Err(Failure::new(Kind::Usage, format!("{} {problem}", path.display())).hint("name the file to write the bundle to"))
}

/// Standard output for binary data, which would be noise on a terminal, or worse.
pub(super) fn binary() -> Result<io::Stdout, Failure> {
    let out = io::stdout();
    if out.is_terminal() {
        return Err(Failure::new(Kind::Usage, "standard output is a terminal, and this is binary data")
            .hint("redirect it to a file or pipe it to another program, as in > FILE"));
    }
    Ok(out)
}

/// Opens what can only be written from front to back, where a path is that: a pipe, which is waited for until somebody
/// reads it, or a device.
pub(super) fn stream(path: &Path) -> io::Result<Option<fs::File>> {
    let is_stream = |found: std::fs::Metadata| found.file_type().is_char_device() || found.file_type().is_fifo();
    if !fs::metadata(path).is_ok_and(is_stream) {
        return Ok(None);
    }
    fs::OpenOptions::new().write(true).open(path).map(Some)
}
