//! The context of every command: output, progress and cancellation.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::{Cli, RegistryArgs, RetryArgs, SkopeoArgs};
use super::commands::UsedRegistries;
use super::failure::{self, Advise, Failure, Kind};
use super::log;
use super::progress::{Bars, Lines};
use super::report::{ImageResult, UNCHANGED};
use super::stdout::{Form, Stdout};
use super::terminal::{self, Line};
use hod_engine::copy::{Engine, Limits};
use hod_engine::observe::{Observer, SilentObserver, Stop};
use hod_image::open::LocalSettings;
use hod_oci::Platform;
use hod_registry::{Registries, is_this_machine};
use hod_transport::{DaemonHost, DaemonTls};

/// The surroundings of a command.
pub(super) struct Context {
    stdout: Stdout,
    quiet: bool,
    verbose: u8,
    colour: bool,
    jobs: Option<usize>,
    authfile: Option<PathBuf>,
    stall_timeout: Option<Duration>,
    skopeo: SkopeoArgs,
    /// Whether to insist on TLS where nothing is said of a registry.
    tls_verify: Option<bool>,
    observer: Arc<dyn Observer>,
    bars: Option<Arc<Bars>>,
    /// Hints that were given with single images.
    hinted: Mutex<HashSet<String>>,
    /// When the command began.
    pub(super) begun: Instant,
    /// Tells work on other threads to end.
    pub(super) stop: Stop,
}

impl Context {
    /// The surroundings that the command line asks for; `is_logged` says that what is said goes to a file too.
    pub(super) fn new(cli: &Cli, is_logged: bool) -> Self {
        let args = &cli.global;
        log::start(args);
        if args.no_locks {
            hod_io::fs::go_on_without_locks();
        }
        let lines = is_logged || args.debug || args.verbose > 1;
        let drawn = terminal::is_interactive() && !args.no_progress && !args.quiet && !lines;
        let bars = drawn.then(|| Arc::new(Bars::new(args.verbose > 0)));
        let observer: Arc<dyn Observer> = match &bars {
            Some(bars) => bars.clone(),
            None if args.quiet => Arc::new(SilentObserver),
            None => Arc::new(Lines::new(args.verbose > 0)),
        };
        Self {
            stdout: Stdout::new(Form::of(cli)),
            quiet: args.quiet,
            verbose: args.verbose,
            colour: !is_logged && terminal::has_colour(),
            jobs: args.jobs.map(usize::from),
            authfile: args.authfile.clone(),
            stall_timeout: args.stall_timeout,
            skopeo: args.skopeo.clone(),
            tls_verify: cli.tls_verify(),
            observer,
            bars,
            hinted: Mutex::default(),
            begun: Instant::now(),
            stop: Stop::default(),
        }
    }

