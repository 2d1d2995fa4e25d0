//! The engine: the only code that moves content from one place to another.
//!
//! An image moves in two acts. [`Engine::load`] follows its manifests from the root and yields a
//! [`Graph`] of what is wanted; [`Engine::copy`] takes that graph to a sink, blobs first, then child
//! manifests, last the root with its tags. The engine never changes a byte, and it alone decides
//!
//! * *once*: content that several images want at the same moment moves one time (`Flights`);
//! * *how much at a time*: transfers wait for a place, the largest first (`Budget`);
//! * *again*: what fails for a while is tried again, from where it stopped (`Retry`).
//!
//! It knows endpoints by their traits alone.

mod budget;
mod error;
mod failed;
mod flight;
mod layer;
mod load;
mod memory;
mod retry;
mod run;
mod sizes;
mod transfer;

use std::sync::Arc;

use budget::Budget;
pub use error::{CopyError, Side};
use flight::Flights;
pub use load::LoadFilter;
use retry::Retry;
pub use retry::RetryPolicy;
pub use run::CopySummary;
pub use sizes::correct_sizes;

use crate::observe::Observer;
#[cfg(doc)]
use hod_oci::Graph;

/// How much goes on at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Blobs in motion.
    pub transfers: usize,
    /// Small questions to registries: manifests, whether something is there.
    pub lookups: usize,
    /// Images begun and not done. Bounds memory; the largest blobs are chosen among these.
    pub images: usize,
}

impl Limits {
    /// Simultaneous transfers, where nobody gives a number.
    pub const JOBS: usize = 8;

    /// Limits for a number of simultaneous transfers, as `--jobs` gives it.
    pub fn for_jobs(jobs: usize) -> Self {
        let transfers = jobs.max(1);
        Self { transfers, lookups: transfers * 2, images: (transfers * 8).max(32) }
    }

    /// Limits for sending to a registry on this machine. It hashes and writes on the processors that the transfers
    /// need, too, so that more of them at once than two a processor make all of them slower.
    pub fn on_this_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::for_jobs((processors * 2).min(Self::JOBS))
    }
}

/// The engine of one run. Cheap to clone; the clones share flights, budget and patience.
#[derive(Clone)]
pub struct Engine {
    limits: Limits,
    retry: Arc<Retry>,
    budget: Budget,
    lookups: Budget,
    flights: Arc<Flights>,
    failed: Arc<failed::Failed>,
    memory: Arc<memory::Memory>,
    observer: Arc<dyn Observer>,
}

impl Engine {
    /// An engine for a run.
    pub fn new(limits: Limits, retry: RetryPolicy, observer: Arc<dyn Observer>) -> Self {
        Self {
            limits,
            retry: Arc::new(Retry::new(retry, observer.clone())),
            budget: Budget::new(limits.transfers),
            lookups: Budget::new(limits.lookups),
            flights: Arc::default(),
            failed: Arc::default(),
            memory: Arc::default(),
            observer,
        }
    }

    /// The limits it was made with.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Whom it tells.
    pub fn observer(&self) -> &dyn Observer {
        &*self.observer
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}
