//! What can go wrong in a store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::layout::REGISTRY;
use hod_engine::endpoint::{EndpointError, Fault};
use hod_oci::{Digest, DigestError, Foreign, ManifestError, RepositoryName, Tag, Version};

/// The result of everything that a store does.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder is not there, or is something else.
    #[error("{0} is not a registry root: it has no directory {REGISTRY}")]
    NoRoot(PathBuf),
    /// A store opened for reading was told to write.
    #[error("the store {0} was opened for reading only")]
    ReadOnly(PathBuf),
    /// Another process works on the whole root and must be alone.
    #[error("the store {0} is locked: another hod process is deleting from it")]
    Locked(PathBuf),
    /// The root is to be deleted from, and others write to it.
    #[error("the store {0} is in use: another hod process writes to it")]
    InUse(PathBuf),
    /// A rename could not take content to its place.
    #[error("{first} and {second} must be on the same file system: hod renames files from one to the other")]
    Filesystems {
        /// Where content is completed.
        first: PathBuf,
        /// Where it goes.
        second: PathBuf,
    },
    /// A symbolic link that would take reads or writes elsewhere.
    #[error("{path} is a symbolic link that leads out of the store, to {target}")]
    Outside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A symbolic link among hod's own files, where somebody else has put it.
    #[error("{path} is a symbolic link, which is not allowed in hod's own directory of a store: remove it")]
    OwnLink {
        /// The link.
        path: PathBuf,
    },
    /// Something of another kind is where a file or folder belongs.
    #[error("{path} is not a {wanted}")]
    Kind {
        /// Where.
        path: PathBuf,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A link file that registries cannot read either.
    #[error("the link {path} does not contain a digest")]
    Link {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        #[source]
        source: DigestError,
    },
    /// The disk is full.
    #[error("no space left for {path}, which needs {needed} more bytes")]
    Full {
        /// The file that was being written.
        path: PathBuf,
        /// How many bytes of it were still to be written.
        needed: u64,
        /// The answer of the system.
        #[source]
        source: io::Error,
    },
    /// No blob of that digest.
    #[error("the store {root} does not have {digest}")]
    Absent {
        /// The store.
        root: PathBuf,
        /// What was asked for.
        digest: Digest,
    },
    /// No such tag or revision.
    #[error("{name} in the store {root} has no {version}")]
    Unknown {
        /// The store.
        root: PathBuf,
        /// The repository.
        name: RepositoryName,
        /// The tag or digest.
        version: Version,
    },
    /// A link was wanted to content that is not there.
    #[error("{name} cannot refer to {digest}, which the store does not have")]
    Dangling {
        /// The repository.
        name: RepositoryName,
        /// The missing content.
        digest: Digest,
    },
    /// A manifest came before what it names.
    #[error("the manifest {manifest} names {digest}, which {name} does not have")]
    Incomplete {
        /// The repository.
        name: RepositoryName,
        /// The manifest.
        manifest: Box<Digest>,
        /// What it names.
        digest: Digest,
    },
    /// Content with a length that is not its own.
    #[error("{path} has {found} bytes instead of {expected}")]
    Size {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length of the content.
        expected: u64,
    },
    /// Content that was changed after it came here.
    #[error("the bytes of {path} have the digest {found}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        found: Digest,
    },
    /// Bytes that a registry could not serve as a manifest.
    #[error("{digest} cannot be stored as a manifest")]
    Manifest {
        /// The digest of the bytes.
        digest: Digest,
        /// Why not.
        #[source]
        source: ManifestError,
    },
    /// The tag of a list of referrers stands for something else, which would lose it.
    #[error("{name}:{tag} in the store {root} must be a list of referrers, but is {found}", root = .root.display())]
    Foreign {
        /// The store.
        root: PathBuf,
        /// The repository.
        name: RepositoryName,
        /// The tag.
        tag: Tag,
        /// What it stands for.
        found: Box<Foreign>,
    },
    /// Two tags that would be one directory.
    #[error(
        "the file system of {root} does not tell the tags {} and {} of {name} apart: one would replace the other",
        .tags.0, .tags.1, root = .root.display()
    )]
    TagsAlike {
        /// The store.
        root: PathBuf,
        /// The repository.
        name: RepositoryName,
        /// The tags.
        tags: Box<(Tag, Tag)>,
    },
    /// Between two steps another process took over the same unfinished content.
    #[error("another process continued writing {0} at the same time")]
    Overtaken(Digest),
    /// A failure that ended several commits at once.
    #[error(transparent)]
    Shared(Arc<Self>),
    /// The system said no; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StoreError {
    /// What kind of failure it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Absent { .. } | Self::Unknown { .. } => Fault::Missing,
            Self::Dangling { .. } | Self::Incomplete { .. } => Fault::Incomplete,
            Self::Size { .. } | Self::Corrupt { .. } => Fault::Corrupt,
            Self::Manifest { .. } => Fault::Rejected,
            Self::Overtaken(_) => Fault::Busy(None),
            Self::Full { .. } => Fault::Full,
            Self::Io(error) if is_full(error) => Fault::Full,
            Self::Shared(error) => error.fault(),
            _ => Fault::Other,
        }
    }

    /// Classifies a failed write to `path`, of which `needed` bytes were still to come.
    pub(super) fn write(path: &std::path::Path, needed: u64, source: io::Error) -> Self {
        if is_full(&source) { Self::Full { path: path.to_owned(), needed, source } } else { Self::Io(source) }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<StoreError> for EndpointError {
    fn from(error: StoreError) -> Self {
        Self::new(error.fault(), error)
    }
}
