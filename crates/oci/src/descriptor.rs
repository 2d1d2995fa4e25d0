//! Descriptors: media type, size and digest of content (OCI image-spec, `descriptor.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, MediaType, Platform};

/// A reference to some content by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content; empty where nothing says so, which the tools in Go take.
    #[serde(default = "untyped")]
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The platform of a child manifest, where its index says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The artifact type, in indexes of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<Box<str>>,
    /// Other addresses of the content; foreign layers have these.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub urls: Vec<Box<str>>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<Box<str>, Box<str>>,
}

fn untyped() -> MediaType {
    MediaType::Other("".into())
}

/// Go writes an empty slice or map as `null`; readers of its JSON have to take that.
pub(super) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Descriptor {
    /// A descriptor with the three fields that every one has.
    pub const fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            platform: None,
            artifact_type: None,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// The descriptor of bytes at hand, by SHA-256.
    pub fn of(media_type: MediaType, content: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(content), content.len() as u64)
    }

    /// Returns true if this is an index of which only its own bytes say for which platforms it is.
    pub const fn hides_platforms(&self) -> bool {
        self.media_type.is_index() && self.platform.is_none()
    }

    /// The child that this attestation describes (`BuildKit`'s convention: a child of platform
    /// `unknown/unknown` whose annotation names the image's manifest).
    pub fn attests(&self) -> Option<Digest> {
        let kind = self.annotations.get("vnd.docker.reference.type")?;
        if &**kind != "attestation-manifest" {
            return None;
        }
        self.annotations.get("vnd.docker.reference.digest")?.parse().ok()
    }
}
