//! The base of a delta: the content that its target already has.
//!
//! A delta leaves configs and layers out, and never manifests: they are small, and with them a bundle can be listed,
//! pushed image by image, and followed without its base. Its links are those of the full bundle, so a root to which
//! it is unpacked is the same in the end.

use std::collections::{BTreeSet, HashMap};

use super::inventory::Inventory;
use hod_bundle::{Content, DeltaBase, Header};
use hod_oci::Digest;
use hod_store::{Entry, Store, StoreError};

/// Contents that are at the target, with their sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    contents: HashMap<Digest, u64>,
    named: Vec<DeltaBase>,
}

/// The part of a delta's base that its target does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingBase {
    /// The bases, of which any has all of it, where the bundle names them.
    pub named: Vec<DeltaBase>,
    /// The missing content.
    pub contents: Vec<MissingContent>,
}

/// Content that a bundle builds on and its target does not have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MissingContent {
    /// The content.
    #[serde(flatten)]
    pub content: Content,
    /// The images that consist of it.
    pub images: Vec<String>,
}

impl Base {
    /// What an inventory lists. A minimal one is expanded from the store that is at hand.
    pub fn of_inventory(inventory: &Inventory, near: &Store) -> Result<Self, StoreError> {
        Ok(Self { contents: inventory.contents(Some(near))?, named: Vec::new() })
    }

    /// What is there once a bundle has been brought there.
    pub fn of_header(header: &Header) -> Self {
        let blobs = header.blobs().iter().map(|blob| (blob.digest, blob.size));
        let required = header.requires().iter().map(|content| (content.digest, content.size));
        Self { contents: blobs.chain(required).collect(), named: Vec::new() }
    }

    /// What a store holds, linked or not.
    pub fn of_store(store: &Store) -> Result<Self, StoreError> {
        let mut contents = HashMap::new();
        for found in store.walk() {
            let found = found?;
            if let Some(Entry::Data(digest)) = found.entry {
                contents.insert(digest, found.size);
            }
        }
        Ok(Self { contents, named: Vec::new() })
    }

    /// The same with the name that the header of a delta gives it.
    #[must_use]
    pub fn called(self, name: DeltaBase) -> Self {
        Self { named: vec![name], ..self }
    }

    /// The names of the bases, in the order in which they were given.
    pub fn named(&self) -> &[DeltaBase] {
        &self.named
    }

    /// What all of these hold; nothing where there are none.
    pub fn common(bases: impl IntoIterator<Item = Self>) -> Self {
        let both = |mut one: Self, other: Self| {
            one.contents.retain(|digest, size| other.contents.get(digest) == Some(size));
            one.named.extend(other.named);
            one
        };
        bases.into_iter().reduce(both).unwrap_or_default()
    }

    /// Returns true if the content is there.
    pub fn holds(&self, digest: &Digest, size: u64) -> bool {
        self.contents.get(digest) == Some(&size)
    }

    /// How many contents there are.
    pub fn len(&self) -> usize {
        self.contents.len()
    }

    /// Returns true if nothing is there.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }
}

/// For contents that a target lacks, the images of the bundle that need them.
pub fn lacking(header: &Header, missing: &BTreeSet<Digest>) -> MissingBase {
    let mut images: HashMap<Digest, Vec<String>> = HashMap::new();
    for image in header.images() {
        for content in header.contents_of(image).filter(|content| missing.contains(&content.digest)) {
            images.entry(content.digest).or_default().push(image.label());
        }
    }
    let required = header.requires().iter().filter(|content| missing.contains(&content.digest));
    let lacking = |content: &Content| MissingContent {
        content: *content,
        images: images.remove(&content.digest).unwrap_or_default(),
    };
    MissingBase { named: header.base().to_vec(), contents: required.map(lacking).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_have_is_common() {
        let base = |numbers: &[u8]| Base {
            contents: numbers.iter().map(|number| (Digest::sha256(&[*number]), 1)).collect(),
            named: Vec::new(),
        };
        let common = Base::common([base(&[1, 2, 3]), base(&[2, 3, 4]), base(&[3, 2])]);
        assert_eq!(common, base(&[2, 3]));
        assert!(common.holds(&Digest::sha256(&[2]), 1));
        assert!(!common.holds(&Digest::sha256(&[2]), 2));
        assert!(Base::common([]).is_empty());
    }
}
