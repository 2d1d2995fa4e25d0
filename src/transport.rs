//! The places on disk that other tools write and read: image directories, OCI layouts, archives.
//!
//! [`Location`] is the one list of all transports and their grammar. Each transport of this folder is a
//! `Source`, and a `Sink` where images can be written to it; `pipeline::open` has the one `match` that
//! opens a location.
//!
//! What is written here becomes visible last: content goes to a temporary file, is checked, made
//! durable and renamed; the file that names it (`manifest.json`, `index.json`, the archive itself)
//! follows when all of it is there.

mod archive;
mod dir;
mod dir_tree;
mod docker_archive;
mod error;
mod landing;
mod layout;
mod location;
mod oci_archive;

pub use dir::{DirSink, DirSource};
pub use dir_tree::{DirTree, DirTreeSink};
pub use docker_archive::{DockerArchive, DockerArchiveSink, DockerArchiveSource, DockerItem};
pub use error::TransportError;
pub use layout::{Layout, LayoutSink, LayoutSource, Swept};
pub use location::{ArchiveImage, LayoutImage, Location, LocationError, StoreImage, TRANSPORTS};
pub use oci_archive::{OciArchive, OciArchiveSink, OciArchiveSource};

/// The result of everything that a transport does.
pub type Result<T> = std::result::Result<T, TransportError>;
