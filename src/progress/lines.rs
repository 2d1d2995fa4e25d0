//! Progress lines for logs: one per image, and a heartbeat for long transfers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::{report, terminal};
use super::outages::Outages;
use super::{ImageLines, retry_line};
use hod_engine::observe::{Event, Observer};

/// The longest silence while bytes move.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Writes lines to standard error.
#[derive(Debug)]
pub(crate) struct Lines {
    verbose: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    step: &'static str,
    images: usize,
    done: usize,
    total: u64,
    moved: u64,
    last: Instant,
    outages: Outages,
    images_told: ImageLines,
}

impl Lines {
    pub(crate) fn new(verbose: bool) -> Self {
        let (step, last, outages, images_told) = ("", Instant::now(), Outages::default(), ImageLines::new(verbose));
        let state = State { step, images: 0, done: 0, total: 0, moved: 0, last, outages, images_told };
        Self { verbose, state: Mutex::new(state) }
    }

    /// Says what was tried, with whole digests: to those who want to hear more, and to the log file in any case.
    fn details(&self, event: &Event<'_>) {
        if let Some(line) = retry_line(event) {
            let line = format!("  {line}");
            if self.verbose { terminal::say(&*line) } else { terminal::log(&line) }
        }
    }
}

impl Observer for Lines {
    fn on(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = match event {
            Event::Step { name, images, bytes } => {
                (state.step, state.images, state.done, state.total, state.moved) = (name, *images, 0, *bytes, 0);
                (*bytes > 0).then(|| match images {
                    0 => format!("{name}: {}", report::bytes(*bytes)),
                    _ => format!("{name}: {}, {}", report::count(*images, "image"), report::bytes(*bytes)),
                })
            }
            Event::Moved { bytes, .. } => {
                state.moved += bytes;
                (state.last.elapsed() > SIGN_OF_LIFE).then(|| {
                    let (step, images, done) = (state.step, state.images, state.done);
                    format!(
                        "{step}: {done} of {images} images, {} of {}",
                        report::bytes(state.moved),
                        report::bytes(state.total)
                    )
                })
            }
            Event::Begun { offset, .. } => {
                state.total = state.total.saturating_sub(*offset);
                None
            }
            Event::Rewound { bytes, .. } => {
                state.moved = state.moved.saturating_sub(*bytes);
                None
            }
            Event::ImageDone { .. } | Event::ImageFailed { .. } => {
                state.done += 1;
                state.images_told.line(event)
            }
            Event::Retrying { .. } | Event::Retried { .. } => {
                self.details(event);
                state.outages.line(event)
            }
            Event::Notice(text) => Some(format!("note: {}", terminal::printable(text))),
            Event::Settled { content, placed } if self.verbose => {
                Some(format!("  {} {} {placed:?}", content.digest, report::bytes(content.size)))
            }
            _ => None,
        };
        if let Some(line) = line {
            terminal::say(&*line);
            state.last = Instant::now();
        }
    }
}
