//! The size of volumes: a number, or the name of a medium.

use std::fmt;
use std::str::FromStr;

use bytesize::ByteSize;

use super::{VOLUMES_LIMIT, VolumeError};

/// The smallest volume: below it names run out before any bundle is written.
pub(crate) const SIZE_LIMIT: u64 = 4096;
/// What a disc needs for its filesystem and the file with the sums.
const DISC_OVERHEAD: u64 = 4 << 20;

/// Media by name, with the length of a volume that fits on them in bytes, and why that.
///
/// Of writable discs there are kinds with slightly different room; the smaller counts.
pub(crate) const NAMED_SIZES: [(&str, u64, &str); 5] = [
    // A file has at most 2^32 - 1 bytes; whole clusters of 32 KiB at the most.
    ("fat32", (1 << 32) - 32_768, "the largest file on FAT32, whatever the size of the stick"),
    // 359,849 sectors of 2048 bytes (80 minutes).
    ("cd", 736_970_752 - DISC_OVERHEAD, "CD-R of 80 minutes"),
    // 2,295,104 sectors (DVD+R; DVD-R has 2,298,496).
    ("dvd", 4_700_372_992 - DISC_OVERHEAD, "DVD, one layer"),
    // 4,171,712 sectors (DVD-R DL; DVD+R DL has 4,173,824).
    ("dvd-dl", 8_543_666_176 - DISC_OVERHEAD, "DVD, two layers"),
    // 11,826,176 sectors (formatted with the default spare area).
    ("bd", 24_220_008_448 - DISC_OVERHEAD, "Blu-ray, one layer"),
];

/// The length of all volumes but the last, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeSize(u64);

/// A text that is no size of volumes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeSizeError {
    /// Neither number nor name.
    #[error("{0:?} is not a volume size: write bytes, a number with a unit such as 4G or 700MiB, or one of {names}", names = names())]
    Shape(String),
    /// Too small to be of use.
    #[error("volumes of {0} bytes are too small: the minimum is {SIZE_LIMIT} bytes")]
    Small(u64),
}

fn names() -> String {
    NAMED_SIZES.map(|(name, ..)| name).join(", ")
}

impl VolumeSize {
    /// Volumes of that many bytes.
    pub const fn new(bytes: u64) -> Result<Self, VolumeSizeError> {
        if bytes < SIZE_LIMIT { Err(VolumeSizeError::Small(bytes)) } else { Ok(Self(bytes)) }
    }

    /// The length in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// How many volumes that many bytes need; an empty bundle has one.
    pub fn volumes(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.0).max(1)
    }

    /// Refuses to cut that many bytes into more volumes than a bundle may have.
    pub fn check(self, bytes: u64) -> Result<(), VolumeError> {
        if self.volumes(bytes) > VOLUMES_LIMIT as u64 { Err(VolumeError::Many { size: self.0 }) } else { Ok(()) }
    }
}

impl FromStr for VolumeSize {
    type Err = VolumeSizeError;

    fn from_str(text: &str) -> Result<Self, VolumeSizeError> {
        let trimmed = text.trim().to_ascii_lowercase();
        if let Some((_, bytes, _)) = NAMED_SIZES.iter().find(|(name, ..)| *name == trimmed) {
            return Ok(Self(*bytes));
        }
        let begins = trimmed.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
        let size = trimmed.parse::<ByteSize>().ok().filter(|_| begins);
        Self::new(size.ok_or_else(|| VolumeSizeError::Shape(text.to_owned()))?.as_u64())
    }
}

impl fmt::Display for VolumeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        let size = |text: &str| text.parse().map(VolumeSize::bytes);
        assert_eq!(size("4G"), Ok(4_000_000_000));
        assert_eq!(size("4GB"), Ok(4_000_000_000));
        assert_eq!(size("700MiB"), Ok(700 << 20));
        assert_eq!(size("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("DVD"), size("dvd"));
        assert_eq!(size("4095"), Err(VolumeSizeError::Small(4095)));
        for bad in ["", "G", "-4G", "4X", "floppy", "nan", "1e999", "inf", ".5G"] {
            assert!(matches!(size(bad), Err(VolumeSizeError::Shape(_) | VolumeSizeError::Small(_))), "{bad}");
        }
    }

    #[test]
    fn volumes_fit_on_their_media() {
        for (name, bytes, _) in NAMED_SIZES {
            let size: VolumeSize = name.parse().unwrap();
            assert_eq!(size.bytes(), bytes);
            assert_eq!(bytes % 2048, 0, "{name}");
        }
        assert!(NAMED_SIZES[0].1 < 1 << 32);
        let size = VolumeSize::new(4096).unwrap();
        assert_eq!([0, 1, 4096, 4097].map(|bytes| size.volumes(bytes)), [1, 1, 1, 2]);
    }
}
