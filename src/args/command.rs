//! The settings of a run that do not depend on its command.

use std::path::Path;

use super::{Cli, Command, OwnFirst};
use hod_transport::Location;

impl Command {
    /// The file that gets what is said, where the command has one.
    pub(crate) fn log(&self) -> Option<&Path> {
        match self {
            Self::Sync(OwnFirst(args)) => args.image_syncer.log.as_deref().filter(|_| args.image_syncer.image_syncer),
            _ => None,
        }
    }

    /// Whether another run takes up what one that was interrupted has left.
    pub(crate) fn goes_on(&self) -> bool {
        match self {
            Self::Pull(_) | Self::Pack(_) | Self::Bundle(_) | Self::Unpack(_) | Self::Push(_) | Self::Select(_) => true,
            // An archive is written anew.
            Self::Copy(OwnFirst(args)) => {
                !args.destination.parse().is_ok_and(|place: Location| place.archive().is_some())
            }
            command => matches!(command, Self::Sync(_) | Self::Rm(_) | Self::Gc(_)),
        }
    }

    /// What is said of TLS at both sides of a copy.
    const fn tls_verify(&self) -> Option<bool> {
        match self {
            Self::Copy(OwnFirst(args)) => args.both.tls_verify,
            Self::Sync(OwnFirst(args)) => args.both.tls_verify,
            Self::Index(OwnFirst(args)) => args.action.target().both.tls_verify,
            _ => None,
        }
    }
}

impl Cli {
    /// What is said of TLS at every registry whose own flag does not say it: skopeo's old flag, behind or before the
    /// command.
    pub(crate) fn tls_verify(&self) -> Option<bool> {
        self.command.tls_verify().or(self.global.registries.tls_verify)
    }
}
