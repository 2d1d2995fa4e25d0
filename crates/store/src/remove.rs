//! Taking links away: tags, manifests and layers of one repository. Content stays, for others may
//! refer to it; what nothing refers to is for a garbage collection.
//!
//! A folder of links goes in one rename, so a reader sees all of it or nothing, and a tag goes before
//! the manifest that it points to.

use super::root::absent;
use super::{Entry, Result, Store, StoreError};
use hod_oci::{Digest, RepositoryName, Tag};

impl Store {
    /// Removes a tag; says whether there was one. The manifest stays.
    pub fn remove_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<bool> {
        let removed = self.take_away(&Entry::TagCurrent(name.clone(), tag.clone()).directory())?;
        self.finish()?;
        Ok(removed)
    }

    /// Removes a manifest from a repository, with the tags that point to it; says whether it was there.
    pub fn remove_revision(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        for tag in self.tags(name)? {
            match self.tag(name, &tag) {
                Ok(Some(found)) if found == *digest => {
                    self.remove_tag(name, &tag)?;
                }
                Ok(_) | Err(StoreError::Link { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.remove_link(&Entry::Revision(name.clone(), *digest))
    }

    /// Removes a config or layer from a repository; says whether it was there.
    pub fn remove_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        self.remove_link(&Entry::Layer(name.clone(), *digest))
    }

    fn remove_link(&self, link: &Entry) -> Result<bool> {
        let existed = self.tree().look(&link.to_string())?.is_some();
        self.take_away(&link.directory())?;
        self.finish()?;
        Ok(existed)
    }

    /// Removes links and tags in the order given, each whole; a tag is named by its `current` link. What is gone is
    /// durably gone when this returns.
    pub fn remove_links(&self, links: &[Entry]) -> Result<()> {
        for link in links {
            self.take_away(&link.directory())?;
        }
        self.finish()
    }

    /// Takes a folder out of the root; says whether there was one.
    pub(super) fn take_away(&self, folder: &str) -> Result<bool> {
        let staging = self.staging()?;
        self.release_spelling();
        let Some(metadata) = self.tree().look(folder)? else { return Ok(false) };
        if !metadata.is_dir() {
            return Err(StoreError::Kind { path: self.root().join(folder), wanted: "folder" });
        }
        let Some(from) = self.tree().child(folder)? else { return Ok(false) };
        let gone = staging.upload();
        let Some(()) = absent(from.rename(&gone))? else { return Ok(false) };
        staging.touch();
        gone.remove_tree()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;
    use crate::{Links, TagLink};

    #[test]
    fn a_manifest_goes_with_its_tags_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let name: RepositoryName = "a/b".parse().unwrap();
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        store.add(&one, b"1").unwrap();
        store.add(&two, b"2").unwrap();
        let tag = |name: &str, digest| TagLink { name: name.parse().unwrap(), digest };
        let tags = vec![tag("x", one), tag("y", one), tag("z", two)];
        let links = Links { name: name.clone(), layers: vec![one], revisions: vec![one, two], tags };
        store.commit(&[links]).unwrap();

        assert!(store.remove_tag(&name, &"x".parse().unwrap()).unwrap());
        assert!(!store.remove_tag(&name, &"x".parse().unwrap()).unwrap());
        assert!(store.has_revision(&name, &one).unwrap());
        assert!(store.remove_revision(&name, &one).unwrap());
        assert!(!store.remove_revision(&name, &one).unwrap());
        assert_eq!(store.tags(&name).unwrap(), ["z".parse().unwrap()]);
        assert!(store.has_layer(&name, &one).unwrap());
        assert!(store.remove_layer(&name, &one).unwrap());
        assert!(!store.has_layer(&name, &one).unwrap());
        assert_eq!(store.revisions(&name).unwrap(), [two]);
        assert_eq!(store.size(&one).unwrap(), Some(1), "the content stays");
        assert_eq!(fs::read_dir(folder.path().join(".hod/staged/0")).unwrap().count(), 0);
    }
}
