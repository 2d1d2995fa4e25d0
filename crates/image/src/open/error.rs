//! The errors of opening a place.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::admission::AdmissionError;
use crate::contents::ContentsError;
use crate::signing::SigningError;
use hod_engine::endpoint::EndpointError;
use hod_registry::RegistryError;
use hod_store::StoreError;
use hod_transport::{Location, TransportError};

/// The errors of opening a location.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The trust policy is against it.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// It is to be signed, and cannot be.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Where its signatures would be.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A store or bundle without the name of an image.
    #[error("{0} has many images: name one of them after another colon")]
    NoImage(Box<Location>),
    /// A location that can only be read.
    #[error("{0} cannot be written: {1}")]
    ReadOnly(Box<Location>, &'static str),
    /// A directory, layout or archive.
    #[error("cannot open {location}")]
    Transport {
        /// The location.
        location: Box<Location>,
        /// The reason.
        #[source]
        source: TransportError,
    },
    /// A store.
    #[error("cannot open {location}")]
    Store {
        /// The location.
        location: Box<Location>,
        /// The reason.
        #[source]
        source: StoreError,
    },
    /// A bundle that nobody has opened, where none is read from.
    #[error("{0} is in a bundle, which this command cannot read")]
    Bundle(Box<Location>),
    /// The content of a store.
    #[error("cannot read the image from {location}")]
    Held {
        /// The location.
        location: Box<Location>,
        /// The reason.
        #[source]
        source: ContentsError<StoreError>,
    },
    /// The content of a bundle.
    #[error("cannot read the image from {location}")]
    HeldInBundle {
        /// The location.
        location: Box<Location>,
        /// The reason.
        #[source]
        source: ContentsError<EndpointError>,
    },
    /// An archive that could not be completed.
    #[error("cannot write the archive {path}")]
    Finish {
        /// The archive.
        path: PathBuf,
        /// The reason.
        #[source]
        source: TransportError,
    },
}

impl OpenError {
    /// Returns true if the place has no such image, which it may have under another name.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Held { source, .. } => matches!(source, ContentsError::Unknown(_)),
            Self::HeldInBundle { source, .. } => matches!(source, ContentsError::Unknown(_)),
            Self::Transport { source: TransportError::Io(error), .. } => error.kind() == ErrorKind::NotFound,
            Self::Transport { source, .. } => matches!(source, TransportError::Unknown { .. }),
            _ => false,
        }
    }
}
