//! One platform: an operating system and an architecture.
//!
//! Names are normalised and variants matched as containerd does (`platforms` package): a machine
//! with `arm/v7` also runs `arm/v6`, and `arm64` means `arm64/v8`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: Box<str>,
    /// Such as `amd64`, by Go's names.
    pub architecture: Box<str>,
    /// Such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Box<str>>,
    /// The version of the operating system; Windows images have it.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<Box<str>>,
    /// What the operating system must offer.
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::descriptor::null_is_empty"
    )]
    pub os_features: Vec<Box<str>>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a platform: write os/architecture or os/architecture/variant, such as linux/arm64 or linux/arm/v7"
)]
pub struct PlatformError(String);

impl Platform {
    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normalised(architecture, variant);
        Self {
            os: if os == "macos" { "darwin" } else { os }.into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// Linux on the processor that this program runs on: what a list means that names no platform.
    pub fn native_linux() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// The platform that the config of a runnable image names (OCI image-spec, `config.md`).
    pub fn of_config(config: &[u8]) -> Option<Self> {
        let platform: Self = serde_json::from_slice(config).ok()?;
        (!platform.os.is_empty() && !platform.architecture.is_empty()).then_some(platform)
    }

    /// Returns true if this is the mark of an attestation, which is no platform.
    pub(super) fn is_unknown(&self) -> bool {
        &*self.os == "unknown" && &*self.architecture == "unknown"
    }

    /// How well `other` runs where `self` was asked for: 0 is best, `None` is not at all.
    pub(super) fn rank(&self, other: &Self) -> Option<usize> {
        let wanted = Self::new(&self.os, &self.architecture, self.variant.as_deref());
        let offered = Self::new(&other.os, &other.architecture, other.variant.as_deref());
        if wanted.os != offered.os || wanted.architecture != offered.architecture {
            return None;
        }
        if wanted.variant == offered.variant {
            return Some(0);
        }
        // Newer variants run older code: v3 runs v2, and none stands for the first of its kind.
        let first = if &*wanted.architecture == "arm64" { 8 } else { 1 };
        let number = |platform: &Self| match platform.variant.as_deref() {
            None => Some(first),
            Some(variant) => variant.strip_prefix('v')?.parse::<usize>().ok(),
        };
        number(&wanted)?.checked_sub(number(&offered)?)
    }
}

/// Go's names for what `uname` and others call differently (containerd, `platforms/database.go`).
fn normalised<'a>(architecture: &'a str, variant: Option<&'a str>) -> (&'a str, Option<&'a str>) {
    let variant = variant.filter(|variant| !variant.is_empty());
    match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        ("powerpc64le", variant) => ("ppc64le", variant),
        other => other,
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.to_owned());
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(error());
        }
        match *parts.as_slice() {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}
