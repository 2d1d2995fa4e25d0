//! What the engine reports when an image cannot be loaded or copied.

use std::fmt;

use crate::endpoint::{EndpointError, Fault, Place};
use hod_oci::{AbsentPlatforms, Descriptor, Digest, GraphError, Version};

/// Which end of a copy failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where bytes come from.
    Source,
    /// Where bytes go to.
    Destination,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "from",
            Self::Destination => "to",
        })
    }
}

/// Why an image could not be loaded or copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The name could not be looked up.
    #[error("cannot get the manifest of {version} from {place}")]
    Resolve {
        /// The tag or digest.
        version: Version,
        /// Where it was looked up.
        place: Box<Place>,
        /// Why.
        #[source]
        source: EndpointError,
    },
    /// The manifest cannot be used.
    #[error("cannot use manifest {digest} from {place}")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// Where it came from.
        place: Box<Place>,
        /// What is wrong with it, or too much.
        #[source]
        source: GraphError,
    },
    /// A platform is missing.
    #[error("cannot select the requested platforms")]
    Platform(#[from] AbsentPlatforms),
    /// Content could not be moved.
    #[error("cannot copy {what} {digest} ({size} bytes) {side} {place}")]
    Content {
        /// `layer`, `config` or `manifest`: what it is to the image.
        what: &'static str,
        /// The content.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// Which end failed.
        side: Side,
        /// The place at that end.
        place: Box<Place>,
        /// Why.
        #[source]
        source: EndpointError,
    },
    /// The sink could not say what it has, or take the root and its tags.
    #[error("cannot write the image to {place}")]
    Publish {
        /// The sink.
        place: Box<Place>,
        /// Why.
        #[source]
        source: EndpointError,
    },
    /// A task of the engine died, which is a defect of hod.
    #[error("a task of the copy engine ended unexpectedly")]
    Task(#[source] tokio::task::JoinError),
}

impl CopyError {
    /// An error about one content.
    pub(super) fn content(content: &Descriptor, side: Side, place: &Place, source: EndpointError) -> Self {
        let what = if content.media_type.is_manifest() {
            "manifest"
        } else if content.media_type.is_image_config() {
            "config"
        } else {
            "layer"
        };
        let place = Box::new(place.clone());
        Self::Content { what, digest: content.digest, size: content.size, side, place, source }
    }

    /// Whether a registry says that it wants the children that an index names.
    pub fn refuses_index(&self) -> bool {
        let about_manifest = match self {
            Self::Publish { .. } => true,
            // An index within the index.
            Self::Content { what, side, .. } => *what == "manifest" && *side == Side::Destination,
            _ => false,
        };
        about_manifest && matches!(self.fault(), Some(Fault::Incomplete | Fault::Rejected))
    }

    /// The kind of failure at the endpoint, where one failed.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Resolve { source, .. } | Self::Content { source, .. } | Self::Publish { source, .. } => {
                Some(source.fault())
            }
            _ => None,
        }
    }
}
