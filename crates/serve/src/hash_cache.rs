//! Files whose bytes were right, so that a blob is hashed once and not for every client.
//!
//! A file counts as the same as long as the system says that nobody has written to it: device, inode,
//! length, and the times of its last change. One that was changed a moment ago is hashed again the next
//! time, for two changes within one tick of the clock would look like one.

use std::time::{SystemTime, UNIX_EPOCH};

use super::cache::Cache;
use super::stamp::Stamp;
use hod_oci::Digest;

/// How old a change must be, in seconds, to be told from the next one.
const TICK: i64 = 2;
/// Files that are remembered before all are forgotten.
const REMEMBERED: usize = 100_000;

/// The files that were found right.
#[derive(Debug, Default)]
pub(super) struct HashCache(Cache<Digest, Stamp, REMEMBERED>);

impl HashCache {
    /// Whether a file in this state was found to hold that content.
    pub(super) fn knows(&self, digest: &Digest, stamp: &Stamp) -> bool {
        self.0.get(digest) == Some(*stamp)
    }

    /// Takes note that a file held that content; `stamp` was taken before it was read.
    pub(super) fn note(&self, digest: Digest, stamp: Stamp, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        if stamp.changed.0.max(stamp.modified.0).saturating_add(TICK) <= now {
            self.0.insert(digest, stamp);
        }
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
        let files = HashCache::default();
        let later = SystemTime::now() + Duration::from_secs(60);
        fs::write(&path, "brick").unwrap();
        files.note(digest, stamp(), SystemTime::now());
        assert!(!files.knows(&digest, &stamp()), "it was changed a moment ago");
        files.note(digest, stamp(), later);
        assert!(files.knows(&digest, &stamp()));
        assert!(!files.knows(&Digest::sha256(b"brack"), &stamp()));
        let other = folder.path().join("b");
        fs::write(&other, "brack").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!files.knows(&digest, &stamp()));
    }
}
