//! The errors of unpacking an image or a layer.

use std::io;
use std::path::PathBuf;

use hod_engine::copy::CopyError;
use hod_image::inspect::InspectError;
use hod_oci::Digest;

/// A layer that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its type is not one of layers.
    #[error("the layer has media type {0}, which is not a layer type")]
    MediaType(String),
    /// It cannot be read or expanded.
    #[error("the layer cannot be read")]
    Read(#[source] io::Error),
    /// It cannot be written.
    #[error("the layer cannot be written")]
    Output(#[source] io::Error),
    /// It is no tar archive.
    #[error("the layer is not a supported tar archive: {0}")]
    Tar(String),
    /// It breaks off.
    #[error("the layer ends in the middle of {0}")]
    Truncated(String),
    /// An entry that no image may have.
    #[error("the layer has the invalid entry {path:?}: {problem}")]
    Entry {
        /// Its path.
        path: String,
        /// The problem.
        problem: &'static str,
    },
    /// An entry whose owner is nobody on this machine.
    #[error("{path:?} belongs to {kind} {id}, which no mapping covers")]
    Unmapped {
        /// Its path in the image.
        path: String,
        /// `user` or `group`.
        kind: &'static str,
        /// The id in the image.
        id: u32,
    },
    /// An entry that could not be made.
    #[error("cannot create {path:?}")]
    Write {
        /// Its path in the image.
        path: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// More of something than is kept of it in memory.
    #[error("more than {limit} {what}, which is the limit")]
    Many {
        /// The kind of object that exceeds the limit.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The unpacked content differs from the config.
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

/// The errors of unpacking an image; nothing is at the target then.
#[derive(Debug, thiserror::Error)]
pub enum UnpackImageError {
    /// The image cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Its config says nothing of layers.
    #[error("{0} is not the config of a runnable image")]
    Config(Digest),
    /// Config and manifest do not belong together.
    #[error("the manifest has {} and the config {}", hod_engine::count(*layers, "layer"), hod_engine::count(*diff_ids, "diff id"))]
    Layers {
        /// Layers of the manifest.
        layers: usize,
        /// Those that the config knows.
        diff_ids: usize,
    },
    /// A layer that was asked for and is not there.
    #[error("the image has no layer {wanted:?}: it has {}; name one by number from 1, by digest or by diff ID", hod_engine::count(*layers, "layer"))]
    NoLayer {
        /// The requested value.
        wanted: String,
        /// How many layers it has.
        layers: usize,
    },
    /// A layer that is none.
    #[error("cannot unpack {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// The reason.
        #[source]
        source: LayerError,
    },
    /// A layer did not come.
    #[error("cannot unpack the image")]
    Copy(#[from] CopyError),
    /// The user of the image.
    #[error(transparent)]
    User(#[from] UnknownUser),
    /// The user has a name, and the image's files are not at hand.
    #[error("the image runs as {0:?}, a name that only its files define")]
    NamedUser(String),
    /// The tree cannot be completed.
    #[error("cannot complete the root file system")]
    Complete(#[source] LayerError),
    /// There is something at the target.
    #[error("{0} already exists: hod unpacks an image only to a new directory")]
    Exists(PathBuf),
    /// Another process unpacks to the same target.
    #[error("another process is unpacking an image to {0}")]
    Busy(PathBuf),
    /// The system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A thread ended.
    #[error("a thread of hod ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
}

/// A user that is not in the image.
#[derive(Debug, thiserror::Error)]
#[error("the image runs as {0:?}, which its /etc/passwd and /etc/group do not define")]
pub struct UnknownUser(pub(super) String);
