//! Which files of a store were hashed and are unchanged since.

use std::fs::Metadata;

use super::hashed::{Verdict, only_own_user_writes};
use super::{Entry, Result, Store};
use hod_engine::endpoint::LocalFile;
use hod_oci::{Digest, Hasher};

impl Store {
    /// Whether the content is in its place and right: hod has hashed the file as it is now, or hashes it here.
    ///
    /// `false` where it is not there or damaged; whoever brings it again then replaces it.
    pub fn holds(&self, digest: &Digest) -> Result<bool> {
        let record = &self.inner.hashed;
        if self.is_staged(digest) {
            return Ok(true);
        }
        let Some(metadata) = self.in_place(digest)? else { return Ok(false) };
        match record.judge(digest, &metadata) {
            Verdict::Right => return Ok(true),
            Verdict::Damaged => return Ok(false),
            Verdict::Unknown => {}
        }
        let Some((file, metadata)) = self.tree().open(&Entry::Data(*digest).to_string())? else { return Ok(false) };
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.read(hod_io::fs::ColdFile::new(file))?;
        if hasher.finish() == *digest {
            record.note(digest, &metadata);
            return Ok(true);
        }
        record.note_damage(digest, &metadata);
        Ok(false)
    }

    /// How long some content is, to which a manifest gives the length `declared`; `None` where it is not there, or has
    /// another length because it is damaged.
    pub fn real_size(&self, digest: &Digest, declared: u64) -> Result<Option<u64>> {
        match self.size(digest)? {
            Some(found) if found != declared && !self.holds(digest)? => Ok(None),
            found => Ok(found),
        }
    }

    /// Content that was found damaged through this store and has been replaced since, sorted.
    pub fn repaired(&self) -> Result<Vec<Digest>> {
        let mut repaired = Vec::new();
        for digest in self.inner.hashed.damaged() {
            let found = self.tree().look(&Entry::Data(digest).to_string())?;
            if found.is_some_and(|metadata| !self.is_damaged(&digest, &metadata)) {
                repaired.push(digest);
            }
        }
        repaired.sort();
        Ok(repaired)
    }

    /// The file that holds some content, to be linked; `None` where it has another length.
    ///
    /// Whether its bytes are known to be right is answered with more care than for the root itself, since they leave
    /// it: nobody else may be able to write to the file, or to put another record in the place of this one.
    pub fn file(&self, digest: &Digest, size: u64) -> Result<Option<LocalFile>> {
        let file = self.open_blob(digest)?;
        let metadata = file.metadata()?;
        if metadata.len() != size {
            return Ok(None);
        }
        let record = &self.inner.hashed;
        let is_known = only_own_user_writes(&metadata)
            && matches!(record.judge(digest, &metadata), Verdict::Right)
            && record.is_guarded();
        Ok(Some(if is_known { LocalFile::known(file) } else { LocalFile::new(file) }))
    }

    /// Whether the file that was looked at is known to be damaged.
    pub(super) fn is_damaged(&self, digest: &Digest, metadata: &Metadata) -> bool {
        self.inner.hashed.is_damaged(digest, metadata)
    }
}
