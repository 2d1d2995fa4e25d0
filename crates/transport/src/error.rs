//! What can go wrong with the places of this folder.

use std::io;
use std::path::PathBuf;

use hod_engine::endpoint::{EndpointError, Fault};
use hod_io::tls::TrustError;
use hod_oci::{Digest, ManifestError};

/// A failure of a transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// There is no image at that path.
    #[error("{0} is not an image directory: it has no manifest.json")]
    NoImageDirectory(PathBuf),
    /// A directory of another version.
    #[error("{path} contains {found:?}, but hod supports only Directory Transport Version 1")]
    DirectoryVersion {
        /// The directory.
        path: PathBuf,
        /// The first bytes of its `version`.
        found: String,
    },
    /// Somebody else's files.
    #[error("{0} contains other files: hod writes an image only to a new or empty directory, or over another image")]
    Foreign(PathBuf),
    /// A directory of another image, which the file system does not tell from this one.
    #[error("the file system of {path} does not tell this directory from {other:?}: one would replace the other")]
    Alike {
        /// The directory.
        path: PathBuf,
        /// The name that it has already.
        other: std::ffi::OsString,
    },
    /// A symbolic link where a layout has a directory whose content is to be deleted.
    #[error("{0} is a symbolic link: hod deletes only files in the layout itself")]
    LinkInLayout(PathBuf),
    /// Another process is deleting content from the layout.
    #[error("the layout {0} is locked: another hod process is deleting from it")]
    Locked(PathBuf),
    /// Content is to be deleted from a layout that another process is writing to.
    #[error("the layout {0} is in use: another hod process writes to it")]
    InUse(PathBuf),
    /// The path holds no layout.
    #[error("{0} is not an OCI image layout: it has no oci-layout and index.json")]
    NoLayout(PathBuf),
    /// A layout that cannot be read.
    #[error("{path} is not a valid file of an OCI image layout 1.0")]
    LayoutFile {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file holds no archive of the wanted kind.
    #[error("{path} is not a valid {kind} archive: {problem}")]
    NoArchive {
        /// The file.
        path: PathBuf,
        /// `OCI` or `docker`.
        kind: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// More images than one, and none was named.
    #[error("{path} contains {} images: name one of {}", .images.len(), .images.join(", "))]
    Several {
        /// The place.
        path: PathBuf,
        /// What they are called.
        images: Vec<String>,
    },
    /// A name of several images.
    #[error("{path} contains {} images {image}: name one of {}", .images.len(), .images.join(", "))]
    Ambiguous {
        /// The place.
        path: PathBuf,
        /// What was asked for.
        image: String,
        /// What tells them from each other.
        images: Vec<String>,
    },
    /// No such image.
    #[error("{path} contains no image {image}: {}", holds(.images))]
    Unknown {
        /// The place.
        path: PathBuf,
        /// What was asked for.
        image: String,
        /// What there is.
        images: Vec<String>,
    },
    /// No such content.
    #[error("{path} does not contain {digest}")]
    Absent {
        /// The place.
        path: PathBuf,
        /// The content.
        digest: Digest,
    },
    /// A manifest came before what it names.
    #[error("the manifest {manifest} names {digest}, which {path} does not contain")]
    Incomplete {
        /// The place.
        path: PathBuf,
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
    /// Content that is longer or shorter than its manifest says, on its way into a file that is written in one go.
    #[error(
        "{digest} has {found} bytes, and its manifest says {room}, for which {path} has room: pull the image into a \
         store first, and copy it from there"
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The content.
        digest: Digest,
        /// Its length.
        found: u64,
        /// The length in the manifest.
        room: u64,
    },
    /// Content that is not what its name says.
    #[error("the bytes of {path} have the digest {found} instead of {expected}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest that its name says.
        expected: Box<Digest>,
        /// The digest of what it holds.
        found: Box<Digest>,
    },
    /// A compressed layer that is damaged.
    #[error("cannot decompress the layer {path}: save the image again")]
    Expand {
        /// The layer.
        path: PathBuf,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// A compressed layer that is another than its image has.
    #[error(
        "the layer {path} decompresses to {found}, but the config of the image says {expected}: save the image again"
    )]
    DiffId {
        /// The layer.
        path: PathBuf,
        /// The diff id.
        expected: Box<Digest>,
        /// The digest of what it expands to.
        found: Box<Digest>,
    },
    /// Bytes that are no manifest.
    #[error("{path} does not contain a valid manifest")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// An archive that is there already.
    #[error("{0} already exists: hod does not replace an archive; remove it first or choose another name")]
    Exists(PathBuf),
    /// A text that is no address of a daemon.
    #[error(
        "{0:?} is not a supported address of a daemon: write unix:///PATH, tcp://HOST:PORT, http://HOST:PORT, https://HOST:PORT or ssh://[USER@]HOST"
    )]
    DaemonHost(String),
    /// Nobody answers there.
    #[error("cannot connect to the daemon at {host}")]
    Connect {
        /// The daemon.
        host: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No TLS with it.
    #[error("the TLS connection to the daemon at {host} failed")]
    Tls {
        /// The daemon.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Certificates for TLS with a daemon.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A folder that should have them.
    #[error("{} contains none of ca.pem, cert.pem and key.pem", .0.display())]
    NoCertificates(PathBuf),
    /// `ssh`, or what it runs at the other end, has ended.
    #[error("cannot reach the daemon at {host}: {message}")]
    Ssh {
        /// The daemon.
        host: String,
        /// What it said.
        message: String,
    },
    /// The conversation broke off.
    #[error("the connection to the daemon at {host} broke")]
    Http {
        /// The daemon.
        host: String,
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon says no.
    #[error("the daemon at {host} {refuses}: {message}")]
    Daemon {
        /// The daemon.
        host: String,
        /// What it does not do.
        refuses: &'static str,
        /// Its status code, 200 where it says so after it had begun to answer.
        status: u16,
        /// Its words.
        message: String,
    },
    /// Another tool was asked, and failed.
    #[error("{tool} {fails}: {message}")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// What it does not do.
        fails: &'static str,
        /// Its words.
        message: String,
    },
    /// None of the tools that could do it.
    #[error(
        "the storage of podman is accessible with podman, skopeo or podman's socket, and none of them exists: install podman or skopeo, or set CONTAINER_HOST"
    )]
    NoTool,
    /// A layer that is none.
    #[error("{path} is not a tar file, uncompressed or compressed with gzip or zstd")]
    NoTar {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        #[source]
        source: io::Error,
    },
    /// The format has no place for this.
    #[error("{kind} cannot contain {what}")]
    Unsupported {
        /// The format.
        kind: &'static str,
        /// What it cannot hold.
        what: String,
    },
    /// A failure that ended several things at once.
    #[error(transparent)]
    Shared(std::sync::Arc<Self>),
    /// The system said no; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn holds(images: &[String]) -> String {
    if images.is_empty() {
        "it contains no image with a name".to_owned()
    } else {
        format!("it contains {}", images.join(", "))
    }
}

impl TransportError {
    /// What kind of failure it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unknown { .. } | Self::Absent { .. } | Self::Daemon { status: 404, .. } => Fault::Missing,
            Self::Incomplete { .. } => Fault::Incomplete,
            Self::Size { .. } | Self::Corrupt { .. } | Self::Expand { .. } | Self::DiffId { .. } => Fault::Corrupt,
            Self::Manifest { .. } | Self::Unsupported { .. } | Self::NoRoom { .. } => Fault::Rejected,
            Self::Shared(error) => error.fault(),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
                _ => Fault::Other,
            },
            _ => Fault::Other,
        }
    }
}

impl From<TransportError> for EndpointError {
    fn from(error: TransportError) -> Self {
        Self::new(error.fault(), error)
    }
}
