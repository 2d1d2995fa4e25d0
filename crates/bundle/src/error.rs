//! The errors of bundles.

use std::io;

use super::key_id::KeyId;
use super::kind::Kind;
use super::layout::HEADER_LIMIT;
use super::volumes::VolumeError;
use hod_engine::endpoint::Mismatch;
use hod_oci::{Digest, RepositoryName};

pub(super) type Result<T, E = BundleError> = std::result::Result<T, E>;

/// A failure to write or read a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Something else than a bundle.
    #[error("not a bundle: {0}")]
    NotABundle(Kind),
    /// The bundle ends too soon.
    #[error("the bundle ends at byte {offset}, within {member}")]
    Truncated {
        /// How many bytes there are: of the file, or of the tar stream where the compression ends well.
        offset: u64,
        /// The member that is cut, or whose turn it is.
        member: String,
    },
    /// The header cannot be used.
    #[error("the header hod/bundle.json is invalid")]
    Header(#[source] HeaderError),
    /// Something else than the member that the header implies.
    #[error("the bundle has {found} at byte {offset} of the tar stream, expected {expected}")]
    Member {
        /// Position in the tar stream.
        offset: u64,
        /// The value that the header implies.
        expected: String,
        /// The actual content.
        found: String,
    },
    /// A link that does not hold the digest it stands for, or padding that is not zero.
    #[error("the content of {member} at byte {offset} of the tar stream does not match the header")]
    Bytes {
        /// Position of the content in the tar stream.
        offset: u64,
        /// The member.
        member: String,
    },
    /// Bytes after the end.
    #[error("unexpected data after the end of the bundle, at byte {offset}")]
    Trailing {
        /// The expected end of the bundle.
        offset: u64,
    },
    /// The bytes of a blob are not those that its digest names.
    #[error(transparent)]
    Content(Box<Mismatch>),
    /// A compressed bundle is damaged, or was compressed in another way.
    #[error("the compressed bundle is damaged at byte {offset}: {problem}")]
    Zstd {
        /// Position in the compressed file.
        offset: u64,
        /// The problem.
        problem: String,
    },
    /// zstd, but not cut into frames that can be read alone.
    #[error("the file was not compressed by hod: decompress it first, as in zstd -dc FILE | hod unpack -")]
    ForeignCompression,
    /// The table at the end of a compressed bundle does not describe it.
    #[error("the seek table at the end of the compressed bundle is invalid: {0}")]
    SeekTable(&'static str),
    /// The file is shorter or longer than the header implies.
    #[error("the bundle has {found} bytes, but its header requires {expected}")]
    Size {
        /// The value that the header implies.
        expected: u64,
        /// The actual value.
        found: u64,
    },
    /// A blob was given to the writer out of turn.
    #[error("cannot write {digest}: it is not blob number {turn} of the header")]
    Order {
        /// The blob that was given.
        digest: Digest,
        /// How many blobs have been written, plus one.
        turn: usize,
    },
    /// The writer was finished before its last blob.
    #[error("the bundle is incomplete: {0} and all later blobs are missing")]
    Unfinished(Digest),
    /// A signature larger than readers accept.
    #[error("the signature is too large: {0} bytes")]
    Signature(usize),
    /// The content of a blob cannot be read.
    #[error("cannot read {digest}")]
    Source {
        /// The blob.
        digest: Digest,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Nobody who is trusted has signed it. Nothing of it was read but its header, as bytes.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// One of its volumes is not there, or not what it should be.
    #[error(transparent)]
    Volume(Box<VolumeError>),
    /// The bundle cannot be read.
    #[error("cannot read the bundle")]
    Read(#[source] io::Error),
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Write(#[source] io::Error),
}

/// A reader of parts of a bundle is a [`io::Read`], whose errors carry a [`BundleError`].
impl From<io::Error> for BundleError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Read)
    }
}

impl From<BundleError> for io::Error {
    fn from(error: BundleError) -> Self {
        let kind = match &error {
            BundleError::Read(error) => error.kind(),
            BundleError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl From<Mismatch> for BundleError {
    fn from(mismatch: Mismatch) -> Self {
        Self::Content(Box::new(mismatch))
    }
}

impl BundleError {
    /// The same, with the name of the member where the failure is about one and has none yet.
    pub(super) fn within(self, name: &str) -> Self {
        match self {
            Self::Truncated { offset, member } if member.is_empty() => {
                Self::Truncated { offset, member: name.to_owned() }
            }
            other => other,
        }
    }
}

/// The errors of a header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// No JSON, or not that of a header.
    #[error("it is damaged, or was written by a newer hod")]
    Json(#[source] serde_json::Error),
    /// Another format altogether.
    #[error("its format is {0:?}, expected \"hod-bundle\"")]
    Format(String),
    /// A version that is yet to come.
    #[error("the bundle has format version {0}, but this hod supports only version 1: use a newer hod")]
    Newer(u64),
    /// An encoding that is yet to come.
    #[error("{digest} has the encoding {encoding:?}, which this hod does not support: use a newer hod")]
    Encoding {
        /// The blob.
        digest: Digest,
        /// The name of the encoding.
        encoding: String,
    },
    /// The same values written in another way.
    #[error("it is not in canonical form: no white space, fixed order, no unknown members")]
    Form,
    /// More bytes than a reader takes.
    #[error("it has {0} bytes; the limit is {limit}", limit = HEADER_LIMIT)]
    Large(u64),
    /// More bytes than the compressed ones around it can hold.
    #[error("it decompresses to more than {limit} bytes, the limit for {held} compressed bytes of a bundle")]
    Dense {
        /// How many compressed bytes there are.
        held: u64,
        /// How long a header they can hold.
        limit: u64,
    },
    /// More bytes in all than a tar stream of 2^63 bytes holds.
    #[error("the total size of its blobs exceeds the limit of a bundle")]
    Overflow,
    /// A time that a tar header cannot hold, or that differs from that of the member.
    #[error("its time {0} exceeds the range of tar, or differs from the time of its member")]
    Time(u64),
    /// Something twice.
    #[error("it lists {what} {name} twice, or not in order of names")]
    Duplicate {
        /// The kind of the value.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A link to content that is not there.
    #[error("{repository} refers to {digest}, which the bundle neither contains nor requires")]
    Absent {
        /// The repository.
        repository: RepositoryName,
        /// The content.
        digest: Digest,
    },
    /// Content that no repository refers to.
    #[error("no repository refers to {0}")]
    Unused(Digest),
    /// A tag or image whose manifest its repository does not have.
    #[error("{name} points to {digest}, and {problem}")]
    Image {
        /// The image, as `name:tag` or `name`.
        name: String,
        /// Its digest.
        digest: Digest,
        /// The problem.
        problem: &'static str,
    },
    /// A text with control characters.
    #[error("{what} {text:?} has control characters or is longer than 4096 bytes")]
    Text {
        /// The kind of the text.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// A base that cannot be one.
    #[error("it names its base in an invalid way: {0}")]
    Base(&'static str),
    /// A blob that is not where the rules put it.
    #[error("{digest} has offset {stated}, expected {expected}")]
    Offset {
        /// The blob.
        digest: Digest,
        /// The offset in the header.
        stated: u64,
        /// The offset by the rules.
        expected: u64,
    },
}

impl From<HeaderError> for BundleError {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

/// The errors of a bundle that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No signature at all.
    #[error("the bundle is not signed, and a signature with a trusted key is required ({trusted})")]
    Unsigned {
        /// The keys that are trusted.
        trusted: String,
    },
    /// The text is no signature.
    #[error("the signature of the bundle is invalid: {0}")]
    Damaged(&'static str),
    /// Signed by somebody else.
    #[error("the bundle is signed with the key {key}, which is not trusted ({trusted})")]
    Unknown {
        /// The number of the key that it names.
        key: KeyId,
        /// The keys that are trusted.
        trusted: String,
    },
    /// The signature belongs to other bytes.
    #[error("the signature by {key} does not belong to this bundle: the header or the signature was changed")]
    Wrong {
        /// The number of the key.
        key: KeyId,
    },
    /// Nobody is trusted.
    #[error("no key is trusted")]
    NoKeys,
}
