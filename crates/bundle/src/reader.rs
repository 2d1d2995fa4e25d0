//! Reads a bundle from start to end in one pass, and checks every byte.

use std::fmt;
use std::io::{self, BufReader, Cursor, Read, Seek as _};
use std::sync::Arc;

use super::error::TrustError;
use super::expand::ExpandedReader;
use super::layout::FILL_LIMIT;
use super::members::Member;
use super::open::OpenBlob;
use super::signature::{BundleSigner, Trust};
use super::tape::{Preamble, Tape};
use super::ustar::END;
use super::{BundleError, Header, OpenBundle, Result, frame};
use hod_engine::endpoint::Mismatch;
use hod_oci::{Digest, Hasher};

/// How much is read from the input at a time.
const BUFFER: usize = 128 * 1024;

/// The input from its first byte on: those that were looked at, then the others.
type RewoundInput<R> = io::Chain<Cursor<Vec<u8>>, R>;

enum Input<R> {
    Plain(BufReader<RewoundInput<R>>),
    Zstd(Box<ExpandedReader<BufReader<RewoundInput<R>>>>),
    /// Of a bundle at rest.
    AtRest(Box<BufReader<OpenBlob>>),
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(bytes),
            Self::Zstd(input) => input.read(bytes),
            Self::AtRest(input) => input.read(bytes),
        }
    }
}

impl<R> Input<R> {
    /// Passes over that many bytes without reading them, where the bundle is at rest; says whether it did.
    fn skip(&mut self, count: u64) -> io::Result<bool> {
        match self {
            Self::AtRest(input) => {
                input.seek_relative(i64::try_from(count).map_err(io::Error::other)?)?;
                Ok(true)
            }
            Self::Plain(_) | Self::Zstd(_) => Ok(false),
        }
    }
}

/// A bundle that is being read.
///
/// After [`BundleReader::next_blob`] has given every blob, [`BundleReader::finish`] MUST be called before any
/// link is made: only then is it known that the bundle is whole.
pub struct BundleReader<R> {
    tape: Tape<Input<R>>,
    header: Arc<Header>,
    signature: Option<Vec<u8>>,
    /// The member whose content is being read.
    current: Option<Member>,
    /// Bytes of that content that have not been read.
    left: u64,
    next: usize,
}

/// A bundle of which the header was read as bytes, and not looked into.
pub struct BegunBundle<R> {
    tape: Tape<Input<R>>,
    preamble: Preamble,
}

impl<R: Read> BegunBundle<R> {
    /// Reads the bytes of a bundle's header, compressed or not, and of its signature.
    pub fn read(mut input: R) -> Result<Self> {
        let mut magic = Vec::new();
        input.by_ref().take(frame::MAGIC.len() as u64).read_to_end(&mut magic)?;
        let is_zstd = magic == frame::MAGIC;
        let input = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(input));
        let input = if is_zstd { Input::Zstd(Box::new(ExpandedReader::new(input)?)) } else { Input::Plain(input) };
        let mut tape = Tape::new(input);
        let preamble = tape.preamble(|input| match input {
            Input::Zstd(input) => Some(input.consumed()),
            Input::Plain(_) | Input::AtRest(_) => None,
        })?;
        Ok(Self { tape, preamble })
    }

    /// Checks who has signed the header.
    pub fn check(&self, trust: &Trust) -> Result<Option<BundleSigner>, TrustError> {
        trust.check(&self.preamble.json, self.preamble.signature.as_deref())
    }

    /// Looks into the header.
    pub fn open(self) -> Result<BundleReader<R>> {
        let (header, signature) = self.preamble.parse()?;
        Ok(BundleReader { tape: self.tape, header: Arc::new(header), signature, current: None, left: 0, next: 0 })
    }
}

impl<R> fmt::Debug for BegunBundle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BegunBundle").field("length", &self.preamble.json.len()).finish_non_exhaustive()
    }
}

impl<R: Read> BundleReader<R> {
    /// Reads the header of a bundle, compressed or not, and its signature, whoever has made it.
    pub fn new(input: R) -> Result<Self> {
        BegunBundle::read(input)?.open()
    }

    /// The same of a bundle that must be signed as `trust` says; with who signed it.
    pub fn trusted(input: R, trust: &Trust) -> Result<(Self, Option<BundleSigner>)> {
        let begun = BegunBundle::read(input)?;
        let signed = begun.check(trust)?;
        Ok((begun.open()?, signed))
    }

