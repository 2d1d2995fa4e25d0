//! Blobs whose bytes were wrong, so that the next client is told so and is not sent all of them again.
//!
//! Of a large blob it is known only at its end, when the status has been sent: the client sees a broken
//! connection, and asks again. Then it learns what is wrong, whatever part it asks for.

use std::path::Path;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::stamp::Stamp;
use hod_engine::endpoint::Mismatch;
use hod_oci::Digest;

/// How long a blob counts as damaged: a disk or drive may have misread it.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Blobs that are remembered before all are forgotten.
const LIMIT: usize = 100_000;

/// The blobs that were found damaged.
#[derive(Debug, Default)]
pub(super) struct DamageList(Cache<Digest, Damage, LIMIT>);

#[derive(Debug, Clone, Copy)]
struct Damage {
    /// The file's state, where the blob has a file of its own; another state may mean that it was replaced.
    stamp: Option<Stamp>,
    found: Instant,
}

impl DamageList {
    /// Whether a blob was found damaged a while ago, in whatever file.
    pub(super) fn lists(&self, digest: &Digest) -> bool {
        self.lists_at(digest, Instant::now())
    }

    fn lists_at(&self, digest: &Digest, now: Instant) -> bool {
        self.0.get(digest).is_some_and(|damage| now.saturating_duration_since(damage.found) < REMEMBERED)
    }

    /// Whether that was in a file in this state.
    pub(super) fn knows(&self, digest: &Digest, stamp: Option<&Stamp>) -> bool {
        self.0.get(digest).is_some_and(|damage| damage.stamp.as_ref() == stamp)
    }

    /// Takes note that a blob whose bytes lie in `place` is damaged, and warns of it once.
    pub(super) fn note(&self, digest: Digest, stamp: Option<Stamp>, place: &Path, mismatch: &Mismatch) {
        let before = self.0.insert(digest, Damage { stamp, found: Instant::now() });
        if before.is_none_or(|before| before.stamp != stamp) {
            tracing::warn!(%digest, path = %place.display(), error = mismatch as &dyn std::error::Error, "a blob is damaged");
        }
    }

    /// Takes note that a blob was right after all.
    pub(super) fn forget(&self, digest: &Digest) {
        self.0.remove(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_of_one_file_and_some_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let stamp = || Stamp::of(&fs_err::metadata(&path).unwrap());
        let digest = Digest::sha256(b"brick");
        let mismatch = || Mismatch::Digest { expected: digest, found: Digest::sha256(b"brack") };
        let blobs = DamageList::default();
        fs_err::write(&path, "brack").unwrap();
        let old = stamp();
        blobs.note(digest, Some(old), &path, &mismatch());
        assert!(blobs.lists(&digest) && blobs.knows(&digest, Some(&old)) && !blobs.knows(&digest, None));
        fs_err::write(folder.path().join("b"), "brick").unwrap();
        fs_err::rename(folder.path().join("b"), &path).unwrap();
        assert!(!blobs.knows(&digest, Some(&stamp())), "it was replaced");
        assert!(!blobs.lists_at(&digest, Instant::now() + REMEMBERED));
        blobs.note(digest, None, Path::new("a.tar"), &mismatch());
        assert!(blobs.knows(&digest, None));
        blobs.forget(&digest);
        assert!(!blobs.lists(&digest));
    }
}
