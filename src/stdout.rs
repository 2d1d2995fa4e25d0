//! The use of standard output: text, one JSON document, or data.
//!
//! With `--json` a run prints one document, however it ends: what it came to, or else why it failed. Where data goes to
//! standard output, as with `-o -`, nothing else does, and `--json` changes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::args::{Cli, Command, InspectArgs, LayerAction, OwnFirst};
use super::documents::{EndOfRun, FailedPart, FailedRun};
use super::failure::Failure;
use super::output;
use super::template::is_json;
use super::terminal::{self, printable};
use hod_transport::Location;

/// What a run prints on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Text for people.
    Text,
    /// One JSON document.
    Document,
    /// What the user wants to have, as it is.
    Data,
}

impl Form {
    /// What the command line asks for.
    pub(super) fn of(cli: &Cli) -> Self {
        match (is_data(&cli.command), cli.global.json) {
            (true, _) => Self::Data,
            (false, true) => Self::Document,
            (false, false) => Self::Text,
        }
    }
}

/// Standard output, and what has to be told in a document about parts that failed.
#[derive(Debug)]
pub(super) struct Stdout {
    pub(super) form: Form,
    /// Whether something was written.
    answered: AtomicBool,
    /// What failed before the whole did.
    failed: Mutex<Vec<FailedPart>>,
}

impl Stdout {
    pub(super) fn new(form: Form) -> Self {
        Self { form, answered: AtomicBool::new(false), failed: Mutex::default() }
    }

    /// Writes data or a document: what the run comes to, or a part of it.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.answered.store(true, Ordering::Relaxed);
        terminal::data(bytes)
    }

    /// Writes text for people.
    pub(super) fn write_text(&self, text: &str) -> io::Result<()> {
        self.answered.store(true, Ordering::Relaxed);
        terminal::text(text)
    }

    /// Keeps why a part failed, for the document that tells of the end.
    pub(super) fn keep(&self, message: &str, causes: &[String], hints: &[String]) {
        if self.form == Form::Document {
            let part = FailedPart { causes: all_printable(causes), hints: hints.to_vec(), message: printable(message) };
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(part);
        }
    }

    /// Prints the document of a run that failed, unless one was printed, which tells of that in its own way.
    pub(super) fn fail(&self, failure: &Failure) {
        if self.form != Form::Document || self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let lines = failure.lines();
        let (message, causes) = lines.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
        let failed = std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner));
        let error = EndOfRun {
            causes: all_printable(causes),
            exit_code: failure.kind().code(),
            hints: failure.hints().to_vec(),
            message: printable(message),
        };
        // Text and numbers can always be written.
        let mut json = serde_json::to_vec_pretty(&FailedRun { error, failed }).unwrap_or_default();
        json.push(b'\n');
        // Who cannot be told on standard output is told on standard error, and by the exit code.
        let _ = terminal::data(&json);
    }
}

/// The same words as on standard error.
fn all_printable(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| printable(line)).collect()
}

/// Returns true if a command writes data to standard output, and no document about what it did.
fn is_data(command: &Command) -> bool {
    let any = |paths: &[Option<&Path>]| paths.iter().flatten().any(|path| output::leads_to_standard(path));
    match command {
        Command::Completions(_) => true,
        Command::Man(OwnFirst(args)) => args.output.is_none(),
        Command::Pull(OwnFirst(args)) => !args.dry_run && any(&[args.lock.as_deref(), args.failed.as_deref()]),
        Command::Lock(OwnFirst(args)) => any(&[args.output.as_deref()]),
        Command::Pack(OwnFirst(args)) => !args.dry_run && any(&[Some(&args.output)]),
        Command::Bundle(OwnFirst(args)) => any(&[args.lock.as_deref()]),
        Command::Inventory(OwnFirst(args)) => any(&[args.output.as_deref()]),
        Command::Sign(OwnFirst(args)) => any(&[args.output.as_deref()]),
        Command::StandaloneSign(OwnFirst(args)) => any(&[Some(&args.output)]),
        Command::Copy(OwnFirst(args)) => any(&[args.digestfile.as_deref(), archive(&args.destination).as_deref()]),
        Command::Sync(OwnFirst(args)) => {
            any(&[args.digestfile.as_deref(), args.image_syncer.output_success_images.as_deref()])
        }
        Command::UnpackImage(OwnFirst(args)) => any(&[args.config_only.as_deref()]),
        Command::Layer(OwnFirst(args)) => {
            let LayerAction::Extract(args) = &args.action;
            args.folder.is_none()
        }
        Command::Inspect(OwnFirst(args)) => is_shown_as_it_is(args),
        _ => false,
    }
}

/// The file of an archive.
fn archive(place: &str) -> Option<PathBuf> {
    place.parse::<Location>().ok()?.archive().map(Path::to_owned)
}

/// Returns true if `hod inspect` prints bytes of the image, or what a template makes of it.
fn is_shown_as_it_is(args: &InspectArgs) -> bool {
    args.raw || args.format.as_deref().is_some_and(|format| !is_json(format))
}
