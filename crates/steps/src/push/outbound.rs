//! An image on its way to a registry, and its outcome.

use std::fmt;
use std::sync::Arc;

use hod_engine::copy::{CopyError, CopySummary};
use hod_engine::endpoint::{EndpointError, Sink, Source};
use hod_image::batch::OnFailure;
use hod_image::contents::StoredImage;
use hod_image::forced::forced;
use hod_image::index_policy::{FormError, IndexPolicy};
use hod_oci::{Digest, Foreign, ManifestError, NameError, RegistryPath};
use hod_registry::Repository;

/// An image on its way to a registry.
#[derive(Clone)]
pub struct OutboundImage {
    /// The image.
    pub held: StoredImage,
    /// Where its content is read.
    pub source: Arc<dyn Source>,
}

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Its name is not valid there.
    #[error("the image has no valid name at the destination")]
    Name(#[from] NameError),
    /// Copying failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The registry does not say what it knows of something that belongs to an image.
    #[error("cannot ask the registry for {digest}, a referrer of an image")]
    Referrers {
        /// The signature or other referrer.
        digest: Digest,
        /// The reason.
        #[source]
        source: EndpointError,
    },
    /// A list of referrers that tells nobody what it lists.
    #[error("{digest} is not a valid list of referrers")]
    Index {
        /// The list.
        digest: Digest,
        /// The reason.
        #[source]
        source: ManifestError,
    },
    /// The tag of a list of referrers stands for something else, which would lose it.
    #[error("{name} must be a list of referrers, but is {found}")]
    Foreign {
        /// The name at the registry.
        name: String,
        /// What it stands for.
        found: Foreign,
    },
    /// The other way round.
    #[error("the image would replace {0}, which is a list of referrers")]
    Listed(String),
    /// `--index full`, and it is not.
    #[error("{} of the index {} missing", hod_engine::count(*.0, "manifest"), if *.0 == 1 { "is" } else { "are" })]
    NotFull(usize),
    /// The index has no form that could be pushed instead.
    #[error("the registry does not accept the unchanged index")]
    Form(#[from] FormError),
    /// The registry refuses the index, and its digest is the name that somebody will ask for.
    #[error(
        "the registry requires every child of the index, but {0} is named by its digest, which would change: push it with --index rewrite or --index child, or pull it with --all-platforms"
    )]
    Pinned(Digest),
}

/// The outcome of one image.
#[derive(Debug)]
pub struct PushedImage {
    /// Its name in the source.
    pub label: String,
    /// Its name at the destination.
    pub destination: String,
    /// The digest it had.
    pub digest: Digest,
    /// The digest it has there, where it had to change.
    pub changed_to: Option<Digest>,
    /// What copying it took.
    pub copied: CopySummary,
    /// True if it belongs to another image, such as a signature.
    pub is_companion: bool,
}

/// How to push.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// Where to.
    pub destination: RegistryPath,
    /// What to do with indexes that are not whole.
    pub index: IndexPolicy,
    /// What happens to the others where one fails.
    pub on_failure: OnFailure,
    /// True if what the registry says that it has is sent once more.
    pub force: bool,
}

impl PushOptions {
    /// A repository of the destination, to be written.
    pub(crate) fn sink(&self, repository: &Arc<Repository>) -> Arc<dyn Sink> {
        if self.force { forced(repository.clone()) } else { repository.clone() }
    }
}

impl fmt::Debug for OutboundImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("name", &self.held.name).finish_non_exhaustive()
    }
}
