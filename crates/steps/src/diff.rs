//! Compares two places: added, removed and moved images, and their sizes.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use hod_image::inventory::Inventory;
use hod_image::list::{ImageList, StoredName};
use hod_image::resolve::ResolveOptions;
use hod_oci::{Digest, NameError};

/// The images of a place by name.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    images: BTreeMap<String, Known>,
    contents: HashMap<Digest, u64>,
    /// What the images of a lock may be called elsewhere, as `--names` has it.
    candidates: HashMap<String, Vec<String>>,
}

/// What is known of an image.
#[derive(Debug, Clone)]
struct Known {
    digest: Digest,
    /// What it consists of; `None` where only its digest is known.
    contents: Option<Vec<Digest>>,
}

/// Why a place cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A line without a digest.
    #[error("{0} names no digest: compare a lock, which hod pull --lock writes")]
    NotLocked(Box<str>),
    /// An image without a name.
    #[error("the image has no valid name")]
    Name(#[from] NameError),
    /// An inventory without names.
    #[error("a minimal inventory names no images: create a full one")]
    Minimal,
}

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Images that only the second place has.
    pub added: Vec<Change>,
    /// Images that only the first place has.
    pub removed: Vec<Change>,
    /// Names that stand for another image in the second place.
    pub moved: Vec<Change>,
    /// Names that stand for the same image in both.
    pub unchanged: usize,
    /// Bytes of the contents that only the second place has.
    pub bytes_added: u64,
    /// Bytes of the contents that only the first place has.
    pub bytes_removed: u64,
}

/// An image that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `repository:tag`, or `repository@digest`.
    pub name: String,
    /// Its digest in the first place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// Its digest in the second place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
    /// Bytes of its contents that the other place does not have; `None` where they are not known.
    pub bytes: Option<u64>,
}

impl Snapshot {
    /// The images of an inventory.
    pub fn of_inventory(inventory: &Inventory) -> Result<Self, SnapshotError> {
        let Inventory::Full { images, contents } = inventory else { return Err(SnapshotError::Minimal) };
        let mut snapshot = Self::default();
        snapshot.contents.extend(contents.iter().map(|content| (content.digest, content.size)));
        for image in images {
            let own = image.contents.iter().filter_map(|position| contents.get(*position as usize));
            let known = Known { digest: image.digest, contents: Some(own.map(|content| content.digest).collect()) };
            let name = StoredName { repository: image.name.clone(), tag: image.tag.clone() };
            snapshot.images.insert(label(&name, &image.digest), known);
        }
        Ok(snapshot)
    }

    /// The images of a lock, of which only the digests are known.
    pub fn of_lock(list: &ImageList, options: &ResolveOptions) -> Result<Self, SnapshotError> {
        let mut snapshot = Self::default();
        for line in &list.lines {
            let digest = line.reference.digest.ok_or_else(|| SnapshotError::NotLocked(line.text.clone()))?;
            let candidates = options.candidates(line)?;
            let mut names = candidates.iter().map(|name| label(name, &digest));
            if let Some(name) = names.next() {
                snapshot.images.insert(name.clone(), Known { digest, contents: None });
                snapshot.candidates.insert(name, names.collect());
            }
        }
        Ok(snapshot)
    }

    /// What has changed from this place to another.
    ///
    /// A lock says nothing of contents; what it shares with the other place is known from there.
    pub fn compare(&self, other: &Self) -> Difference {
        let (one, two) = (self.completed(other), other.completed(self));
        one.compare_known(&two)
    }

    /// The same, with the names that the other place has, and the contents of images that it knows by their digest.
    fn completed(&self, other: &Self) -> Self {
        let known: HashMap<Digest, &Vec<Digest>> =
            other.images.values().filter_map(|image| Some((image.digest, image.contents.as_ref()?))).collect();
        let mut completed = self.clone();
        for (name, candidates) in self.candidates.iter().filter(|(name, _)| !other.images.contains_key(*name)) {
            let there = candidates.iter().find(|name| other.images.contains_key(*name));
            if let Some((there, image)) = there.and_then(|there| Some((there, completed.images.remove(name)?))) {
                completed.images.insert(there.clone(), image);
            }
        }
        for image in completed.images.values_mut().filter(|image| image.contents.is_none()) {
            if let Some(contents) = known.get(&image.digest) {
                let sizes = contents.iter().filter_map(|digest| Some((*digest, *other.contents.get(digest)?)));
                completed.contents.extend(sizes);
                image.contents = Some((*contents).clone());
            }
        }
        completed
    }

    fn compare_known(&self, other: &Self) -> Difference {
        let mut found = Difference::default();
        let known: HashMap<Digest, &Vec<Digest>> = [self, other]
            .into_iter()
            .flat_map(|side| side.images.values())
            .filter_map(|image| Some((image.digest, image.contents.as_ref()?)))
            .collect();
        let sizes = |digest: &Digest| self.contents.get(digest).or_else(|| other.contents.get(digest)).copied();
        // Bytes of an image that a place does not have; a lock knows its images' digests alone.
        let bytes = |image: &Known, there: &Self| {
            let own = known.get(&image.digest)?;
            let has = |digest: &Digest| there.contents.contains_key(digest);
            own.iter().filter(|digest| !has(digest)).map(sizes).sum()
        };
        for (name, image) in &other.images {
            let before = self.images.get(name);
            let change = Change {
                name: name.clone(),
                from: before.map(|before| before.digest),
                to: Some(image.digest),
                bytes: bytes(image, self),
            };
            match before {
                None => found.added.push(change),
                Some(before) if before.digest == image.digest => found.unchanged += 1,
                Some(_) => found.moved.push(change),
            }
        }
        for (name, image) in self.images.iter().filter(|(name, _)| !other.images.contains_key(*name)) {
            let (from, bytes) = (Some(image.digest), bytes(image, other));
            found.removed.push(Change { name: name.clone(), from, to: None, bytes });
        }
        found.bytes_added = only(&other.contents, &self.contents);
        found.bytes_removed = only(&self.contents, &other.contents);
        found
    }
}

/// Bytes that one has and the other has not.
fn only(one: &HashMap<Digest, u64>, other: &HashMap<Digest, u64>) -> u64 {
    one.iter().filter(|(digest, _)| !other.contains_key(*digest)).map(|(_, size)| size).sum()
}

fn label(name: &StoredName, digest: &Digest) -> String {
    match &name.tag {
        Some(_) => name.to_string(),
        None => format!("{}@{digest}", name.repository),
    }
}

impl Difference {
    /// Returns true if both places have the same images.
    pub const fn is_none(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.moved.is_empty()
    }
}
