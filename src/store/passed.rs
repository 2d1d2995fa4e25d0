//! How far a bundle has been read by a run that was interrupted, so that the next one need not read all of it again.
//!
//! It is a claim about the bundle alone: of its first blobs each was read and found right. Whether the root has them is
//! another question, which [`Store::has`] answers.

use std::io::{self, Write as _};
use std::path::PathBuf;

use fs_err as fs;

use super::root::absent;
use super::{Result, Store};
use crate::oci::Digest;

impl Store {
    /// How many blobs of a bundle, from the first on, interrupted runs have read and found right.
    pub fn passed(&self, bundle: &Digest) -> Result<usize> {
        let note = absent(crate::fs::read_head(&self.passed_file(bundle)?, 20))?;
        // One that a crash has cut short or emptied claims less.
        Ok(note.and_then(|note| String::from_utf8(note).ok()?.parse().ok()).unwrap_or_default())
    }

    /// Notes that so many blobs of a bundle have been read and found right.
    pub fn note_passed(&self, bundle: &Digest, count: usize) -> Result<()> {
        let path = self.passed_file(bundle)?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        crate::fs::open_own(&path, options)?.write_all(count.to_string().as_bytes())?;
        self.tree().give(&path)
    }

    /// Forgets a bundle that has been read to its end.
    pub fn forget_passed(&self, bundle: &Digest) -> Result<()> {
        absent(fs::remove_file(self.passed_file(bundle)?)).map(drop).map_err(io::Error::into)
    }

    fn passed_file(&self, bundle: &Digest) -> Result<PathBuf> {
        Ok(self.staging()?.passed(bundle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_counts_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let (one, other) = (Digest::sha256(b"one"), Digest::sha256(b"other"));
        assert_eq!(store.passed(&one).unwrap(), 0);
        store.note_passed(&one, 100).unwrap();
        store.note_passed(&one, 7).unwrap();
        assert_eq!((store.passed(&one).unwrap(), store.passed(&other).unwrap()), (7, 0));
        assert_eq!(store.unfinished().unwrap(), (1, 1));
        fs::write(store.passed_file(&one).unwrap(), "rubbish, and more of it than a number has").unwrap();
        assert_eq!(store.passed(&one).unwrap(), 0);
        store.forget_passed(&one).unwrap();
        store.forget_passed(&one).unwrap();
        assert_eq!(store.unfinished().unwrap(), (0, 0));
    }
}
