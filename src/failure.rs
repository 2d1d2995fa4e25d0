//! What ends a command badly: a kind that decides the exit code, the cause, and what to do about it.
//!
//! Errors of the library are turned into failures here and nowhere else, so that the hints stand
//! together and every command gives the same one for the same trouble.

// A new variant of an error must not get the answer of the others unnoticed.
#![deny(clippy::wildcard_enum_match_arm)]

mod advice;
mod bundle;
mod endpoint;
mod image;
mod oci;
mod registry;
mod rootfs;
mod serve;
mod steps;
mod store;
mod sync;
mod system;
mod trust;

use std::error::Error;
use std::io;
use std::process::ExitCode;

pub(crate) use advice::{Advice, Advise, without_advice};

use hod_engine::endpoint::EndpointError;
use hod_image::contents::ContentsError;
use hod_image::resolve::Failed;
use hod_io::secret::without_passwords;
use hod_oci::GraphError;
use hod_steps::push_stream::NeverFails;
use hod_store::StoreError;

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
    fn with(self, advice: &Advice) -> Self {
        if self == Self::Failed && advice.is_corrupt() { Self::Corrupt } else { self }
    }

    /// How a command ends some of whose images failed. Damage of what is at hand, which running it again does not mend,
    /// counts for more than that the others are done.
    pub(super) fn of_images<'a, E: Advise + 'a>(failed: impl IntoIterator<Item = &'a E>, others_done: bool) -> Self {
        if failed.into_iter().any(|error| error.advice().is_corrupt()) {
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
    pub(super) fn of(kind: Kind, error: impl Advise + Send + Sync + 'static) -> Self {
        let advice = error.advice();
        let (kind, message) = (kind.with(&advice), error.to_string());
        let hints = advice.into_hint().into_iter().collect();
        Self { kind, message, cause: Some(Box::new(error)), hints, output_closed: false }
    }

    /// The images of a store or bundle cannot be told.
    pub(super) fn of_contents<E: HoldingsFault + Send + Sync + 'static>(error: ContentsError<E>) -> Self {
        if is_damage(&error) {
            return Self::of(Kind::Corrupt, error).hint(DAMAGED_STORE);
        }
        let is_unknown = matches!(error, ContentsError::Unknown(_));
        let failure = Self::of(Kind::Failed, error);
        if is_unknown { failure.hint("list the available images with hod ls") } else { failure }
    }

    /// Adds why.
    pub(super) fn because(mut self, cause: impl Advise + Send + Sync + 'static) -> Self {
        let advice = cause.advice();
        self.kind = self.kind.with(&advice);
        self.hints.extend(advice.into_hint());
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

/// What to do where no space is left.
const FULL: &str = "free some space there and run the same command again";

/// What to do about damage that was met while something else was wanted.
pub(super) const DAMAGED_STORE: &str =
    "nothing was written; find the damage with hod verify, and pull the damaged images again";

/// The reader of a store or bundle, as an error says that it failed.
pub(super) trait HoldingsFault: Advise {
    /// Whether the place lacks something that it should have, or has what cannot be read.
    fn is_broken(&self) -> bool;
}

impl HoldingsFault for StoreError {
    fn is_broken(&self) -> bool {
        matches!(self, Self::Link { .. } | Self::Absent { .. })
    }
}

impl HoldingsFault for EndpointError {
    fn is_broken(&self) -> bool {
        false
    }
}

impl HoldingsFault for NeverFails {
    fn is_broken(&self) -> bool {
        match *self {}
    }
}

/// Whether images cannot be listed because something is not as it was written.
pub(super) fn is_damage<E: HoldingsFault + 'static>(error: &ContentsError<E>) -> bool {
    let is_broken = match error {
        ContentsError::Read(error) | ContentsError::Image { source: error, .. } => error.is_broken(),
        ContentsError::Manifest { source, .. } => matches!(source, GraphError::Manifest(_)),
        ContentsError::Absent { .. } | ContentsError::Unknown(_) | ContentsError::Referrer { .. } => false,
    };
    is_broken || error.advice().is_corrupt()
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

/// What to do after a run that was told to end.
const fn again(goes_on: bool) -> &'static str {
    if goes_on { "run the same command again: it resumes where it stopped" } else { "run the same command again" }
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
