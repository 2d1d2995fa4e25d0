//! What ends a command badly: a kind that decides the exit code, the cause, and what to do about it.
//!
//! Errors of the library are turned into failures here and nowhere else, so that the hints stand
//! together and every command gives the same one for the same trouble.

mod hidden;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::report;
use hidden::{io_error, room_error, store_error};
use hod_bundle::LeftOut;
use hod_engine::copy::{CopyError, Side};
use hod_engine::endpoint::{EndpointError, Fault};
use hod_image::contents::ContentsError;
use hod_image::copy_image::CopyImageError;
use hod_image::resolve::{Failed, ImageError};
use hod_io::secret::without_passwords;
use hod_oci::{GraphError, ManifestError};
use hod_registry::RegistryError;
use hod_steps::incoming::IncomingError;
use hod_steps::push::PushError;
use hod_steps::room::RoomError;
use hod_steps::sync::run::SyncError;
use hod_store::StoreError;
use hod_transport::TransportError;

/// The kinds of bad ends, by exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something failed.
    Failed,
    /// What was typed, or a list, cannot be understood.
    Usage,
    /// Some images failed and the others are done.
    Partial,
    /// Bytes are not what they should be.
    Corrupt,
    /// A bundle builds on content that its target does not have; nothing was written.
    Required,
    /// Interrupted; the same command goes on where it stopped.
    Interrupted,
}

impl Kind {
    /// The exit code, as README and `--help` list them.
    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The same as a number.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Corrupt => 4,
            Self::Required => 5,
            Self::Interrupted => 130,
        }
    }

    /// How a command ends that failed because of this error. Damage is told from every other failure.
    fn with(self, error: &(dyn Error + 'static)) -> Self {
        if self == Self::Failed && is_corrupt(error) { Self::Corrupt } else { self }
    }

    /// How a command ends some of whose images failed. Damage of what is at hand, which running it again does not mend,
    /// counts for more than that the others are done.
    pub(super) fn of_images<'a, E: Error + 'static>(
        failed: impl IntoIterator<Item = &'a E>,
        others_done: bool,
    ) -> Self {
        if failed.into_iter().any(|error| is_corrupt(error)) {
            Self::Corrupt
        } else if others_done {
            Self::Partial
        } else {
            Self::Failed
        }
    }

    /// The same for lines of a list. A registry that gives wrong bytes has failed; what is on this machine is damaged.
    pub(super) fn of_lines(failed: &[Failed], others_done: bool) -> Self {
        Self::of_images(failed.iter().filter(|failed| failed.line.place.is_some()).map(|it| &it.error), others_done)
    }
}

/// A bad end.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
    /// Whether all that happened is that the reader of standard output went away.
    output_closed: bool,
}

impl Failure {
    /// A failure that is described by its message alone.
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None, hints: Vec::new(), output_closed: false }
    }

    /// A failure that is an error of the library.
    pub(super) fn of(kind: Kind, error: impl Error + Send + Sync + 'static) -> Self {
        let hints = hint(&error).into_iter().collect();
        let message = error.to_string();
        Self { kind: kind.with(&error), message, cause: Some(Box::new(error)), hints, output_closed: false }
    }

    /// The images of a store or bundle cannot be told.
    pub(super) fn of_contents<E: Error + Send + Sync + 'static>(error: ContentsError<E>) -> Self {
        if is_damage(&error) {
            return Self::of(Kind::Corrupt, error).hint(DAMAGED_STORE);
        }
        let is_unknown = matches!(error, ContentsError::Unknown(_));
        let failure = Self::of(Kind::Failed, error);
        if is_unknown { failure.hint("see what is there with hod ls") } else { failure }
    }

    /// Adds why.
    pub(super) fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.hints.extend(hint(&cause));
        self.kind = self.kind.with(&cause);
        self.cause = Some(Box::new(cause));
        self
    }

    /// Adds what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The user or the system wants the process to end; `goes_on` says that another run of the command takes up its work.
    pub(super) fn interrupted(goes_on: bool) -> Self {
        Self::new(Kind::Interrupted, "interrupted").hint(again(goes_on))
    }

    /// `--command-timeout` has passed.
    pub(super) fn timed_out(goes_on: bool) -> Self {
        Self::new(Kind::Failed, "the time given with --command-timeout is over").hint(again(goes_on))
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Standard output could not be written; `head` and `less` may leave before the end.
    pub(super) fn output(error: io::Error) -> Self {
        let output_closed = error.kind() == io::ErrorKind::BrokenPipe;
        Self { output_closed, ..Self::new(Kind::Failed, "cannot write to standard output").because(error) }
    }

    /// Whether the reader of standard output has gone away, which is no failure of ours.
    pub(super) const fn is_broken_pipe(&self) -> bool {
        self.output_closed
    }

    /// The message, then each cause, without those that only repeat what was said.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.message.clone()];
        let cause = self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static));
        lines.extend(causes(&self.message, cause));
        lines
    }

    pub(super) fn hints(&self) -> &[String] {
        &self.hints
    }
}

