//! The errors of reading the images of a place.

use std::path::PathBuf;

use crate::list::LineError;
use crate::open::OpenError;
use crate::whole::WholeError;
use hod_oci::{Digest, NameError, ReferenceError};
use hod_transport::{Location, LocationError, TransportError};

/// The errors of listing or reading the images of a place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It is no place.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The options after it.
    #[error(transparent)]
    Option(#[from] LineError),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be listed.
    #[error("cannot list the images of {place}")]
    List {
        /// The place.
        place: Box<Location>,
        /// The reason.
        #[source]
        source: TransportError,
    },
    /// A folder that cannot be read.
    #[error("cannot look for images below {}", path.display())]
    Walk {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: walkdir::Error,
    },
    /// There is nothing.
    #[error("{0} contains no image")]
    Empty(Box<Location>),
    /// An image that nothing names.
    #[error("{0} has no name: add one, as in '{0} as=NAME:TAG'")]
    NoName(Box<Location>),
    /// An image whose name is none that registries know.
    #[error(
        "{place} has the name {name:?}, which registries do not allow: give it another one, as in '{place} as=NAME:TAG'"
    )]
    BadName {
        /// The place.
        place: Box<Location>,
        /// Its name.
        name: String,
        /// The problem.
        #[source]
        source: ReferenceError,
    },
    /// One name for many.
    #[error("{place} contains {count} images, but as= names one: select one of them in the place")]
    OneName {
        /// The place.
        place: Box<Location>,
        /// Their number.
        count: usize,
    },
    /// Another image than a lock says.
    #[error("{place} contains {found}, but the list requires {locked}")]
    Moved {
        /// The place.
        place: Box<Location>,
        /// The digest in the list.
        locked: Box<Digest>,
        /// The digest there.
        found: Box<Digest>,
    },
    /// A transport that is not for this.
    #[error("{0} is not supported as a source here: use hod copy")]
    Other(Box<Location>),
    /// The name, as it would be in a store.
    #[error("the image has no valid name")]
    Name(#[from] NameError),
    /// Its manifests.
    #[error("cannot read the manifests of {place}")]
    Manifests {
        /// The place.
        place: Box<Location>,
        /// The reason.
        #[source]
        source: WholeError,
    },
    /// A thread that reads files.
    #[error("a thread of hod ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
}
