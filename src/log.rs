//! The log of the library on standard error: debug lines, and notes for everybody.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format};
use tracing_subscriber::registry::LookupSpan;

use super::args::GlobalArgs;
use super::terminal;

/// What warns of a registry, which is worth a note and no more; a server's warnings have a time.
const NOTED: &str = "hod_registry";

/// Lets the log appear: warnings, or more with `-vv` and `--debug`.
pub(super) fn start(args: &GlobalArgs) {
    let level = match (args.debug, args.verbose, args.quiet) {
        (true, ..) => "hod=debug",
        (_, 2.., _) => "hod=info",
        (_, _, true) => "hod=error",
        _ => "hod=warn",
    };
    let asked = EnvFilter::try_from_env("HOD_LOG");
    let notes = asked.is_err() && level == "hod=warn";
    let filter = asked.unwrap_or_else(|_| EnvFilter::new(level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::PlainStderr)
        // Colours would come among words of others, which are cleaned of such things where they are written.
        .with_ansi(false)
        .event_format(Lines { log: format().with_target(false).with_ansi(false), notes })
        .try_init();
}

/// How an event becomes a line.
struct Lines {
    log: format::Format,
    /// True if the user has not asked for a log, and gets sentences.
    notes: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let about = event.metadata();
        if !self.notes || *about.level() != Level::WARN || !about.target().starts_with(NOTED) {
            return self.log.format_event(context, line, event);
        }
        line.write_str("note: ")?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}
