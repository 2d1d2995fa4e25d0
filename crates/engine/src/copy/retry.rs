//! Patience: which failures are tried again, how often and after how long.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::endpoint::{EndpointError, Fault, Place};
use crate::observe::{Event, Observer};

/// How often and after how long.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub times: u32,
    /// The pause before the second try; each further one is twice as long.
    pub delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { times: 5, delay: Duration::from_millis(500) }
    }
}

/// The longest pause that is not asked for by the server.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// The longest that servers may ask to wait for one thing, in all. Beyond it an error says more than silence.
const LONGEST_REQUESTED: Duration = Duration::from_secs(600);
/// How often wrong bytes are fetched again: once, since a second copy with the same damage is what the server has.
const CORRUPT_RETRIES: u32 = 1;

/// The failures of one thing so far.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u32,
    /// Those of them that were wrong bytes.
    corrupt: u32,
    /// How long servers have asked to wait, in all.
    requested: Duration,
}

/// The patience of one run.
pub(crate) struct Retry {
    policy: RetryPolicy,
    /// Set when somebody has waited through all tries in vain, until anything works again: the
    /// others need not wait as long to learn that the network is gone.
    exhausted: AtomicBool,
    trials: AtomicU64,
    observer: Arc<dyn Observer>,
}

/// Something that is tried until it works. Whoever has heard that it failed hears how that ended, even where it is
/// dropped in a pause.
pub(super) struct Trial {
    number: u64,
    /// Whether it has failed, and nobody has heard of an end.
    failing: AtomicBool,
    observer: Arc<dyn Observer>,
}

impl Trial {
    /// Takes note that it works now.
    pub(super) fn worked(&self) {
        self.end(true);
    }

    fn end(&self, worked: bool) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            self.observer.on(&Event::Retried { trial: self.number, worked });
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.end(false);
    }
}

impl Retry {
    /// Fresh patience.
    pub(super) fn new(policy: RetryPolicy, observer: Arc<dyn Observer>) -> Self {
        Self { policy, exhausted: AtomicBool::new(false), trials: AtomicU64::new(0), observer }
    }

    /// Does something until it works, or fails for good, or has been tried often enough.
    ///
    /// `what` says in words what is tried, and `place` where, for whoever watches.
    pub(super) async fn run<T, F>(
        &self,
        what: &str,
        place: &Place,
        mut action: impl FnMut() -> F,
    ) -> Result<T, EndpointError>
    where
        F: Future<Output = Result<T, EndpointError>>,
    {
        let trial = self.trial();
        let mut failures = Failures::default();
        loop {
            match action().await {
                Ok(done) => {
                    self.worked(&trial);
                    return Ok(done);
                }
                Err(error) => self.pause(&trial, (what, place), &mut failures, error).await?,
            }
        }
    }

    /// Begins something that may have to be tried again.
    pub(super) fn trial(&self) -> Trial {
        let number = self.trials.fetch_add(1, Ordering::Relaxed);
        Trial { number, failing: AtomicBool::new(false), observer: self.observer.clone() }
    }

    /// Takes note that something worked.
    pub(super) fn worked(&self, trial: &Trial) {
        trial.worked();
        if self.exhausted.load(Ordering::Relaxed) {
            self.exhausted.store(false, Ordering::Relaxed);
        }
    }

    /// Waits before another try, or gives the error back where none is worth it.
    pub(super) async fn pause(
        &self,
        trial: &Trial,
        (what, place): (&str, &Place),
        failures: &mut Failures,
        error: EndpointError,
    ) -> Result<(), EndpointError> {
        let fault = error.fault();
        if !fault.is_transient() {
            return Err(error);
        }
        let requested = if let Fault::Busy(requested) = fault { requested } else { None };
        let waited = failures.requested.saturating_add(requested.unwrap_or_default());
        let gone = self.exhausted.load(Ordering::Relaxed) && fault == Fault::Unreachable;
        let lies = fault == Fault::Corrupt && failures.corrupt >= CORRUPT_RETRIES;
        if failures.count >= self.policy.times || gone || lies || waited > LONGEST_REQUESTED {
            if fault == Fault::Unreachable {
                self.exhausted.store(true, Ordering::Relaxed);
            }
            return Err(error);
        }
        let delay = requested.unwrap_or_else(|| self.delay(failures.count));
        failures.count += 1;
        failures.requested = waited;
        let mut most = self.policy.times.saturating_add(1);
        if fault == Fault::Corrupt {
            failures.corrupt += 1;
            most = most.min(failures.count.saturating_add(1));
        }
        trial.failing.store(true, Ordering::Relaxed);
        let (trial, tries) = (trial.number, failures.count);
        self.observer.on(&Event::Retrying { trial, what, place, cause: &error, tries, most, delay });
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Doubles with each failure; the random part keeps many clients from coming back together.
    fn delay(&self, failures: u32) -> Duration {
        let delay = self.policy.delay.saturating_mul(1 << failures.min(16)).min(LONGEST_DELAY);
        let random = RandomState::new().hash_one(failures) % 256;
        delay + delay.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1024.0)
    }
}

