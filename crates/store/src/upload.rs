//! Content that comes in before anyone says which it is: a file that grows until its digest is known.
//!
//! It lies in the folder of the process that receives it, so what a dead process leaves is removed
//! with that folder, and nobody else ever sees it.

use std::io;

use rustix::fs::OFlags;

use super::{Attempt, Entry, Result, Store, StoreError};
use hod_io::fs::{Child, PartialFile};
use hod_oci::{Algorithm, Digest, Hasher};

/// Content on its way into a store, not yet named. Dropping it throws it away.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    file: PartialFile,
    hasher: Hasher,
}

impl Store {
    /// Begins to receive content whose digest will be told at its end.
    pub fn upload(&self) -> Result<Upload> {
        Ok(Upload { store: self.clone(), file: self.own_file(0)?, hasher: Hasher::new(Algorithm::Sha256) })
    }

    /// A new file for content, which nobody else knows of; `needed` bytes will be written to it.
    ///
    /// It is locked before others can find it, as every partial file is that somebody writes to.
    pub(super) fn own_file(&self, needed: u64) -> Result<PartialFile> {
        let place = self.staging()?.upload();
        let create = |place: &Child| self.tree().create_new(place, OFlags::RDWR | OFlags::APPEND, needed);
        let file = PartialFile::lock(place, create, hod_io::fs::try_lock)?;
        file.map(PartialFile::to_be_removed).ok_or_else(|| io::Error::from(io::ErrorKind::ResourceBusy).into())
    }

    /// Takes small content at hand, to be committed later. The caller MUST have checked its digest.
    pub fn add(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let Some(mut ingest) = self.ingest(digest, bytes.len() as u64)? else { return Ok(()) };
        ingest.restart()?;
        ingest.write(bytes)?;
        ingest.commit()
    }
}

impl Upload {
    /// How many bytes are there.
    pub const fn written(&self) -> u64 {
        self.file.length()
    }

    /// Appends bytes. After a failure [`Upload::written`] tells how many of them are there.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let before = self.written();
        let written = self.file.append_chunks(&[bytes]);
        let count = usize::try_from(self.written() - before).unwrap_or(bytes.len());
        let (there, rest) = bytes.split_at(count.min(bytes.len()));
        self.hasher.update(there);
        written.map_err(|error| StoreError::write(self.file.file().path(), rest.len() as u64, error))
    }

    /// Takes what has come as the content with that digest, to be committed later; returns its length.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it has another digest; it is thrown away then.
    pub fn complete(self, digest: &Digest) -> Result<u64> {
        let found = self.digest(digest.algorithm())?;
        if found != *digest {
            return Err(StoreError::Corrupt { path: self.file.name().path(), found });
        }
        let size = self.written();
        match self.store.try_ingest(digest, size)? {
            Attempt::There => {}
            Attempt::Begun(mut ingest) => {
                ingest.replace(self.file)?;
                ingest.commit()?;
            }
            // Whoever else writes it may take long, and this one is complete.
            Attempt::Busy => {
                self.file.file().sync_data()?;
                self.store.inner.hashed.note(digest, &self.file.file().metadata()?);
                self.store.tree().place(self.file.name(), &Entry::Data(*digest).to_string())?;
                self.file.leave();
                self.store.staging()?.touch();
            }
        }
        Ok(size)
    }

    fn digest(&self, algorithm: Algorithm) -> Result<Digest> {
        if algorithm == Algorithm::Sha256 {
            return Ok(self.hasher.clone().finish());
        }
        let mut hasher = Hasher::new(algorithm);
        hasher.read(self.file.reader())?;
        Ok(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;
    use crate::Links;

    fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Store::create(folder.path()).unwrap(), folder)
    }

    fn upload(store: &Store, content: &[u8]) -> Upload {
        let mut upload = store.upload().unwrap();
        content.chunks(3).for_each(|chunk| upload.write(chunk).unwrap());
        upload
    }

    fn files(store: &Store, folder: &str) -> usize {
        walkdir::WalkDir::new(store.root().join(folder))
            .into_iter()
            .filter(|e| e.as_ref().unwrap().file_type().is_file())
            .count()
    }

    #[test]
    fn takes_content_of_any_algorithm_and_size() {
        let (store, _folder) = store();
        for content in [b"".to_vec(), b"brick".to_vec(), vec![7; 3 << 20]] {
            for algorithm in Algorithm::ALL {
                let digest = Digest::of(algorithm, &content);
                let size = content.len() as u64;
                assert_eq!(upload(&store, &content).complete(&digest).unwrap(), size);
                assert!(store.has(&digest, size).unwrap());
                // Twice is once.
                upload(&store, &content).complete(&digest).unwrap();
                let links = Links { layers: vec![digest], ..Links::none("a".parse().unwrap()) };
                store.commit(&[links]).unwrap();
                assert_eq!(fs::read(Entry::Data(digest).under(store.root())).unwrap(), content);
            }
        }
        assert_eq!(files(&store, ".hod/staged") + files(&store, ".hod/partial"), 0);
    }

    #[test]
    fn leaves_nothing_of_what_was_given_up_or_is_not_what_it_should_be() {
        let (store, _folder) = store();
        drop(upload(&store, b"brick"));
        let other = Digest::sha256(b"brack");
        assert!(matches!(upload(&store, b"brick").complete(&other), Err(StoreError::Corrupt { .. })));
        assert!(!store.has(&other, 5).unwrap());
        assert_eq!(files(&store, ""), 1, "only the lock file may be there");
    }

    #[test]
    fn does_not_wait_for_somebody_slower() {
        let (store, _folder) = store();
        let digest = Digest::sha256(b"brick");
        let mut slow = store.ingest(&digest, 5).unwrap().unwrap();
        slow.write(b"br").unwrap();
        upload(&store, b"brick").complete(&digest).unwrap();
        assert_eq!(fs::read(Entry::Data(digest).under(store.root())).unwrap(), b"brick");
        slow.write(b"ick").unwrap();
        slow.commit().unwrap();
        store.finish().unwrap();
        assert_eq!(fs::read(Entry::Data(digest).under(store.root())).unwrap(), b"brick");
    }

    #[test]
    fn a_dead_process_leaves_no_upload() {
        let (store, folder) = store();
        let staged = folder.path().join(".hod/staged/77");
        fs::create_dir(&staged).unwrap();
        fs::write(staged.join("upload-0"), "half").unwrap();
        let alive = upload(&store, b"brick");
        let second = Store::create(folder.path()).unwrap();
        assert!(!staged.exists());
        alive.complete(&Digest::sha256(b"brick")).unwrap();
        drop(second);
    }
}
