//! Standard output and standard error: colour, line endings, and readers that go away.

use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::error::{ContextKind, ContextValue};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::observe::Stop;
use crate::secret::without_passwords;

/// How often a reader that waits looks whether it is to stop, in milliseconds.
const LOOK: u8 = 200;

/// Whether standard error is a terminal that bars can be drawn on.
pub(super) fn is_interactive() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard error takes colour: a terminal, and nobody has set `NO_COLOR`.
pub(super) fn has_colour() -> bool {
    is_interactive() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes data to standard output.
pub(super) fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// The file that gets what standard error gets.
static LOG: OnceLock<Mutex<fs_err::File>> = OnceLock::new();

/// Lets a file have everything that is said from now on, after what it holds.
pub(super) fn log_to(path: &Path) -> io::Result<()> {
    let file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
    let _ = LOG.set(Mutex::new(file));
    Ok(())
}

/// Writes a line to standard error; there is nobody to tell when that fails.
pub(super) fn say(line: &str) {
    let _ = writeln!(Said, "{line}");
}

/// Writes a line to the log file alone, where there is one.
pub(super) fn log(line: &str) {
    if let Some(log) = LOG.get() {
        let line = without_passwords(line);
        let _ = writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
    }
}

/// Standard error, and the log file where there is one. Whoever writes, the passwords of addresses are left out.
pub(super) struct Said;

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(bytes);
        let text = without_passwords(&text);
        let bytes = text.as_bytes();
        if let Some(log) = LOG.get() {
            log.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)?;
        }
        io::stderr().lock().write_all(bytes)
    }

    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Whether there is somebody to answer questions.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question and reads the answer, one line; `None` where the input has ended.
pub(super) fn ask(question: &str) -> io::Result<Option<String>> {
    let mut out = io::stderr().lock();
    write!(out, "{question}")?;
    out.flush()?;
    let mut answer = String::new();
    let count = io::stdin().read_line(&mut answer)?;
    Ok((count > 0).then_some(answer))
}

/// Standard input, or another file that may say nothing for a long time: reading ends when the command is to stop.
#[derive(Debug)]
pub(super) struct Interruptible<F> {
    file: F,
    stop: Stop,
}

impl Interruptible<io::Stdin> {
    /// Standard input, of which nobody else reads.
    pub(super) fn stdin(stop: &Stop) -> Self {
        Self::new(io::stdin(), stop)
    }
}

impl<F: AsFd> Interruptible<F> {
    /// A file of which nobody else reads.
    pub(super) fn new(file: F, stop: &Stop) -> Self {
        Self { file, stop: stop.clone() }
    }
}

impl<F: AsFd> Read for Interruptible<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let file = self.file.as_fd();
        loop {
            let mut waiting = [PollFd::new(file, PollFlags::POLLIN)];
            match poll(&mut waiting, PollTimeout::from(LOOK)) {
                Ok(_) | Err(Errno::EINTR) if self.stop.is_requested() => return Err(io::Error::other("stopped")),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => match nix::unistd::read(file, bytes) {
                    Err(Errno::EINTR | Errno::EAGAIN) => {}
                    result => return Ok(result?),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Prints help, version or a usage error as clap has written it.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render();
        let text = if has_colour() { text.ansi().to_string() } else { text.to_string() };
        let _ = write!(Said, "{text}");
    } else {
        let _ = error.print();
    }
    for variable in variables_behind(error) {
        say(&format!("hint: the value comes from the variable {variable}"));
    }
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Variables that gave the flags which a usage error names, where nobody typed these.
fn variables_behind(error: &clap::Error) -> Vec<String> {
    let flags = error.context().filter(|(kind, _)| matches!(kind, ContextKind::InvalidArg | ContextKind::PriorArg));
    let flags = flags.flat_map(|(_, value)| match value {
        ContextValue::String(flag) => vec![flag.clone()],
        ContextValue::Strings(flags) => flags.clone(),
        _ => Vec::new(),
    });
    let is_of_name = |it: char| it.is_ascii_alphanumeric() || it == '-';
    let names = flags.filter_map(|flag| {
        let flag = flag.strip_prefix("--")?;
        Some(flag.split_once(|it| !is_of_name(it)).map_or(flag, |(name, _)| name).to_owned())
    });
    let is_typed = |name: &str| {
        let typed = |word: std::ffi::OsString| {
            let word = word.to_string_lossy();
            word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(name))
        };
        std::env::args_os().any(typed)
    };
    let variables =
        names.filter(|name| !is_typed(name)).map(|name| format!("HOD_{}", name.replace('-', "_").to_uppercase()));
    variables.filter(|variable| std::env::var_os(variable).is_some()).collect()
}

/// Text that cannot move the cursor, whatever a registry or a file name put into it, and that tells no password which
/// somebody has typed into an address.
pub(super) fn printable(text: &str) -> String {
    without_passwords(text)
        .chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_input_does_not_hold_up_the_end() {
        let (silent, mut feed) = io::pipe().unwrap();
        let stop = Stop::default();
        let mut input = Interruptible { file: silent, stop: stop.clone() };
        feed.write_all(b"abc").unwrap();
        let mut bytes = [0; 8];
        assert_eq!(input.read(&mut bytes).unwrap(), 3);
        let waiting = std::thread::spawn(move || input.read(&mut bytes).map_err(|error| error.to_string()));
        stop.request();
        assert_eq!(waiting.join().unwrap(), Err("stopped".to_owned()));
        drop(feed);
    }

    #[test]
    fn an_input_that_ends_has_ended() {
        let (ended, feed) = io::pipe().unwrap();
        drop(feed);
        let mut input = Interruptible { file: ended, stop: Stop::default() };
        assert_eq!(input.read(&mut [0; 8]).unwrap(), 0);
    }
}
