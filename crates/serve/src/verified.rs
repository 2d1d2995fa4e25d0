//! Files whose bytes were right, so that a blob is hashed once and not for every client.
//!
//! A file counts as the same as long as the system says that nobody has written to it: device, inode,
//! length, and the times of its last change. One that was changed a moment ago is hashed again the next
//! time, for two changes within one tick of the clock would look like one.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hod_oci::Digest;

/// How old a change must be, in seconds, to be told from the next one.
const TICK: i64 = 2;
/// Files that are remembered before all are forgotten.
const REMEMBERED: usize = 100_000;

/// A state of a file: two equal ones mean the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The state of an open file.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files that were found right.
#[derive(Debug, Default)]
pub(super) struct VerifiedFiles {
    files: Mutex<HashMap<Digest, Stamp>>,
}

impl VerifiedFiles {
    fn files(&self) -> MutexGuard<'_, HashMap<Digest, Stamp>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a file in this state was found to hold that content.
    pub(super) fn knows(&self, digest: &Digest, stamp: &Stamp) -> bool {
        self.files().get(digest) == Some(stamp)
    }

    /// Takes note that a file held that content; `stamp` was taken before it was read.
    pub(super) fn note(&self, digest: Digest, stamp: Stamp) {
        self.note_at(digest, stamp, SystemTime::now());
    }

    fn note_at(&self, digest: Digest, stamp: Stamp, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        if stamp.changed.0.max(stamp.modified.0).saturating_add(TICK) > now {
            return;
        }
        let mut files = self.files();
        if files.len() >= REMEMBERED {
            files.clear();
        }
        files.insert(digest, stamp);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fs_err as fs;

    use super::*;

    #[test]
    fn a_file_that_may_have_changed_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let stamp = || Stamp::of(&fs::metadata(&path).unwrap());
        let digest = Digest::sha256(b"brick");
        let files = VerifiedFiles::default();
        let later = SystemTime::now() + Duration::from_secs(60);
        fs::write(&path, "brick").unwrap();
        files.note_at(digest, stamp(), SystemTime::now());
        assert!(!files.knows(&digest, &stamp()), "it was changed a moment ago");
        files.note_at(digest, stamp(), later);
        assert!(files.knows(&digest, &stamp()));
        assert!(!files.knows(&Digest::sha256(b"brack"), &stamp()));
        let other = folder.path().join("b");
        fs::write(&other, "brack").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!files.knows(&digest, &stamp()));
    }
}
