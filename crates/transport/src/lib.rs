//! The places that other tools write and read: image directories, OCI layouts, archives, container engines.
//!
//! [`Location`] is the one list of all transports and their grammar. Each transport of this folder is a
//! `Source`, and a `Sink` where images can be written to it; `pipeline::open` has the one `match` that
//! opens a location.
//!
//! What is written here becomes visible last: content goes to a temporary file, is checked, made
//! durable and renamed; the file that names it (`manifest.json`, `index.json`, the archive itself)
//! follows when all of it is there.

mod archive;
mod containers_storage;
mod dir;
mod dir_tree;
mod docker_archive;
mod docker_daemon;
mod error;
mod landing;
mod layer;
mod layout;
mod location;
mod oci_archive;
mod scaffold;
mod tarball;

pub use containers_storage::{ContainersStorage, ContainersStorageSink};
pub use dir::{DirSink, DirSource};
pub use dir_tree::{DirTree, DirTreeSink};
pub use docker_archive::{DockerArchive, DockerArchiveSink, DockerArchiveSource, DockerItem};
pub use docker_daemon::{DaemonHost, DaemonTls, DockerDaemon, DockerDaemonSink, SshHost};
pub use error::TransportError;
pub use layer::{Compression, Recoded, keep, recode};
pub use layout::{Layout, LayoutSink, LayoutSource, Swept};
pub use location::{
    ArchiveImage, DaemonImage, LayoutImage, Location, LocationError, StorageImage, StorageRoot, StoreImage, TRANSPORTS,
};
pub use oci_archive::{OciArchive, OciArchiveSink, OciArchiveSource};
pub use scaffold::Scaffolds;
pub use tarball::CREATED;
pub use tarball::TarballSource;

/// Where archives are expanded that can only be read from front to back, unless another folder is named.
pub const SCRATCH: &str = "/var/tmp";

/// The result of everything that a transport does.
pub type Result<T> = std::result::Result<T, TransportError>;
