//! Bars on a terminal: one for the whole run, one for each transfer.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::style::ProgressTracker;
use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::super::terminal::Line;
use super::ImageLines;
use super::outages::Outages;
use hod_engine::observe::{Event, Observer};
use hod_oci::Digest;

/// Times a second that bars are drawn.
const RATE: u8 = 10;
/// Blobs below this size come and go too fast to be read.
const SMALLEST: u64 = 1024 * 1024;

/// Draws bars on standard error.
pub(crate) struct Bars {
    all: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    told: ImageLines,
    total: Option<ProgressBar>,
    /// True if the bar for the whole counts bytes; where nobody knows how many there will be, it counts images.
    in_bytes: bool,
    images: usize,
    done: usize,
    blobs: HashMap<Digest, ProgressBar>,
    outages: Outages,
}

impl Bars {
    pub(crate) fn new(verbose: bool) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(RATE));
        Self { all, state: Mutex::new(State { told: ImageLines::new(verbose), ..State::default() }) }
    }

    /// Prints a line above the bars.
    pub(crate) fn say(&self, line: impl Into<Line>) {
        let _ = self.all.println(line.into().as_str());
    }

    /// Does something while no bars are on the screen.
    pub(crate) fn hidden<T>(&self, act: impl FnOnce() -> T) -> T {
        self.all.suspend(act)
    }

    /// Takes the bars away.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.blobs.drain().for_each(|(_, bar)| bar.finish_and_clear());
        if let Some(total) = state.total.take() {
            total.finish_and_clear();
        }
        let _ = self.all.clear();
    }

    fn start_step(&self, state: &mut State, name: &'static str, images: usize, bytes: u64) {
        if let Some(old) = state.total.take() {
            old.finish_and_clear();
        }
        (state.images, state.done, state.in_bytes) = (images, 0, bytes > 0);
        let (template, length) = if bytes > 0 {
            (
                "{prefix:>8} [{bar:24}] {decimal_bytes:>9} of {decimal_total_bytes:<9} {decimal_bytes_per_sec:>11}  {msg}  {eta} left",
                bytes,
            )
        } else {
            ("{prefix:>8} [{bar:24}] {msg}", images as u64)
        };
        let total = self.all.add(ProgressBar::new(length));
        total.set_style(style(template));
        total.set_prefix(name);
        state.total = Some(total);
        state.show_images();
    }
}

impl State {
    /// The bar for the whole, if it counts bytes.
    fn bytes(&self) -> Option<&ProgressBar> {
        self.total.as_ref().filter(|_| self.in_bytes)
    }

    fn show_images(&self) {
        if let Some(total) = self.total.as_ref().filter(|_| self.images > 0) {
            total.set_message(format!("{} of {} images", self.done, self.images));
        }
    }

    fn image_done(&mut self) {
        self.done += 1;
        if let Some(total) = self.total.as_ref().filter(|_| !self.in_bytes) {
            total.inc(1);
        }
        self.show_images();
    }
}

/// A style from one of our own templates; a template that does not parse shows plain numbers.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// Bytes a second since a bar began, at a position that somebody else had reached: to the estimator of the bars those
/// bytes would have come in no time.
#[derive(Clone)]
struct Rate {
    from: u64,
}

impl ProgressTracker for Rate {
    fn clone_box(&self) -> Box<dyn ProgressTracker> {
        Box::new(self.clone())
    }

    fn tick(&mut self, _: &ProgressState, _: Instant) {}

    fn reset(&mut self, _: &ProgressState, _: Instant) {}

    fn write(&self, state: &ProgressState, out: &mut dyn fmt::Write) {
        let moved = u128::from(state.pos().saturating_sub(self.from));
        let rate = moved * 1000 / state.elapsed().as_millis().max(1);
        let _ = write!(out, "{}/s", DecimalBytes(u64::try_from(rate).unwrap_or(u64::MAX)));
    }
}

