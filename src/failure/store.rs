//! Errors of stores, image directories, layouts and archives.

use super::advice::without_advice;
use super::{Advice, Advise, endpoint};
use hod_oci::ManifestError;
use hod_store::StoreError;
use hod_transport::{LocationError, TransportError};

impl Advise for StoreError {
    fn advice(&self) -> Advice {
        match self {
            Self::Size { .. } | Self::Corrupt { .. } => Advice::NONE.corrupt_if(true),
            Self::Full { source, .. } | Self::Io(source) => source.advice(),
            Self::Shared(error) => error.advice(),
            Self::TagsAlike { .. } => Advice::hint(
                "use a disk with ext4, XFS or Btrfs, or give one of the two another name with as=… in the list",
            ),
            Self::NoRoot(_)
            | Self::ReadOnly(_)
            | Self::Locked(_)
            | Self::InUse(_)
            | Self::Filesystems { .. }
            | Self::Outside { .. }
            | Self::OwnLink { .. }
            | Self::Kind { .. }
            | Self::Link { .. }
            | Self::Absent { .. }
            | Self::Unknown { .. }
            | Self::Dangling { .. }
            | Self::Incomplete { .. }
            | Self::Manifest { .. }
            | Self::Foreign { .. }
            | Self::Overtaken(_) => Advice::NONE,
        }
    }
}

impl Advise for TransportError {
    fn advice(&self) -> Advice {
        match self {
            Self::Size { .. } | Self::Corrupt { .. } | Self::DiffId { .. } => Advice::NONE.corrupt_if(true),
            Self::Expand { source, .. } => source.advice().corrupt_if(true),
            // Content is named by its digest everywhere but in an image directory.
            Self::Manifest { source, .. } => {
                source.advice().corrupt_if(!matches!(source, ManifestError::Schema1 | ManifestError::Large(_)))
            }
            Self::Alike { .. } => Advice::hint("use a disk with ext4, XFS or Btrfs"),
            Self::Shared(error) => error.advice(),
            Self::Trust(error) => error.advice(),
            Self::LayoutFile { source, .. } | Self::Http { source, .. } => endpoint::of_cause(&**source),
            Self::Connect { source, .. } | Self::Tls { source, .. } | Self::NoTar { source, .. } | Self::Io(source) => {
                source.advice()
            }
            Self::NoImageDirectory(_)
            | Self::DirectoryVersion { .. }
            | Self::Foreign(_)
            | Self::LinkInLayout(_)
            | Self::Locked(_)
            | Self::InUse(_)
            | Self::NoLayout(_)
            | Self::NoArchive { .. }
            | Self::Several { .. }
            | Self::Ambiguous { .. }
            | Self::Unknown { .. }
            | Self::Absent { .. }
            | Self::Incomplete { .. }
            | Self::Exists(_)
            | Self::DaemonHost(_)
            | Self::NoCertificates(_)
            | Self::Ssh { .. }
            | Self::Daemon { .. }
            | Self::Tool { .. }
            | Self::NoTool
            | Self::NoRoom { .. }
            | Self::Unsupported { .. } => Advice::NONE,
        }
    }
}

without_advice! {
    LocationError {
        NoTransport, Transport, NotSupported, Slashes, Path, LayoutName, Position, ArchiveDigest, DaemonImage,
        StorageImage, Reference,
    }
}
