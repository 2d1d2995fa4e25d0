//! The vocabulary of container images: digests, descriptors, manifests, platforms, names.
//!
//! Everything here is pure: no input or output, no runtime, no clock. What enters comes from
//! lists, registries and bundles, so every parser in this folder must answer garbage with an
//! error and never with a panic.

mod config;
mod descriptor;
mod digest;
mod graph;
mod manifest;
mod media_type;
mod name;
mod narrow;
mod platform;
mod reference;
mod referrers;
mod schema1;
mod signed;
mod walk;
mod weight;

pub use config::diff_ids;
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use graph::{Graph, Node};
pub use manifest::{MANIFEST_LIMIT, Manifest, ManifestError, ManifestKind};
pub use media_type::MediaType;
pub use name::{NameError, RepositoryName, Tag};
pub use narrow::{NotPulled, narrowed};
pub use platform::{AbsentPlatforms, Choice, Offer, Platform, PlatformError, Platforms};
pub use reference::{DOCKER_IO, Reference, ReferenceError, Version};
pub use referrers::{
    Foreign, MergeError, ReferrerIndex, companion_of, cosign_tags, is_companion_tag, is_referrers_tag, merged,
    referrer, referrers_tag,
};
pub use schema1::{Schema1, Schema1Layer};
pub use signed::signed_digest;
pub use walk::{GRAPH_LIMIT, GraphError, NESTING_LIMIT, Walk};
pub use weight::{Heavy, WEIGHT_LIMIT, check_weight, weight};
