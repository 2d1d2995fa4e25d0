//! Tags that go together with their manifests.
//!
//! A tag has to go before its manifest, or it would lead nowhere for a moment. Whoever is killed in between would
//! leave a manifest without the tag by which it is known for what it is: the signature of an image that is gone would
//! be an image without a tag, which somebody may have asked for. So such tags are kept aside until the manifests are gone:
//!
//! ```text
//! .hod/staged/<number>/withdrawn/docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/
//! ```
//!
//! What a dead process has kept there comes back if its manifest is still in place, and all is as it was before.

use std::io::Read as _;

use rustix::fs::OFlags;

use super::layout::LINK_LIMIT;
use super::root::{Root, absent};
use super::{Entry, Result, Store};
use crate::fs::Directory;
use crate::oci::Digest;

/// Where withdrawn tags are, in the folder of a process.
pub(super) const WITHDRAWN: &str = "withdrawn";

impl Store {
    /// Takes tags away and keeps them aside, each named by its `current` link. They are gone for good when
    /// [`Store::forget_withdrawn`] was called; until then those whose manifests are still in place come back when this
    /// process ends. That they are gone from their places is durable when this returns.
    pub fn withdraw(&self, tags: &[Entry]) -> Result<()> {
        let staging = self.staging()?;
        for tag in tags {
            let folder = tag.directory();
            let Some(from) = self.tree().child(&folder)? else { continue };
            absent(from.rename(&staging.withdraw_to(&folder)?))?;
            staging.touch();
        }
        self.finish()
    }

    /// Lets go of the tags that were withdrawn.
    pub fn forget_withdrawn(&self) -> Result<()> {
        absent(self.staging()?.withdrawn().remove_tree())?;
        Ok(())
    }
}

