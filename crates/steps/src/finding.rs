//! The findings of `verify`: each kind of damage has a stable code for scripts.

use std::fmt;

use serde::{Serialize, Serializer};

use hod_bundle::BundleSigner;
use hod_oci::Digest;

macro_rules! codes {
    ($($(#[$doc:meta])+ $code:ident = $name:literal,)+) => {
        /// The kinds of damage.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])+ $code,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// The code as it is printed.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }
        }
    };
}

codes! {
    /// A blob's bytes have another digest than its path says.
    BlobDigestMismatch = "blob-digest-mismatch",
    /// A blob has another size than the manifest that uses it says.
    BlobSizeMismatch = "blob-size-mismatch",
    /// A manifest gives content another length than it has; the content itself is right.
    DeclaredSizeWrong = "declared-size-wrong",
    /// A blob that a manifest uses is not there.
    BlobMissing = "blob-missing",
    /// A link file does not hold exactly the digest that it should.
    LinkMalformed = "link-malformed",
    /// A link points to content that is not there.
    LinkDangling = "link-dangling",
    /// A config or layer has no link in a repository whose manifest uses it.
    LayerLinkMissing = "layer-link-missing",
    /// A tag points to a manifest that is no revision of the repository.
    TagDangling = "tag-dangling",
    /// A tag has a folder and no `current/link`: registries list it and cannot serve it.
    TagIncomplete = "tag-incomplete",
    /// The content of a child is there, and its revision link is not: registries would not serve
    /// it, and their garbage collection would delete it.
    ChildRevisionMissing = "child-revision-missing",
    /// A manifest cannot be read.
    ManifestInvalid = "manifest-invalid",
    /// A repository lacks a folder that registries need to list it and to collect garbage.
    FolderMissing = "folder-missing",
    /// A path that stops a registry's garbage collection, or makes it delete what is in use.
    PathHarmful = "path-harmful",
    /// A symbolic link, device or pipe, where only files and folders may be.
    NotAFile = "not-a-file",
    /// Something among hod's own files in a root that hod has not put there.
    ForeignInHod = "foreign-in-hod",
    /// A file that says what a place holds is not there or cannot be read.
    PlaceInvalid = "place-invalid",
    /// A bundle ends too soon.
    BundleTruncated = "bundle-truncated",
    /// A bundle breaks its format.
    BundleInvalid = "bundle-invalid",
    /// Nobody who is trusted has signed a bundle.
    SignatureInvalid = "signature-invalid",
    /// A volume is not there.
    VolumeMissing = "volume-missing",
    /// A volume ends too soon.
    VolumeShort = "volume-short",
    /// A volume is of another bundle.
    VolumeForeign = "volume-foreign",
    /// Bytes of a volume are wrong, or cannot be read.
    VolumeDamaged = "volume-damaged",
    /// A volume is right, and its digest is not the one in the file of sums.
    VolumeSumMismatch = "volume-sum-mismatch",
}

impl Code {
    /// Whether it is worth a look, and harms nobody who takes the digest for what it is.
    pub const fn is_warning(self) -> bool {
        matches!(self, Self::DeclaredSizeWrong)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
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
        if self.code.is_warning() {
            f.write_str("warning: ")?;
        }
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