impl std::fmt::Debug for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retry").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::observe::SilentObserver;

    fn here() -> Place {
        Place::local("here", None)
    }

    async fn tries(fault: Fault, failing: u32) -> (u32, bool) {
        let policy = RetryPolicy { times: 3, delay: Duration::ZERO };
        let retry = Retry::new(policy, Arc::new(SilentObserver));
        let tried = Cell::new(0);
        let result = retry
            .run("", &here(), || {
                tried.set(tried.get() + 1);
                let fails = tried.get() <= failing;
                async move { if fails { Err(EndpointError::new(fault, "no")) } else { Ok(()) } }
            })
            .await;
        (tried.get(), result.is_ok())
    }

    #[tokio::test]
    async fn tries_again_what_may_work_later_and_nothing_else() {
        assert_eq!(tries(Fault::Unreachable, 2).await, (3, true));
        assert_eq!(tries(Fault::Busy(Some(Duration::ZERO)), 2).await, (3, true));
        assert_eq!(tries(Fault::Corrupt, 1).await, (2, true));
        assert_eq!(tries(Fault::Corrupt, 9).await, (2, false), "the same wrong bytes again are what the server has");
        for fault in [Fault::Missing, Fault::Denied, Fault::Rejected, Fault::Full, Fault::Other] {
            assert_eq!(tries(fault, 1).await, (1, false));
        }
        assert_eq!(tries(Fault::Busy(Some(Duration::from_secs(86_400))), 1).await, (1, false));
    }

    #[tokio::test]
    async fn servers_may_ask_for_ten_minutes_in_all() {
        let retry = Retry::new(RetryPolicy { times: 9, delay: Duration::ZERO }, Arc::new(SilentObserver));
        let (trial, here) = (retry.trial(), here());
        let again = |waited: u64| {
            let mut failures = Failures { requested: Duration::from_secs(waited), ..Failures::default() };
            let busy = EndpointError::new(Fault::Busy(Some(Duration::from_secs(250))), "later");
            let pause = retry.pause(&trial, ("", &here), &mut failures, busy);
            futures_util::FutureExt::now_or_never(pause).is_none()
        };
        assert!(again(0) && again(350));
        assert!(!again(351));
    }

    #[tokio::test]
    async fn wrong_bytes_after_a_broken_line_are_fetched_again() {
        let retry = Retry::new(RetryPolicy { times: 5, delay: Duration::ZERO }, Arc::new(SilentObserver));
        let tried = Cell::new(0);
        let faults = [Fault::Unreachable, Fault::Unreachable, Fault::Corrupt];
        let action = || {
            let fault = faults.get(tried.replace(tried.get() + 1));
            async move { fault.map_or(Ok(()), |fault| Err(EndpointError::new(*fault, "no"))) }
        };
        retry.run("", &here(), action).await.unwrap();
        assert_eq!(tried.get(), 4);
    }

    /// Notes how trials end.
    #[derive(Default)]
    struct Ends(std::sync::Mutex<Vec<(u64, bool)>>);

    impl Observer for Ends {
        fn on(&self, event: &Event<'_>) {
            if let Event::Retried { trial, worked } = event {
                self.0.lock().unwrap().push((*trial, *worked));
            }
        }
    }

    #[tokio::test]
    async fn whoever_hears_of_a_failure_hears_of_its_end() {
        let ends = Arc::new(Ends::default());
        let retry = Retry::new(RetryPolicy { times: 1, delay: Duration::ZERO }, ends.clone());
        let no = || EndpointError::new(Fault::Busy(Some(Duration::from_secs(60))), "no");
        let first = Cell::new(true);
        let once = || {
            let fails = first.replace(false);
            async move { if fails { Err(EndpointError::new(Fault::Corrupt, "no")) } else { Ok(()) } }
        };
        retry.run("works at once", &here(), || async { Ok(()) }).await.unwrap();
        retry.run("works in the end", &here(), once).await.unwrap();
        let never = || async { Err::<(), _>(EndpointError::new(Fault::Corrupt, "no")) };
        assert!(retry.run("never works", &here(), never).await.is_err());
        let here = here();
        let mut dropped = Box::pin(retry.run("is dropped in its pause", &here, || async { Err::<(), _>(no()) }));
        assert!(futures_util::poll!(&mut dropped).is_pending());
        drop(dropped);
        assert_eq!(*ends.0.lock().unwrap(), [(1, true), (2, false), (3, false)]);
    }

    #[tokio::test]
    async fn patience_lost_once_is_lost_for_all_until_something_works() {
        let policy = RetryPolicy { times: 2, delay: Duration::ZERO };
        let retry = Retry::new(policy, Arc::new(SilentObserver));
        let tried = Cell::new(0);
        let fail = || {
            tried.set(tried.get() + 1);
            async { Err::<(), _>(EndpointError::new(Fault::Unreachable, "no")) }
        };
        assert!(retry.run("", &here(), fail).await.is_err());
        assert_eq!(tried.replace(0), 3);
        assert!(retry.run("", &here(), fail).await.is_err());
        assert_eq!(tried.replace(0), 1);
        retry.run("", &here(), || async { Ok(()) }).await.unwrap();
        assert!(retry.run("", &here(), fail).await.is_err());
        assert_eq!(tried.replace(0), 3);
    }
}