/// Puts back the tags whose manifests are still in place. Afterwards what is left there is deleted, so whatever cannot
/// be read is an error.
pub(super) fn restore(root: &Root, withdrawn: &Directory) -> Result<()> {
    for (path, _) in withdrawn.files_below()? {
        let Some(Entry::TagCurrent(name, tag)) = path.to_str().and_then(Entry::parse) else { continue };
        let link = match withdrawn.open_below(&path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(link) => link,
            Err(error) => return Err(crate::fs::with_path(&withdrawn.path().join(path), &error.into()).into()),
        };
        let mut text = Vec::new();
        link.take(LINK_LIMIT).read_to_end(&mut text)?;
        // A file that is no link was no tag.
        let Ok(digest) = String::from_utf8_lossy(&text).parse::<Digest>() else { continue };
        let is_there = |entry: Entry| Ok::<_, super::StoreError>(root.look(&entry.to_string())?.is_some());
        let is_whole = is_there(Entry::Revision(name.clone(), digest))? && is_there(Entry::Data(digest))?;
        let folder = Entry::TagCurrent(name, tag).directory();
        if is_whole && root.look(&folder)?.is_none() {
            root.place(&withdrawn.child_below(&folder)?, &folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err as fs;

    use super::*;
    use crate::oci::{RepositoryName, Tag};
    use crate::store::{Links, TagLink};

    const NAMES: [&str; 3] = ["a", "b", "c"];

    /// A store with a tag for each name, and each tag's entry and manifest.
    fn sample(folder: &Path) -> (Store, RepositoryName, [(Entry, Digest); 3]) {
        let store = Store::create(folder).unwrap();
        let name: RepositoryName = "x/y".parse().unwrap();
        let all = NAMES.map(|text| {
            let digest = Digest::sha256(text.as_bytes());
            store.add(&digest, text.as_bytes()).unwrap();
            (Entry::TagCurrent(name.clone(), text.parse().unwrap()), digest)
        });
        let revisions: Vec<Digest> = all.iter().map(|(_, digest)| *digest).collect();
        let tags =
            NAMES.iter().zip(&revisions).map(|(text, digest)| TagLink { name: text.parse().unwrap(), digest: *digest });
        let links = Links { tags: tags.collect(), revisions, ..Links::none(name.clone()) };
        store.commit(&[links]).unwrap();
        (store, name, all)
    }

    fn tags(store: &Store, name: &RepositoryName) -> Vec<String> {
        store.tags(name).unwrap().iter().map(Tag::to_string).collect()
    }

    #[test]
    fn a_tag_comes_back_unless_its_manifest_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (store, name, all) = sample(folder.path());
        store.withdraw(&all.clone().map(|(tag, _)| tag)).unwrap();
        assert_eq!(tags(&store, &name), [""; 0]);
        store.remove_revision(&name, &all[0].1).unwrap();
        // Somebody has given the name to another image meanwhile.
        let again = TagLink { name: "b".parse().unwrap(), digest: all[2].1 };
        store.commit(&[Links { tags: vec![again], ..Links::none(name.clone()) }]).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(tags(&store, &name), ["b", "c"]);
        for tag in ["b", "c"] {
            assert_eq!(store.tag(&name, &tag.parse().unwrap()).unwrap(), Some(all[2].1));
        }
        assert_eq!(fs::read_dir(folder.path().join(".hod/staged")).unwrap().count(), 0);
    }

    #[test]
    fn a_tag_that_cannot_be_read_waits_for_somebody_who_can() {
        let folder = tempfile::tempdir().unwrap();
        let (store, name, all) = sample(folder.path());
        store.withdraw(&[all[0].0.clone(), all[1].0.clone()]).unwrap();
        let (own, dead) = (folder.path().join(".hod/staged/0"), folder.path().join(".hod/staged/7"));
        fs::create_dir(&dead).unwrap();
        fs::rename(own.join(WITHDRAWN), dead.join(WITHDRAWN)).unwrap();
        drop(store);
        let link = dead.join(WITHDRAWN).join(all[1].0.to_string());
        fs::remove_file(&link).unwrap();
        // A file that not even root can read.
        fs_err::os::unix::fs::symlink(&link, &link).unwrap();
        drop(Store::create(folder.path()).unwrap());
        assert!(fs::symlink_metadata(&link).is_ok(), "it is still kept");

        fs::remove_file(&link).unwrap();
        fs::write(&link, all[1].1.to_string()).unwrap();
        let store = Store::create(folder.path()).unwrap();
        assert_eq!(tags(&store, &name), NAMES);
        assert!(!dead.exists());
    }

    #[test]
    fn what_is_no_link_was_no_tag() {
        let folder = tempfile::tempdir().unwrap();
        let (store, name, all) = sample(folder.path());
        store.withdraw(&all.clone().map(|(tag, _)| tag)).unwrap();
        let withdrawn = folder.path().join(".hod/staged/0").join(WITHDRAWN);
        let link = |number: usize| withdrawn.join(all[number].0.to_string());
        fs::write(link(0), [0xff; 300]).unwrap();
        fs::remove_file(link(1)).unwrap();
        drop(store);
        assert_eq!(tags(&Store::open(folder.path()).unwrap(), &name), ["c"]);
        assert!(!withdrawn.exists());
    }

    #[test]
    fn what_was_forgotten_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let (store, name, all) = sample(folder.path());
        store.forget_withdrawn().unwrap();
        store.withdraw(&all.clone().map(|(tag, _)| tag)).unwrap();
        store.forget_withdrawn().unwrap();
        drop(store);
        assert_eq!(tags(&Store::open(folder.path()).unwrap(), &name), [""; 0]);
    }

    #[test]
    fn what_a_dead_process_has_withdrawn_comes_back_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (store, name, all) = sample(folder.path());
        store.withdraw(&[all[1].0.clone()]).unwrap();
        // As it is if this process is killed now: nobody holds the lock.
        let (own, dead) = (folder.path().join(".hod/staged/0"), folder.path().join(".hod/staged/7"));
        fs::create_dir(&dead).unwrap();
        fs::rename(own.join(WITHDRAWN), dead.join(WITHDRAWN)).unwrap();
        // And what nobody of ours has made.
        fs::write(dead.join(WITHDRAWN).join("file"), "x").unwrap();
        drop(store);
        assert_eq!(tags(&Store::open(folder.path()).unwrap(), &name), ["a", "c"]);
        let store = Store::alone(folder.path()).unwrap();
        assert_eq!(tags(&store, &name), NAMES);
        assert!(!dead.exists());
    }
}
