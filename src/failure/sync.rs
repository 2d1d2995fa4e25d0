//! Errors of `hod sync` and of what it reads.

use super::advice::without_advice;
use super::{Advice, Advise, endpoint};
use hod_image::copy_image::CopyImageError;
use hod_steps::sync::destination::PlacementError;
use hod_steps::sync::directory::DirectoryError;
use hod_steps::sync::document::SyntaxError;
use hod_steps::sync::image_syncer::ConfigurationError;
use hod_steps::sync::image_syncer::rules::{RuleError, RuleProblem};
use hod_steps::sync::run::SyncError;
use hod_steps::sync::source::TagsError;
use hod_steps::sync::source_file::{EntryError, EntryProblem};

impl Advise for SyncError {
    fn advice(&self) -> Advice {
        match self {
            Self::Open(error) => error.advice(),
            // A sync goes on where it stopped, as a pull and a push do.
            Self::Image(CopyImageError::Copy(error)) => error.advice(),
            Self::Image(error) => error.advice(),
            Self::Platforms(error) => endpoint::of_place(error),
            Self::Form(error) => error.advice(),
            Self::Directory(error) => error.advice(),
            Self::Occupied { .. } | Self::Digest { .. } | Self::Thread(_) => Advice::NONE,
        }
    }
}

impl Advise for DirectoryError {
    fn advice(&self) -> Advice {
        match self {
            Self::Read { source, .. } => source.advice(),
            Self::Name(_) => Advice::NONE,
        }
    }
}

impl Advise for TagsError {
    fn advice(&self) -> Advice {
        self.source.advice()
    }
}

without_advice! {
    ConfigurationError { Syntax, Auth }
    EntryProblem { Reference, Name, Version, Neither, Regex, Constraint }
    PlacementError { Name, Count, Collision }
    RuleProblem { Reference, Name, Regex, Slash, Pattern, NoDestination, Count, Unset }
}

without_advice! { EntryError, RuleError, SyntaxError }
