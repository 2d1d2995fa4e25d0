//! Progress, as bars on a terminal and as lines elsewhere.

mod bars;
mod lines;
mod outages;

pub(super) use bars::Bars;
pub(super) use lines::Lines;

use std::collections::HashSet;

use super::{failure, report, terminal};
use hod_engine::observe::Event;

/// The lines that tell of images, for both forms of output.
#[derive(Debug, Default)]
struct ImageLines {
    verbose: bool,
    /// What images have failed with.
    causes: HashSet<Vec<String>>,
}

impl ImageLines {
    /// Those of a run whose user wants to hear more, or not.
    fn new(verbose: bool) -> Self {
        Self { verbose, causes: HashSet::new() }
    }

    /// The line of an image. Why it failed is told in the end: of many that fail for one reason, such as a registry that
    /// is gone, the first has a line.
    fn line(&mut self, event: &Event<'_>) -> Option<String> {
        match event {
            // The results follow in the end, on standard output.
            Event::ImageDone { .. } if !self.verbose => None,
            Event::ImageDone { name, digest, unchanged: true, .. } => Some(format!("= {name}  {digest}  unchanged")),
            Event::ImageDone { name, digest, bytes, .. } => {
                Some(format!("+ {name}  {digest}  {} new", report::bytes(*bytes)))
            }
            Event::ImageFailed { name, cause } => {
                let message = cause.to_string();
                let causes = failure::causes(&message, cause.source());
                if self.verbose {
                    let text = report::shortened(&[vec![message], causes].concat().join(": "));
                    return Some(format!("! {name}  {}", terminal::printable(&text)));
                }
                let is_new = causes.is_empty() || self.causes.insert(causes);
                is_new.then(|| format!("! {name}  failed"))
            }
            _ => None,
        }
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