    /// Reads a bundle at rest, of which the blobs that nobody reads are not read.
    pub fn at_rest(bundle: &OpenBundle) -> Self {
        let (position, members) = bundle.members();
        let input = Input::AtRest(Box::new(BufReader::with_capacity(BUFFER, members)));
        let (header, signature) = (bundle.header().clone(), bundle.signature().map(<[u8]>::to_vec));
        Self { tape: Tape::at(input, position), header, signature, current: None, left: 0, next: 0 }
    }

    /// Returns true if blobs that nobody reads are not read.
    pub const fn is_at_rest(&self) -> bool {
        matches!(self.tape.stream(), Input::AtRest(_))
    }

    /// The header.
    pub const fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// The bytes of the signature over the header's bytes, which nobody has checked.
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// The next blob, in the order of the header. What is left of the one before is passed over unchecked.
    pub fn next_blob(&mut self) -> Result<Option<BlobBody<'_, R>>> {
        self.pass_over()?;
        let Some(member) = self.header.blob_member(self.next) else { return Ok(None) };
        let Some(blob) = self.header.blobs().get(self.next).copied() else { return Ok(None) };
        self.tape.expect_head(&member.head(self.header.mtime()), &|| member.entry.to_string())?;
        self.left = blob.size;
        self.next += 1;
        self.current = Some(member);
        let state = State::Running(Box::new(Hasher::new(blob.digest.algorithm())));
        Ok(Some(BlobBody { reader: self, digest: blob.digest, size: blob.size, state }))
    }

    /// Leaves the rest of the current blob behind, and reads what fills its last block.
    fn pass_over(&mut self) -> Result<()> {
        if self.tape.skip(self.left, Input::skip)? {
            self.left = 0;
        }
        let mut bytes = Vec::new();
        while self.left > 0 {
            bytes.resize(BUFFER, 0);
            self.read_current(&mut bytes)?;
        }
        if let Some(member) = self.current.take() {
            self.tape.expect_padding(member.size, &|| member.entry.to_string())?;
        }
        Ok(())
    }

    fn read_current(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let name = || self.current.as_ref().map(|member| member.entry.to_string()).unwrap_or_default();
        let count = self.tape.read(bytes.get_mut(..limit).unwrap_or_default(), &name)?;
        self.left -= count as u64;
        Ok(count)
    }

    /// Reads the rest and checks it all: blobs that have not been asked for, every folder and link, and the end.
    pub fn finish(mut self) -> Result<Arc<Header>> {
        let mut bytes = vec![0; BUFFER];
        while let Some(mut body) = self.next_blob()? {
            while body.read_checked(&mut bytes)? > 0 {}
        }
        let Self { mut tape, header, .. } = self;
        for member in header.link_members() {
            tape.expect_member(&member, header.mtime())?;
        }
        tape.expect_head(&END, &|| "the end of the archive".to_owned())?;
        tape.expect_end(FILL_LIMIT)?;
        Ok(header)
    }
}

impl<R> fmt::Debug for BundleReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleReader").field("id", &self.header.id()).field("next", &self.next).finish_non_exhaustive()
    }
}

/// The bytes of a blob in a bundle that is being read.
///
/// They are hashed on the way, and the last of them are handed out only once the digest is right: a
/// reader that has got them all needs no further check.
pub struct BlobBody<'a, R> {
    reader: &'a mut BundleReader<R>,
    digest: Digest,
    size: u64,
    state: State,
}

enum State {
    Running(Box<Hasher>),
    Verified,
    /// The failure was reported, and nothing more follows.
    Failed,
}

impl<R: Read> BlobBody<'_, R> {
    /// The digest of the blob.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The length of the blob in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Reads bytes as [`Read::read`] does, with an error of this module.
    pub fn read_checked(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let result = self.step(bytes);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn step(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let hasher = match &mut self.state {
            State::Running(hasher) => hasher,
            State::Verified => return Ok(0),
            State::Failed => return Err(BundleError::Read(io::Error::other("an earlier read of the blob failed"))),
        };
        let count = match self.reader.left {
            0 => 0,
            _ if bytes.is_empty() => return Ok(0),
            _ => self.reader.read_current(bytes)?,
        };
        hasher.update(bytes.get(..count).unwrap_or_default());
        if self.reader.left == 0 {
            let found = hasher.clone().finish();
            if found != self.digest {
                return Err(Mismatch::Digest { expected: self.digest, found }.into());
            }
            self.state = State::Verified;
        }
        Ok(count)
    }
}

impl<R: Read> Read for BlobBody<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_checked(bytes)?)
    }
}

impl<R> fmt::Debug for BlobBody<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("digest", &self.digest)
            .field("left", &self.reader.left)
            .finish_non_exhaustive()
    }
}
