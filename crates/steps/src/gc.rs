//! Deletes unreferenced content of a store: tags first, then links, then blobs.
//!
//! Whoever is killed in between leaves a store in which every tag still leads to all that it did, and every
//! manifest to all that it names. A tag whose manifest was still to go comes back when the store is next written to,
//! so that the next run knows the manifest for what it is.

use std::collections::BTreeSet;

use super::reach::{ReachError, ReachedContent, ReferenceWalk};
use hod_engine::observe::{Event, Observer, Stop};
use hod_oci::{Algorithm, Digest, RepositoryName, Tag, companion_of};
use hod_store::{Entry, Store, StoreError, StoredBlob};

/// What becomes of images that have no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntaggedPolicy {
    /// They stay: somebody may have asked for them by their digest.
    Keep,
    /// They go.
    Delete,
}

/// What nothing refers to.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Tags of what belongs to images that are gone.
    pub tags: Vec<(RepositoryName, Tag, Digest)>,
    /// Manifests that are to leave their repositories, indexes before their children.
    pub revisions: Vec<(RepositoryName, Digest)>,
    /// The links that nobody looks at by name: of layers, and of what tags have pointed to.
    pub links: Vec<Entry>,
    /// Blobs that no repository needs.
    pub blobs: Vec<StoredBlob>,
    /// What interrupted runs have left: files and bytes.
    pub unfinished: (usize, u64),
}

/// Why garbage was not collected.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// It is not known what the store needs.
    #[error("cannot determine the content that the store needs")]
    Reach(#[from] ReachError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Asked to stop.
    #[error("stopped before everything was deleted")]
    Stopped,
}

impl Garbage {
    /// Finds what nothing refers to. What cannot be read ends the search: it might refer to anything.
    pub fn find(store: &Store, untagged: UntaggedPolicy) -> Result<Self, GcError> {
        let names = store.repositories()?;
        let mut elsewhere = Elsewhere::default();
        loop {
            let mut garbage = Self::default();
            let mut live = ReachedContent::default();
            for name in &names {
                let ReachedContent { manifests, blobs } = garbage.look_at(store, name, untagged, &mut elsewhere)?;
                live.manifests.extend(manifests);
                live.blobs.extend(blobs);
            }
            // What waits for a manifest of another repository was judged by what was known of that one.
            if elsewhere.is_asked_for && elsewhere.live != live.manifests {
                elsewhere = Elsewhere { live: live.manifests, is_asked_for: false };
                continue;
            }
            garbage.blobs = store.blobs()?;
            garbage.blobs.retain(|blob| !live.manifests.contains(&blob.digest) && !live.blobs.contains(&blob.digest));
            garbage.unfinished = store.unfinished()?;
            return Ok(garbage);
        }
    }

    /// Finds what a repository needs; the rest of it is garbage.
    fn look_at(
        &mut self,
        store: &Store,
        name: &RepositoryName,
        untagged: UntaggedPolicy,
        elsewhere: &mut Elsewhere,
    ) -> Result<ReachedContent, GcError> {
        let mut reach = ReferenceWalk::new(store, name)?;
        let tags = reach.tags()?;
        let mut roots = Roots::new(store, name, &mut reach, &tags, (untagged, elsewhere))?;
        let mut live = roots.follow(&mut reach)?;
        // A registry keeps what was pushed under another algorithm under SHA-256, and links the one to the other.
        for blob in live.blobs.clone().iter().filter(|blob| blob.algorithm() != Algorithm::Sha256) {
            live.blobs.extend(store.layer_target(name, blob)?);
        }

        for (tag, digest) in &tags {
            if roots.waiting.iter().any(|waiting| waiting.tag.as_ref() == Some(tag)) {
                self.tags.push((name.clone(), tag.clone(), *digest));
                continue;
            }
            let past = store.tag_history(name, tag)?;
            let past = past.into_iter().filter(|past| past != digest && !live.manifests.contains(past));
            self.links.extend(past.map(|past| Entry::TagIndex(name.clone(), tag.clone(), past)));
        }
        let dead: BTreeSet<Digest> = reach.revisions.difference(&live.manifests).copied().collect();
        self.revisions.extend(reach.parents_first(&dead)?.into_iter().map(|digest| (name.clone(), digest)));
        let layers = store.layers(name)?.into_iter().filter(|layer| !live.blobs.contains(layer));
        self.links.extend(layers.map(|layer| Entry::Layer(name.clone(), layer)));
        Ok(live)
    }

