//! A text that is no location, and what every location is checked for.

use hod_oci::{DOCKER_IO, Reference, ReferenceError};

/// The transports that are understood, in the order of their names.
pub const TRANSPORTS: [&str; 10] = [
    "bundle",
    "containers-storage",
    "dir",
    "docker",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "store",
    "tarball",
];

/// A text that is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// There is no colon.
    #[error("{0:?} has no transport: write TRANSPORT:PLACE, such as docker://alpine:3.20 or oci:DIR:3.20")]
    NoTransport(String),
    /// The transport is not one of ours.
    #[error("{transport:?} in {text:?} is not a transport: hod supports {}{}", TRANSPORTS.join(", "), image(.text))]
    Transport {
        /// The text as given.
        text: String,
        /// What stands before the colon.
        transport: String,
    },
    /// A transport of other tools that is left out.
    #[error("the transport {transport:?} is not supported: {instead}")]
    NotSupported {
        /// What stands before the colon.
        transport: String,
        /// What can be done about it.
        instead: &'static str,
    },
    /// A `docker:` without the slashes.
    #[error("{0:?} has no slashes: write docker://NAME")]
    Slashes(String),
    /// There is no path where one must be.
    #[error("{0:?} has no path")]
    Path(String),
    /// The name after the path breaks the grammar of layouts.
    #[error(
        "{image:?} in {text:?} is not a name that layouts allow: use letters and digits, with '.', '_', '-', '@', ':', '+' or '/' between them"
    )]
    LayoutName {
        /// The text as given.
        text: String,
        /// The name.
        image: String,
    },
    /// A position that is no number.
    #[error("{image:?} in {text:?} is neither a position nor a digest: write @0 for the first image")]
    Position {
        /// The text as given.
        text: String,
        /// The position.
        image: String,
    },
    /// A digest where the transport has none.
    #[error("{0:?} has a digest: archives know images by name and tag only")]
    ArchiveDigest(String),
    /// An image of a daemon that is not told by exactly one tag or digest.
    #[error("{0:?} names no image of the daemon: write docker-daemon:NAME:TAG, NAME@DIGEST or sha256:ID")]
    DaemonImage(String),
    /// An image of containers/storage that cannot be told.
    #[error("{0:?} names no image: write containers-storage:NAME:TAG, or [DRIVER@ROOT+RUNROOT]NAME:TAG")]
    StorageImage(String),
    /// The image's name.
    #[error("{text:?} has no valid image name")]
    Reference {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
}

/// A reference with host, and with a tag where it has no digest.
pub(super) fn qualified(text: &str, name: &str) -> Result<Reference, LocationError> {
    let bad = |source| LocationError::Reference { text: text.to_owned(), source };
    let reference: Reference = name.parse().map_err(bad)?;
    reference.qualified(DOCKER_IO).map_err(|error| bad(error.into()))
}

/// What to write, where a text names an image and nothing says that a registry has it.
fn image(text: &str) -> String {
    let is_image = !text.contains("://") && text.parse::<Reference>().is_ok();
    if is_image { format!("; an image of a registry is docker://{text}") } else { String::new() }
}
