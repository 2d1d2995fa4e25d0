//! Why a layer cannot be unpacked.

use std::io;

use hod_oci::Digest;

/// A layer that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its type is not one of layers.
    #[error("the layer has media type {0}, which is none of a layer")]
    MediaType(String),
    /// It cannot be read or expanded.
    #[error("the layer cannot be read")]
    Read(#[source] io::Error),
    /// It cannot be written.
    #[error("the layer cannot be written")]
    Output(#[source] io::Error),
    /// It is no tar archive.
    #[error("the layer is no tar archive that can be unpacked: {0}")]
    Tar(String),
    /// It breaks off.
    #[error("the layer ends in the middle of {0}")]
    Truncated(String),
    /// An entry that no image may have.
    #[error("the layer has an entry that is refused, {path:?}: {problem}")]
    Entry {
        /// Its path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An entry whose owner is nobody on this machine.
    #[error("{path:?} belongs to {kind} {id}, whom no mapping covers")]
    Unmapped {
        /// Its path in the image.
        path: String,
        /// `user` or `group`.
        kind: &'static str,
        /// The id in the image.
        id: u32,
    },
    /// An entry that could not be made.
    #[error("cannot make {path:?}")]
    Write {
        /// Its path in the image.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// More of something than is kept of it in memory.
    #[error("there are more than {limit} {what}, which is the limit")]
    Many {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// What was unpacked is not what the config says.
    #[error("the layer unpacks to {found}, but the image's config says {expected}")]
    DiffId {
        /// The digest of the config.
        expected: Digest,
        /// The digest of what came out.
        found: Digest,
    },
}

/// A path as it is shown in messages.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
