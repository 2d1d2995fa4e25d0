//! One line for a place that does not respond, however many requests wait for it.
//!
//! When a registry goes away in the middle of eight transfers, a person wants to hear that once, and once more for
//! each round of tries; and that it is back.

use std::collections::HashMap;
use std::error::Error;

use super::super::{failure, report, terminal};
use super::next_try;
use hod_engine::endpoint::EndpointError;
use hod_engine::observe::Event;
use hod_registry::RegistryError;

/// What is failing at the moment, by the place where it fails.
#[derive(Debug, Default)]
pub(super) struct Outages {
    places: HashMap<Box<str>, Outage>,
    /// Where each thing that is tried again has failed last.
    trials: HashMap<u64, Box<str>>,
}

/// Trouble with one place, from the first thing that fails to the last that does not any more.
#[derive(Debug, Default)]
struct Outage {
    /// How many things wait for another try.
    waiting: usize,
    /// The latest round of tries that was told, by reason.
    told: HashMap<String, u32>,
    /// The latest round of tries that the host itself has spoilt since it last worked, as far as that was told.
    round: u32,
}

impl Outages {
    /// The line that a person should see, if any.
    pub(super) fn line(&mut self, event: &Event<'_>) -> Option<String> {
        match event {
            Event::Retrying { trial, what, place, cause, tries, .. } => {
                let domain = place.domain();
                self.enter(*trial, domain);
                let of_host = host_reason(*cause);
                let why = of_host.as_deref().map_or_else(|| reason(what, *cause), report::shortened);
                let outage = self.places.get_mut(domain)?;
                let told = outage.told.entry(why.clone()).or_default();
                if *told >= *tries {
                    return None;
                }
                *told = *tries;
                if of_host.is_some() {
                    outage.round = outage.round.max(*tries);
                }
                Some(terminal::printable(&format!("~ {why}{}", next_try(event))))
            }
            Event::Retried { trial, worked } => {
                let (domain, round) = self.leave(*trial, *worked)?;
                // After one short pause it is enough that things move on.
                (*worked && round > 1).then(|| terminal::printable(&format!("~ {domain} works again")))
            }
            _ => None,
        }
    }

    fn enter(&mut self, trial: u64, domain: &str) {
        let before = self.trials.insert(trial, domain.into());
        if before.as_deref() == Some(domain) {
            return;
        }
        self.places.entry(domain.into()).or_default().waiting += 1;
        if let Some(before) = before {
            self.go(&before);
        }
    }

    /// Ends a trial; says where it was, and up to which round that place has been failing.
    fn leave(&mut self, trial: u64, worked: bool) -> Option<(Box<str>, u32)> {
        let domain = self.trials.remove(&trial)?;
        let outage = self.places.get_mut(&domain)?;
        let round = outage.round;
        if worked && round > 1 {
            // Whatever fails from here on is news.
            (outage.round, outage.told) = (0, HashMap::new());
        }
        self.go(&domain);
        Some((domain, round))
    }

    fn go(&mut self, domain: &str) {
        if let Some(outage) = self.places.get_mut(domain) {
            outage.waiting = outage.waiting.saturating_sub(1);
            if outage.waiting == 0 {
                self.places.remove(domain);
            }
        }
    }
}

