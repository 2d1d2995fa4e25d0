//! Documents of the commands that work image by image.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::{Amount, DigestText};
use crate::failure::causes;
use hod_image::resolve::Failed;
use hod_steps::lock::{Changes, MovedImage};
use hod_steps::plan::{self, Plan};

/// What `hod pull` did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Pulled {
    pub(crate) already_there: Amount,
    pub(crate) bytes_fetched: u64,
    /// The sizes of all images together.
    pub(crate) bytes_of_images: u64,
    /// The same, with each blob counted once.
    pub(crate) bytes_unique: u64,
    pub(crate) failed: Vec<FailedLine>,
    pub(crate) fetched: Amount,
    pub(crate) images: Vec<PulledImage>,
    pub(crate) linked: Amount,
    pub(crate) seconds: f64,
}

/// An image that is in the store now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PulledImage {
    pub(crate) digest: DigestText,
    /// The group of the list that it is in.
    pub(crate) group: Option<Box<str>>,
    pub(crate) media_type: String,
    /// Its name in the store.
    pub(crate) name: String,
    pub(crate) platforms: Vec<String>,
    /// Its name in the list.
    pub(crate) reference: String,
    pub(crate) size: u64,
    /// Where it comes from.
    pub(crate) source: String,
    /// Whether the store had it.
    pub(crate) unchanged: bool,
}

/// A line of a list whose image failed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FailedLine {
    pub(crate) causes: Vec<String>,
    /// File and line, or argument.
    pub(crate) origin: String,
    pub(crate) reference: String,
}

impl From<&Failed> for FailedLine {
    fn from(Failed { line, error, .. }: &Failed) -> Self {
        Self { causes: causes("", Some(error)), origin: line.origin.to_string(), reference: line.reference.to_string() }
    }
}

/// What `hod plan` says, and `hod pull` and `hod pack` with `--dry-run`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Planned {
    already_there: Amount,
    bundle: Option<PlannedBundle>,
    bytes_of_images: u64,
    bytes_unique: u64,
    failed: Vec<FailedLine>,
    images: Vec<PlannedImage>,
    /// What an interrupted run has kept of what is to fetch.
    kept: Amount,
    /// What the bundle leaves out, because its target has it.
    left_out: Amount,
    space: Vec<PlannedSpace>,
    to_fetch: Amount,
}

/// An image of a plan, with sizes in bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PlannedImage {
    digest: DigestText,
    kept: u64,
    /// What the others take less without this one.
    marginal: u64,
    name: String,
    platforms: Vec<String>,
    /// What it shares with other images of the plan.
    shared: u64,
    size: u64,
    to_fetch: u64,
}

/// The bundle of a plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PlannedBundle {
    bytes: u64,
    bytes_unpacked: u64,
    /// Whether the number of bytes is exact, which it is without compression.
    exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<u64>,
}

/// The space that a plan needs at a place.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PlannedSpace {
    free: u64,
    needed: u64,
    path: String,
    what: &'static str,
}

impl Planned {
    pub(crate) fn new(plan: &Plan, failed: Vec<FailedLine>) -> Self {
        let amount = |plan::Amount { count, bytes }: plan::Amount| Amount { bytes, count };
        let image = |image: &plan::PlannedImage| PlannedImage {
            digest: image.digest.into(),
            kept: image.kept,
            marginal: image.marginal,
            name: image.name.clone(),
            platforms: image.platforms.clone(),
            shared: image.shared,
            size: image.size,
            to_fetch: image.to_fetch,
        };
        let bundle = |bundle: &plan::PlannedBundle| PlannedBundle {
            bytes: bundle.bytes,
            bytes_unpacked: bundle.bytes_unpacked,
            exact: bundle.exact,
            volumes: bundle.volumes,
        };
        let space = |space: &plan::Space| PlannedSpace {
            free: space.free,
            needed: space.needed,
            path: space.path.clone(),
            what: space.what,
        };
        Self {
            already_there: amount(plan.already_there),
            bundle: plan.bundle.as_ref().map(bundle),
            bytes_of_images: plan.bytes_of_images,
            bytes_unique: plan.bytes_unique,
            failed,
            images: plan.images.iter().map(image).collect(),
            kept: amount(plan.kept),
            left_out: amount(plan.left_out),
            space: plan.space.iter().map(space).collect(),
            to_fetch: amount(plan.to_fetch),
        }
    }
}

/// What `hod lock` wrote or compared.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Locked {
    pub(crate) changes: LockChanges,
    pub(crate) images: usize,
    /// The file; null where nothing was written.
    pub(crate) lock: Option<String>,
}

/// What differs from the lock before.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct LockChanges {
    added: Vec<String>,
    moved: Vec<MovedTag>,
    removed: Vec<String>,
}

/// A tag with another digest than in the lock.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct MovedTag {
    locked: DigestText,
    name: String,
    now: DigestText,
}

