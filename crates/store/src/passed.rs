//! How far a bundle has been read by a run that was interrupted, so that the next one need not read all of it again.
//!
//! It is a claim about the bundle alone: of its first blobs each was read and found right. Whether the root has them is
//! another question, which [`Store::has`] answers.

use std::io::{self, Read as _, Write as _};

use rustix::fs::OFlags;

use super::root::absent;
use super::{Result, Store};
use hod_oci::Digest;

impl Store {
    /// How many blobs of a bundle, from the first on, interrupted runs have read and found right.
    pub fn passed(&self, bundle: &Digest) -> Result<usize> {
        let Some(note) = absent(self.staging()?.passed(bundle).open(OFlags::RDONLY))? else { return Ok(0) };
        let mut text = Vec::new();
        note.take(20).read_to_end(&mut text)?;
        // One that a crash has cut short or emptied claims less.
        Ok(String::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// Notes that so many blobs of a bundle have been read and found right.
    pub fn note_passed(&self, bundle: &Digest, count: usize) -> Result<()> {
        let mut note = self.tree().open_alone(&self.staging()?.passed(bundle), OFlags::WRONLY, 0)?;
        note.set_len(0)?;
        Ok(note.write_all(count.to_string().as_bytes())?)
    }

    /// Forgets a bundle that has been read to its end.
    pub fn forget_passed(&self, bundle: &Digest) -> Result<()> {
        absent(self.staging()?.passed(bundle).remove()).map(drop).map_err(io::Error::into)
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
        fs_err::write(store.staging().unwrap().passed(&one).path(), "rubbish, and more of it than a number has")
            .unwrap();
        assert_eq!(store.passed(&one).unwrap(), 0);
        store.forget_passed(&one).unwrap();
        store.forget_passed(&one).unwrap();
        assert_eq!(store.unfinished().unwrap(), (0, 0));
    }
}
