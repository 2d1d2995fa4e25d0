//! Reads a tar stream once, from its start, and compares it with the expected members.

use std::io::{self, Read};

use super::members::{Member, header_head, signature_head};
use super::ustar::{self, BLOCK, padded};
use super::{BundleError, HEADER_LIMIT, HEADER_NAME, Header, HeaderError, Kind, Result, SIGNATURE_NAME, frame, trace};

/// The longest signature that a reader takes, in bytes.
pub const SIGNATURE_LIMIT: u64 = 64 * 1024;
/// How much memory a length that nobody has checked may claim at a time.
const CHUNK: u64 = 1024 * 1024;
/// How many bytes of header there may be for each compressed byte of a bundle, beyond the first [`CHUNK`]. Digests do
/// not compress; of real headers, those of many tags of one large index come closest.
const DENSITY: u64 = 256;

/// The beginning of a bundle: the bytes of its header, into which nobody has looked, and of its signature.
#[derive(Debug)]
pub(super) struct Preamble {
    pub(super) json: Vec<u8>,
    mtime: u64,
    pub(super) signature: Option<Vec<u8>>,
}

impl Preamble {
    /// Reads the header.
    pub(super) fn parse(self) -> Result<(Header, Option<Vec<u8>>)> {
        let header = Header::parse(&self.json)?;
        if header.mtime() != self.mtime {
            return Err(HeaderError::Time(header.mtime()).into());
        }
        Ok((header, self.signature))
    }
}

/// A tar stream and the position in it.
#[derive(Debug)]
pub(super) struct Tape<S> {
    stream: S,
    position: u64,
    /// A block that was read too early.
    unread: Option<[u8; BLOCK]>,
}

