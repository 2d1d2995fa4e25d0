//! The rules for images that enter a root from a bundle or store: free space, existing tags, and links last.

use std::collections::HashSet;
use std::path::PathBuf;

use super::processors::{WorkQueue, on_all_processors};
use super::room::{RoomError, require_room};
use hod_bundle::{Blob, Header};
use hod_engine::observe::{Event, Observer, Stop};
use hod_oci::{Digest, Foreign, RepositoryName, Tag, is_referrers_tag};
use hod_store::{Links, Store, StoreError, TagLink};

/// What to do with tags of the root that point to something else than those that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingTags {
    /// Move them.
    Overwrite,
    /// Leave them.
    Skip,
    /// Refuse all that comes.
    Refuse,
}

/// The outcome of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagChange {
    /// There was none of that name.
    New,
    /// It pointed to the same image.
    Same,
    /// It pointed to another, and does no longer.
    Moved,
    /// It points to another, and still does.
    Skipped,
    /// It is an index of referrers, which now has those of both.
    Merged,
}

/// Tags, where they point, and what became of them.
pub type Tags = Vec<(RepositoryName, Tag, Digest, TagChange)>;

/// The errors of a root that does not accept content; nothing of it is visible then.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The root.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It would not fit.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// Tags that point to something else, which the user wants to keep.
    #[error("{} would point to other images in {}", hod_engine::count(tags.len(), "tag"), root.display())]
    Tags {
        /// The root.
        root: PathBuf,
        /// The tags, as `name:tag`.
        tags: Vec<String>,
    },
    /// Of what has the tag of a list of referrers, here and there, one is no such list, and either would replace the
    /// other.
    #[error("{name} cannot be merged into {}: it is {there} there, but {comes} in the source", root.display())]
    Unmergeable {
        /// The root.
        root: PathBuf,
        /// The first such tag, as `name:tag`.
        name: String,
        /// The existing content in the root.
        there: String,
        /// The content to write.
        comes: &'static str,
    },
}

/// What an index of referrers is called in messages.
const LIST: &str = "a list of referrers";

/// What the tags that come would change in the root; refuses them where the user wants that.
pub(super) fn welcome(header: &Header, store: &Store, existing: ExistingTags) -> Result<Tags, IncomingError> {
    let repositories = header.repositories().iter();
    let tags = repositories.flat_map(|links| links.tags.iter().map(move |tag| (&links.name, &tag.name)));
    store.check_spelling(tags)?;
    let tags = compare(header, store)?;
    let moved = tags.iter().filter(|(.., change)| *change == TagChange::Moved);
    let moved: Vec<String> = moved.map(|(name, tag, ..)| format!("{name}:{tag}")).collect();
    if existing == ExistingTags::Refuse && !moved.is_empty() {
        return Err(IncomingError::Tags { root: store.root().to_owned(), tags: moved });
    }
    Ok(tags)
}

fn compare(header: &Header, store: &Store) -> Result<Tags, IncomingError> {
    let lists: HashSet<(&RepositoryName, &Tag)> = header
        .images()
        .iter()
        .filter(|image| image.media_type.is_index())
        .filter_map(|image| Some((&image.name, image.tag.as_ref().filter(|tag| is_referrers_tag(tag))?)))
        .collect();
    let mut tags = Vec::new();
    for links in header.repositories() {
        for tag in &links.tags {
            let change = match store.tag(&links.name, &tag.name) {
                Ok(None) => TagChange::New,
                Ok(Some(digest)) if digest == tag.digest => TagChange::Same,
                Ok(Some(_)) if is_referrers_tag(&tag.name) => {
                    let is_list = lists.contains(&(&links.name, &tag.name));
                    compare_lists(store, &links.name, &tag.name, is_list)?
                }
                Ok(Some(_)) | Err(StoreError::Link { .. }) => TagChange::Moved,
                Err(error) => return Err(error.into()),
            };
            tags.push((links.name.clone(), tag.name.clone(), tag.digest, change));
        }
    }
    Ok(tags)
}

