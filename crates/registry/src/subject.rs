//! The subject of a request, for messages.

use std::fmt;

use hod_engine::endpoint::Place;
use hod_oci::{Digest, Version};

/// The thing that a request asks for or sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The API as a whole.
    Api(Box<str>),
    /// The list of repositories of a registry.
    Catalog(Box<str>),
    /// The list of tags of a repository.
    Tags(Place),
    /// The list of what refers to a manifest.
    Referrers(Place, Digest),
    /// A manifest, by tag or digest.
    Manifest(Place, Version),
    /// A blob.
    Blob(Place, Digest),
    /// A blob on its way into a repository.
    Upload(Place, Digest),
    /// A manifest on its way into a repository.
    Publication(Place, Version),
    /// A token for a registry.
    Token(Box<str>),
    /// A signature of a manifest, at a server that keeps them.
    Signature(Box<str>, Digest),
}

impl Subject {
    /// Returns true if it is on its way into the registry.
    pub(super) const fn is_sent(&self) -> bool {
        matches!(self, Self::Upload(..) | Self::Publication(..))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(host) => write!(f, "registry API at {host}"),
            Self::Catalog(host) => write!(f, "list of repositories at {host}"),
            Self::Tags(place) => write!(f, "list of tags in {place}"),
            Self::Referrers(place, digest) => write!(f, "list of referrers of {digest} in {place}"),
            Self::Manifest(place, Version::Tag(tag)) => write!(f, "tag {tag} in {place}"),
            Self::Manifest(place, Version::Digest(digest)) => write!(f, "manifest {digest} in {place}"),
            Self::Blob(place, digest) => write!(f, "blob {digest} in {place}"),
            Self::Upload(place, digest) => write!(f, "upload of {digest} to {place}"),
            Self::Publication(place, Version::Tag(tag)) => write!(f, "upload of tag {tag} to {place}"),
            Self::Publication(place, Version::Digest(digest)) => write!(f, "upload of manifest {digest} to {place}"),
            Self::Token(host) => write!(f, "token for {host}"),
            Self::Signature(host, digest) => write!(f, "signature of {digest} at {host}"),
        }
    }
}
