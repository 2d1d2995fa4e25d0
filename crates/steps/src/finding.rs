//! The findings of `verify`: each kind of damage has a stable code for scripts.

use std::fmt;

use serde::Serialize;

use hod_bundle::BundleSigner;
use hod_oci::Digest;

/// The kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A blob's bytes have another digest than its path says.
    BlobDigestMismatch,
    /// A blob has another size than the manifest that uses it says.
    BlobSizeMismatch,
    /// A blob that a manifest uses is not there.
    BlobMissing,
    /// A link file does not hold exactly the digest that it should.
    LinkMalformed,
    /// A link points to content that is not there.
    LinkDangling,
    /// A config or layer has no link in a repository whose manifest uses it.
    LayerLinkMissing,
    /// A tag points to a manifest that is no revision of the repository.
    TagDangling,
    /// A tag has a folder and no `current/link`: registries list it and cannot serve it.
    TagIncomplete,
    /// The content of a child is there, and its revision link is not: registries would not serve
    /// it, and their garbage collection would delete it.
    ChildRevisionMissing,
    /// A manifest cannot be read.
    ManifestInvalid,
    /// A repository lacks a folder that registries need to list it and to collect garbage.
    FolderMissing,
    /// A path that stops a registry's garbage collection, or makes it delete what is in use.
    PathHarmful,
    /// A symbolic link, device or pipe, where only files and folders may be.
    NotAFile,
    /// Something among hod's own files in a root that hod has not put there.
    ForeignInHod,
    /// A file that says what a place holds is not there or cannot be read.
    PlaceInvalid,
    /// A bundle ends too soon.
    BundleTruncated,
    /// A bundle breaks its format.
    BundleInvalid,
    /// Nobody who is trusted has signed a bundle.
    SignatureInvalid,
    /// A volume is not there.
    VolumeMissing,
    /// A volume ends too soon.
    VolumeShort,
    /// A volume is of another bundle.
    VolumeForeign,
    /// Bytes of a volume are wrong, or cannot be read.
    VolumeDamaged,
    /// A volume is right, and its digest is not the one in the file of sums.
    VolumeSumMismatch,
}

impl Code {
    /// The code as it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlobDigestMismatch => "blob-digest-mismatch",
            Self::BlobSizeMismatch => "blob-size-mismatch",
            Self::BlobMissing => "blob-missing",
            Self::LinkMalformed => "link-malformed",
            Self::LinkDangling => "link-dangling",
            Self::LayerLinkMissing => "layer-link-missing",
            Self::TagDangling => "tag-dangling",
            Self::TagIncomplete => "tag-incomplete",
            Self::ChildRevisionMissing => "child-revision-missing",
            Self::ManifestInvalid => "manifest-invalid",
            Self::FolderMissing => "folder-missing",
            Self::PathHarmful => "path-harmful",
            Self::NotAFile => "not-a-file",
            Self::ForeignInHod => "foreign-in-hod",
            Self::PlaceInvalid => "place-invalid",
            Self::BundleTruncated => "bundle-truncated",
            Self::BundleInvalid => "bundle-invalid",
            Self::SignatureInvalid => "signature-invalid",
            Self::VolumeMissing => "volume-missing",
            Self::VolumeShort => "volume-short",
            Self::VolumeForeign => "volume-foreign",
            Self::VolumeDamaged => "volume-damaged",
            Self::VolumeSumMismatch => "volume-sum-mismatch",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One piece of damage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// Where: a path below the root, or a place in a bundle.
    pub path: String,
    /// What exactly, in words.
    pub detail: String,
    /// The images that cannot be pulled, or not whole, because of it.
    pub images: Vec<String>,
    /// The blobs that are concerned, where it is about a volume.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Digest>,
    /// Where in the file the damage is, as first and last byte, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<(u64, u64)>,
}

impl Finding {
    /// A finding; which images it concerns is worked out at the end.
    pub fn new(code: Code, path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code,
            path: path.into(),
            detail: detail.into(),
            images: Vec::new(),
            blobs: Vec::new(),
            ranges: Vec::new(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.path, self.detail)?;
        if !self.images.is_empty() {
            write!(f, " (concerns {})", self.images.join(", "))?;
        }
        Ok(())
    }
}

/// What was checked, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Blobs and manifests whose bytes were hashed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Links that were read.
    pub links: usize,
    /// Images that were followed.
    pub images: usize,
    /// Who has signed the bundle, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<BundleSigner>,
    /// The damage, sorted.
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_same_in_text_and_json() {
        for code in [
            Code::BlobDigestMismatch,
            Code::NotAFile,
            Code::ForeignInHod,
            Code::PlaceInvalid,
            Code::BundleInvalid,
            Code::SignatureInvalid,
            Code::ChildRevisionMissing,
            Code::VolumeSumMismatch,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }
}
