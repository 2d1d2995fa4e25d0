//! A limit on what goes on at once, where the largest waits least.
//!
//! Starting large blobs first keeps the end of a run from waiting for one straggler.

use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// A number of places that are handed to those who wait, by weight.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    free: usize,
    waiting: BinaryHeap<Waiting>,
    /// Counts arrivals, so that equals are served in their order.
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    weight: u64,
    arrival: u64,
    /// Receives the permit itself, so that one handed to somebody who has left comes back.
    wake: oneshot::Sender<Permit>,
}

/// A place in a [`Budget`]; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Mutex<Shared>>,
}

impl Budget {
    /// A budget with that many places, at least one.
    pub(super) fn new(places: usize) -> Self {
        let shared = Shared { free: places.max(1), waiting: BinaryHeap::new(), arrivals: 0 };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Waits for a place. Of those who wait, the heaviest goes first.
    pub(super) async fn acquire(&self, weight: u64) -> Permit {
        loop {
            let receiver = {
                let mut shared = lock(&self.shared);
                if shared.free > 0 {
                    shared.free -= 1;
                    return Permit { shared: self.shared.clone() };
                }
                let (wake, receiver) = oneshot::channel();
                shared.arrivals += 1;
                let arrival = shared.arrivals;
                shared.waiting.push(Waiting { weight, arrival, wake });
                receiver
            };
            // The sender is dropped unused only with the whole budget, which `self` keeps alive.
            if let Ok(permit) = receiver.await {
                return permit;
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let next = {
            let mut shared = lock(&self.shared);
            let next = loop {
                match shared.waiting.pop() {
                    Some(waiting) if waiting.wake.is_closed() => {}
                    other => break other,
                }
            };
            if next.is_none() {
                shared.free += 1;
            }
            next
        };
        if let Some(waiting) = next {
            // Handed over outside the lock: a permit that cannot be delivered is dropped here again.
            let _ = waiting.wake.send(Self { shared: self.shared.clone() });
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.weight.cmp(&other.weight).then(other.arrival.cmp(&self.arrival))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_heaviest_goes_first_and_equals_in_order() {
        let budget = Budget::new(1);
        let first = budget.acquire(0).now_or_never().unwrap();
        let mut waiting: Vec<_> = [5, 9, 9, 1].map(|weight| Box::pin(budget.acquire(weight))).into();
        for future in &mut waiting {
            assert!(future.as_mut().now_or_never().is_none());
        }
        let mut permit = Some(first);
        for expected in [1, 2, 0, 3] {
            drop(permit.take());
            for (position, future) in waiting.iter_mut().enumerate().filter(|(position, _)| *position == expected) {
                permit = future.as_mut().now_or_never();
                assert!(permit.is_some(), "{position} had to wait");
            }
        }
    }

    #[test]
    fn who_leaves_takes_no_place() {
        let budget = Budget::new(1);
        let first = budget.acquire(0).now_or_never().unwrap();
        {
            let mut gone = Box::pin(budget.acquire(9));
            assert!(gone.as_mut().now_or_never().is_none());
            drop(first);
            // Woken, but dropped before it could look.
        }
        assert!(budget.acquire(0).now_or_never().is_some());
    }
}
