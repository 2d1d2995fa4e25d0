//! Errors of bundles, their volumes and their keys.

use super::advice::without_advice;
use super::{Advice, Advise};
use hod_bundle::{BundleError, HeaderError, KeyError, Kind as Format, LeftOutBlob, TrustError, VolumeError};

impl Advise for BundleError {
    fn advice(&self) -> Advice {
        match self {
            Self::Header(error) => error.advice(),
            Self::Content(error) => error.advice(),
            Self::Trust(error) => error.advice(),
            Self::Volume(error) => error.advice(),
            Self::Source { source, .. } | Self::Read(source) | Self::Write(source) => source.advice(),
            Self::NotABundle(kind) => match kind {
                Format::RootArchive => Advice::hint(
                    "extract it with tar -x: the directory in which docker/ is then is a store, which every command takes",
                ),
                Format::OciArchive => Advice::hint("hod pull, push and copy take it as oci-archive:FILE"),
                Format::DockerArchive => Advice::hint("hod pull, push and copy take it as docker-archive:FILE"),
                Format::Empty
                | Format::Gzip
                | Format::Xz
                | Format::Bzip2
                | Format::Zip
                | Format::Tar
                | Format::Json
                | Format::Zeros
                | Format::Unknown => Advice::NONE,
            },
            Self::ForeignCompression => Advice::hint(
                "if it is a tar of a registry root, extract it with zstd -dc FILE | tar -x: that is a store",
            ),
            Self::Truncated { .. }
            | Self::Member { .. }
            | Self::Bytes { .. }
            | Self::Trailing { .. }
            | Self::Zstd { .. }
            | Self::SeekTable(_)
            | Self::Size { .. }
            | Self::Order { .. }
            | Self::Unfinished(_)
            | Self::Signature(_) => Advice::NONE,
        }
    }
}

impl Advise for LeftOutBlob {
    fn advice(&self) -> Advice {
        Advice::hint(
            "the bundle was packed with --have for a place that has the rest: hod unpack it into a root that has its \
             base and take the image from there, or pack the bundle again without --have",
        )
    }
}

without_advice! {
    HeaderError {
        Json, Format, Newer, Encoding, Form, Large, Dense, Overflow, Time, Duplicate, Absent, Unused, Image, Text,
        Base, Offset,
    }
    KeyError { Public, Secret, Locked, Passphrase, Length, Random }
    TrustError { Unsigned, Damaged, Unknown, Wrong, NoKeys }
    VolumeError { Missing, Short, Long, NoSet, SeveralSets, Sums, Name, Many }
}
