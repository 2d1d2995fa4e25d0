//! The JSON documents that commands print with `--json`, which scripts rely on.
//!
//! Members stand in the order of their names. `docs/schema/` has the schema of each document, made from these types: a
//! test here compares them, and the integration tests check every document against its schema.

mod bundles;
mod images;
mod places;
#[cfg(test)]
mod schema;

pub(crate) use bundles::*;
pub(crate) use images::*;
pub(crate) use places::*;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use hod_oci::Digest;

/// A digest, written in full.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
pub(crate) struct DigestText(Digest);

impl From<Digest> for DigestText {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

/// How many, and their size in bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Amount {
    pub(crate) bytes: u64,
    pub(crate) count: usize,
}

impl From<(usize, u64)> for Amount {
    fn from((count, bytes): (usize, u64)) -> Self {
        Self { bytes, count }
    }
}

/// Why a run failed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FailedRun {
    pub(crate) error: EndOfRun,
    /// The parts that failed before, such as lines of a list or images.
    pub(crate) failed: Vec<FailedPart>,
}

/// What stands behind `error:` on standard error.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct EndOfRun {
    /// Why, from the nearest cause to the first.
    pub(crate) causes: Vec<String>,
    pub(crate) exit_code: u8,
    /// What to do about it.
    pub(crate) hints: Vec<String>,
    pub(crate) message: String,
}

/// Why a part of a run failed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FailedPart {
    pub(crate) causes: Vec<String>,
    pub(crate) hints: Vec<String>,
    pub(crate) message: String,
}