/// What is wrong with the host itself, in the same words for everything that fails for it.
fn host_reason(cause: &(dyn Error + 'static)) -> Option<String> {
    let inner = cause.downcast_ref::<EndpointError>().map(|error| error.cause() as &(dyn Error + 'static));
    inner.unwrap_or(cause).downcast_ref::<RegistryError>()?.of_host()
}

/// Why just this failed.
fn reason(what: &str, cause: &(dyn Error + 'static)) -> String {
    report::shortened(&format!("{what}: {}", failure::causes("", Some(cause)).join(": ")))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use hod_engine::endpoint::{Fault, Place};
    use hod_oci::Digest;
    use hod_registry::Subject;

    /// What is heard of some trials.
    #[derive(Default)]
    struct Heard {
        outages: Outages,
        lines: Vec<String>,
    }

    impl Heard {
        /// A host says nothing for so many seconds.
        fn fails(&mut self, trial: u64, host: &str, after: u64, tries: u32) {
            let subject = Box::new(Subject::Api(host.into()));
            let cause = RegistryError::Stalled { subject, host: host.into(), after: Duration::from_secs(after) };
            self.hear(trial, host, &cause.into(), tries);
        }

        fn hear(&mut self, trial: u64, host: &str, cause: &EndpointError, tries: u32) {
            let place = Place::registry(host, &"team/web".parse().unwrap());
            let delay = Duration::from_secs(u64::from(tries));
            let event = Event::Retrying { trial, what: "x", place: &place, cause, tries, most: 6, delay };
            self.lines.extend(self.outages.line(&event));
        }

        fn ends(&mut self, trial: u64, worked: bool) {
            self.lines.extend(self.outages.line(&Event::Retried { trial, worked }));
        }

        fn take(&mut self) -> Vec<String> {
            std::mem::take(&mut self.lines)
        }
    }

    #[test]
    fn a_round_of_tries_is_one_line_and_the_return_another() {
        let mut heard = Heard::default();
        for tries in 1..=3 {
            (0..8).for_each(|trial| heard.fails(trial, "r.example", 60, tries));
        }
        (0..8).for_each(|trial| heard.ends(trial, true));
        let expected = [
            "~ less than 1 KiB moved to or from r.example in 60 s; retry in 1.0 s (try 2 of 6)",
            "~ less than 1 KiB moved to or from r.example in 60 s; retry in 2.0 s (try 3 of 6)",
            "~ less than 1 KiB moved to or from r.example in 60 s; retry in 3.0 s (try 4 of 6)",
            "~ r.example works again",
        ];
        assert_eq!(heard.take(), expected);
        assert!(heard.outages.places.is_empty() && heard.outages.trials.is_empty());
        // The next time is told from the start, and one short pause is not followed by a line of its own.
        heard.fails(9, "r.example", 60, 1);
        heard.ends(9, true);
        assert_eq!(heard.take(), expected[..1]);
    }

    #[test]
    fn what_fails_after_the_return_is_news() {
        let mut heard = Heard::default();
        for tries in 1..=2 {
            (0..2).for_each(|trial| heard.fails(trial, "a", 60, tries));
        }
        heard.ends(0, true);
        assert_eq!(heard.take().len(), 3);
        heard.fails(2, "a", 60, 1);
        heard.fails(1, "a", 60, 3);
        heard.ends(1, true);
        assert_eq!(heard.take().len(), 3);
        heard.ends(2, true);
        assert!(heard.take().is_empty() && heard.outages.places.is_empty());
    }

    #[test]
    fn places_and_reasons_are_told_apart() {
        let mut heard = Heard::default();
        for (trial, host, after) in [(0, "a", 60), (1, "b", 60), (2, "a", 30), (3, "a", 60)] {
            heard.fails(trial, host, after, 1);
        }
        assert_eq!(heard.take().len(), 3);
        // Who gives up does not say that it works; and what goes on failing elsewhere is not forgotten.
        heard.fails(0, "a", 60, 2);
        heard.ends(0, false);
        heard.ends(1, true);
        heard.fails(2, "a", 60, 2);
        assert_eq!(heard.take().len(), 1);
        heard.ends(2, true);
        assert_eq!(heard.take(), ["~ a works again"]);
    }

    #[test]
    fn wrong_bytes_say_nothing_of_the_host() {
        let mut heard = Heard::default();
        let cause = EndpointError::new(Fault::Corrupt, io::Error::other("wrong"));
        heard.hear(0, "a", &cause, 1);
        heard.hear(0, "a", &cause, 2);
        heard.ends(0, true);
        let expected = ["~ x: wrong; retry in 1.0 s (try 2 of 6)", "~ x: wrong; retry in 2.0 s (try 3 of 6)"];
        assert_eq!(heard.take(), expected);
    }

    #[test]
    fn who_comes_late_or_changes_places_is_counted_once() {
        let mut heard = Heard::default();
        heard.fails(1, "a", 60, 3);
        heard.fails(2, "a", 60, 1);
        assert_eq!(heard.take().len(), 1);
        heard.fails(1, "b", 60, 4);
        assert_eq!(heard.outages.places["a"].waiting, 1);
        heard.ends(1, false);
        heard.ends(1, false);
        heard.ends(2, false);
        assert!(heard.outages.places.is_empty());
        assert_eq!(heard.take().len(), 1);
    }

    #[test]
    fn people_get_short_digests() {
        let digest = Digest::sha256(b"x");
        let cause = io::Error::other(format!("{digest} ended"));
        let short = digest.short();
        assert_eq!(
            reason(&format!("{digest} from r.example/a"), &cause),
            format!("{short} from r.example/a: {short} ended")
        );
    }
}
