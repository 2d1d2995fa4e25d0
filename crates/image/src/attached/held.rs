//! The referrers of images in local places: by their current tags, or by a lock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::index_of_referrers;
use crate::contents::{ContentsError, ContentsReader, Holdings, StoredImage};
use crate::list::{PinnedReferrer, StoredName};
use hod_oci::{Digest, Graph, RepositoryName, Tag, cosign_tags, is_companion_tag, is_referrers_tag, referrers_tag};

/// The images, each followed by what holdings have that belongs to it.
///
/// Of an image whose lock says what belongs to it, that is exactly what follows, whatever else is there by now: so a
/// lock gives the same bytes out of any store. An index of referrers that a lock decides need not be in the holdings.
pub fn with_attached<H: Holdings>(
    holdings: &H,
    images: Vec<StoredImage>,
) -> Result<Vec<StoredImage>, ContentsError<H::Error>> {
    let mut search = Search {
        holdings,
        reader: ContentsReader::new(holdings),
        tags: HashMap::new(),
        taken: images.iter().map(|held| held.name.clone()).collect(),
        found: Vec::with_capacity(images.len()),
    };
    let pinned = by_tag(&images);
    for held in images {
        let repository = held.name.repository.clone();
        let queue = digests(&held);
        let decided = held.referrers.clone();
        let label = held.label();
        search.found.push(held);
        match decided {
            Some(referrers) => {
                let tags: BTreeSet<&Tag> = referrers.iter().map(|referrer| &referrer.tag).collect();
                for tag in tags {
                    let name = StoredName { repository: repository.clone(), tag: Some(tag.clone()) };
                    let digests = pinned.get(&name).cloned().unwrap_or_default();
                    search.add_pinned(&label, &name, digests)?;
                }
            }
            None => search.add_tagged(&repository, queue)?,
        }
    }
    Ok(search.found)
}

struct Search<'a, H> {
    holdings: &'a H,
    reader: ContentsReader<'a, H>,
    /// The tags of things that belong to others.
    tags: HashMap<RepositoryName, BTreeSet<Tag>>,
    taken: HashSet<StoredName>,
    found: Vec<StoredImage>,
}

impl<H: Holdings> Search<'_, H> {
    /// Adds what has a tag that names one of these manifests, and what belongs to that.
    fn add_tagged(
        &mut self,
        repository: &RepositoryName,
        mut queue: Vec<Digest>,
    ) -> Result<(), ContentsError<H::Error>> {
        if !self.tags.contains_key(repository) {
            let listed = self.holdings.tags(repository).map_err(ContentsError::Read)?;
            let companions = listed.into_iter().map(|(tag, _)| tag).filter(is_companion_tag);
            self.tags.insert(repository.clone(), companions.collect());
        }
        // Each is taken once, so this ends.
        while let Some(subject) = queue.pop() {
            for tag in cosign_tags(&subject).chain(referrers_tag(&subject)) {
                let there = self.tags.get(repository).is_some_and(|tags| tags.contains(&tag));
                let name = StoredName { repository: repository.clone(), tag: Some(tag) };
                if there && self.taken.insert(name.clone()) {
                    let attached = self.reader.image(&name, None)?;
                    queue.extend(digests(&attached));
                    self.found.push(attached);
                }
            }
        }
        Ok(())
    }

    /// Adds what a lock has under a tag: one manifest, or the index of some referrers.
    fn add_pinned(
        &mut self,
        image: &str,
        name: &StoredName,
        digests: BTreeSet<Digest>,
    ) -> Result<(), ContentsError<H::Error>> {
        if !self.taken.insert(name.clone()) {
            return Ok(());
        }
        let mut roots = Vec::with_capacity(digests.len());
        for digest in digests {
            let found = self.reader.image(name, Some(&digest)).map_err(|error| match error {
                ContentsError::Unknown(referrer) => ContentsError::Referrer { image: image.to_owned(), referrer },
                error => error,
            })?;
            roots.push(found.graph.root);
        }
        let graphs = match &name.tag {
            Some(tag) if is_referrers_tag(tag) => vec![index_of_referrers(roots)],
            _ => roots.into_iter().map(|root| Graph { root }).collect(),
        };
        let held = |graph| StoredImage {
            name: name.clone(),
            graph,
            group: None,
            source: None,
            pinned: false,
            referrers: None,
        };
        self.found.extend(graphs.into_iter().map(held));
        Ok(())
    }
}

/// What the lines of a lock have under each tag, all lines together.
fn by_tag(images: &[StoredImage]) -> BTreeMap<StoredName, BTreeSet<Digest>> {
    let mut all: BTreeMap<StoredName, BTreeSet<Digest>> = BTreeMap::new();
    for held in images {
        for PinnedReferrer { tag, digest } in held.referrers.iter().flatten() {
            let name = StoredName { repository: held.name.repository.clone(), tag: Some(tag.clone()) };
            all.entry(name).or_default().insert(*digest);
        }
    }
    all
}

fn digests(held: &StoredImage) -> Vec<Digest> {
    held.graph.manifests().iter().map(|node| node.descriptor.digest).collect()
}

/// Returns true if a held image belongs to another: by its tag, or because it has a subject and no tag.
pub fn belongs_to_another(held: &StoredImage) -> bool {
    held.name.tag.as_ref().map_or_else(|| held.graph.root.manifest.subject.is_some(), is_companion_tag)
}
