//! The contract between the copy engine and the places where content lives.
//!
//! An endpoint is *one repository* of a place: of a registry, a store, a layout on disk. A
//! [`Source`] gives bytes that nobody has checked; a [`Sink`] takes only [`Verified`] bytes. The
//! engine in `copy` is the only caller that moves content from one to the other, so that retry,
//! resume, sharing and order are decided in one place.
//!
//! What an implementation owes is written at each method; `tests/it/conformance.rs` runs the same
//! tests over all of them.

mod blocking;
mod chunk;
mod error;
mod lane;
mod local_file;
mod place;
mod prefix;
mod read_ahead;
mod received;
mod verified;

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;

pub use blocking::blocking;
pub use chunk::{BlobReader, read_chunk};
pub use error::{EndpointError, Fault, Result};
pub use local_file::LocalFile;
pub use place::Place;
pub use prefix::Prefix;
pub use read_ahead::read_ahead;
pub use received::Received;
pub use verified::{Mismatch, Verified};

use hod_oci::{Descriptor, Digest, Graph, RepositoryName, Schema1, Tag, Version};

/// A manifest in Docker's first format, with what it does not say itself.
#[derive(Debug, Clone)]
pub struct FirstFormat {
    /// Its bytes, with signatures.
    pub bytes: Bytes,
    /// The manifest.
    pub manifest: Schema1,
    /// The lengths of the layers that are not empty.
    pub sizes: HashMap<Digest, u64>,
}

/// How content came to be where it was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Placement {
    /// Its bytes were moved.
    Written,
    /// It was there before.
    AlreadyThere,
    /// The registry took it over from another of its repositories.
    Mounted,
    /// The place had the bytes, and only a link was made.
    Linked,
    /// It is a file of its own that shares its blocks with the source's (a reflink).
    Cloned,
}

/// A repository that content can be read from.
///
/// Its core is `place`, `manifest` and `open`. The other methods are capabilities, which most places lack: their defaults
/// say so.
#[async_trait]
pub trait Source: Send + Sync {
    /// Where this is, for messages.
    fn place(&self) -> &Place;

    /// The manifest that a tag or digest stands for: what it is, and its bytes.
    ///
    /// The descriptor's digest MUST be that of the bytes, and where `version` is a digest it MUST be
    /// that one. MUST refuse more than [`hod_oci::MANIFEST_LIMIT`] bytes before reading them. A
    /// registry MUST use one request.
    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)>;

    /// The bytes of some content from `offset` on.
    ///
    /// MUST deliver exactly the content's bytes from that offset, or an error; a source that cannot
    /// start there begins at 0 itself and discards. Nothing is promised about what the bytes hash to.
    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader>;

    /// What a tag or digest stands for now, without moving its content.
    ///
    /// MUST fail with [`Fault::Missing`] exactly where the place says that there is no such
    /// version; "could not ask" is another fault. Places whose manifests are far away, and sources around such, ask
    /// for less than the manifest.
    async fn resolve(&self, version: &Version) -> Result<Descriptor> {
        Ok(self.manifest(version).await?.0)
    }

    /// The signatures of the containers tools that are kept for a manifest, verified by nobody.
    async fn signatures(&self, manifest: &Digest) -> Result<Vec<Bytes>> {
        let _ = manifest;
        Ok(Vec::new())
    }

    /// A manifest in Docker's first format, which [`Source::manifest`] refuses; `None` where it is none, or the place
    /// knows none.
    ///
    /// Where `version` is a digest, MUST be the manifest of that digest.
    async fn first_format(&self, version: &Version) -> Result<Option<FirstFormat>> {
        let _ = version;
        Ok(None)
    }

    /// How many bytes the place says some content has; `None` where it does not tell, or lacks the content.
    ///
    /// Manifests may lie about lengths, and their readers do not mind. A registry MUST use one request.
    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        let _ = content;
        Ok(None)
    }

    /// A file on a disk at hand that should be this content, to be linked where it is wanted.
    ///
    /// The file MUST be one that its place never changes, but only replaces or removes. MUST NOT say that its bytes are
    /// known unless the place has hashed the file in the state that it has now.
    async fn file(&self, content: &Descriptor) -> Result<Option<LocalFile>> {
        let _ = content;
        Ok(None)
    }
}

/// A repository that content can be written to.
///
/// Its core is `place`, `published`, `contains`, `put` and `publish`. The other methods are capabilities, which most
/// places lack: their defaults say so.
///
/// The engine calls `published`; where that is false, for each blob `contains`, then `adopt`, then
/// `link` or `put`; then the same for child manifests, children before their index; last `publish`. Calls for different
/// contents come at the same time. One value stands for one image on its way into one repository.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Where this is, for messages, and to know which sinks share their content.
    fn place(&self) -> &Place;

    /// Whether the whole graph is there already and all of `tags` point to its root.
    ///
    /// May answer `false` when it cannot tell cheaply; MUST NOT answer `true` where a client could
    /// not pull everything in the graph.
    async fn published(&self, graph: &Graph, tags: &[Tag]) -> Result<bool>;

    /// Whether the content can be pulled from this repository.
    async fn contains(&self, content: &Descriptor) -> Result<bool>;

    /// Takes the content.
    ///
    /// If the body ends with an error, especially at its end, this MUST fail and MUST leave
    /// nothing that a reader of the place could see; it MAY keep a private prefix. The body's prefix is
    /// what [`Sink::prefix`] returned, or none.
    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement>;

    /// Takes the root manifest and points the tags to it, as the last act for an image.
    ///
    /// When this returns, everything put or adopted through this value MUST be durable and visible.
    /// Before the tag moves, everything below it MUST be. Fails with [`Fault::Incomplete`] where the
    /// place says that something the manifest names is missing. Without tags the image is
    /// reachable by its digest.
    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()>;

    /// Takes content that the place holds outside this repository, without moving bytes:
    /// `Linked` or `Mounted`, or `None` where it is not to be had that way.
    ///
    /// `from` is a repository of the same place that holds it, where the caller knows one.
    async fn adopt(&self, content: &Descriptor, from: Option<&RepositoryName>) -> Result<Option<Placement>> {
        let _ = (content, from);
        Ok(None)
    }

    /// Takes content that is a file of its source, see [`Source::file`]: `Linked` where both places share the file from
    /// now on, `Cloned` where they share its blocks, `None` where neither is possible, so that the bytes have to come.
    ///
    /// MUST fail with [`Fault::Corrupt`] where [`LocalFile::check`] refuses the link. The rules of `put` hold.
    async fn link(&self, content: &Descriptor, file: LocalFile) -> Result<Option<Placement>> {
        let _ = (content, file);
        Ok(None)
    }

    /// What an interrupted `put` left of this content, so that only the rest has to come.
    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        Ok(Prefix::none(content.digest.algorithm()))
    }

    /// Whether this place finds out the digest of what it is sent by itself, and has shown that it does.
    ///
    /// Where it has, `put` may get a body whose digest nobody has checked yet ([`Verified::is_hashed`]), and MUST fail
    /// unless the place says that it has found the right one.
    fn finds_digests(&self) -> bool {
        false
    }

    /// Whether layers that lie elsewhere belong here too: who reads this place looks nowhere else.
    fn holds_foreign_layers(&self) -> bool {
        false
    }

    /// Makes these the signatures of a manifest that was published, as its root or below it; `false` where the place
    /// has no room for any.
    async fn keep_signatures(&self, manifest: &Digest, is_root: bool, signatures: &[Bytes]) -> Result<bool> {
        let _ = (manifest, is_root, signatures);
        Ok(false)
    }
}
