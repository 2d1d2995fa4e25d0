//! The places that other tools write and read: image directories, OCI layouts, archives, container engines.
//!
//! Sources: containers-transports(5), OCI image-spec (image layout), docker-save(1), the API of the Docker engine.
//!
//! * **For**: a `Source` for each of them, and a `Sink` where images can be written to it. [`Location`] is the one list of all
//!   transports and their grammar.
//! * **Must stay true**: what names content becomes visible last. Content goes to a temporary file, is checked, made durable and
//!   renamed; the file that names it (`manifest.json`, `index.json`, the archive itself) follows when all of it is there. Files of
//!   others are never written over.
//! * **Does not**: open a location by its name: that is `hod-image`, where registries and stores are at hand.
//!
//! ```
//! use hod_transport::Location;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let archive: Location = "docker-archive:images.tar:alpine:3.20".parse()?;
//! assert_eq!(archive.archive(), Some("images.tar".as_ref()));
//! let image: Location = "docker://quay.io/coreos/etcd:v3.5.15".parse()?;
//! assert_eq!(image.registry(), Some("quay.io"));
//! # Ok(())
//! # }
//! ```

mod archive;
mod compression;
mod containers_storage;
mod dir;
mod dir_tree;
mod docker_archive;
mod docker_daemon;
mod error;
mod files;
mod landing;
mod layer;
mod layout;
mod location;
mod oci_archive;
mod scaffold;
mod tarball;

pub use compression::Compression;
pub use containers_storage::ContainersStorage;
pub use dir::{DirSink, DirSource};
pub use dir_tree::{DirTree, DirTreeSink};
pub use docker_archive::{DockerArchive, DockerArchiveSink, DockerArchiveSource, DockerItem};
pub use docker_daemon::{DaemonHost, DaemonTls, DockerDaemon, DockerDaemonSink, SshHost};
pub use error::TransportError;
pub use layer::{RecodedLayer, keep, recode};
pub use layout::{Layout, LayoutSink, LayoutSource, SweepMode, SweepReceipt};
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
