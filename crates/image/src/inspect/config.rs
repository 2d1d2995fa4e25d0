//! The config of an image for `inspect`, parsed and written like Go's types of the OCI image-spec.
//!
//! To Go `null` is the same as nothing at all, so that no field can take the others with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The config of an image; the order of the fields is that of the Go type.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Processor.
    #[serde(deserialize_with = "or_empty")]
    pub architecture: String,
    /// Variant of the processor.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Operating system.
    #[serde(deserialize_with = "or_empty")]
    pub os: String,
    /// Version of the operating system.
    #[serde(rename = "os.version", deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// What the operating system must be able to do.
    #[serde(rename = "os.features", deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The runtime settings of a container of the image.
    #[serde(deserialize_with = "or_empty")]
    pub config: RunConfig,
    /// The layers, uncompressed.
    #[serde(deserialize_with = "or_empty")]
    pub rootfs: RootFs,
    /// How it was made.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// The version of Docker that made it.
    #[serde(deserialize_with = "or_empty", skip_serializing)]
    pub docker_version: String,
}

/// The runtime settings of a container of the image.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RunConfig {
    /// Who runs it.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that it listens at.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Environment.
    #[serde(skip_serializing_if = "is_empty")]
    pub env: Option<Vec<String>>,
    /// What is run.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its arguments, or what is run where there is no entrypoint.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Folders that outlive the container.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    /// Where it runs.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(skip_serializing_if = "has_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// What ends it.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// True if the arguments are escaped already, as on Windows.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// The layers of an image, uncompressed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "or_empty")]
    pub kind: String,
    /// Their digests.
    pub diff_ids: Option<Vec<String>>,
}

/// A step of an image's making.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who did it.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What they said.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// True if no layer came of it.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// A field that may be `null`.
fn or_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(field: D) -> Result<T, D::Error> {
    Option::deserialize(field).map(Option::unwrap_or_default)
}

#[expect(clippy::ref_option, reason = "serde shows the field as it is")]
fn is_empty(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

#[expect(clippy::ref_option, reason = "serde shows the field as it is")]
fn has_none(map: &Option<BTreeMap<String, String>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}
