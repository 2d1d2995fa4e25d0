//! A `.tar` bundle that several threads write in any order, and that can be resumed.
//!
//! The header decides where every byte lies, so the file has its full length and all of its tar headers, links
//! and manifests from the start, and blobs land in their places as they come. Beside it grows a journal,
//! which says how far each blob has come:
//!
//! ```text
//! .NAME.partial            the bundle, not whole yet
//! .NAME.partial.journal    first line the id of its header; then DIGEST LENGTH, in any order, the last counts
//! ```
//!
//! The journal claims and proves nothing: what it says is there is hashed again before it is believed, and whatever is
//! no blob is written again. So a crash of the machine, after which the file may hold less, costs time and never a
//! wrong byte.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;

use super::members::{Member, MemberContent, header_head};
use super::ustar::END;
use super::{BundleError, Header, Result};
use hod_io::fs::{FileRange, RangedFile};
use hod_oci::Digest;

/// A bundle that is being filled. Clones are the same file.
#[derive(Clone)]
pub struct InPlace {
    inner: Arc<Inner>,
}

struct Inner {
    header: Arc<Header>,
    /// Where the data area begins.
    area: u64,
    output: PathBuf,
    file: Arc<RangedFile>,
    journal: Mutex<fs::File>,
    /// How far the blobs of an interrupted run have come; what has proved false is nothing.
    kept: Mutex<HashMap<Digest, u64>>,
}

impl InPlace {
    /// Starts a bundle at `output`, or continues an interrupted one with the same header.
    ///
    /// Nobody else may be filling the same bundle at the same time.
    pub fn open(output: &Path, header: Arc<Header>) -> Result<Self> {
        let partial = hod_io::fs::partial_of(output);
        let journal = output.with_file_name(format!("{}.journal", partial.file_name().unwrap_or_default().display()));
        let write = BundleError::Write;
        let file = hod_io::fs::claim(&partial).map_err(write)?;
        let mut options = std::fs::OpenOptions::new();
        options.read(true).append(true).create(true);
        let log = hod_io::fs::open_own(&journal, options).map_err(write)?;
        let text = fs::read_to_string(&journal).unwrap_or_default();
        let has_bytes = file.metadata().is_ok_and(|file| file.len() > 0);
        let known = has_bytes && text.lines().next() == Some(&header.id().to_string());
        let kept = if known { entries(&text) } else { HashMap::new() };
        if !known {
            file.set_len(0).map_err(write)?;
        }
        let area = header.data_area(None);
        let file = Arc::new(RangedFile::new(file, &partial));
        let (output, journal, kept) = (output.to_owned(), Mutex::new(log), Mutex::new(kept));
        let bundle = Inner { header, area, output, file, journal, kept };
        bundle.begin().map_err(write)?;
        if !known {
            bundle.begin_journal().map_err(write)?;
        }
        Ok(Self { inner: Arc::new(bundle) })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// How many bytes of a blob an interrupted run claims to have written.
    pub(crate) fn claimed(&self, digest: &Digest) -> u64 {
        let size = self.inner.header.blob(digest).map_or(0, |blob| blob.size);
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(digest).copied().unwrap_or(0).min(size)
    }

    /// Reads bytes of a blob.
    pub fn read_at(&self, digest: &Digest, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.file.file().read_exact_at(bytes, self.inner.place(digest)? + offset)
    }

    /// Writes all of a blob, which is at hand.
    pub fn write(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        self.inner.file.file().write_all_at(bytes, self.inner.place(digest)?)
    }

    /// The place of `length` bytes of a blob, from `offset` on.
    pub fn stretch(&self, digest: &Digest, offset: u64, length: u64) -> io::Result<FileRange> {
        Ok(FileRange::new(&self.inner.file, self.inner.place(digest)? + offset, length))
    }

    /// Notes that a blob has come that far.
    pub fn note(&self, digest: &Digest, length: u64) -> io::Result<()> {
        if let Some(kept) = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner).get_mut(digest) {
            *kept = length;
        }
        let mut journal = self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.write_all(format!("{digest} {length}\n").as_bytes())
    }

    /// Makes the bundle durable and gives it its name. Every blob MUST be whole and verified.
    pub fn finish(self) -> io::Result<u64> {
        let Inner { file, output, header, .. } = &*self.inner;
        hod_io::fs::publish(file.file(), output)?;
        let journal = self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
        fs::remove_file(journal.path())?;
        Ok(header.tar_size(None))
    }
}

impl Inner {
    /// Where a blob's first byte lies in the file.
    fn place(&self, digest: &Digest) -> io::Result<u64> {
        let blob = self.header.blob(digest);
        let blob = blob.ok_or_else(|| io::Error::other(format!("{digest} is not in the bundle")))?;
        Ok(self.area + blob.offset)
    }

    /// Writes everything but the blobs.
    fn begin(&self) -> io::Result<()> {
        let size = self.header.tar_size(None);
        let file = self.file.file();
        file.set_len(size)?;
        // Blobs are written side by side only where the disk has given the room (ext4 lets one at a time fill a hole);
        // and where it has not, that is known before anything is fetched.
        hod_io::fs::allocate(file, size)?;
        let mut start = io::BufWriter::new(file);
        start.write_all(&header_head(self.header.json_length(), self.header.mtime()))?;
        self.header.write_json(&mut start)?;
        start.flush()?;
        for member in self.header.members() {
            self.member(&member)?;
        }
        file.write_all_at(&END, size - END.len() as u64)
    }

    /// Writes the journal's first line.
    fn begin_journal(&self) -> io::Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.set_len(0)?;
        journal.write_all(format!("{}\n", self.header.id()).as_bytes())
    }

    fn member(&self, member: &Member) -> io::Result<()> {
        let mut bytes = member.head(self.header.mtime());
        if let MemberContent::Link(digest) = member.holds {
            bytes.extend_from_slice(digest.to_string().as_bytes());
        }
        self.file.file().write_all_at(&bytes, self.area + member.start)
    }
}

/// The journal's claims. A line that a crash has cut short does not parse, and claims nothing.
fn entries(journal: &str) -> HashMap<Digest, u64> {
    let complete = journal.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete
        .lines()
        .skip(1)
        .filter_map(|line| {
            let (digest, length) = line.split_once(' ')?;
            Some((digest.parse().ok()?, length.parse().ok()?))
        })
        .collect()
}

impl fmt::Debug for InPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InPlace").field("output", &self.inner.output).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_claims_nothing() {
        let digest = Digest::sha256(b"brick");
        let text = format!("id\n{digest} 5\n{digest} 700\nrubbish\n{digest} 9");
        assert_eq!(entries(&text), HashMap::from([(digest, 700)]));
        assert!(entries("").is_empty());
        assert!(entries("id").is_empty());
    }
}