impl Observer for Bars {
    fn on(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Step { name, images, bytes } => self.start_step(&mut state, name, *images, *bytes),
            Event::Begun { content, offset } => {
                if let Some(total) = state.bytes().filter(|_| *offset > 0) {
                    total.set_length(total.length().unwrap_or_default().saturating_sub(*offset));
                }
                // Another task may go on with what one that was dropped has begun.
                if let Some(old) = state.blobs.remove(&content.digest) {
                    old.finish_and_clear();
                }
                if content.size < SMALLEST {
                    return;
                }
                let bar = self.all.insert_before_total(&state, content.size);
                let rate = if *offset > 0 { "rate" } else { "decimal_bytes_per_sec" };
                let template = format!(
                    "         {{prefix}} [{{bar:24}}] {{decimal_bytes:>9}} of {{decimal_total_bytes:<9}} {{{rate}:>11}}"
                );
                bar.set_style(style(&template).with_key("rate", Rate { from: *offset }));
                bar.set_prefix(content.digest.short());
                bar.set_position(*offset);
                state.blobs.insert(content.digest, bar);
            }
            Event::Moved { digest, bytes } => {
                if let Some(bar) = state.blobs.get(digest) {
                    bar.inc(*bytes);
                }
                if let Some(total) = state.bytes() {
                    total.inc(*bytes);
                }
            }
            Event::Rewound { digest, bytes } => {
                for bar in state.blobs.get(digest).into_iter().chain(state.bytes()) {
                    bar.set_position(bar.position().saturating_sub(*bytes));
                }
            }
            Event::Settled { content, .. } => {
                if let Some(bar) = state.blobs.remove(&content.digest) {
                    bar.finish_and_clear();
                }
            }
            Event::Dropped { digest } => {
                if let Some(bar) = state.blobs.remove(digest) {
                    bar.finish_and_clear();
                }
            }
            Event::ImageDone { .. } | Event::ImageFailed { .. } => {
                state.image_done();
                if let Some(line) = state.told.line(event) {
                    self.say(&*line);
                }
            }
            Event::Retrying { .. } | Event::Retried { .. } => {
                if let Some(line) = state.outages.line(event) {
                    self.say(&*line);
                }
            }
            Event::Notice(text) => self.say(Line::headed("", "", "note", text)),
        }
    }
}

/// Adds a blob's bar above the one for the whole.
trait InsertBeforeTotal {
    fn insert_before_total(&self, state: &State, size: u64) -> ProgressBar;
}

impl InsertBeforeTotal for MultiProgress {
    fn insert_before_total(&self, state: &State, size: u64) -> ProgressBar {
        match &state.total {
            Some(total) => self.insert_before(total, ProgressBar::new(size)),
            None => self.add(ProgressBar::new(size)),
        }
    }
}

impl fmt::Debug for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bars")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_oci::{Descriptor, MediaType};

    #[test]
    fn the_bar_for_the_whole_counts_images_where_bytes_are_not_known() {
        let bars = Bars { all: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()), state: Mutex::default() };
        let content = Descriptor::new(MediaType::parse("layer"), Digest::sha256(b"x"), 5_000_000);
        let digest = content.digest;
        let total = || {
            let state = bars.state.lock().unwrap();
            let total = state.total.as_ref().unwrap();
            (total.position(), total.length().unwrap())
        };
        let work = || {
            bars.on(&Event::Begun { content: &content, offset: 1_000_000 });
            bars.on(&Event::Moved { digest: &digest, bytes: 3_000_000 });
            bars.on(&Event::Rewound { digest: &digest, bytes: 1_000_000 });
        };
        bars.on(&Event::Step { name: "copy", images: 2, bytes: 0 });
        work();
        assert_eq!(total(), (0, 2));
        bars.on(&Event::ImageDone { name: "a", digest: &digest, unchanged: false, bytes: 1 });
        assert_eq!(total(), (1, 2));
        bars.on(&Event::Step { name: "fetch", images: 2, bytes: 10_000_000 });
        work();
        assert_eq!(total(), (2_000_000, 9_000_000));
    }
}