/// What to do about damage that was met while something else was wanted.
pub(super) const DAMAGED_STORE: &str = "nothing was written; find what is damaged with hod verify, and pull it again";

/// Whether contents cannot be told because something is not as it was written.
pub(super) fn is_damage<E: Error + 'static>(error: &ContentsError<E>) -> bool {
    match error {
        ContentsError::Read(error) | ContentsError::Image { source: error, .. } => {
            let store = (error as &(dyn Error + 'static)).downcast_ref();
            is_corrupt(error) || matches!(store, Some(StoreError::Link { .. } | StoreError::Absent { .. }))
        }
        ContentsError::Absent { .. } => true,
        ContentsError::Manifest { source, .. } => matches!(source, GraphError::Manifest(_)),
        ContentsError::Unknown(_) | ContentsError::Referrer { .. } => false,
    }
}

/// Whether some place gave bytes that are not what they should be.
fn is_corrupt(error: &(dyn Error + 'static)) -> bool {
    chain(Some(error)).any(|error| {
        if let Some(error) = error.downcast_ref::<EndpointError>() {
            return error.fault() == Fault::Corrupt || is_corrupt(error.cause());
        }
        match error.downcast_ref() {
            // Content is named by its digest everywhere but in an image directory.
            Some(TransportError::Manifest { source, .. }) => {
                !matches!(source, ManifestError::Schema1 | ManifestError::Large(_))
            }
            Some(error) => error.fault() == Fault::Corrupt,
            None => store_error(error).is_some_and(|error| error.fault() == Fault::Corrupt),
        }
    })
}

fn chain<'a>(error: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error, |&error| error.source())
}

/// A message of somebody else that has several lines, as one.
fn one_line(text: String) -> String {
    if !text.contains('\n') {
        return text;
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands behind a message: each cause once, even where an error repeats its own.
pub(super) fn causes(message: &str, error: Option<&(dyn Error + 'static)>) -> Vec<String> {
    let mut said = message.to_owned();
    let mut causes = Vec::new();
    for error in chain(error) {
        let text = one_line(error.to_string());
        if !said.contains(&text) {
            said.clone_from(&text);
            causes.push(without_passwords(&text).into_owned());
        }
    }
    causes
}

/// What a user can do about an error, where that is known.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    chain(Some(error))
        .find_map(delta_hint)
        .or_else(|| chain(Some(error)).find_map(registry_hint))
        .or_else(|| chain(Some(error)).find_map(hint_of))
}

fn hint_of(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<ImageError>() {
        return match error {
            ImageError::Copy(error) => copy_hint(error),
            ImageError::Attached(_) => Some(
                "the image was left out, since its signatures are not known; --no-referrers takes it without"
                    .to_owned(),
            ),
            ImageError::Store(StoreError::Foreign { .. }) => Some(FOREIGN_IN_STORE.to_owned()),
            _ => None,
        };
    }
    if let Some(error) = room_error(error) {
        return room_hint(error);
    }
    if let Some(PushError::NotFull(_)) = error.downcast_ref() {
        return Some("pull it with --all-platforms, or push what is here with --index auto".to_owned());
    }
    if let Some(PushError::Foreign { .. } | PushError::Listed(_)) = error.downcast_ref() {
        return Some(FOREIGN_AT_REGISTRY.to_owned());
    }
    if let Some(IncomingError::Unmergeable { .. }) = error.downcast_ref() {
        return Some(UNMERGEABLE.to_owned());
    }
    if let Some(PushError::Copy(error)) = error.downcast_ref::<PushError>() {
        return copy_hint(error);
    }
    if let Some(SyncError::Image(CopyImageError::Copy(error))) = error.downcast_ref::<SyncError>() {
        // What is said of names that are missing is for lists.
        return copy_hint(error).filter(|_| error.fault() != Some(Fault::Missing));
    }
    if let Some(error) = error.downcast_ref::<CopyError>() {
        return copy_hint(error);
    }
    if let Some(error) = error.downcast_ref::<EndpointError>() {
        return fault_hint(error.fault()).or_else(|| io_hint(io_error(error.cause())?));
    }
    if let Some(error) = error.downcast_ref::<RegistryError>() {
        return fault_hint(error.fault());
    }
    io_hint(io_error(error)?)
}

/// What to do where bytes have no room, before any of them was written.
fn room_hint(error: &RoomError) -> Option<String> {
    let RoomError::Short { needed, free, .. } = error else { return None };
    let missing = report::bytes(needed.saturating_sub(*free));
    let (needed, free) = (report::bytes(*needed), report::bytes(*free));
    Some(format!("nothing was written; of {needed} there is room for {free}: make {missing} more room there"))
}

/// What to do where a bundle leaves to its base what is wanted of it.
fn delta_hint(error: &(dyn Error + 'static)) -> Option<String> {
    // A sink that ends because its source did passes on what that said.
    let causes = std::iter::successors(Some(error), |&error| {
        Some(error.downcast_ref::<EndpointError>()?.cause() as &(dyn Error + 'static))
    });
    causes.last()?.downcast_ref::<LeftOut>()?;
    let text = "it was packed with --have, for a place that has the rest: hod unpack it into a root that has its base, \
                and take the image from there, or have it packed without --have";
    Some(text.to_owned())
}

/// What to do about a connection that did not come about for a reason that lasts.
fn registry_hint(error: &(dyn Error + 'static)) -> Option<String> {
    let cause = error.downcast_ref::<EndpointError>().map(|error| error.cause() as &(dyn Error + 'static));
    let text = match cause.unwrap_or(error).downcast_ref::<RegistryError>()? {
        RegistryError::Certificate { host, .. } => format!(
            "its authority is trusted if the certificate of that is /etc/containers/certs.d/{host}/ca.crt, or a .crt in \
             the folder of --cert-dir; --tls-verify=false trusts anybody"
        ),
        RegistryError::Tls { .. } => {
            "if the registry speaks HTTP without encryption, say so with --tls-verify=false or in registries.conf"
                .to_owned()
        }
        RegistryError::UnknownHost { .. } => {
            "check how the host is written, and that this machine can look it up; where a proxy does that, name it in \
             HTTPS_PROXY"
                .to_owned()
        }
        _ => return None,
    };
    Some(text)
}

fn fault_hint(fault: Fault) -> Option<String> {
    match fault {
        Fault::Missing => Some("check the name and the tag; hod list-tags lists the tags of a repository".to_owned()),
        Fault::Unreachable => Some("see that it can be reached, and run the same command again".to_owned()),
        fault => copy_fault_hint(fault),
    }
}

fn io_hint(error: &io::Error) -> Option<String> {
    let text = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make space there and run the same command again",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a filesystem that can be written",
        io::ErrorKind::PermissionDenied => "run hod as a user who may use that file or folder, or choose another",
        _ => return None,
    };
    Some(text.to_owned())
}

fn copy_hint(error: &CopyError) -> Option<String> {
    let (place, kept) = match error {
        CopyError::Platform(_) => {
            return Some("choose from these with --platform, or in the list with platform=…".to_owned());
        }
        CopyError::Resolve { place, .. } => (place, ""),
        CopyError::Content { place, side: Side::Source, .. } => (place, KEPT),
        CopyError::Content { place, .. } | CopyError::Publish { place, .. } if place.is_remote() => (place, SENT),
        _ => return copy_fault_hint(error.fault()?),
    };
    match error.fault()? {
        Fault::Unreachable => Some(format!("run the same command again when {} works again{kept}", place.domain())),
        Fault::Busy(_) => Some(format!(
            "run the same command again later{kept}; many registries allow more to those who are logged in"
        )),
        Fault::Missing if kept == SENT => Some(UNMADE.to_owned()),
        Fault::Missing if kept == KEPT && place.is_remote() => Some(HOLLOW.to_owned()),
        fault => copy_fault_hint(fault),
    }
}

/// What to do after a run that was told to end.
const fn again(goes_on: bool) -> &'static str {
    if goes_on { "run the same command again: it goes on where it stopped" } else { "run the same command again" }
}

/// What to do where something else has the tag of a list of referrers, in the store that is written.
const FOREIGN_IN_STORE: &str = "it was left as it is, and the image was left out: give what is there another name with \
                                hod tag and take this one away with hod rm --tag-only, or pull with --no-referrers";
/// The same at a registry.
const FOREIGN_AT_REGISTRY: &str = "it was left as it is: what is there can have another name with hod copy, and its tag \
                                   be taken away; --no-referrers pushes images without what belongs to them";
/// The same of what comes as a whole.
const UNMERGEABLE: &str = "no tag was written: give what is there another name with hod tag and take this one away with \
                           hod rm --tag-only, or pack it with --no-referrers";
/// What to do where the registry has no place for an image.
const UNMADE: &str = "check the path: some registries want the repository, or the project around it, to be made first";
/// What to do where it has less of an image than it says.
const HOLLOW: &str = "the registry has the manifest and not what that names: the image has to be pushed there again";
/// What an interrupted run has gained.
const KEPT: &str = ": what was fetched is kept";
/// The same for one that sends.
const SENT: &str = ": what has arrived there is not sent again";

fn copy_fault_hint(fault: Fault) -> Option<String> {
    let text = match fault {
        Fault::Denied => {
            "check the credentials: hod reads --creds, --authfile, and the files that hod login, podman and docker \
             write; many registries say the same of names that do not exist"
        }
        Fault::Missing => "check the name and the tag; names without a host are looked up in --from",
        Fault::Unreachable | Fault::Busy(_) => "run the same command again: what was fetched is kept",
        Fault::Corrupt => {
            "the source gives bytes that are not what their digest says: it, or something on the way, is broken"
        }
        Fault::Full => "make space there and run the same command again",
        Fault::Rejected | Fault::Incomplete | Fault::Other => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let error = io::Error::other(io::Error::other("inner"));
        let failure = Failure::of(Kind::Failed, error);
        assert_eq!(failure.lines(), ["inner"]);
        let failure = Failure::new(Kind::Failed, "outer").because(io::Error::other("inner"));
        assert_eq!(failure.lines(), ["outer", "inner"]);
        let failure = Failure::new(Kind::Failed, "outer").because(io::Error::other("in\n  two lines\n"));
        assert_eq!(failure.lines(), ["outer", "in two lines"]);
    }

    #[test]
    fn only_a_closed_output_is_no_failure() {
        let error = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::output(error()).is_broken_pipe());
        assert!(!Failure::of(Kind::Failed, error()).is_broken_pipe());
    }
}
