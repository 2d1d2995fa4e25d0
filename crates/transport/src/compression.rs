//! How bytes are compressed.

use hod_oci::MediaType;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Tells by the first bytes (RFC 1952; RFC 8878, section 3.1.1).
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // The second is a frame that decoders pass over.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// How a layer of this type is compressed; `None` where that is no layer of files.
    pub fn of_layer(media_type: &MediaType) -> Option<Self> {
        let text = media_type.as_str();
        let suffix = text
            .strip_prefix("application/vnd.oci.image.layer.v1.tar")
            .or_else(|| text.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"))?;
        match suffix {
            "" => Some(Self::None),
            "+gzip" | ".gzip" => Some(Self::Gzip),
            "+zstd" | ".zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The type of a layer that was of type `media_type` and is compressed in this way now.
    pub fn layer_type(self, media_type: &MediaType) -> MediaType {
        let is_docker = media_type.as_str().starts_with("application/vnd.docker.");
        MediaType::parse(match (is_docker, self) {
            (true, Self::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (true, Self::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (true, Self::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
            (false, Self::None) => "application/vnd.oci.image.layer.v1.tar",
            (false, Self::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (false, Self::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
        })
    }

    /// The name that flags have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The levels that there are.
    pub const fn levels(self) -> std::ops::RangeInclusive<u8> {
        match self {
            Self::None => 0..=0,
            Self::Gzip => 1..=9,
            Self::Zstd => 1..=22,
        }
    }
}
