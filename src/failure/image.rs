//! Errors of the subjects of the job: lists, images, the places that hold them.

use super::advice::without_advice;
use super::{Advice, Advise, endpoint};
use hod_engine::copy::CopyError;
use hod_engine::endpoint::Fault;
use hod_image::attached::AttachedError;
use hod_image::catalog::CatalogError;
use hod_image::contents::ContentsError;
use hod_image::convert::ConvertError;
use hod_image::copy_image::CopyImageError;
use hod_image::copy_list;
use hod_image::destination::DestinationError;
use hod_image::gathered::TagConflict;
use hod_image::index::IndexError;
use hod_image::index_policy::FormError;
use hod_image::inspect::InspectError;
use hod_image::inventory::InventoryError;
use hod_image::list::{self, ListError};
use hod_image::merge::NameTaken;
use hod_image::open::OpenError;
use hod_image::places::PlaceError;
use hod_image::resolve::ImageError;
use hod_image::whole::WholeError;
use hod_store::StoreError;

impl Advise for ImageError {
    fn advice(&self) -> Advice {
        match self {
            // Names of a list may have no host.
            Self::Copy(error @ CopyError::Resolve { place, source, .. })
                if source.fault() == Fault::Missing && place.is_remote() =>
            {
                error.advice().or_better(Some(
                    "check the name and the tag; names without a registry host are looked up in --from",
                ))
            }
            Self::Copy(error) => error.advice(),
            Self::Attached(error) => error.advice().or_better(Some(
                "the image was left out because its signatures are unknown; --no-referrers takes it without them",
            )),
            Self::Store(error @ StoreError::Foreign { .. }) => error.advice().or_better(Some(
                "the tag is unchanged, and the image was left out: give the existing content another name with hod tag \
                 and remove this tag with hod rm --tag-only, or pull with --no-referrers",
            )),
            Self::Store(error) => error.advice(),
            Self::Name(error) => error.advice(),
            Self::Taken(error) => error.advice(),
            Self::Admission(error) => error.advice(),
            Self::Old(error) => error.advice(),
            Self::Convert(error) => error.advice(),
            Self::Place(error) => error.advice(),
        }
    }
}

impl Advise for CopyImageError {
    fn advice(&self) -> Advice {
        match self {
            Self::Admission(error) => error.advice(),
            Self::Signing(error) => error.advice(),
            Self::Copy(error) | Self::Part(_, error) => endpoint::of_place(error),
            Self::Signatures(_, error) | Self::First(error) => error.advice(),
            Self::Platform(error) => error.advice(),
            Self::NotPulled(error) => error.advice(),
            Self::Convert(error) => error.advice(),
            Self::NotKept(_) | Self::Preserve(_) | Self::Pinned { .. } => Advice::NONE,
        }
    }
}

impl Advise for AttachedError {
    fn advice(&self) -> Advice {
        match self {
            Self::Ask { source, .. } => source.advice(),
            Self::Load { source, .. } => source.advice(),
            Self::Index { source, .. } => source.advice(),
            Self::Limit => Advice::NONE,
        }
    }
}

impl<E: Advise + 'static> Advise for ContentsError<E> {
    fn advice(&self) -> Advice {
        match self {
            Self::Read(error) | Self::Image { source: error, .. } => error.advice(),
            Self::Manifest { source, .. } => source.advice(),
            Self::Absent { .. } => Advice::NONE.corrupt_if(true),
            Self::Unknown(_) | Self::Referrer { .. } => Advice::NONE,
        }
    }
}

impl Advise for CatalogError {
    fn advice(&self) -> Advice {
        match self {
            Self::List { source, .. } => source.advice(),
            Self::Read { source, .. } => source.advice(),
        }
    }
}

impl Advise for WholeError {
    fn advice(&self) -> Advice {
        match self {
            Self::Source(error) => error.advice(),
            Self::Manifest { source, .. } => source.advice(),
        }
    }
}

impl Advise for IndexError {
    fn advice(&self) -> Advice {
        match self {
            Self::Load(error) => error.advice(),
            Self::Config { source, .. } => source.advice(),
            Self::Manifest(error) => error.advice(),
            Self::Twice { .. } | Self::Unknown(_) | Self::Platform(_) => Advice::NONE,
        }
    }
}

impl Advise for InspectError {
    fn advice(&self) -> Advice {
        match self {
            Self::Load(error) => error.advice(),
            Self::Config { source, .. } => source.advice(),
            Self::NoImage(_) => Advice::NONE,
        }
    }
}

impl Advise for OpenError {
    fn advice(&self) -> Advice {
        match self {
            Self::Admission(error) => error.advice(),
            Self::Signing(error) => error.advice(),
            Self::Registry(error) => error.advice(),
            Self::Transport { source, .. } | Self::Finish { source, .. } => source.advice(),
            Self::Store { source, .. } => source.advice(),
            Self::Held { source, .. } => source.advice(),
            Self::HeldInBundle { source, .. } => source.advice(),
            Self::NoImage(_) | Self::ReadOnly(..) | Self::Bundle(_) => Advice::NONE,
        }
    }
}

impl Advise for PlaceError {
    fn advice(&self) -> Advice {
        match self {
            Self::Location(error) => error.advice(),
            Self::Option(error) => error.advice(),
            Self::Open(error) => error.advice(),
            Self::List { source, .. } => source.advice(),
            Self::Walk { source, .. } => source.io_error().map_or(Advice::NONE, Advise::advice),
            Self::BadName { source, .. } => source.advice(),
            Self::Name(error) => error.advice(),
            Self::Manifests { source, .. } => source.advice(),
            Self::Empty(_)
            | Self::NoName(_)
            | Self::OneName { .. }
            | Self::Moved { .. }
            | Self::Other(_)
            | Self::Thread(_) => Advice::NONE,
        }
    }
}

impl Advise for TagConflict {
    fn advice(&self) -> Advice {
        self.source.advice()
    }
}

without_advice! {
    ConvertError { Unknown, Manifest, Sparse }
    DestinationError { Scheme, Reference, Image }
    FormError { Empty, Several, Json }
    InventoryError { Json, Format, Newer, Inconsistent, Large }
    ListError { Lines, Empty, Group }
    copy_list::BaseError { Location, Registry, One }
    copy_list::LineError {
        Name, Reference, Location, NoRegistry, NoTag, Clash, Digests, Renamed, IndexOnly, Referrers,
    }
    list::LineError {
        Reference, Held, Word, Blank, Twice, Platform, Name, NameShape, Referrer, Digest, Nameless, Group, Failed, Encoding,
    }
}

without_advice! { NameTaken }
