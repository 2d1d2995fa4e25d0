//! Documents of the commands that change stores, sign manifests, log in, or serve.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::{Amount, DigestText};

/// The tags that `hod tag` added.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Tagged<'a> {
    pub(crate) digest: DigestText,
    pub(crate) names: &'a [String],
}

/// The tags that `hod list-tags` found, in skopeo's words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Tags {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    pub(crate) tags: Vec<String>,
}

/// What `hod rm` removed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Removed {
    pub(crate) removed: Vec<RemovedImage>,
}

/// An image, or one name of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct RemovedImage {
    pub(crate) digest: DigestText,
    pub(crate) name: String,
    /// The store or layout.
    pub(crate) place: String,
}

/// What `hod gc` deleted, or would delete.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Collected<'a> {
    pub(crate) blobs: Vec<CollectedBlob>,
    pub(crate) bytes: u64,
    /// The same without blobs that have other names, by hard links.
    pub(crate) bytes_freed: u64,
    pub(crate) dry_run: bool,
    pub(crate) manifests: &'a [String],
    pub(crate) tags: &'a [String],
    /// Files of interrupted runs.
    pub(crate) unfinished: Amount,
}

/// A blob that nothing refers to.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CollectedBlob {
    pub(crate) digest: DigestText,
    pub(crate) size: u64,
}

/// The store or layout that `hod init` made.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct NewPlace {
    pub(crate) place: String,
}

/// The signature that `hod standalone-sign` wrote.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct SignedManifest {
    pub(crate) digest: DigestText,
    pub(crate) fingerprint: String,
    pub(crate) reference: String,
    /// The file.
    pub(crate) signature: String,
}

/// The signature that `hod standalone-verify` found good.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct VerifiedManifest {
    pub(crate) digest: DigestText,
    pub(crate) fingerprint: String,
    pub(crate) reference: String,
}

/// What `hod login` did, or found with `--get-login`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) enum Login<'a> {
    /// Credentials that are good.
    Good {
        /// Where they are now; null where they were good already.
        file: Option<String>,
        registry: &'a str,
        username: &'a str,
    },
    /// Credentials that are stored.
    Stored { registry: &'a str, username: &'a str },
}

/// What `hod logout` did.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Logout<'a> {
    /// Null for all registries.
    pub(crate) registry: Option<&'a str>,
}

/// The pages that `hod man` wrote.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Manual {
    pub(crate) folder: String,
    pub(crate) pages: usize,
}

/// What `hod serve` says when it is ready.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Serving<'a> {
    pub(crate) addresses: &'a [String],
    /// What clients must trust with `--tls-self-signed`, in PEM.
    pub(crate) authority: Option<&'a str>,
    pub(crate) writable: bool,
}

/// A line of the log of `hod serve`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct LoggedRequest<'a> {
    pub(crate) agent: Option<&'a str>,
    /// Whether the whole answer was sent.
    pub(crate) complete: bool,
    pub(crate) failure: Option<String>,
    pub(crate) method: &'a str,
    pub(crate) milliseconds: u64,
    pub(crate) peer: String,
    /// Bytes of the answer that were sent.
    pub(crate) sent: u64,
    pub(crate) status: u16,
    pub(crate) target: &'a str,
    pub(crate) time: &'a str,
    pub(crate) user: Option<&'a str>,
}