    /// Whom to tell.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        self.observer.clone()
    }

    /// An engine for this command.
    pub(super) fn engine(&self, retry: &RetryArgs) -> Engine {
        self.engine_with(None, retry)
    }

    /// An engine with another number of blobs in motion, where one is given.
    pub(super) fn engine_with(&self, jobs: Option<u16>, retry: &RetryArgs) -> Engine {
        let jobs = jobs.map_or(self.jobs(), usize::from);
        Engine::new(Limits::for_jobs(jobs), retry.policy(), self.observer.clone())
    }

    /// An engine that sends to a registry.
    pub(super) fn engine_to(&self, host: &str, retry: &RetryArgs) -> Engine {
        if self.jobs.is_some() || !is_this_machine(host) {
            return self.engine(retry);
        }
        Engine::new(Limits::on_this_machine(), retry.policy(), self.observer.clone())
    }

    /// Blobs in motion at the same time.
    fn jobs(&self) -> usize {
        self.jobs.unwrap_or(Limits::JOBS)
    }

    /// The registries, as the flags say to talk to them.
    pub(super) fn registries(&self, args: &RegistryArgs, concerned: &UsedRegistries) -> Result<Registries, Failure> {
        self.registries_with(args, concerned, None)
    }

    /// The registries at one end of a copy, which may have credentials of its own.
    pub(super) fn registries_with(
        &self,
        args: &RegistryArgs,
        concerned: &UsedRegistries,
        authfile: Option<PathBuf>,
    ) -> Result<Registries, Failure> {
        let args = RegistryArgs { tls_verify: args.tls_verify.or(self.tls_verify), ..args.clone() };
        let authfile = authfile.or_else(|| self.authfile.clone());
        let speed = (self.jobs(), self.stall_timeout);
        super::commands::registries(&args, concerned, &self.skopeo, authfile, speed)
    }

    /// How to deal with places on this machine; `daemon` is the daemon that was named, and `args` may say whom to trust.
    pub(super) fn local(&self, daemon: Option<&String>, args: &RegistryArgs) -> Result<LocalSettings, Failure> {
        Ok(LocalSettings {
            daemon: daemon.cloned().or_else(|| variable("DOCKER_HOST")),
            daemon_tls: daemon_tls(args, args.tls_verify.or(self.tls_verify)),
            storages: podman_sockets(),
            scratch: self.scratch(),
            shared_blobs: None,
            platform: self.platform()?,
        })
    }

    /// The directory for large temporary files.
    pub(super) fn scratch(&self) -> PathBuf {
        self.skopeo.tmpdir.clone().unwrap_or_else(|| LocalSettings::default().scratch)
    }

    /// The platform whose image is meant where an image has several.
    pub(super) fn platform(&self) -> Result<Platform, Failure> {
        self.skopeo.platform().map_err(|error| Failure::of(Kind::Usage, error))
    }

    /// The flags that skopeo has too.
    pub(super) const fn skopeo(&self) -> &SkopeoArgs {
        &self.skopeo
    }

    /// The credential file that was named, if one was.
    pub(super) fn authfile(&self) -> Option<PathBuf> {
        self.authfile.clone()
    }

    /// Returns true if the user wants to hear more.
    pub(super) const fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Returns true if the run is reported as text, and not as a JSON document.
    pub(super) fn is_text(&self) -> bool {
        self.stdout.form != Form::Document
    }

    /// How long the run has taken so far.
    pub(super) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Ends the drawing, so that what follows stands below it.
    pub(super) fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.close();
        }
    }

    /// A line for each image that a command has changed something about. Who wants to hear more gets all images, with
    /// whole digests; who wants quiet gets none.
    pub(super) fn image_lines(&self, images: impl IntoIterator<Item = ImageResult>) -> String {
        let is_shown = |image: &ImageResult| !self.quiet && (self.is_verbose() || image.change != UNCHANGED);
        let shown = images.into_iter().filter(is_shown);
        shown.fold(String::new(), |mut text, ImageResult { name, digest, change }| {
            let digest = if self.is_verbose() { digest.to_string() } else { digest.short() };
            text.extend([&*terminal::printable(&name), "  ", &digest, "  ", change, "\n"]);
            text
        })
    }

    /// Prints the result of a command: JSON where that was asked for, else the text.
    pub(super) fn result(&self, document: &impl Serialize, text: &str) -> Result<(), Failure> {
        self.answer(|| serde_json::to_vec_pretty(document), text)
    }

    /// The same while the command goes on: JSON is one line, so that who reads it knows its end.
    pub(super) fn announce(&self, document: &impl Serialize, text: &str) -> Result<(), Failure> {
        self.answer(|| serde_json::to_vec(document), text)
    }

    fn answer(&self, document: impl Fn() -> serde_json::Result<Vec<u8>>, text: &str) -> Result<(), Failure> {
        self.close();
        let written = match self.stdout.form {
            Form::Document => {
                let failed = |error| Failure::new(Kind::Failed, "cannot write JSON").because(error);
                let mut json = document().map_err(failed)?;
                json.push(b'\n');
                self.stdout.write(&json)
            }
            Form::Text => self.stdout.write_text(text),
            // Where the data is.
            Form::Data => {
                text.lines().for_each(|line| self.say(line));
                Ok(())
            }
        };
        written.map_err(Failure::output)
    }

    /// Writes bytes to standard output as they are, which is all that the command does.
    pub(super) fn data(&self, bytes: &[u8]) -> Result<std::process::ExitCode, Failure> {
        self.close();
        self.stdout.write(bytes).map_err(Failure::output)?;
        Ok(std::process::ExitCode::SUCCESS)
    }

    /// Says something on standard error, unless the user wants quiet.
    pub(super) fn say(&self, line: &str) {
        if !self.quiet {
            self.insist(line);
        }
    }

    /// Says something on standard error in any case.
    fn insist(&self, line: impl Into<Line>) {
        match &self.bars {
            Some(bars) => bars.say(line),
            None => terminal::say(line),
        }
    }

    /// How to ask the user something, where there is a terminal. The bars make room for the question.
    pub(super) fn question(&self) -> Option<impl Fn(&str) -> std::io::Result<Option<String>> + Send + use<>> {
        let bars = self.bars.clone();
        terminal::can_ask().then_some(move |text: &str| match &bars {
            Some(bars) => bars.hidden(|| terminal::ask(text)),
            None => terminal::ask(text),
        })
    }

    /// Says a summary where no JSON document says the same.
    pub(super) fn summary(&self, text: &str) {
        if self.is_text() {
            text.lines().for_each(|line| self.say(line));
        }
    }

    /// What begins red and bold text.
    const fn colours(&self) -> (&'static str, &'static str) {
        if self.colour { ("\x1b[1;31m", "\x1b[1m") } else { ("", "") }
    }

    /// Tells why the command failed, which is its end.
    pub(super) fn fail(&self, failure: &Failure) {
        self.tell(failure);
        self.stdout.fail(failure);
    }

    /// Prints why a part of the command failed, while the others go on.
    pub(super) fn print_failure(&self, failure: &Failure) {
        self.tell(failure);
        if let Some((message, causes)) = failure.lines().split_first() {
            self.stdout.keep(message, causes, failure.hints());
        }
    }

    /// Prints a failure on standard error.
    fn tell(&self, failure: &Failure) {
        let (red, bold) = self.colours();
        let mut lines = failure.lines().into_iter();
        let first = lines.next().unwrap_or_default();
        terminal::say(Line::headed("", red, "error", &first));
        for line in lines {
            terminal::say(Line::headed("  ", "", "caused by", &line));
        }
        for hint in failure.hints() {
            terminal::say(Line::headed("", bold, "hint", hint));
        }
    }

    /// Prints why one thing failed, such as a line of a list.
    pub(super) fn print_error(&self, what: &str, error: &impl Advise) {
        self.print_errors([(what, error)]);
    }

    /// Prints why images failed, each with its name. A registry that is gone fails a hundred images: why, and what to do
    /// about it, is told once.
    pub(super) fn print_errors<'a, W: AsRef<str>, E: Advise + 'a>(&self, failed: impl IntoIterator<Item = (W, &'a E)>) {
        let mut reasons: Vec<Reason> = Vec::new();
        for (what, error) in failed {
            let message = format!("{}: {error}", what.as_ref());
            let (causes, hint) = (failure::causes(&message, error.source()), error.advice().into_hint());
            self.stdout.keep(&message, &causes, hint.as_slice());
            let same = reasons.iter_mut().find(|known| !causes.is_empty() && known.causes == causes);
            match same {
                Some(reason) => reason.failed.push((what.as_ref().to_owned(), message)),
                None => reasons.push(Reason { failed: vec![(what.as_ref().to_owned(), message)], causes, hint }),
            }
        }
        for reason in reasons {
            self.print_reason(reason);
        }
    }

    fn print_reason(&self, Reason { failed, causes, hint }: Reason) {
        let (red, bold) = self.colours();
        if failed.len() <= REASON_NAMES || self.is_verbose() {
            for (_, message) in &failed {
                self.insist(Line::headed("", red, "error", message));
            }
        } else {
            let names: Vec<&str> = failed.iter().take(REASON_NAMES).map(|(what, _)| &**what).collect();
            let others = failed.len() - REASON_NAMES;
            let message =
                format!("{} images failed for one reason: {} and {others} more", failed.len(), names.join(", "));
            self.insist(Line::headed("", red, "error", &message));
        }
        for cause in causes {
            self.insist(Line::headed("  ", "", "caused by", &cause));
        }
        let is_new = |hint: &String| self.hinted.lock().unwrap_or_else(PoisonError::into_inner).insert(hint.clone());
        if let Some(hint) = hint.filter(is_new) {
            self.insist(Line::headed("  ", bold, "hint", &hint));
        }
    }
}

