//! The errors of checking a place, and their finding texts.

use hod_image::places::PlaceError;
use hod_transport::{Location, TransportError};

/// Why a place cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyPlaceError {
    /// Nothing there, or nothing that can be read.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A folder that cannot be searched.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A transport whose images are not checked where they are.
    #[error(
        "{0} cannot be verified: verify takes stores, bundles, dir:PATH, oci:PATH[:IMAGE] and oci-archive:FILE[:IMAGE]"
    )]
    Other(Box<Location>),
}

/// What an error says, with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
