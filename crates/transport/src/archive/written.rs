//! Tar archives that are being written: a file that gets its name in the end, or a stream to somebody who reads along.

use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;
use tokio::sync::mpsc;

use super::CHUNK;
use crate::TransportError;
use hod_engine::endpoint::read_chunk;

/// The unit of tar files, in bytes.
const BLOCK: u64 = 512;
/// Two blocks of zeros end a tar file (POSIX, pax).
const END: u64 = 2 * BLOCK;
/// What an archive is padded with.
static ZEROS: [u8; 1024] = [0; 1024];

/// A header that is the same whoever writes it, and when.
fn header(name: &str, size: u64, mode: u32) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

/// A tar file that grows, and comes to its place when it is complete.
#[derive(Debug)]
pub(crate) struct NewTar {
    path: PathBuf,
    file: fs::File,
    target: Target,
    /// Where content of members may wait.
    folder: PathBuf,
    next: u64,
    finished: bool,
}

/// Where an archive is to be when it is complete.
#[derive(Debug)]
enum Target {
    /// At its path.
    Beside {
        /// The name that it has until then.
        temporary: PathBuf,
        /// Whether an empty file is there, such as `mktemp` makes, and not nothing.
        over_empty: bool,
    },
    /// In what somebody else reads: a pipe, a terminal's end, or a file that a shell has opened.
    Through(fs::File),
}

impl Target {
    /// What a path stands for. Opening a pipe waits for who reads it.
    fn at(path: &Path) -> crate::Result<Self> {
        let beside = |over_empty| Self::Beside { temporary: hod_io::fs::partial_of(path), over_empty };
        let Ok(itself) = fs::symlink_metadata(path) else { return Ok(beside(false)) };
        match fs::metadata(path) {
            Ok(found) if found.is_file() && found.len() > 0 => Err(TransportError::Exists(path.to_owned())),
            Ok(_) if itself.is_file() => Ok(beside(true)),
            Ok(found) if found.is_file() || found.file_type().is_fifo() || found.file_type().is_char_device() => {
                Ok(Self::Through(fs::OpenOptions::new().write(true).open(path)?))
            }
            _ => Err(TransportError::Exists(path.to_owned())),
        }
    }
}

impl NewTar {
    /// Begins an archive beside its place, where nothing may be but an empty file; or in `scratch`, if its place is
    /// one that can only be written from front to back.
    pub(crate) fn create(path: &Path, scratch: &Path) -> crate::Result<Self> {
        let target = Target::at(path)?;
        let (file, folder) = match &target {
            Target::Beside { temporary, .. } => {
                let file = hod_io::fs::claim(temporary)?;
                file.set_len(0)?;
                (file, hod_io::fs::folder_of(path))
            }
            Target::Through(_) => (super::scratch(scratch)?, scratch),
        };
        Ok(Self { path: path.to_owned(), file, target, folder: folder.to_owned(), next: 0, finished: false })
    }

    /// A folder with room for what an archive of this size needs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A handle to write content with.
    pub(crate) fn handle(&self) -> io::Result<fs::File> {
        self.file.try_clone()
    }

    /// Where the archive will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the header of a member and keeps room for its bytes; says where they go.
    pub(crate) fn reserve(&mut self, name: &str, size: u64, mode: u32) -> crate::Result<u64> {
        self.file.write_all_at(header(name, size, mode)?.as_bytes(), self.next)?;
        let place = self.next + BLOCK;
        self.next = place + size.next_multiple_of(BLOCK);
        Ok(place)
    }

    /// Writes a small member.
    pub(crate) fn member(&mut self, name: &str, bytes: &[u8], mode: u32) -> crate::Result<()> {
        let place = self.reserve(name, bytes.len() as u64, mode)?;
        Ok(self.file.write_all_at(bytes, place)?)
    }

    /// Ends the archive, and passes it on or makes it durable and gives it its name, which nobody else may have taken.
    pub(crate) fn finish(&mut self) -> crate::Result<()> {
        self.file.set_len(self.next + END)?;
        let taken = || TransportError::Exists(self.path.clone());
        match &mut self.target {
            Target::Through(target) => {
                self.file.seek(SeekFrom::Start(0))?;
                io::copy(self.file.file_mut(), target.file_mut())?;
            }
            Target::Beside { temporary, over_empty } => {
                self.file.sync_all()?;
                if *over_empty {
                    let there = fs::symlink_metadata(&self.path).ok();
                    if there.as_ref().is_some_and(|found| found.len() > 0) {
                        return Err(taken());
                    }
                    // What mktemp made for its owner alone stays so.
                    if let Some(there) = there {
                        self.file.set_permissions(there.permissions())?;
                    }
                    fs::rename(temporary, &self.path)?;
                } else {
                    match hod_io::fs::rename_to_free(temporary, &self.path) {
                        Ok(true) => {}
                        Ok(false) => return Err(taken()),
                        Err(error) if error.kind() == io::ErrorKind::Unsupported => link(temporary, &self.path)?,
                        Err(error) => return Err(error.into()),
                    }
                }
                hod_io::fs::sync_directory(&self.folder)?;
            }
        }
        self.finished = true;
        Ok(())
    }
}

/// Gives an archive its name, which nobody else may have taken, by a link.
fn link(temporary: &Path, path: &Path) -> crate::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => Ok(fs::remove_file(temporary)?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(TransportError::Exists(path.to_owned())),
        // Filesystems of removable media have no links.
        Err(_) => Ok(fs::rename(temporary, path)?),
    }
}

impl Drop for NewTar {
    fn drop(&mut self) {
        if let Target::Beside { temporary, .. } = &self.target
            && !self.finished
        {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A tar archive that goes to a reader as it is made. Blocks while the reader takes its time.
#[derive(Debug)]
pub(crate) struct TarStream {
    chunks: mpsc::Sender<Option<Bytes>>,
}

impl TarStream {
    /// A stream, and what comes out of it: `None` after the last chunk, and only if [`TarStream::finish`] was called.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Option<Bytes>>) {
        let (chunks, reader) = mpsc::channel(4);
        (Self { chunks }, reader)
    }

    /// Writes a member of `size` bytes.
    pub(crate) fn member(&mut self, name: &str, size: u64, mode: u32, content: &mut impl Read) -> io::Result<()> {
        self.send(Some(Bytes::copy_from_slice(header(name, size, mode)?.as_bytes())))?;
        let mut rest = size;
        while rest > 0 {
            let length = rest.min(CHUNK as u64);
            let chunk = read_chunk(content, length)?;
            if chunk.len() as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            rest -= length;
            self.send(Some(chunk))?;
        }
        self.zeros(size.next_multiple_of(BLOCK) - size)
    }

    /// Ends the archive.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.zeros(END)?;
        self.send(None)
    }

    fn zeros(&self, count: u64) -> io::Result<()> {
        let zeros = Bytes::from_static(&ZEROS);
        self.send(Some(zeros.slice(..usize::try_from(count).unwrap_or_default())))
    }

    fn send(&self, chunk: Option<Bytes>) -> io::Result<()> {
        self.chunks.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
