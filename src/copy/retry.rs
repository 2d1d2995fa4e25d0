//! Patience: which failures are tried again, how often and after how long.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::endpoint::{EndpointError, Fault};
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
/// The longest pause that a server may ask for. Beyond it an error says more than silence.
const LONGEST_REQUESTED: Duration = Duration::from_secs(600);

/// The patience of one run.
pub struct Retry {
    policy: RetryPolicy,
    /// Set when somebody has waited through all tries in vain, until anything works again: the
    /// others need not wait as long to learn that the network is gone.
    exhausted: AtomicBool,
    observer: Arc<dyn Observer>,
}

impl Retry {
    /// Fresh patience.
    pub fn new(policy: RetryPolicy, observer: Arc<dyn Observer>) -> Self {
        Self { policy, exhausted: AtomicBool::new(false), observer }
    }

    /// Does something until it works, or fails for good, or has been tried often enough.
    ///
    /// `what` says in words what is tried, for whoever watches.
    pub async fn run<T, F>(&self, what: &str, mut action: impl FnMut() -> F) -> Result<T, EndpointError>
    where
        F: Future<Output = Result<T, EndpointError>>,
    {
        let mut failures = 0;
        loop {
            match action().await {
                Ok(done) => {
                    self.worked();
                    return Ok(done);
                }
                Err(error) => self.pause(what, &mut failures, error).await?,
            }
        }
    }

    /// Takes note that something worked.
    pub(super) fn worked(&self) {
        if self.exhausted.load(Ordering::Relaxed) {
            self.exhausted.store(false, Ordering::Relaxed);
        }
    }

    /// Waits before another try, or gives the error back where none is worth it.
    pub(super) async fn pause(
        &self,
        what: &str,
        failures: &mut u32,
        error: EndpointError,
    ) -> Result<(), EndpointError> {
        let requested = match error.fault() {
            fault if !fault.is_transient() => return Err(error),
            Fault::Busy(requested) => requested,
            _ => None,
        };
        let gone = self.exhausted.load(Ordering::Relaxed) && error.fault() == Fault::Unreachable;
        if *failures >= self.policy.times || gone || requested.is_some_and(|delay| delay > LONGEST_REQUESTED) {
            if error.fault() == Fault::Unreachable {
                self.exhausted.store(true, Ordering::Relaxed);
            }
            return Err(error);
        }
        let delay = requested.unwrap_or_else(|| self.delay(*failures));
        *failures += 1;
        self.observer.on(&Event::Retrying { what, cause: &error, delay });
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
    use crate::observe::Silent;

    async fn tries(fault: Fault, failing: u32) -> (u32, bool) {
        let policy = RetryPolicy { times: 3, delay: Duration::ZERO };
        let retry = Retry::new(policy, Arc::new(Silent));
        let tried = Cell::new(0);
        let result = retry
            .run("", || {
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
        assert_eq!(tries(Fault::Corrupt, 9).await, (4, false));
        for fault in [Fault::Missing, Fault::Denied, Fault::Rejected, Fault::Full, Fault::Other] {
            assert_eq!(tries(fault, 1).await, (1, false));
        }
        assert_eq!(tries(Fault::Busy(Some(Duration::from_secs(86_400))), 1).await, (1, false));
    }

    #[tokio::test]
    async fn patience_lost_once_is_lost_for_all_until_something_works() {
        let policy = RetryPolicy { times: 2, delay: Duration::ZERO };
        let retry = Retry::new(policy, Arc::new(Silent));
        let tried = Cell::new(0);
        let fail = || {
            tried.set(tried.get() + 1);
            async { Err::<(), _>(EndpointError::new(Fault::Unreachable, "no")) }
        };
        assert!(retry.run("", fail).await.is_err());
        assert_eq!(tried.replace(0), 3);
        assert!(retry.run("", fail).await.is_err());
        assert_eq!(tried.replace(0), 1);
        retry.run("", || async { Ok(()) }).await.unwrap();
        assert!(retry.run("", fail).await.is_err());
        assert_eq!(tried.replace(0), 3);
    }
}
