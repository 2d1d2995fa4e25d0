//! What a server that may write has beside what every server has.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::uploads::Uploads;
use crate::store::Store;

/// A store that clients push to.
pub(super) struct Writing {
    pub(super) store: Store,
    pub(super) uploads: Uploads,
    /// Whether an index may come without some of its children.
    pub(super) sparse: bool,
    merging: Mutex<()>,
}

impl Writing {
    /// Lets clients write to a store.
    pub(super) const fn new(store: Store, uploads: Uploads, sparse: bool) -> Self {
        Self { store, uploads, sparse, merging: Mutex::new(()) }
    }

    /// Held by whoever reads a fallback index and writes the next one.
    pub(super) fn merging(&self) -> MutexGuard<'_, ()> {
        self.merging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
