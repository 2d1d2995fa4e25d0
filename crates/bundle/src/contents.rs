//! The content of a bundle: images, blobs and links.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::delta_base::DeltaBase;
use hod_oci::{Digest, MediaType, Platform, RepositoryName, Tag};
use hod_store::Links;

/// An image of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The repository in the bundle.
    pub name: RepositoryName,
    /// The tag; an image without one is reachable by its digest only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The digest of the root manifest.
    pub digest: Digest,
    /// The media type of the root manifest.
    pub media_type: MediaType,
    /// Everything it consists of, each once: positions in `blobs` and, counted on from there, in `requires`.
    pub contents: Vec<u32>,
    /// The platforms that are in the bundle.
    #[serde(deserialize_with = "read_platforms")]
    pub platforms: Vec<Platform>,
    /// The group of the list that the image was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<str>>,
    /// Where the image came from, as a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<str>>,
}

impl Image {
    /// The image as a person writes it: with the digest where it has no tag.
    pub fn label(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.name),
            None => format!("{}@{}", self.name, self.digest),
        }
    }
}

/// Content by digest and length: what a bundle holds, or what it requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The digest.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
}

/// A blob of a bundle, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// The digest.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
    /// Position of its first byte, from the start of the data area.
    pub offset: u64,
}

/// What a header is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The time of all members, in seconds since 1970.
    pub mtime: u64,
    /// The images, in the order of the list.
    pub images: Vec<Image>,
    /// The blobs in the order in which they are written: manifests and configs, then layers in the order of
    /// first use.
    pub blobs: Vec<Content>,
    /// Content that the repositories refer to and that the bundle does not hold.
    pub requires: Vec<Content>,
    /// What has the content that the bundle requires: any of these, where they are known.
    pub base: Vec<DeltaBase>,
    /// The links of all repositories.
    pub repositories: Vec<Links>,
}

/// Reads the platforms of an image, of which there are not more than an image can have.
fn read_platforms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Platform>, D::Error> {
    struct Platforms;

    impl<'de> Visitor<'de> for Platforms {
        type Value = Vec<Platform>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {PLATFORMS_LIMIT} platforms of at most {FEATURES_LIMIT} features")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut platforms = Vec::new();
            while let Some(platform) = list.next_element::<Platform>()? {
                if platforms.len() == PLATFORMS_LIMIT || platform.os_features.len() > FEATURES_LIMIT {
                    return Err(A::Error::invalid_length(platforms.len() + 1, &self));
                }
                platforms.push(platform);
            }
            Ok(platforms)
        }
    }

    deserializer.deserialize_seq(Platforms)
}

/// The most platforms that an image names, and the most features that a platform does: in memory they take several times
/// their bytes.
pub(super) const PLATFORMS_LIMIT: usize = hod_oci::GRAPH_LIMIT;
pub(super) const FEATURES_LIMIT: usize = 16;
