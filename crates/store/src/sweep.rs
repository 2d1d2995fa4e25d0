//! What a garbage collection needs of a root: its blobs, and ways to be rid of what nothing refers to.
//!
//! Nothing here decides what that is.

use std::io;
use std::os::unix::fs::MetadataExt as _;

use super::layout::{BLOBS, REPOSITORIES};
use super::root::absent;
use super::{Entry, Result, Store, staging};
use hod_oci::{Algorithm, Digest, RepositoryName, Tag};

/// A blob in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Whether the file has a name elsewhere too, so that deleting it here frees nothing.
    pub shared: bool,
}

impl Store {
    /// Every blob in its place, sorted.
    pub fn blobs(&self) -> Result<Vec<StoredBlob>> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for folder in self.folders(&format!("{BLOBS}/{}", algorithm.name()))? {
                for hex in self.folders(&format!("{BLOBS}/{}/{folder}", algorithm.name()))? {
                    let Ok(digest) = Digest::from_parts(algorithm, &hex) else { continue };
                    let data = self.tree().look(&Entry::Data(digest).to_string())?;
                    if let Some(metadata) = data.filter(std::fs::Metadata::is_file) {
                        found.push(StoredBlob { digest, size: metadata.len(), shared: metadata.nlink() > 1 });
                    }
                }
            }
        }
        found.sort_by_key(|blob| blob.digest);
        Ok(found)
    }

    /// What a tag has pointed to.
    pub fn tag_history(&self, name: &RepositoryName, tag: &Tag) -> Result<Vec<Digest>> {
        let folder = Entry::TagCurrent(name.clone(), tag.clone()).directory();
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            let hexes = self.folders(&format!("{folder}/index/{}", algorithm.name()))?;
            found.extend(hexes.iter().filter_map(|hex| Digest::from_parts(algorithm, hex).ok()));
        }
        Ok(found)
    }

    /// Removes a blob, to which nothing may refer any more.
    pub fn remove_blob(&self, digest: &Digest) -> Result<()> {
        let staging = self.staging()?;
        let data = Entry::Data(*digest).to_string();
        let Some(blob) = self.tree().child(&data)? else { return Ok(()) };
        absent(blob.remove())?;
        staging.touch();
        // The folder of the blob, and that of its first two digits when it was the last.
        self.remove_empty(data.rsplit_once('/').map_or(&*data, |(above, _)| above), 2)
    }

    /// Removes the folders of blobs in which nothing is left, as a run leaves one that is killed between the two.
    pub fn remove_hollow_blobs(&self) -> Result<()> {
        for algorithm in Algorithm::ALL {
            let all = format!("{BLOBS}/{}", algorithm.name());
            for digits in self.folders(&all)? {
                let above = format!("{all}/{digits}");
                for hex in self.folders(&above)? {
                    let blob = format!("{above}/{hex}");
                    if self.tree().look(&format!("{blob}/data"))?.is_none() {
                        self.remove_empty(&blob, 1)?;
                    }
                }
                self.remove_empty(&above, 1)?;
            }
        }
        Ok(())
    }

    /// Removes the folders of repositories in which nothing is left, likewise.
    pub fn remove_hollow_repositories(&self) -> Result<()> {
        let mut names = self.folders(REPOSITORIES)?;
        let mut hollow = Vec::new();
        while let Some(name) = names.pop() {
            let folder = format!("{REPOSITORIES}/{name}");
            let (own, deeper): (Vec<_>, Vec<_>) =
                self.folders(&folder)?.into_iter().partition(|it| it.starts_with('_'));
            names.extend(deeper.iter().map(|it| format!("{name}/{it}")));
            if own.is_empty() {
                hollow.push(folder);
            }
        }
        // What is in a folder was found after it.
        hollow.iter().rev().try_for_each(|folder| self.remove_empty(folder, 1))
    }

    /// Removes a folder and those above it, so many at most, as long as nothing is in them.
    fn remove_empty(&self, folder: &str, most: usize) -> Result<()> {
        let above = std::iter::successors(Some(folder), |folder| Some(folder.rsplit_once('/')?.0));
        for folder in above.take(most) {
            let Some(empty) = self.tree().child(folder)? else { break };
            if empty.remove_directory().is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes the folders of a repository in which nothing is left; says whether it was one.
    pub fn remove_empty_repository(&self, name: &RepositoryName) -> Result<bool> {
        let folder = Entry::Layers(name.clone()).to_string();
        let folder = folder.strip_suffix("/_layers").unwrap_or(&folder).to_owned();
        let holds = |below: &str| -> Result<bool> {
            // What a registry has removed meanwhile is not there, and what cannot be looked into may be anything.
            let Some(folder) = self.tree().directory(&format!("{folder}/{below}"))? else { return Ok(false) };
            Ok(absent(folder.files_below())?.is_some_and(|files| !files.is_empty()))
        };
        for below in ["_layers", "_manifests", "_uploads"] {
            if holds(below)? {
                return Ok(false);
            }
        }
        // `_layers` last: a registry of version 3 fails on a repository that has manifests and no layers.
        for below in ["_manifests", "_uploads", "_layers"] {
            self.take_away(&format!("{folder}/{below}"))?;
        }
        self.remove_empty(&folder, name.as_str().split('/').count())?;
        Ok(true)
    }

    /// What interrupted runs have left: files and bytes.
    pub fn unfinished(&self) -> Result<(usize, u64)> {
        let found = match &self.inner.writing {
            Some(writing) => writing.staging.unfinished()?,
            None => staging::unfinished(self.tree())?,
        };
        Ok((found.len(), found.iter().map(|(_, bytes)| bytes).sum()))
    }

    /// Removes what interrupted runs have left; the next run begins those blobs anew.
    pub fn discard_unfinished(&self) -> Result<()> {
        let found = self.staging()?.unfinished()?;
        found.iter().try_for_each(|(file, _)| absent(file.remove()).map(drop)).map_err(io::Error::into)
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;
    use crate::{Links, StoreError, TagLink};

    #[test]
    fn who_deletes_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Store::alone(folder.path()), Err(StoreError::NoRoot(_))));
        let writer = Store::create(folder.path()).unwrap();
        assert!(matches!(Store::alone(folder.path()), Err(StoreError::InUse(_))));
        drop(writer);
        let alone = Store::alone(folder.path()).unwrap();
        assert!(matches!(Store::create(folder.path()), Err(StoreError::Locked(_))));
        assert!(Store::alone(folder.path()).is_err());
        Store::open(folder.path()).unwrap();
        drop(alone);
        Store::create(folder.path()).unwrap();
    }

    #[test]
    fn blobs_and_repositories_go_with_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let digest = Digest::sha256(b"1");
        store.add(&digest, b"1").unwrap();
        let outer: RepositoryName = "a".parse().unwrap();
        let inner: RepositoryName = "a/b".parse().unwrap();
        let tag = TagLink { name: "t".parse().unwrap(), digest };
        let links = Links { revisions: vec![digest], tags: vec![tag.clone()], ..Links::none(inner.clone()) };
        store.commit(&[Links::none(outer.clone()), links]).unwrap();
        assert_eq!(store.blobs().unwrap(), [StoredBlob { digest, size: 1, shared: false }]);
        assert_eq!(store.tag_history(&inner, &tag.name).unwrap(), [digest]);
        fs::hard_link(Entry::Data(digest).under(folder.path()), folder.path().join("elsewhere")).unwrap();
        assert!(store.blobs().unwrap()[0].shared);

        assert!(store.remove_empty_repository(&outer).unwrap(), "nothing is in it but another repository");
        assert!(!store.remove_empty_repository(&inner).unwrap());
        let links = [Entry::TagCurrent(inner.clone(), tag.name.clone()), Entry::Revision(inner.clone(), digest)];
        store.remove_links(&links).unwrap();
        assert!(store.remove_empty_repository(&inner).unwrap());
        store.remove_blob(&digest).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("docker/registry/v2/repositories")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(folder.path().join("docker/registry/v2/blobs/sha256")).unwrap().count(), 0);
    }

    #[test]
    fn folders_of_blobs_that_a_killed_run_has_left_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let digest = Digest::sha256(b"1");
        store.add(&digest, b"1").unwrap();
        store.finish().unwrap();
        let blobs = folder.path().join("docker/registry/v2/blobs/sha256");
        let stays = Entry::Data(digest).under(folder.path());
        for hollow in ["00".to_owned(), format!("ff/{}", "f".repeat(64)), "aa/not-a-digest".to_owned()] {
            fs::create_dir_all(blobs.join(hollow)).unwrap();
        }
        fs::create_dir(stays.parent().unwrap().with_file_name(digest.hex().replace('1', "0"))).unwrap();
        fs::create_dir_all(blobs.join("bb/cc")).unwrap();
        fs::write(blobs.join("bb/cc/of-somebody"), "").unwrap();
        store.remove_hollow_blobs().unwrap();
        assert!(stays.exists() && blobs.join("bb/cc/of-somebody").exists());
        assert_eq!(fs::read_dir(&blobs).unwrap().count(), 2);
        assert_eq!(fs::read_dir(stays.ancestors().nth(2).unwrap()).unwrap().count(), 1);
    }
}
