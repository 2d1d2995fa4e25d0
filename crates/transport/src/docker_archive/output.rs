//! Where an archive goes while it is made: to a file, or to a daemon that reads along.

use std::io::{self, Seek as _, SeekFrom};

use fs_err as fs;

use crate::Result;
use crate::archive::{NewTar, TarStream};

/// How members are written: readable by all, changed by nobody, as the format's first writer does.
const MODE: u32 = 0o444;

/// An archive that is being written.
#[derive(Debug)]
pub(super) enum Output {
    File(NewTar),
    Stream(TarStream),
}

impl Output {
    /// Writes a small member.
    pub(super) fn member(&mut self, name: &str, mut bytes: &[u8]) -> Result<()> {
        match self {
            Self::File(tar) => tar.member(name, bytes, MODE),
            Self::Stream(tar) => Ok(tar.member(name, bytes.len() as u64, MODE, &mut bytes)?),
        }
    }

    /// Writes a whole file as a member.
    pub(super) fn file(&mut self, name: &str, content: &mut fs::File) -> Result<()> {
        let size = content.seek(SeekFrom::End(0))?;
        content.seek(SeekFrom::Start(0))?;
        match self {
            Self::File(tar) => {
                let place = tar.reserve(name, size, MODE)?;
                let mut handle = tar.handle()?;
                handle.seek(SeekFrom::Start(place))?;
                io::copy(content.file_mut(), handle.file_mut())?;
                Ok(())
            }
            Self::Stream(tar) => Ok(tar.member(name, size, MODE, content)?),
        }
    }

    /// Ends the archive.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self {
            Self::File(tar) => tar.finish(),
            Self::Stream(tar) => Ok(tar.finish()?),
        }
    }
}
