//! The vocabulary of container images: digests, descriptors, manifests, platforms, names, references.
//!
//! Sources: OCI image-spec 1.1 and distribution-spec 1.1, Docker's manifest schemas 1 and 2.
//!
//! * **For**: every other crate. What two of them say about an image, they say in these types.
//! * **Must stay true**: everything is pure, with no input or output, no runtime and no clock. What enters comes from
//!   lists, registries and bundles, so every parser answers garbage with an error and never with a panic.
//!   [`Manifest::parse`] is the only parser of manifests.
//! * **Does not**: fetch, store or print anything.
//!
//! ```
//! use hod_oci::{Digest, Reference};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image: Reference = "quay.io/coreos/etcd:v3.5.15".parse()?;
//! assert_eq!(image.host.as_deref(), Some("quay.io"));
//! assert_eq!(image.name.as_str(), "coreos/etcd");
//! assert!("quay.io/coreos/etcd:".parse::<Reference>().is_err());
//!
//! let digest = Digest::sha256(b"content");
//! assert_eq!(digest.to_string().parse::<Digest>()?, digest);
//! # Ok(())
//! # }
//! ```

mod config;
mod descriptor;
mod digest;
mod graph;
mod manifest;
mod media_type;
mod name;
mod narrow;
mod platform;
mod platforms;
mod reference;
mod referrers;
mod registry_path;
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
pub use narrow::{NotPulledError, narrowed};
pub use platform::{Platform, PlatformError};
pub use platforms::{AbsentPlatforms, PlatformChoice, PlatformOffer, Platforms};
pub use reference::{DOCKER_IO, Reference, ReferenceError, Version, is_registry};
pub use referrers::{
    Foreign, MergeError, ReferrerIndex, companion_of, cosign_tags, is_companion_tag, is_referrers_tag, merged,
    referrer, referrers_tag,
};
pub use registry_path::{RegistryPath, host_component};
pub use schema1::{Schema1, Schema1Layer};
pub use signed::signed_digest;
pub use walk::{GRAPH_LIMIT, GraphError, Walk};
pub use weight::{WeightError, check_weight, weight};