/// What becomes of the tag of an index of referrers that stands for something else than what comes. An index is never
/// replaced, and replaces nothing but another one or what is damaged.
fn compare_lists(store: &Store, name: &RepositoryName, tag: &Tag, is_list: bool) -> Result<TagChange, IncomingError> {
    let Some(bytes) = store.kept_referrers(name, tag)? else { return Ok(TagChange::Merged) };
    let (there, comes) = match (Foreign::of(&bytes), is_list) {
        (None, true) => return Ok(TagChange::Merged),
        (Some(_), false) => return Ok(TagChange::Moved),
        (None, false) => (LIST.to_owned(), "something else"),
        (Some(found), true) => (found.to_string(), LIST),
    };
    Err(IncomingError::Unmergeable { root: store.root().to_owned(), name: format!("{name}:{tag}"), there, comes })
}

/// Refuses what does not fit. Blobs of the root that hod has not hashed are hashed now, on all processors.
pub(super) fn check_space(header: &Header, store: &Store, stop: &Stop) -> Result<(), IncomingError> {
    let (_, needed) = to_write(header, store, stop)?;
    Ok(require_room("the images need", store.root(), needed)?)
}

/// How many blobs the root does not have, and the bytes that they need there.
pub(super) fn to_write(header: &Header, store: &Store, stop: &Stop) -> Result<(usize, u64), StoreError> {
    let needed = |blob: &Blob| {
        if store.holds(&blob.digest)? {
            return Ok((0, 0));
        }
        // What an interrupted run has left is thrown away when the blob is written, and has its room already.
        Ok((1, blob.size - store.kept(&blob.digest, blob.size)?))
    };
    let sizes = on_all_processors(header.blobs(), stop, |taken: WorkQueue<'_, Blob>, found| {
        taken.map(needed).for_each(found);
    });
    sizes.into_iter().try_fold((0, 0_u64), |(count, bytes), needed: Result<(usize, u64), StoreError>| {
        let (one, size) = needed?;
        Ok((count + one, bytes.saturating_add(size)))
    })
}

/// Says which damaged content of a root was replaced.
pub(super) fn tell_repaired(store: &Store, observer: &dyn Observer) -> Result<(), StoreError> {
    for digest in store.repaired()? {
        let notice = format!("{digest} was damaged in {}, and is repaired", store.root().display());
        observer.on(&Event::Notice(&notice));
    }
    Ok(())
}

/// Makes the links of everything that has come. Returns what became of the tags.
///
/// The root may be in use, so its tags are looked at again: content takes its time to come.
pub(super) fn link(header: &Header, store: &Store, existing: ExistingTags) -> Result<Tags, IncomingError> {
    let mut tags = welcome(header, store, existing)?;
    if existing == ExistingTags::Skip {
        for (.., change) in tags.iter_mut().filter(|(.., change)| *change == TagChange::Moved) {
            *change = TagChange::Skipped;
        }
    }
    let skipped = |name: &RepositoryName, tag: &Tag| {
        tags.iter().any(|(other, it, _, change)| other == name && it == tag && *change == TagChange::Skipped)
    };
    let mut links = header.repositories().to_vec();
    for links in &mut links {
        links.tags.retain(|tag| !skipped(&links.name, &tag.name));
    }
    let links = merge_indexes(store, links)?;
    store.commit(&links)?;
    Ok(tags)
}

/// Merges the indexes of referrers into those of the root; returns the links that are left.
///
/// All of them go this way, also those that the root did not have a moment ago.
fn merge_indexes(store: &Store, mut links: Vec<Links>) -> Result<Vec<Links>, StoreError> {
    let mut indexes = Vec::new();
    for links in &mut links {
        let (merge, plain): (Vec<TagLink>, Vec<TagLink>) =
            std::mem::take(&mut links.tags).into_iter().partition(|tag| is_referrers_tag(&tag.name));
        links.tags = plain;
        indexes.extend(merge.into_iter().map(|tag| (links.name.clone(), tag)));
    }
    if indexes.is_empty() {
        return Ok(links);
    }
    // What the indexes name must be there before they are.
    let content: Vec<Links> = links.iter().map(|links| Links { tags: Vec::new(), ..links.clone() }).collect();
    store.commit(&content)?;
    for (name, tag) in indexes {
        let index = store.read_manifest(&tag.digest)?;
        match store.merge_referrers(&name, &tag.name, &index) {
            Ok(_) => {}
            // By its tag it could have been one; it is something else, and moves as any tag does.
            Err(StoreError::Manifest { .. }) => {
                store.commit(&[Links { tags: vec![tag], ..Links::none(name) }])?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(links)
}
