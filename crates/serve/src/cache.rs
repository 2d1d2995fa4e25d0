//! What is remembered for a while, up to a limit: nothing is lost with it but time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map that forgets everything when it has `LIMIT` entries.
#[derive(Debug)]
pub(super) struct Cache<K, V, const LIMIT: usize>(Mutex<HashMap<K, V>>);

impl<K, V, const LIMIT: usize> Default for Cache<K, V, LIMIT> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone, const LIMIT: usize> Cache<K, V, LIMIT> {
    fn entries(&self) -> MutexGuard<'_, HashMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered under a key.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.entries().get(key).cloned()
    }

    /// Remembers something; returns what it replaces.
    pub(super) fn insert(&self, key: K, value: V) -> Option<V> {
        let mut entries = self.entries();
        if entries.len() >= LIMIT {
            entries.clear();
        }
        entries.insert(key, value)
    }

    /// Forgets something.
    pub(super) fn remove(&self, key: &K) {
        self.entries().remove(key);
    }
}
