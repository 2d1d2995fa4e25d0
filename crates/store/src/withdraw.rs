//! Tags and manifests that go together, or not at all.
//!
//! A tag has to go before its manifest, or it would lead nowhere for a moment. Whoever is killed in between would
//! leave a manifest without the tag by which it is known for what it is: an image that nobody can remove by its name any
//! more, or the signature of an image that is gone, which would be an image without a tag. So both are kept aside until
//! all are out of their places, and let go in one step:
//!
//! ```text
//! .hod/staged/<number>/withdrawn/<number>/<name>/_manifests/tags/<tag>/
//! .hod/staged/<number>/withdrawn/<number>/<name>/_manifests/revisions/<algorithm>/<hex>/
//! ```
//!
//! What a dead process has kept there comes back in the opposite order, a tag only to its manifest, and all is as it
//! was before. Which names a removal takes is noted in `.hod/removed`, for whoever runs it again.

use rustix::fs::OFlags;

use super::restore::below;
use super::root::absent;
use super::{Entry, Result, Store};
use hod_io::fs::Removal;

impl Store {
    /// Takes tags, each named by its `current` link, or manifests away, and keeps them aside. They are gone for good when
    /// [`Store::forget_withdrawn`] was called; until then they come back when this process ends. That they are gone from
    /// their places is durable when this returns.
    pub fn withdraw(&self, links: &[Entry]) -> Result<()> {
        let staging = self.staging()?;
        let mut number = staging.number();
        for link in links {
            let folder = link.directory();
            let Some(from) = self.tree().child(&folder)? else { continue };
            // An index goes before its children, and comes back after them.
            if matches!(link, Entry::Revision(..)) {
                number = staging.number();
            }
            absent(from.rename(&staging.withdraw_to(number, below(&folder))?))?;
            staging.touch();
        }
        self.finish()
    }

    /// Lets go of all that was withdrawn, in one step. That is durable after the next [`Store::finish`].
    pub fn forget_withdrawn(&self) -> Result<()> {
        let staging = self.staging()?;
        let gone = staging.upload();
        if absent(staging.withdrawn().rename(&gone))?.is_some() {
            staging.touch();
            gone.remove_tree()?;
        }
        Ok(())
    }

    /// The note of a removal, with the names that one was to take that was killed.
    pub fn removal(&self) -> Result<Removal> {
        Ok(Removal::open(self.staging()?.removed())?)
    }

    /// Notes the names that are about to be removed.
    pub fn note_removal(&self, removal: &Removal, names: impl IntoIterator<Item = String>) -> Result<()> {
        removal.note(names)?;
        self.tree().give(&removal.file().open(OFlags::RDONLY | OFlags::NONBLOCK)?)
    }

    /// Says that all names are removed that were noted. They are forgotten when this process has left nothing else.
    pub fn end_removal(&self) -> Result<()> {
        self.staging()?.end_removal();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err as fs;

    use super::*;
    use crate::restore::WITHDRAWN;
    use crate::{Links, TagLink};
    use hod_oci::{Digest, RepositoryName, Tag};

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

    /// Where a link is kept aside, of which all have gone with one call.
    fn kept(withdrawn: &Path, link: &Entry) -> std::path::PathBuf {
        fs::read_dir(withdrawn).unwrap().next().unwrap().unwrap().path().join(below(&link.to_string()))
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
        let link = kept(&dead.join(WITHDRAWN), &all[1].0);
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
        let link = |number: usize| kept(&withdrawn, &all[number].0);
        fs::write(link(0), [0xff; 300]).unwrap();
        fs::remove_file(link(1)).unwrap();
        drop(store);
        assert_eq!(tags(&Store::open(folder.path()).unwrap(), &name), ["c"]);
        assert!(!withdrawn.exists());
    }

    #[test]
    fn manifests_come_back_with_their_tags_or_none_does() {
        let folder = tempfile::tempdir().unwrap();
        let (store, name, all) = sample(folder.path());
        let (tags, digests) = (all.clone().map(|(tag, _)| tag), all.map(|(_, digest)| digest));
        let revisions = digests.map(|digest| Entry::Revision(name.clone(), digest));
        let count = || {
            let store = Store::open(folder.path()).unwrap();
            (store.tags(&name).unwrap().len(), store.revisions(&name).unwrap().len())
        };
        store.withdraw(&tags).unwrap();
        assert_eq!(count(), (0, 3));
        store.withdraw(&revisions).unwrap();
        assert_eq!(count(), (0, 0));
        drop(store);
        assert_eq!(count(), (3, 3));
        let store = Store::alone(folder.path()).unwrap();
        store.withdraw(&tags).unwrap();
        store.withdraw(&revisions).unwrap();
        store.forget_withdrawn().unwrap();
        drop(store);
        assert_eq!(count(), (0, 0));
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
