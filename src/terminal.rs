//! Standard output and standard error: colours, line endings, and closed pipes.
//!
//! Texts of others, such as labels, names in layers and words of registries, pass through here and nowhere else, so that
//! none of them acts on a terminal. Messages and tables are always cleaned. Data is cleaned where it goes to a terminal;
//! in pipes and files it is byte for byte what it is.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::error::{ContextKind, ContextValue};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use hod_engine::observe::{Stop, acts_on_terminals};
use hod_io::secret::without_passwords;

/// How often a reader that waits looks whether it is to stop, in milliseconds.
const LOOK: u8 = 200;

/// Returns true if standard error is a terminal that bars can be drawn on.
pub(super) fn is_interactive() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Returns true if standard error takes colour: a terminal, and nobody has set `NO_COLOR`.
pub(super) fn has_colour() -> bool {
    is_interactive() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes data to standard output: as it is, but for a terminal.
pub(super) fn data(bytes: &[u8]) -> io::Result<()> {
    if io::stdout().is_terminal() { write_out(for_terminal(bytes).as_bytes()) } else { write_out(bytes) }
}

/// Writes text for people to standard output.
pub(super) fn text(text: &str) -> io::Result<()> {
    write_out(cleaned(text, LAYOUT).as_bytes())
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Data that a terminal can show: JSON says the same in escapes, and in other text marks stand for what is not shown.
fn for_terminal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() {
        return cleaned(&text, LAYOUT).into_owned();
    }
    let mut json = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts_on_terminals(letter) && !LAYOUT.contains(&letter) {
            let _ = std::fmt::Write::write_fmt(&mut json, format_args!("\\u{:04x}", u32::from(letter)));
        } else {
            json.push(letter);
        }
    }
    json
}

/// What may stand in a text of several lines.
const LAYOUT: &[char] = &['\n', '\t'];

/// Text with a mark for each character on which a terminal would act, but for those that are kept.
fn cleaned<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let acts = |letter: char| acts_on_terminals(letter) && !kept.contains(&letter);
    if text.contains(acts) { text.replace(acts, "\u{fffd}").into() } else { text.into() }
}

/// A line that can be shown.
#[derive(Debug)]
pub(super) struct Line(String);

impl Line {
    /// A line with a heading in a style, which is a sequence of ours or empty.
    pub(super) fn headed(indent: &str, style: &str, heading: &str, text: &str) -> Self {
        let end = if style.is_empty() { "" } else { "\x1b[0m" };
        Self(format!("{indent}{style}{heading}{end}: {}", printable(text)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self(cleaned(text, &['\t']).into_owned())
    }
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
pub(super) fn say(line: impl Into<Line>) {
    let _ = tell(&format!("{}\n", line.into().0));
}

/// Writes a line to the log file alone, where there is one.
pub(super) fn log(line: &str) {
    if let Some(log) = LOG.get() {
        let line = Line::from(line).0;
        let _ = writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{}", without_passwords(&line));
    }
}

/// Writes to standard error, and to the log file where there is one. Whoever writes, the passwords of addresses are
/// left out.
fn tell(text: &str) -> io::Result<()> {
    let text = without_passwords(text);
    if let Some(log) = LOG.get() {
        log.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())?;
    }
    io::stderr().lock().write_all(text.as_bytes())
}

/// Standard error, and the log file where there is one, for text without colours.
pub(super) struct PlainStderr;

impl io::Write for PlainStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        tell(&cleaned(&String::from_utf8_lossy(bytes), LAYOUT))
    }

    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Returns true if there is somebody to answer questions.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question and reads the answer, one line; `None` where the input has ended.
pub(super) fn ask(question: &str) -> io::Result<Option<String>> {
    let mut out = io::stderr().lock();
    write!(out, "{}", cleaned(question, LAYOUT))?;
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

/// Prints help, version or a usage error as clap has written it, and what may have been meant.
pub(super) fn usage(error: &clap::Error, meant: Option<String>) -> ExitCode {
    if error.use_stderr() {
        let text = error.render();
        let text = if has_colour() { text.ansi().to_string() } else { text.to_string() };
        // The styles are clap's, and the words those of whoever has typed them.
        let _ = tell(&text);
    } else {
        let _ = error.print();
    }
    if let Some(meant) = meant {
        say(Line::headed("", "", "hint", &meant));
    }
    for variable in variables_behind(error) {
        say(&*format!("hint: the value comes from the variable {variable}"));
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
    cleaned(&without_passwords(text), &[]).into_owned()
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
    fn terminals_get_nothing_to_act_on() {
        let hostile = "a\u{1b}[31m\u{7}\u{9b}\u{202e}\u{2066}\r\u{85}\tb\nc";
        assert_eq!(
            printable(hostile),
            "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}b\u{fffd}c"
        );
        assert_eq!(Line::from(hostile).0.matches('\n').count(), 0);
        let shown = cleaned(hostile, LAYOUT);
        assert!(
            shown.ends_with("\tb\nc")
                && !shown.contains(|letter| acts_on_terminals(letter) && !"\t\n".contains(letter))
        );
        assert!(matches!(cleaned("größe 大\n", LAYOUT), Cow::Borrowed(_)));
        let line = Line::headed("", "\x1b[1m", "hint", "\u{1b}[2Jx");
        assert_eq!(line.as_str(), "\u{1b}[1mhint\u{1b}[0m: \u{fffd}[2Jx");
    }

    #[test]
    fn json_says_the_same_on_a_terminal() {
        let json = "{\n\t\"a\": \"\u{9b}\u{202e}ü\"\n}\n";
        let shown = for_terminal(json.as_bytes());
        assert_eq!(shown, "{\n\t\"a\": \"\\u009b\\u202eü\"\n}\n");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(json));
        assert_eq!(for_terminal(b"a\x1bb\xff\n"), "a\u{fffd}b\u{fffd}\n");
    }

    #[test]
    fn an_input_that_ends_has_ended() {
        let (ended, feed) = io::pipe().unwrap();
        drop(feed);
        let mut input = Interruptible { file: ended, stop: Stop::default() };
        assert_eq!(input.read(&mut [0; 8]).unwrap(), 0);
    }
}