impl<S: Read> Tape<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self::at(stream, 0)
    }

    /// The same of a stream that begins at that position.
    pub(super) const fn at(stream: S, position: u64) -> Self {
        Self { stream, position, unread: None }
    }

    /// What is read.
    pub(super) const fn stream(&self) -> &S {
        &self.stream
    }

    /// Lets the stream pass over so many bytes, where it can; says whether it did.
    pub(super) fn skip(&mut self, count: u64, skip: impl FnOnce(&mut S, u64) -> io::Result<bool>) -> Result<bool> {
        let skipped = skip(&mut self.stream, count)?;
        if skipped {
            self.position += count;
        }
        Ok(skipped)
    }

    /// Reads some bytes, none only at the end. `member` is what they belong to.
    fn read_some(&mut self, bytes: &mut [u8], member: &str) -> Result<usize> {
        loop {
            match self.stream.read(bytes) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BundleError::from(error).within(member)),
            }
        }
    }

    /// Reads at least one byte.
    pub(super) fn read(&mut self, bytes: &mut [u8], member: &dyn Fn() -> String) -> Result<usize> {
        match self.read_some(bytes, "") {
            Ok(0) => Err(BundleError::Truncated { offset: self.position, member: member() }),
            Ok(count) => Ok(count),
            Err(error) => Err(error.within(&member())),
        }
    }

    /// Reads as many bytes as there is room for.
    fn fill(&mut self, mut bytes: &mut [u8], member: &dyn Fn() -> String) -> Result<()> {
        while !bytes.is_empty() {
            let count = self.read(bytes, member)?;
            bytes = bytes.split_at_mut(count).1;
        }
        Ok(())
    }

    fn block(&mut self, member: &dyn Fn() -> String) -> Result<[u8; BLOCK]> {
        if let Some(block) = self.unread.take() {
            return Ok(block);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block, member)?;
        Ok(block)
    }

    /// Reads a tar header that must be this one.
    pub(super) fn expect_head(&mut self, head: &[u8], member: &dyn Fn() -> String) -> Result<()> {
        for expected in head.chunks(BLOCK) {
            let found = self.block(member)?;
            if found != expected {
                return Err(self.unexpected(expected, &found, member()));
            }
        }
        Ok(())
    }

    fn unexpected(&self, expected: &[u8], found: &[u8], member: String) -> BundleError {
        let mut description = ustar::describe(found);
        if description == ustar::describe(expected) {
            description.push_str(" with another owner, mode or time");
        }
        BundleError::Member { offset: self.position - BLOCK as u64, expected: member, found: description }
    }

    /// Reads a content that must be this one, with what fills its last block.
    fn expect_content(&mut self, content: &[u8], member: &dyn Fn() -> String) -> Result<()> {
        let offset = self.position;
        let mut found = vec![0; content.len()];
        self.fill(&mut found, member)?;
        if found != content {
            return Err(BundleError::Bytes { offset, member: member() });
        }
        self.expect_padding(content.len() as u64, member)
    }

    /// Reads the zeros after a content of that size.
    pub(super) fn expect_padding(&mut self, size: u64, member: &dyn Fn() -> String) -> Result<()> {
        let offset = self.position;
        let mut padding = [0; BLOCK];
        let length = usize::try_from(padded(size) - size).unwrap_or_default();
        let padding = padding.get_mut(..length).unwrap_or_default();
        self.fill(padding, member)?;
        if padding.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(BundleError::Bytes { offset, member: member() })
        }
    }

    /// Reads a folder or link.
    pub(super) fn expect_member(&mut self, member: &Member, mtime: u64) -> Result<()> {
        let name = || member.entry.to_string();
        self.expect_head(&member.head(mtime), &name)?;
        self.expect_content(member.holds.text().as_bytes(), &name)
    }

    /// Reads to the end, where at most so many bytes may follow, all of them zero.
    pub(super) fn expect_end(&mut self, zeros: u64) -> Result<()> {
        let start = self.position;
        let mut bytes = [0; 4096];
        loop {
            let offset = self.position;
            let count = self.read_some(&mut bytes, "the end")?;
            let found = bytes.get(..count).unwrap_or_default();
            if count == 0 {
                return Ok(());
            }
            if self.position - start > zeros || found.iter().any(|byte| *byte != 0) {
                return Err(BundleError::Trailing { offset });
            }
        }
    }

    /// Reads the header and its signature, as bytes. `held` says how many bytes the stream has taken or can take from a
    /// compressed file, if it is one.
    pub(super) fn preamble(&mut self, held: impl Fn(&S) -> Option<u64>) -> Result<Preamble> {
        let name = || HEADER_NAME.to_owned();
        let block = self.first_block()?;
        let size = ustar::size(&block).unwrap_or(u64::MAX);
        if size > HEADER_LIMIT {
            return Err(HeaderError::Large(size).into());
        }
        let mtime = ustar::mtime(&block).unwrap_or_default();
        let expected = header_head(size, mtime);
        if expected != block {
            return Err(self.unexpected(&expected, &block, name()));
        }
        let dense = |stream: &S, length: u64| match held(stream) {
            Some(held) if length > CHUNK.saturating_add(held.saturating_mul(DENSITY)) => {
                let limit = CHUNK.saturating_add(held.saturating_mul(DENSITY));
                Err(HeaderError::Dense { held, limit }.into())
            }
            _ => Ok(()),
        };
        let json = self.content(size, &name, dense)?;
        self.expect_padding(size, &name)?;
        // Only where the bundle ends here, the header is looked into, for the name of what is cut off.
        let first = || match Header::parse(&json).ok().and_then(|header| header.members().next()) {
            Some(member) => member.entry.to_string(),
            None => "the end of the archive".to_owned(),
        };
        let signature = self.signature(mtime, &first)?;
        Ok(Preamble { json, mtime, signature })
    }

    /// The block that tells whether this is a bundle at all.
    fn first_block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let mut length = 0;
        while length < BLOCK {
            let count = self.read_some(block.get_mut(length..).unwrap_or_default(), HEADER_NAME)?;
            if count == 0 {
                break;
            }
            length += count;
        }
        let first = block.get(..length).unwrap_or_default();
        if length == BLOCK && ustar::path(first) == HEADER_NAME {
            return Ok(block);
        }
        let begun = first.get(..HEADER_NAME.len()).unwrap_or(first);
        let is_begun = HEADER_NAME.as_bytes().starts_with(begun) || frame::MAGIC.starts_with(first);
        if length > 0 && length < BLOCK && is_begun {
            return Err(BundleError::Truncated { offset: self.position, member: HEADER_NAME.to_owned() });
        }
        let mut looked = first.to_vec();
        // What cannot be read tells nothing.
        let _ = self.stream.by_ref().take(trace::LOOK).read_to_end(&mut looked);
        if trace::is_in(&looked) {
            let (expected, found) = (HEADER_NAME.to_owned(), ustar::describe(first));
            return Err(BundleError::Member { offset: 0, expected, found });
        }
        Err(BundleError::NotABundle(Kind::of(&looked)))
    }

    /// Reads the signature, if it is next, and not the member that `first` names.
    fn signature(&mut self, mtime: u64, first: &dyn Fn() -> String) -> Result<Option<Vec<u8>>> {
        let block = self.block(first)?;
        if ustar::path(&block) != SIGNATURE_NAME {
            self.unread = Some(block);
            return Ok(None);
        }
        let name = || SIGNATURE_NAME.to_owned();
        let size = ustar::size(&block).unwrap_or(u64::MAX);
        let head = signature_head(size, mtime);
        if size > SIGNATURE_LIMIT || head != block {
            return Err(self.unexpected(&head, &block, name()));
        }
        let signature = self.content(size, &name, |_, _| Ok(()))?;
        self.expect_padding(size, &name)?;
        Ok(Some(signature))
    }

    /// Reads a content whose length is within bounds, but may be a lie. `sound` judges each length that is reached.
    fn content(
        &mut self,
        size: u64,
        member: &dyn Fn() -> String,
        sound: impl Fn(&S, u64) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut left = size;
        while left > 0 {
            let now = left.min(CHUNK);
            let start = content.len();
            if content.capacity() == start {
                // At most twice what has come so far, and at the end no more than there is.
                content.reserve_exact(usize::try_from(left.min(CHUNK.max(start as u64))).unwrap_or_default());
            }
            content.resize(start + usize::try_from(now).unwrap_or_default(), 0);
            self.fill(content.get_mut(start..).unwrap_or_default(), member)?;
            sound(&self.stream, content.len() as u64)?;
            left -= now;
        }
        Ok(content)
    }
}
