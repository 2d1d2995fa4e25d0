//! Errors of the system and of the libraries that hod builds on.

use std::io;

use super::advice::without_advice;
use super::{Advice, Advise};
use hod_io::fs::NoLocksError;

impl Advise for io::Error {
    fn advice(&self) -> Advice {
        if self.get_ref().and_then(|cause| cause.downcast_ref::<NoLocksError>()).is_some() {
            return Advice::hint(
                "choose a place on another file system, or give --no-locks if nobody else uses this one",
            );
        }
        Advice::general(hint(self.kind()))
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "`io::ErrorKind` grows with each version of Rust")]
fn hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(super::FULL),
        io::ErrorKind::ReadOnlyFilesystem => Some("choose a directory on a file system that is writable"),
        io::ErrorKind::PermissionDenied => {
            Some("run hod as a user who can access that file or directory, or choose another one")
        }
        _ => None,
    }
}

without_advice! { serde_json::Error, tokio::task::JoinError }
