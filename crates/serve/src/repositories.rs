//! What a server serves from: the one contract between HTTP and storage.

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;

use super::stamp::Stamp;
use hod_engine::endpoint::Result;
use hod_oci::{Digest, RepositoryName, Tag};
use hod_store::Store;

/// Content that has been opened.
pub struct BlobReader {
    /// Its bytes.
    pub reader: Box<dyn Read + Send>,
    /// The state of the file that they come from, where it is a file of its own: what was found right
    /// in this state need not be hashed again.
    pub stamp: Option<Stamp>,
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

/// Repositories that can be read.
///
/// Every method may block on a disk; the server calls them on threads made for that. `None` means
/// that there is no such thing; an error means that it could not be found out. Content that no
/// link of a repository names MUST NOT be found in it.
pub trait Repositories: Send + Sync {
    /// The names of all repositories, in any order.
    fn names(&self) -> Result<Vec<RepositoryName>>;

    /// The tags of a repository, in any order.
    fn tags(&self, name: &RepositoryName) -> Result<Option<Vec<Tag>>>;

    /// What a tag points to.
    fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>>;

    /// The bytes of a manifest that the repository has. MUST NOT read more than
    /// [`hod_oci::MANIFEST_LIMIT`] bytes. The server checks them against the digest.
    fn manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Bytes>>;

    /// The digests of all manifests of a repository, in any order; none where there is no repository.
    fn manifests(&self, name: &RepositoryName) -> Result<Vec<Digest>>;

    /// The length in bytes of a config or layer that the repository has.
    fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>>;

    /// The bytes of a config or layer from `offset` on, which is not past its end. Asked only for
    /// what [`Repositories::blob`] has found; [`Fault::Missing`](hod_engine::endpoint::Fault::Missing)
    /// where it has gone since.
    fn open(&self, name: &RepositoryName, digest: &Digest, offset: u64) -> Result<BlobReader>;

    /// The file in which the bytes of some content lie, for the log.
    fn place(&self, digest: &Digest) -> PathBuf;

    /// The group of the list in which the image was, as far as it is recorded.
    fn group(&self, _name: &RepositoryName, _tag: &Tag) -> Option<&str> {
        None
    }

    /// The store behind it, where there is one that can be written to.
    fn store(&self) -> Option<&Store> {
        None
    }
}
