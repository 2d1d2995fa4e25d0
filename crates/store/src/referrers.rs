//! Indexes of referrers, which are merged and never replaced: each knows only some of them.

use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use fs_err as fs;

use super::{Links, Result, Store, StoreError, TagLink};
use hod_oci::{Descriptor, Digest, Foreign, MediaType, MergeError, RepositoryName, Tag, merged};

/// The right to change indexes of referrers of a root, for as long as the value lives.
#[derive(Debug)]
pub struct ReferrersLock {
    file: fs::File,
}

/// The longest note: the name of a repository and a digest.
const NOTE_LIMIT: u64 = 1024;

impl ReferrersLock {
    /// Notes that the index of a manifest's referrers is to be written next. That is durable with the next commit, and
    /// so before anything of that commit is visible.
    pub fn note(&self, name: &RepositoryName, subject: &Digest) -> Result<()> {
        self.file.file().write_all_at(format!("{name} {subject}\n").as_bytes(), 0)?;
        Ok(())
    }

    /// Says that the index is written.
    pub fn forget(&self) -> Result<()> {
        Ok(self.file.set_len(0)?)
    }

    /// What was noted and not forgotten, since a process was killed in between.
    pub fn noted(&self) -> Result<Option<(RepositoryName, Digest)>> {
        let mut note = String::new();
        hod_io::fs::from_start(&self.file).take(NOTE_LIMIT).read_to_string(&mut note)?;
        // One that was only begun was of a commit that has not begun.
        let Some((name, subject)) = note.lines().next().and_then(|line| line.split_once(' ')) else { return Ok(None) };
        Ok(name.parse().ok().zip(subject.parse().ok()))
    }
}

impl Store {
    /// Waits until nobody else changes an index of referrers of this root.
    pub fn lock_referrers(&self) -> Result<ReferrersLock> {
        let file = self.staging()?.referrers()?;
        file.lock().map_err(|error| hod_io::fs::with_path(file.path(), &error))?;
        Ok(ReferrersLock { file })
    }

    /// The bytes of the index of referrers that the tag points to, or of whatever it points to instead.
    ///
    /// `None` where nothing is there, or nothing that anybody could use: no bytes, damaged ones, more than any manifest
    /// has. What may be sound and cannot be read is an error, for what it names would be lost.
    pub fn kept_referrers(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Bytes>> {
        let digest = match self.tag(name, tag) {
            Ok(Some(digest)) => digest,
            Ok(None) | Err(StoreError::Link { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.read_manifest(&digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::Absent { .. } | StoreError::Corrupt { .. } | StoreError::Manifest { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the tag of an index of referrers stands for, where that is something else.
    pub fn foreign_at(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Foreign>> {
        Ok(self.kept_referrers(name, tag)?.and_then(|bytes| Foreign::of(&bytes)))
    }

    /// That the tag of an index of referrers stands for something else.
    pub fn taken(&self, name: &RepositoryName, tag: &Tag, found: Foreign) -> StoreError {
        let found = Box::new(found);
        StoreError::Foreign { root: self.root().to_owned(), name: name.clone(), tag: tag.clone(), found }
    }

    /// Merges an index of referrers into the one that the tag points to. Returns what it points to then.
    ///
    /// What the index names must be in the store, or it is named and absent. An index that is damaged is replaced; one
    /// that cannot be read is an error, and so is something else that has the tag: it would lose it.
    pub fn merge_referrers(&self, name: &RepositoryName, tag: &Tag, index: &Bytes) -> Result<Digest> {
        let _alone = self.lock_referrers()?;
        let old = self.kept_referrers(name, tag)?;
        let bytes = merged(old.as_ref(), index).map_err(|error| match error {
            MergeError::Existing(found) => self.taken(name, tag, found),
            MergeError::Incoming(source) => StoreError::Manifest { digest: Digest::sha256(index), source },
        })?;
        let root = Descriptor::of(MediaType::OciIndex, &bytes);
        self.add(&root.digest, &bytes)?;
        let tags = vec![TagLink { name: tag.clone(), digest: root.digest }];
        self.commit(&[Links { revisions: vec![root.digest], tags, ..Links::none(name.clone()) }])?;
        Ok(root.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_oci::{ReferrerIndex, referrers_tag};

    #[test]
    fn an_index_is_replaced_where_it_is_damaged_and_not_where_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let (name, tag) = ("app".parse().unwrap(), referrers_tag(&Digest::sha256(b"")).unwrap());
        let index = |text: &str| {
            let mut index = ReferrerIndex::default();
            index.add(&Descriptor::of(MediaType::OciManifest, text.as_bytes()));
            index.to_bytes()
        };
        let old = store.merge_referrers(&name, &tag, &index("1")).unwrap();
        let file = crate::Entry::Data(old).under(folder.path());
        fs::remove_file(&file).unwrap();
        // A file that not even root can read.
        fs_err::os::unix::fs::symlink(&file, &file).unwrap();
        let error = store.merge_referrers(&name, &tag, &index("2")).unwrap_err();
        assert!(matches!(error, StoreError::Io(_)) && error.to_string().contains(&old.hex()), "{error}");
        assert_eq!(store.tag(&name, &tag).unwrap(), Some(old));

        fs::remove_file(&file).unwrap();
        fs::write(&file, "damaged").unwrap();
        let new = store.merge_referrers(&name, &tag, &index("2")).unwrap();
        assert_eq!(store.read_manifest(&new).unwrap(), index("2"));
        fs::remove_file(crate::Entry::Data(new).under(folder.path())).unwrap();
        store.merge_referrers(&name, &tag, &index("3")).unwrap();
    }

    #[test]
    fn many_writers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (name, tag) = ("app".parse().unwrap(), referrers_tag(&Digest::sha256(b"")).unwrap());
        let entry = |number: usize| Descriptor::of(MediaType::OciManifest, number.to_string().as_bytes());
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (name, tag, folder) = (&name, &tag, folder.path());
                scope.spawn(move || {
                    let mut index = ReferrerIndex::default();
                    index.add(&entry(number));
                    Store::create(folder).unwrap().merge_referrers(name, tag, &index.to_bytes()).unwrap();
                });
            }
        });
        let store = Store::open(folder.path()).unwrap();
        let digest = store.tag(&name, &tag).unwrap().unwrap();
        let index = String::from_utf8(store.read_manifest(&digest).unwrap().to_vec()).unwrap();
        for number in 0..8 {
            assert!(index.contains(&entry(number).digest.to_string()), "{number} is lost: {index}");
        }
        assert!(store.has_revision(&name, &digest).unwrap());
    }
}
