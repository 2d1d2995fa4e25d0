//! Looking at a root that nobody changes meanwhile, without writing to it.

use fs_err as fs;

use super::Store;
use super::staging::LOCK;

/// While it lives, no other hod process begins to write to the root. A registry cannot be kept from it.
#[derive(Debug)]
pub struct WriteBarrier {
    /// There is none where hod has never written.
    _lock: Option<fs::File>,
}

impl Store {
    /// Keeps others from writing, for as long as the value lives; writes nothing itself, so the root may be another
    /// user's, or on a filesystem that is read-only.
    ///
    /// `None` where somebody writes at the moment, or where the system gives no lock: then others may write.
    pub fn hold_still(&self) -> Option<WriteBarrier> {
        let lock = self.tree().open(LOCK).ok()?.map(|(file, _)| file);
        match &lock {
            Some(file) => hod_io::fs::try_lock(file).unwrap_or_default().then_some(WriteBarrier { _lock: lock }),
            None => Some(WriteBarrier { _lock: None }),
        }
    }
}
