//! Documents of the commands that make, sign, unpack or describe bundles and stores as a whole.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::{Amount, DigestText};
use hod_bundle::BundleSigner;

/// The bundle that `hod pack` wrote.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Packed {
    pub(crate) blobs: usize,
    /// Its id.
    pub(crate) bundle: DigestText,
    pub(crate) bytes: u64,
    /// Bytes that an interrupted run had written.
    pub(crate) bytes_kept: u64,
    /// The size of what it requires and does not have.
    pub(crate) bytes_left_out: u64,
    pub(crate) file: String,
    pub(crate) images: usize,
    /// How many contents it requires and does not have.
    pub(crate) requires: usize,
    pub(crate) seconds: f64,
    /// The file with the digests of the volumes.
    pub(crate) sums: Option<String>,
    pub(crate) volumes: Option<Vec<String>>,
}

/// The bundle that `hod bundle` wrote.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Bundled {
    pub(crate) blobs: usize,
    /// Its id.
    pub(crate) bundle: DigestText,
    pub(crate) bytes: u64,
    pub(crate) bytes_fetched: u64,
    pub(crate) file: String,
    pub(crate) images: usize,
    pub(crate) seconds: f64,
}

/// What `hod unpack` did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Unpacked {
    pub(crate) already_there: Amount,
    /// The bundle's id.
    pub(crate) bundle: DigestText,
    pub(crate) images: usize,
    pub(crate) seconds: f64,
    /// Who signed it; null where no signature was asked for.
    pub(crate) signed: Option<Signer>,
    pub(crate) tags: Vec<IncomingTag>,
    pub(crate) written: Amount,
}

/// What `hod unpack --dry-run` found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct UnpackPreview {
    /// The bundle's id.
    pub(crate) bundle: DigestText,
    /// The free space at the root.
    pub(crate) bytes_free: u64,
    /// Always true.
    pub(crate) dry_run: bool,
    pub(crate) images: usize,
    /// Who signed it; null where no signature was asked for.
    pub(crate) signed: Option<Signer>,
    pub(crate) tags: Vec<IncomingTag>,
    pub(crate) to_write: Amount,
}

/// Who signed a bundle.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Signer {
    comment: String,
    /// The number of the key.
    key: String,
}

impl From<&BundleSigner> for Signer {
    fn from(BundleSigner { key, comment }: &BundleSigner) -> Self {
        Self { comment: comment.clone(), key: key.to_string() }
    }
}

/// A tag that came into a root.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct IncomingTag {
    pub(crate) change: &'static str,
    pub(crate) digest: DigestText,
    pub(crate) name: String,
}

/// What `hod select` did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Selected {
    pub(crate) already_there: Amount,
    pub(crate) copied: Amount,
    pub(crate) images: usize,
    pub(crate) linked: Amount,
    pub(crate) reflinked: Amount,
    pub(crate) seconds: f64,
    pub(crate) tags: Vec<IncomingTag>,
}

/// The signature that `hod sign` wrote.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct SignedBundle {
    /// The bundle's id.
    pub(crate) bundle: DigestText,
    /// The number of the key.
    pub(crate) key: String,
    /// The file.
    pub(crate) signature: String,
}

/// The keys that `hod keygen` made.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct KeyPair {
    /// Their number.
    pub(crate) key: String,
    /// The file of the public key.
    pub(crate) public: String,
    /// The file of the secret key.
    pub(crate) secret: String,
}

/// The inventory that `hod inventory -o FILE` wrote.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) enum WrittenInventory {
    /// With every content.
    #[serde(rename_all = "camelCase")]
    Full {
        bytes: u64,
        bytes_of_contents: u64,
        contents: usize,
        images: usize,
        /// The file.
        inventory: String,
        minimal: bool,
    },
    /// With manifests alone.
    Minimal {
        bytes: u64,
        /// The file.
        inventory: String,
        manifests: usize,
        minimal: bool,
    },
}
