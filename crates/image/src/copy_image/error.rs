//! The errors of copying an image.

use crate::admission::AdmissionError;
use crate::convert::ConvertError;
use crate::signing::SigningError;
use hod_engine::copy::CopyError;
use hod_engine::endpoint::EndpointError;
use hod_oci::{AbsentPlatforms, Digest, NotPulledError, Version};

/// The errors of an image that was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyImageError {
    /// The trust policy is against it.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// Its signatures could not be had or kept.
    #[error("cannot copy the signatures of {0}")]
    Signatures(Digest, #[source] EndpointError),
    /// It could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The signature was made, and nobody wants it.
    #[error("the signature of {0} was not kept")]
    NotKept(Digest),
    /// The engine failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A registry that wants every image of an index.
    #[error(
        "{0} seems to accept an index only with all of its images: copy all platforms, or pull these into a store and push it with --index rewrite or --index child"
    )]
    Part(String, #[source] CopyError),
    /// The platform is not there.
    #[error("cannot select an image of the index")]
    Platform(#[from] AbsentPlatforms),
    /// The store or bundle has less of it.
    #[error(transparent)]
    NotPulled(#[from] NotPulledError),
    /// A manifest of Docker's first format.
    #[error("cannot convert the image from the Docker schema 1 format")]
    First(#[source] EndpointError),
    /// A manifest of Docker's first format whose digest is to stay.
    #[error("{0} has the Docker schema 1 format, which hod must convert: omit --preserve-digests")]
    Preserve(Version),
    /// The destination is another image.
    #[error(
        "the destination names {pinned}, but the copied image would be {found}: omit the digest, or copy the image unchanged, with --all if it is an index"
    )]
    Pinned {
        /// The digest in the name of the destination.
        pinned: Digest,
        /// The one that the image would have.
        found: Digest,
    },
    /// It cannot be what it was to become.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}
