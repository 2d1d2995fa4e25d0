//! Progress, drawn as bars on a terminal and written as lines elsewhere.

mod bars;
mod lines;

pub(super) use bars::Bars;
pub(super) use lines::Lines;

use super::{failure, report, terminal};
use crate::observe::Event;

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
            Some(format!("! {name}  {}", terminal::printable(&[vec![message], causes].concat().join(": "))))
        }
        _ => None,
    }
}

/// The line that tells of another try.
fn retry_line(event: &Event<'_>) -> Option<String> {
    let Event::Retrying { what, cause, delay } = event else { return None };
    let causes = failure::causes("", Some(*cause));
    let why: Vec<_> = causes.iter().map(|cause| terminal::printable(cause)).collect();
    Some(format!("~ {what}: {}; again in {}", why.join(": "), report::time(*delay)))
}
