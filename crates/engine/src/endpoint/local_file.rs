//! A file on a disk at hand that should be some content, on its way to another place by a link.

use std::io;
use std::path::Path;

use fs_err as fs;
use rustix::fs::OFlags;

use hod_io::fs::{Child, ColdFile};
use hod_oci::{Digest, Hasher};

/// A source's own file for some content, which a sink may link.
#[derive(Debug)]
pub struct LocalFile {
    file: fs::File,
    is_known: bool,
}

impl LocalFile {
    /// An open file with the path that leads to it, whose bytes are to be hashed.
    pub const fn new(file: fs::File) -> Self {
        Self { file, is_known: false }
    }

    /// The same, of which its place knows the bytes to be right, so that nobody has to hash them.
    pub const fn known(file: fs::File) -> Self {
        Self { file, is_known: true }
    }

    /// Whether its place knows the bytes to be right.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// The open file.
    pub const fn file(&self) -> &fs::File {
        &self.file
    }

    /// The path that led to the file when it was opened.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Makes a hard link to the file; says whether it could, since the path of the file may lead to another by now.
    pub fn link_to(&self, link: &Child) -> io::Result<bool> {
        link.link_from(self.path())?;
        let is_same = link.is(&self.file.metadata()?)?;
        if !is_same {
            link.remove()?;
        }
        Ok(is_same)
    }

    /// Refuses what was made of this file, by a link or reflink, where its bytes are others. `wrong` is the error for that,
    /// with the digest that was found.
    pub fn check<E: From<io::Error>>(
        &self,
        linked: &Child,
        expected: &Digest,
        wrong: impl FnOnce(Digest) -> E,
    ) -> Result<(), E> {
        if self.is_known {
            return Ok(());
        }
        let mut hasher = Hasher::new(expected.algorithm());
        hasher.read(ColdFile::new(linked.open(OFlags::RDONLY)?))?;
        let found = hasher.finish();
        if found == *expected { Ok(()) } else { Err(wrong(found)) }
    }
}
