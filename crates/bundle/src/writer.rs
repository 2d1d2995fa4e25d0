//! Writes a bundle in one pass.

use std::fmt;
use std::io::{self, BufWriter, Read, Write};

use super::compress::Frames;
use super::members::{Member, header_head, signature_head};
use super::tape::SIGNATURE_LIMIT;
use super::ustar::{END, padded};
use super::{BundleError, Header, Result};
use hod_engine::endpoint::Mismatch;
use hod_oci::{Digest, Hasher};

/// How much is read, hashed and written at a time.
const BUFFER: usize = 256 * 1024;

/// Whether and how a bundle is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.tar`.
    None,
    /// `.tar.zst`, on that many threads; the bytes do not depend on how many.
    Zstd {
        /// At least one, and at most what is sensible.
        threads: usize,
    },
}

/// The result of writing a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleSummary {
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The bundle's id.
    pub id: Digest,
}

/// A bundle that is being written: its blobs are due in the order of the header.
pub struct Writer<'a, W: Write> {
    out: Out<W>,
    header: &'a Header,
    next: usize,
    buffer: Vec<u8>,
}

enum Out<W: Write> {
    Plain { out: BufWriter<W>, written: u64 },
    Zstd(Box<Frames<W>>),
}

impl<W: Write> Out<W> {
    fn begin(&mut self, length: u64) -> io::Result<()> {
        match self {
            Self::Plain { .. } => Ok(()),
            Self::Zstd(frames) => frames.begin(length),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain { out, written } => {
                *written += bytes.len() as u64;
                out.write_all(bytes)
            }
            Self::Zstd(frames) => frames.write(bytes),
        }
    }

    /// Writes a member whose content is at hand.
    fn member(&mut self, head: &[u8], content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.begin(head.len() as u64 + padded(size))?;
        self.write(head)?;
        self.write(content)?;
        self.pad(size)
    }

    /// Fills the last block of a content of that size.
    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = usize::try_from(padded(size) - size).unwrap_or_default();
        self.write(END.get(..rest).unwrap_or_default())
    }

    fn finish(self) -> io::Result<(W, u64)> {
        match self {
            Self::Plain { out, written } => Ok((out.into_inner().map_err(io::IntoInnerError::into_error)?, written)),
            Self::Zstd(frames) => frames.finish(),
        }
    }
}

impl<'a, W: Write> Writer<'a, W> {
    /// Begins a bundle: writes the header and, where there is one, its signature.
    pub fn new(out: W, header: &'a Header, signature: Option<&[u8]>, compression: Compression) -> Result<Self> {
        let mut out = match compression {
            Compression::None => Out::Plain { out: BufWriter::with_capacity(BUFFER, out), written: 0 },
            Compression::Zstd { threads } => {
                let length = header.tar_size(signature.map(|signature| signature.len() as u64));
                Out::Zstd(Box::new(Frames::new(out, threads, length).map_err(BundleError::Write)?))
            }
        };
        let json = header.to_json();
        out.member(&header_head(json.len() as u64, header.mtime()), &json).map_err(BundleError::Write)?;
        if let Some(signature) = signature {
            if signature.len() as u64 > SIGNATURE_LIMIT {
                return Err(BundleError::Signature(signature.len()));
            }
            let head = signature_head(signature.len() as u64, header.mtime());
            out.member(&head, signature).map_err(BundleError::Write)?;
        }
        Ok(Self { out, header, next: 0, buffer: vec![0; BUFFER] })
    }

    /// The blob whose turn it is.
    pub fn next_blob(&self) -> Option<&'a super::Blob> {
        self.header.blobs().get(self.next)
    }

    /// Writes the next blob. Fails if `content` is not exactly what the digest and the header say.
    pub fn blob(&mut self, digest: &Digest, content: &mut dyn Read) -> Result<()> {
        let expected = self.next_blob().map(|blob| blob.digest);
        let member = self.header.blob_member(self.next).filter(|_| expected == Some(*digest));
        let Some(member) = member else { return Err(BundleError::Order { digest: *digest, turn: self.next + 1 }) };
        let head = member.head(self.header.mtime());
        self.out.begin(head.len() as u64 + padded(member.size)).map_err(BundleError::Write)?;
        self.out.write(&head).map_err(BundleError::Write)?;
        self.copy(digest, member.size, content)?;
        self.out.pad(member.size).map_err(BundleError::Write)?;
        self.next += 1;
        Ok(())
    }

    fn copy(&mut self, digest: &Digest, size: u64, content: &mut dyn Read) -> Result<()> {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut got = 0;
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(BundleError::Source { digest: *digest, source }),
            };
            let bytes = self.buffer.get(..count).unwrap_or_default();
            got += count as u64;
            if got > size {
                return Err(Mismatch::Long { digest: *digest, size }.into());
            }
            if count == 0 {
                break;
            }
            hasher.update(bytes);
            self.out.write(bytes).map_err(BundleError::Write)?;
        }
        if got < size {
            return Err(Mismatch::Short { digest: *digest, size, got }.into());
        }
        let found = hasher.finish();
        if found == *digest { Ok(()) } else { Err(Mismatch::Digest { expected: *digest, found }.into()) }
    }

    /// Writes folders and links, the end, and for a compressed bundle the table. Returns what was written to;
    /// making that durable is up to the caller.
    pub fn finish(mut self) -> Result<(W, BundleSummary)> {
        if let Some(blob) = self.next_blob() {
            return Err(BundleError::Unfinished(blob.digest));
        }
        let mtime = self.header.mtime();
        let mut link = |member: &Member| {
            let text = member.holds.text();
            self.out.member(&member.head(mtime), text.as_bytes())
        };
        self.header.link_members().try_for_each(|member| link(&member)).map_err(BundleError::Write)?;
        self.out.begin(END.len() as u64).and_then(|()| self.out.write(&END)).map_err(BundleError::Write)?;
        let (out, bytes) = self.out.finish().map_err(BundleError::Write)?;
        Ok((out, BundleSummary { bytes, id: self.header.id() }))
    }
}

impl<W: Write> fmt::Debug for Writer<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("id", &self.header.id()).field("next", &self.next).finish_non_exhaustive()
    }
}
