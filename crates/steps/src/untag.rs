//! Adds and removes names of images in a store.

use std::collections::{BTreeMap, BTreeSet};

use super::pack;
use super::reach::{ReachError, ReachedContent, ReferenceWalk};
use hod_image::contents::{ContentsError, ContentsReader};
use hod_image::list::StoredName;
use hod_oci::{Digest, RepositoryName, Tag, is_companion_tag};
use hod_store::{Entry, Store, StoreError};
use hod_transport::StoreImage;

/// Why a name was not given or taken away.
#[derive(Debug, thiserror::Error)]
pub enum UntagError {
    /// Names that are not there.
    #[error("image {} does not exist", .0.join(", "))]
    Unknown(Vec<String>),
    /// A part of an image.
    #[error("{image} is part of {of}")]
    Part {
        /// What was to be removed.
        image: String,
        /// The image that it belongs to.
        of: String,
    },
    /// The image cannot be told.
    #[error(transparent)]
    Contents(#[from] ContentsError<StoreError>),
    /// What else needs the manifests is not known.
    #[error("cannot determine the content that the other images need")]
    Reach(#[from] ReachError),
    /// The image cannot be described.
    #[error(transparent)]
    Pack(#[from] pack::PackError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was removed.
#[derive(Debug, Default)]
pub struct UntagReceipt {
    /// Tags, and what they pointed to.
    pub tags: Vec<(RepositoryName, Tag, Digest)>,
    /// Images that no longer can be pulled by their digests either.
    pub images: Vec<(RepositoryName, Digest)>,
}

/// Gives an image one more name, in its repository or in another; returns what the name stands for.
///
/// All that the image has goes along, and where the name was another's it is no longer.
pub fn tag(store: &Store, image: &StoreImage, new: &StoredName) -> Result<Digest, UntagError> {
    let name = StoredName {
        repository: image.repository.clone(),
        tag: image.tag.clone().or_else(|| image.digest.is_none().then(Tag::latest)),
    };
    let mut held = ContentsReader::new(store).image(&name, image.digest.as_ref())?;
    held.name = new.clone();
    let root = held.graph.root.descriptor.digest;
    let header = pack::header(&[held], 0)?;
    store.commit(header.repositories())?;
    Ok(root)
}

/// What goes with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntagScope {
    /// Only tags go: everything can still be pulled by digest.
    Tags,
    /// Of what no tag names any more nothing can be pulled.
    Images,
}

/// Takes names away: a tag, or with a digest a manifest and all its tags.
///
/// Names that are not there are reported together, and then nothing is removed; those count as removed that an earlier
/// call was to remove when its process was killed. All go, or none. The store must have been opened with
/// [`Store::alone`].
pub fn untag(store: &Store, images: &[StoreImage], scope: UntagScope) -> Result<UntagReceipt, UntagError> {
    let mut by_repository: BTreeMap<&RepositoryName, Vec<&StoreImage>> = BTreeMap::new();
    for image in images {
        by_repository.entry(&image.repository).or_default().push(image);
    }
    let mut plans = Vec::new();
    let mut unknown = Vec::new();
    for (name, images) in by_repository {
        plans.push((name, Plan::new(store, name, &images, scope, &mut unknown)?));
    }
    let removal = store.removal()?;
    unknown.retain(|name| !removal.has(name));
    if !unknown.is_empty() {
        return Err(UntagError::Unknown(unknown));
    }
    let mut links = Vec::new();
    let mut done = UntagReceipt::default();
    for (name, plan) in &plans {
        links.extend(plan.tags.keys().map(|tag| Entry::TagCurrent((*name).clone(), tag.clone())));
        done.tags.extend(plan.tags.iter().map(|(tag, digest)| ((*name).clone(), tag.clone(), *digest)));
        done.images.extend(plan.roots.iter().map(|digest| ((*name).clone(), *digest)));
    }
    let revisions = |(name, plan): &(&RepositoryName, Plan)| {
        plan.revisions.iter().map(|digest| Entry::Revision((*name).clone(), *digest)).collect::<Vec<_>>()
    };
    store.note_removal(&removal, images.iter().map(ToString::to_string))?;
    store.withdraw(&links)?;
    store.withdraw(&plans.iter().flat_map(revisions).collect::<Vec<_>>())?;
    store.forget_withdrawn()?;
    store.finish()?;
    store.end_removal()?;
    Ok(done)
}

/// What is to leave a repository.
#[derive(Default)]
struct Plan {
    tags: BTreeMap<Tag, Digest>,
    /// The images among the revisions.
    roots: BTreeSet<Digest>,
    /// Indexes before their children.
    revisions: Vec<Digest>,
}

impl Plan {
    fn new(
        store: &Store,
        name: &RepositoryName,
        images: &[&StoreImage],
        scope: UntagScope,
        unknown: &mut Vec<String>,
    ) -> Result<Self, UntagError> {
        let mut reach = ReferenceWalk::new(store, name)?;
        let tags = reach.tags()?;
        let (mut plan, mut asked) = (Self::default(), BTreeSet::new());
        for image in images {
            let found: Vec<&(Tag, Digest)> = tags.iter().filter(|(tag, digest)| is_meant(image, tag, digest)).collect();
            plan.tags.extend(found.iter().map(|(tag, digest)| (tag.clone(), *digest)));
            let by_digest = image.digest.filter(|digest| image.tag.is_none() && reach.revisions.contains(digest));
            asked.extend(by_digest);
            if found.is_empty() && (by_digest.is_none() || scope == UntagScope::Tags) {
                unknown.push(image.to_string());
            }
        }
        if scope == UntagScope::Tags {
            return Ok(plan);
        }
        let left: Vec<&(Tag, Digest)> = tags.iter().filter(|(tag, _)| !plan.tags.contains_key(tag)).collect();
        let still_tagged = |digest: &Digest| left.iter().any(|(_, other)| other == digest);
        let roots = plan.tags.values().chain(&asked).filter(|digest| !still_tagged(digest)).copied();
        plan.roots = roots.collect();
        let mut needed = ReachedContent::default();
        for (tag, digest) in &left {
            // What belongs to an image goes with it.
            if !is_companion_tag(tag) {
                reach.add(digest, &mut needed)?;
            }
            if let Some(part) = asked.iter().find(|part| needed.manifests.contains(part) && *part != digest) {
                let (image, of) = (format!("{name}@{part}"), format!("{name}:{tag}"));
                return Err(UntagError::Part { image, of });
            }
        }
        for digest in reach.untagged(&tags)? {
            if !plan.roots.contains(&digest) {
                reach.add(&digest, &mut needed)?;
            }
        }
        for (_, digest) in &left {
            reach.add(digest, &mut needed)?;
        }
        let mut gone = ReachedContent::default();
        for root in &plan.roots {
            reach.add(root, &mut gone)?;
        }
        plan.roots.retain(|root| !needed.manifests.contains(root));
        let gone = gone.manifests.difference(&needed.manifests).copied();
        let gone: BTreeSet<Digest> = gone.filter(|digest| reach.revisions.contains(digest)).collect();
        plan.revisions = reach.parents_first(&gone)?;
        Ok(plan)
    }
}

/// Returns true if a tag is one of those that are to go.
fn is_meant(image: &StoreImage, tag: &Tag, digest: &Digest) -> bool {
    match (&image.tag, &image.digest) {
        (Some(wanted), Some(pinned)) => wanted == tag && pinned == digest,
        (Some(wanted), None) => wanted == tag,
        (None, Some(pinned)) => pinned == digest,
        (None, None) => *tag == Tag::latest(),
    }
}
