//! Errors of the steps of the job.

use super::advice::without_advice;
use super::{Advice, Advise, endpoint};
use crate::report;
use hod_steps::bundle::BundlingError;
use hod_steps::diff::SnapshotError;
use hod_steps::fetch::FetchError;
use hod_steps::gc::GcError;
use hod_steps::incoming::IncomingError;
use hod_steps::pack::PackError;
use hod_steps::push::PushError;
use hod_steps::push_base::BaseError;
use hod_steps::push_stream::{NeverFails, StreamError};
use hod_steps::reach::ReachError;
use hod_steps::room::RoomError;
use hod_steps::select::SelectError;
use hod_steps::select_into::SelectIntoError;
use hod_steps::unpack::UnpackError;
use hod_steps::untag::UntagError;
use hod_steps::verify_place::VerifyPlaceError;

impl Advise for RoomError {
    fn advice(&self) -> Advice {
        match self {
            Self::Short { needed, free, .. } => {
                let missing = report::bytes(needed.saturating_sub(*free));
                let (needed, free) = (report::bytes(*needed), report::bytes(*free));
                Advice::hint(format!(
                    "nothing was written: {needed} are needed and {free} are free; free {missing} more there"
                ))
            }
            Self::Unknown { source, .. } => source.advice(),
        }
    }
}

impl Advise for FetchError {
    fn advice(&self) -> Advice {
        match self {
            Self::Store(error) => error.advice(),
            Self::Room(error) => error.advice(),
        }
    }
}

impl Advise for IncomingError {
    fn advice(&self) -> Advice {
        match self {
            Self::Store(error) => error.advice(),
            Self::Room(error) => error.advice(),
            Self::Unmergeable { .. } => Advice::hint(
                "no tag was written: give the existing content another name with hod tag and remove this tag with hod \
                 rm --tag-only, or pack with --no-referrers",
            ),
            Self::Tags { .. } => Advice::NONE,
        }
    }
}

impl Advise for BundlingError {
    fn advice(&self) -> Advice {
        match self {
            Self::Header(error) => error.advice(),
            Self::Describe { source, .. } => source.advice(),
            Self::Contents(error) => error.advice(),
            Self::Bundle(error) => error.advice(),
            Self::Room(error) => error.advice(),
            Self::Io(error) => error.advice(),
            Self::Images(_) => Advice::NONE,
        }
    }
}

impl Advise for PackError {
    fn advice(&self) -> Advice {
        match self {
            Self::Header(error) => error.advice(),
            Self::Store(error) => error.advice(),
            Self::Blob { source, .. } | Self::Write(source) => source.advice(),
            Self::Collision { .. } | Self::Stopped => Advice::NONE,
        }
    }
}

impl Advise for PushError {
    fn advice(&self) -> Advice {
        match self {
            Self::Name(error) => error.advice(),
            Self::Copy(error) => error.advice(),
            Self::Referrers { source, .. } => source.advice(),
            Self::Index { source, .. } => source.advice(),
            Self::Foreign { .. } | Self::Listed(_) => Advice::hint(
                "the tag is unchanged: copy the existing content to another name with hod copy and delete this tag, or \
                 push without signatures and attestations with --no-referrers",
            ),
            Self::NotFull(_) => {
                Advice::hint("pull it with --all-platforms, or push the platforms that are here with --index auto")
            }
            Self::Form(error) => error.advice(),
            Self::Pinned(_) => Advice::NONE,
        }
    }
}

impl Advise for BaseError {
    fn advice(&self) -> Advice {
        match self {
            Self::Ask { source, .. } => source.advice(),
            Self::Name(error) => error.advice(),
            Self::Copy(error) => error.advice(),
            Self::Required { .. } => Advice::NONE,
        }
    }
}

impl Advise for StreamError {
    fn advice(&self) -> Advice {
        match self {
            Self::Bundle(error) => error.advice(),
            Self::Blob { source, .. } => source.advice(),
            Self::Base(error) => error.advice(),
            Self::Name(error) => error.advice(),
            Self::Contents(error) => endpoint::of_cause(&**error),
            Self::Large | Self::Unmatched(_) | Self::Stopped => Advice::NONE,
        }
    }
}

impl Advise for NeverFails {
    fn advice(&self) -> Advice {
        match *self {}
    }
}

impl Advise for ReachError {
    fn advice(&self) -> Advice {
        match self {
            Self::Manifest { source, .. } => source.advice(),
            Self::Store(error) => error.advice(),
            Self::Absent { .. } => Advice::NONE,
        }
    }
}

impl Advise for GcError {
    fn advice(&self) -> Advice {
        match self {
            Self::Reach(error) => error.advice(),
            Self::Store(error) => error.advice(),
            Self::Stopped => Advice::NONE,
        }
    }
}

impl<E: Advise + 'static> Advise for SelectError<E> {
    fn advice(&self) -> Advice {
        match self {
            Self::Name(error) => error.advice(),
            Self::Taken(error) => error.advice(),
            Self::Contents(error) => error.advice(),
            Self::Platform(error) => error.advice(),
            Self::NotPulled(error) => error.advice(),
        }
    }
}

impl Advise for SelectIntoError {
    fn advice(&self) -> Advice {
        match self {
            Self::Incoming(error) => error.advice(),
            Self::Source { source, .. } | Self::Store(source) => source.advice(),
            Self::Stopped => Advice::NONE,
        }
    }
}

impl Advise for UnpackError {
    fn advice(&self) -> Advice {
        match self {
            Self::Bundle(error) => error.advice(),
            Self::Store(error) => error.advice(),
            Self::Incoming(error) => error.advice(),
            Self::Required { .. } | Self::Stopped => Advice::NONE,
        }
    }
}

impl Advise for UntagError {
    fn advice(&self) -> Advice {
        match self {
            Self::Contents(error) => error.advice(),
            Self::Reach(error) => error.advice(),
            Self::Pack(error) => error.advice(),
            Self::Store(error) => error.advice(),
            Self::Unknown(_) | Self::Part { .. } => Advice::NONE,
        }
    }
}

impl Advise for VerifyPlaceError {
    fn advice(&self) -> Advice {
        match self {
            Self::Transport(error) => error.advice(),
            Self::Place(error) => error.advice(),
            Self::Other(_) => Advice::NONE,
        }
    }
}

without_advice! {
    SnapshotError { NotLocked, Name, Minimal }
}
