//! Media types of the Docker and OCI specifications.
//!
//! Only what decides how content is handled has a variant; the rest is carried as written.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The media type of some content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaType {
    /// OCI image manifest; also what artifacts and Helm charts are.
    OciManifest,
    /// OCI image index.
    OciIndex,
    /// Docker image manifest, version 2 schema 2.
    DockerManifest,
    /// Docker manifest list.
    DockerList,
    /// Docker image manifest, schema 1, signed or not: read to refuse it with a reason.
    DockerSchema1,
    /// Anything else: configs, layers, and types yet to be invented.
    Other(Box<str>),
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
const DOCKER_SCHEMA1_UNSIGNED: &str = "application/vnd.docker.distribution.manifest.v1+json";

impl MediaType {
    /// The manifest types that are understood, in the order in which registries are asked for them.
    pub const MANIFESTS: [Self; 4] = [Self::OciIndex, Self::OciManifest, Self::DockerList, Self::DockerManifest];

    /// The type as it stands in a descriptor or header.
    pub fn as_str(&self) -> &str {
        match self {
            Self::OciManifest => OCI_MANIFEST,
            Self::OciIndex => OCI_INDEX,
            Self::DockerManifest => DOCKER_MANIFEST,
            Self::DockerList => DOCKER_LIST,
            Self::DockerSchema1 => DOCKER_SCHEMA1,
            Self::Other(text) => text,
        }
    }

    /// The type that a header or descriptor names; parameters such as `; charset=utf-8` do not count.
    pub fn parse(text: &str) -> Self {
        let essence = text.split(';').next().unwrap_or_default().trim();
        match essence {
            OCI_MANIFEST => Self::OciManifest,
            OCI_INDEX => Self::OciIndex,
            DOCKER_MANIFEST => Self::DockerManifest,
            DOCKER_LIST => Self::DockerList,
            DOCKER_SCHEMA1 | DOCKER_SCHEMA1_UNSIGNED => Self::DockerSchema1,
            other => Self::Other(other.into()),
        }
    }

    /// Returns true if content of this type is stored and served as a manifest, and not as a blob.
    pub const fn is_manifest(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Returns true if this is an index (or manifest list).
    pub const fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }

    /// Returns true if a layer of this type may lie elsewhere, named by its `urls`
    /// (Docker's foreign layers, OCI's non-distributable ones).
    pub fn is_foreign_layer(&self) -> bool {
        let text = self.as_str();
        text.starts_with("application/vnd.docker.image.rootfs.foreign.")
            || text.starts_with("application/vnd.oci.image.layer.nondistributable.")
    }

    /// Returns true if this is the configuration of a runnable image, which names its platform.
    pub fn is_image_config(&self) -> bool {
        matches!(
            self.as_str(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        )
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_do_not_count() {
        assert_eq!(MediaType::parse("application/vnd.oci.image.index.v1+json; charset=utf-8"), MediaType::OciIndex);
    }

    #[test]
    fn knows_manifests_from_blobs() {
        for media_type in MediaType::MANIFESTS {
            assert!(media_type.is_manifest());
            assert_eq!(MediaType::parse(media_type.as_str()), media_type);
        }
        assert!(!MediaType::parse("application/vnd.oci.image.layer.v1.tar+gzip").is_manifest());
        assert!(MediaType::parse("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").is_foreign_layer());
    }
}