/// So many failures of one reason have a line each; of more, so many are named.
const REASON_NAMES: usize = 2;

/// Why some things failed.
struct Reason {
    /// What, and the message of each.
    failed: Vec<(String, String)>,
    causes: Vec<String>,
    hint: Option<String>,
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whom to trust as a daemon, from the flags or the variables of Docker's tools.
fn daemon_tls(args: &RegistryArgs, verify: Option<bool>) -> DaemonTls {
    let own = || variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".docker")));
    let named = args.cert_dir.clone().filter(|folder| DaemonTls::is_in(folder));
    let folder = named
        .or_else(|| variable("DOCKER_CERT_PATH").map(PathBuf::from))
        .or_else(|| variable("DOCKER_TLS_VERIFY").and_then(|_| own()));
    DaemonTls { folder, verify: verify != Some(false) }
}

/// Where podman listens that serves this user's own storage.
fn podman_sockets() -> Vec<DaemonHost> {
    // A storage on another machine is not this user's own.
    let own = |host: &DaemonHost| !matches!(host, DaemonHost::Ssh(_));
    let named = variable("CONTAINER_HOST").and_then(|host| host.parse().ok()).filter(own);
    let socket = if nix::unistd::geteuid().is_root() {
        Some("/run/podman/podman.sock".into())
    } else {
        variable("XDG_RUNTIME_DIR").map(|folder| std::path::Path::new(&folder).join("podman/podman.sock"))
    };
    named.into_iter().chain(socket.map(DaemonHost::Unix)).collect()
}
