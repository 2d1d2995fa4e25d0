//! Progress, as bars on a terminal and as lines elsewhere.

mod bars;
mod lines;
mod outages;

pub(super) use bars::Bars;
pub(super) use lines::Lines;

use super::{failure, report, terminal};
use hod_engine::observe::Event;

/// The line that tells of an image, for both forms of output.
fn image_line(event: &Event<'_>) -> Option<String> {
    match event {
        Event::ImageDone { name, digest, unchanged: true, .. } => Some(format!("= {name}  {digest}  unchanged")),
        Event::ImageDone { name, digest, bytes, .. } => {
            Some(format!("+ {name}  {digest}  {} new", report::bytes(*bytes)))
        }
        Event::ImageFailed { name, cause } => {
            let message = cause.to_string();
            let causes = failure::causes(&message, cause.source());
            // The command says it once more in the end, with whole digests.
            let text = report::shortened(&[vec![message], causes].concat().join(": "));
            Some(format!("! {name}  {}", terminal::printable(&text)))
        }
        _ => None,
    }
}

/// All there is to say of one more try: what is tried, why, when, and which try of how many that is.
fn retry_line(event: &Event<'_>) -> Option<String> {
    let Event::Retrying { what, cause, .. } = event else { return None };
    let causes = failure::causes("", Some(*cause));
    Some(terminal::printable(&format!("{what}: {}{}", causes.join(": "), next_try(event))))
}

/// When something is tried again, and which try of how many that is.
fn next_try(event: &Event<'_>) -> String {
    let Event::Retrying { tries, most, delay, .. } = event else { return String::new() };
    format!("; retry in {} (try {} of {most})", report::time(*delay), tries + 1)
}
