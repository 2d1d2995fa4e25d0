//! Standard output and standard error: colour, line endings, and readers that go away.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

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

/// Writes a line to standard error; there is nobody to tell when that fails.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
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

/// Prints help, version or a usage error as clap has written it.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Text that cannot move the cursor, whatever a registry or a file name put into it.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
