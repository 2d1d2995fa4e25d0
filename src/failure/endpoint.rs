//! Errors of the copy engine and of the places that it reads and writes.

use std::error::Error;
use std::io;

use super::advice::without_advice;
use super::{Advice, Advise};
use hod_bundle::LeftOutBlob;
use hod_engine::copy::{CopyError, Side};
use hod_engine::endpoint::{EndpointError, Fault, Mismatch, Place};
use hod_oci::ManifestError;
use hod_registry::RegistryError;
use hod_rootfs::LayerError;
use hod_store::StoreError;
use hod_transport::TransportError;

impl Advise for EndpointError {
    fn advice(&self) -> Advice {
        of_cause(self.cause()).or_better(hint(self.fault())).corrupt_if(self.fault() == Fault::Corrupt)
    }
}

/// The advice of an error whose type is not known: the engine knows no place, so its errors have a cause of any type.
/// This is the only search for types; a test holds that it knows all that places turn into errors of the engine.
pub(super) fn of_cause(error: &(dyn Error + 'static)) -> Advice {
    fn known<'a, E: Advise + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Advise> {
        error.downcast_ref::<E>().map(|error| error as &dyn Advise)
    }
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| {
            known::<EndpointError>(error)
                .or_else(|| known::<RegistryError>(error))
                .or_else(|| known::<StoreError>(error))
                .or_else(|| known::<TransportError>(error))
                .or_else(|| known::<LayerError>(error))
                .or_else(|| known::<LeftOutBlob>(error))
                .or_else(|| known::<ManifestError>(error))
                .or_else(|| known::<io::Error>(error))
        })
        .map_or(Advice::NONE, Advise::advice)
}

/// What to do about a failure of that kind, where nothing is known but the kind.
pub(super) const fn hint(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::Denied => Some(
            "check the credentials: hod reads --creds, --authfile, and the files written by hod login, podman and \
             docker; many registries give the same answer for names that do not exist",
        ),
        Fault::Missing => Some("check the name and the tag; hod list-tags lists the tags of a repository"),
        Fault::Unreachable => Some("check the connection to that place, and run the same command again"),
        Fault::Busy(_) => Some("run the same command again later"),
        Fault::Corrupt => {
            Some("the source sent bytes that do not match their digest: check it, and any proxy in between, for damage")
        }
        Fault::Full => Some(super::FULL),
        Fault::Rejected | Fault::Incomplete | Fault::Other => None,
    }
}

impl Advise for CopyError {
    fn advice(&self) -> Advice {
        let (source, hint) = match self {
            Self::Resolve { place, source, .. } => (source, copying(Stage::Resolve, source.fault(), place)),
            // Manifests are not kept.
            Self::Content { what: "manifest", side: Side::Source, place, source, .. } => {
                (source, copying(Stage::Resolve, source.fault(), place))
            }
            Self::Content { side: Side::Source, place, source, .. } => {
                (source, copying(Stage::Fetch, source.fault(), place))
            }
            Self::Content { side: Side::Destination, place, source, .. } | Self::Publish { place, source } => {
                (source, copying(Stage::Write, source.fault(), place))
            }
            Self::Manifest { source, .. } => return source.advice(),
            Self::Platform(_) => {
                return Advice::hint("choose one of these with --platform, or with platform=… in the list");
            }
            Self::Task(_) => return Advice::NONE,
        };
        source.advice().or_better(hint)
    }
}

/// The advice of the place that failed, without what holds only for pulls, pushes and syncs.
pub(super) fn of_place(error: &CopyError) -> Advice {
    match error {
        CopyError::Resolve { source, .. } | CopyError::Content { source, .. } | CopyError::Publish { source, .. } => {
            source.advice()
        }
        CopyError::Manifest { .. } | CopyError::Platform(_) | CopyError::Task(_) => Advice::NONE,
    }
}

/// What was done with an image as it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its manifests were read.
    Resolve,
    /// Its content was read.
    Fetch,
    /// Something was written.
    Write,
}

/// What to do about a failure at that place while an image was copied.
fn copying(stage: Stage, fault: Fault, place: &Place) -> Option<String> {
    let kept = match stage {
        Stage::Resolve => "",
        Stage::Fetch => "; partial downloads are kept",
        Stage::Write if place.is_remote() => "; content that is already there is not sent again",
        Stage::Write => {
            let is_passing = matches!(fault, Fault::Unreachable | Fault::Busy(_));
            return is_passing.then(|| "run the same command again; partial downloads are kept".to_owned());
        }
    };
    match fault {
        Fault::Unreachable => Some(format!("run the same command again when {} is reachable{kept}", place.domain())),
        Fault::Busy(_) if place.is_remote() => Some(format!(
            "run the same command again later{kept}; many registries have higher limits for logged-in users"
        )),
        Fault::Busy(_) => Some(format!("run the same command again later{kept}")),
        Fault::Missing if !place.is_remote() => None,
        Fault::Missing => match stage {
            Stage::Resolve => None,
            Stage::Fetch => Some(
                "the registry has the manifest but not what it refers to: the image must be pushed there again"
                    .to_owned(),
            ),
            Stage::Write => Some(
                "check the path; some registries require that the repository, or its project, is created first"
                    .to_owned(),
            ),
        },
        Fault::Denied | Fault::Rejected | Fault::Incomplete | Fault::Corrupt | Fault::Full | Fault::Other => None,
    }
}

without_advice! {
    Mismatch { Short, Long, Digest }
}