    /// Deletes it. The store must have been opened with [`Store::alone`].
    pub fn delete(&self, store: &Store, observer: &dyn Observer, stop: &Stop) -> Result<(), GcError> {
        let bytes = self.blobs.iter().map(|blob| blob.size).sum();
        observer.on(&Event::Step { name: "gc", images: self.tags.len(), bytes });
        let tags = self.tags.iter().map(|(name, tag, _)| Entry::TagCurrent(name.clone(), tag.clone()));
        store.withdraw(&tags.collect::<Vec<_>>())?;
        let revisions = self.revisions.iter().map(|(name, digest)| Entry::Revision(name.clone(), *digest));
        store.remove_links(&revisions.collect::<Vec<_>>())?;
        store.forget_withdrawn()?;
        store.remove_links(&self.links)?;
        for name in store.repositories()? {
            store.remove_empty_repository(&name)?;
        }
        store.finish()?;
        for blob in &self.blobs {
            if stop.is_requested() {
                return Err(GcError::Stopped);
            }
            store.remove_blob(&blob.digest)?;
            observer.on(&Event::Moved { digest: &blob.digest, bytes: blob.size });
        }
        store.remove_hollow_blobs()?;
        store.remove_hollow_repositories()?;
        store.discard_unfinished()?;
        store.finish()?;
        // What a removal that was killed has taken is deleted by now: it is over.
        Ok(store.end_removal()?)
    }
}

/// Something that lives as long as another manifest does.
struct Waiting {
    /// Its tag, if that is what makes it belong to the other.
    tag: Option<Tag>,
    digest: Digest,
    subjects: BTreeSet<Digest>,
}

/// What is known of all repositories: signatures may lie in another than what they sign.
#[derive(Default)]
struct Elsewhere {
    /// The manifests that live in any of them.
    live: BTreeSet<Digest>,
    /// True if anybody has asked.
    is_asked_for: bool,
}

impl Elsewhere {
    /// Returns true if a manifest that the repository at hand does not have lives in another.
    fn has(&mut self, digest: &Digest) -> bool {
        self.is_asked_for = true;
        self.live.contains(digest)
    }
}

/// Where a repository is to be followed from.
struct Roots {
    /// Images that are wanted.
    wanted: Vec<Digest>,
    /// What is wanted if something else is.
    waiting: Vec<Waiting>,
}

impl Roots {
    fn new(
        store: &Store,
        name: &RepositoryName,
        reach: &mut ReferenceWalk<'_>,
        tags: &[(Tag, Digest)],
        (untagged, elsewhere): (UntaggedPolicy, &mut Elsewhere),
    ) -> Result<Self, GcError> {
        let mut roots = Self { wanted: Vec::new(), waiting: Vec::new() };
        for (tag, digest) in tags {
            if reach.manifest(digest)?.is_none() {
                return Err(ReachError::Absent { name: format!("{name}:{tag}"), digest: *digest }.into());
            }
            let subjects = subjects(store, tag, &reach.revisions)?;
            let is_foreign = |subject: &Digest| !reach.revisions.contains(subject) && elsewhere.has(subject);
            if subjects.is_empty() || subjects.iter().any(is_foreign) {
                roots.wanted.push(*digest);
            } else {
                roots.waiting.push(Waiting { tag: Some(tag.clone()), digest: *digest, subjects });
            }
        }
        for digest in reach.untagged(tags)? {
            let subject = reach.manifest(&digest)?.and_then(|manifest| manifest.subject.as_ref());
            let subject = subject.map(|subject| subject.digest);
            match subject {
                Some(subject) if !reach.revisions.contains(&subject) && elsewhere.has(&subject) => {
                    roots.wanted.push(digest);
                }
                Some(subject) if reach.revisions.contains(&subject) || store.size(&subject)?.is_some() => {
                    roots.waiting.push(Waiting { tag: None, digest, subjects: BTreeSet::from([subject]) });
                }
                _ if untagged == UntaggedPolicy::Keep => roots.wanted.push(digest),
                _ => {}
            }
        }
        Ok(roots)
    }

    /// Everything that is needed; leaves in `waiting` what is not.
    fn follow(&mut self, reach: &mut ReferenceWalk<'_>) -> Result<ReachedContent, ReachError> {
        let mut live = ReachedContent::default();
        for root in &self.wanted {
            reach.add(root, &mut live)?;
        }
        loop {
            let alive = |waiting: &Waiting| waiting.subjects.iter().any(|subject| live.manifests.contains(subject));
            let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(alive);
            self.waiting = later;
            if now.is_empty() {
                return Ok(live);
            }
            for waiting in now {
                reach.add(&waiting.digest, &mut live)?;
            }
        }
    }
}

/// The manifests to whose companions a tag can belong: those that the repository has, or had not long ago.
fn subjects(store: &Store, tag: &Tag, revisions: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, StoreError> {
    let Some((algorithm, hex)) = companion_of(tag) else { return Ok(BTreeSet::new()) };
    if let Ok(digest) = Digest::from_parts(algorithm, hex) {
        let known = revisions.contains(&digest) || store.size(&digest)?.is_some();
        return Ok(known.then_some(digest).into_iter().collect());
    }
    let is_its = |digest: &&Digest| digest.algorithm() == algorithm && digest.hex().starts_with(hex);
    Ok(revisions.iter().filter(is_its).copied().collect())
}