impl From<Changes> for LockChanges {
    fn from(Changes { moved, added, removed }: Changes) -> Self {
        let tag =
            |MovedImage { name, locked, now }| MovedTag { locked: DigestText::from(locked), name, now: now.into() };
        Self { added, moved: moved.into_iter().map(tag).collect(), removed }
    }
}

/// What `hod push` did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Pushed {
    pub(crate) bytes_already_there: u64,
    pub(crate) bytes_mounted: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) failed: Vec<FailedName>,
    pub(crate) images: Vec<PushedImage>,
    pub(crate) seconds: f64,
}

/// What `hod push --dry-run` found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PushPreview {
    pub(crate) destination: String,
    /// Always true.
    pub(crate) dry_run: bool,
    pub(crate) images: Vec<PreviewedImage>,
}

/// An image that would be pushed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PreviewedImage {
    pub(crate) digest: DigestText,
    pub(crate) name: String,
}

/// An image that is at the registry now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PushedImage {
    pub(crate) destination: String,
    pub(crate) digest: DigestText,
    pub(crate) name: String,
    /// The digest it has there, another one where its index was rewritten.
    pub(crate) pushed_digest: DigestText,
    pub(crate) unchanged: bool,
}

/// An image that failed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FailedName {
    pub(crate) causes: Vec<String>,
    pub(crate) name: String,
}

impl<E: std::error::Error + 'static> From<&(String, E)> for FailedName {
    fn from((name, error): &(String, E)) -> Self {
        Self { causes: causes("", Some(error)), name: name.clone() }
    }
}

/// What `hod copy` did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Copied {
    pub(crate) bytes_already_there: u64,
    pub(crate) bytes_linked: u64,
    pub(crate) bytes_mounted: u64,
    pub(crate) bytes_reflinked: u64,
    pub(crate) bytes_written: u64,
    pub(crate) failed: Vec<FailedName>,
    pub(crate) images: Vec<CopiedImage>,
    pub(crate) seconds: f64,
}

/// An image that was copied.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CopiedImage {
    pub(crate) destination: String,
    pub(crate) digest: DigestText,
    pub(crate) layers_recompressed: usize,
    pub(crate) signatures: usize,
    /// Signatures that the destination has no room for.
    pub(crate) signatures_left: usize,
    pub(crate) source: String,
    pub(crate) source_digest: DigestText,
    pub(crate) unchanged: bool,
}

/// What `hod sync` did, or would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Synced {
    pub(crate) bytes_already_there: u64,
    pub(crate) bytes_linked: u64,
    pub(crate) bytes_mounted: u64,
    pub(crate) bytes_written: u64,
    pub(crate) failed: Vec<FailedSync>,
    /// Entries and repositories of the source that could not be read.
    pub(crate) failed_before: usize,
    pub(crate) images: Vec<SyncedImage>,
    /// Images that were left out.
    pub(crate) left_out: Vec<String>,
    /// What would be copied, with `--dry-run`.
    pub(crate) planned: Vec<PlannedSync>,
    pub(crate) seconds: f64,
    pub(crate) sources: usize,
}

/// An image that is at the destination now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct SyncedImage {
    pub(crate) destination: String,
    pub(crate) digest: DigestText,
    pub(crate) source: String,
    pub(crate) source_digest: DigestText,
    pub(crate) unchanged: bool,
}

/// An image that was not copied.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FailedSync {
    pub(crate) causes: Vec<String>,
    pub(crate) destination: String,
    pub(crate) source: String,
}

/// An image that would be copied.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PlannedSync {
    pub(crate) destination: String,
    pub(crate) source: String,
}

/// What `hod delete` did.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Deleted {
    pub(crate) deleted: Vec<DeletedImage>,
    pub(crate) failed: Vec<FailedName>,
}

/// An image that was deleted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct DeletedImage {
    pub(crate) name: String,
}

/// An index that `hod index create`, `add` or `remove` wrote.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct WrittenIndex {
    pub(crate) bytes_written: u64,
    pub(crate) digest: DigestText,
}

/// The image that `hod new` made, or the manifest that `hod manifest-digest` read.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct OneDigest {
    pub(crate) digest: DigestText,
}

/// An image, or a layer, that was unpacked to files.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct UnpackedImage {
    /// Devices for which there are empty files.
    pub(crate) devices_left_out: u64,
    pub(crate) digest: DigestText,
    pub(crate) entries: u64,
    pub(crate) layers: usize,
    /// Whether files have the owners that the image gives them.
    pub(crate) owners_kept: bool,
    pub(crate) path: String,
    pub(crate) seconds: f64,
    /// Extended attributes that could not be set.
    pub(crate) xattrs_left_out: u64,
}

/// The configuration of a runtime, written by `hod unpack-image --config-only`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct WrittenConfig {
    /// The file.
    pub(crate) config: String,
    pub(crate) digest: DigestText,
}
