//! What happens during a run, for whoever shows it.
//!
//! The library reports events and never prints. `cli` draws them as bars, lines or JSON; tests
//! record them. An observer is called from many tasks at once and must not block.

use std::time::Duration;

use crate::endpoint::{Place, Placement};
use hod_oci::{Descriptor, Digest};

/// Whether a terminal would act on a character of a text by somebody else, or turn the text around it: control characters
/// of both sets, those that direct text, and the ends of lines and paragraphs of Unicode.
pub fn acts_on_terminals(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// Something that a user may want to see.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step begins, such as `resolve` or `fetch`, and knows how much there is to do.
    Step {
        /// The name of the step, a verb.
        name: &'static str,
        /// Images that it will go through.
        images: usize,
        /// Bytes that it will move at the most.
        bytes: u64,
    },
    /// Content begins to move.
    Begun {
        /// What.
        content: &'a Descriptor,
        /// Bytes of it that are there already.
        offset: u64,
    },
    /// More bytes of some content have moved.
    Moved {
        /// Which content.
        digest: &'a Digest,
        /// How many more.
        bytes: u64,
    },
    /// Content has to start over from an earlier point.
    Rewound {
        /// Which content.
        digest: &'a Digest,
        /// Bytes that count no longer.
        bytes: u64,
    },
    /// Content is where it should be.
    Settled {
        /// What.
        content: &'a Descriptor,
        /// How it came there.
        placed: Placement,
    },
    /// Content did not make it.
    Dropped {
        /// Which content.
        digest: &'a Digest,
    },
    /// Something failed that will be tried again.
    Retrying {
        /// Which of all things that are tried in this run; it goes on until [`Event::Retried`].
        trial: u64,
        /// What was tried, in words.
        what: &'a str,
        /// At which end it failed.
        place: &'a Place,
        /// Why it failed.
        cause: &'a (dyn std::error::Error + 'static),
        /// How often it has been tried.
        tries: u32,
        /// How often it will be tried at the most.
        most: u32,
        /// How long until the next try.
        delay: Duration,
    },
    /// What failed before does so no longer, or nobody tries it any more.
    Retried {
        /// Which of all things that are tried.
        trial: u64,
        /// Whether it works now.
        worked: bool,
    },
    /// An image is done.
    ImageDone {
        /// Its name as the user knows it.
        name: &'a str,
        /// The digest of its root.
        digest: &'a Digest,
        /// Whether nothing had to be done.
        unchanged: bool,
        /// Bytes that moved for it.
        bytes: u64,
    },
    /// An image failed.
    ImageFailed {
        /// Its name as the user knows it.
        name: &'a str,
        /// Why.
        cause: &'a (dyn std::error::Error + 'static),
    },
    /// Something that the user should know and need not act on.
    Notice(&'a str),
}

/// Receives events.
pub trait Observer: Send + Sync {
    /// Takes note of an event; must return at once.
    fn on(&self, event: &Event<'_>);
}

/// An observer that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentObserver;

impl Observer for SilentObserver {
    fn on(&self, _: &Event<'_>) {}
}

/// A request to stop, shared by everyone who works on one command.
///
/// Tasks are stopped by dropping them; threads look here between two pieces of work.
#[derive(Debug, Clone, Default)]
pub struct Stop(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Stop {
    /// Asks everyone to stop.
    pub fn request(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
