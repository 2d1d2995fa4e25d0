//! Merges lines of the same image, and rejects different images with the same name.
//!
//! `nginx` and `nginx:latest` are one image, and so are two lines with different platforms of one index. It stands where
//! the first of its lines stands, and has what any of them chose. One name for two images is an error.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::attached::Attachment;
use super::contents::StoredImage;
use super::list::{Line, Origin, PinnedReferrer, StoredName};
use super::resolved::ResolvedImage;
use hod_oci::{Digest, Graph, Reference};

/// Another line has taken the name for something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} is already the name of {other} ({reference}), a different image: give one of them another name with as=…"
)]
pub struct NameTaken {
    /// The name in the store.
    name: Box<StoredName>,
    /// The position of the other line.
    other: Box<Origin>,
    /// The other image.
    reference: Box<Reference>,
}

/// Names in the store that are spoken for, with the root and the line that has them.
#[derive(Debug, Default)]
pub struct NameRegister(HashMap<StoredName, (Digest, Origin, Reference)>);

impl NameRegister {
    /// The names that images have already.
    pub(super) fn of(images: &[ResolvedImage]) -> Self {
        let own = |image: &ResolvedImage| {
            let root = image.graph.root.descriptor.digest;
            (image.name.clone(), (root, image.line.origin.clone(), image.line.reference.clone()))
        };
        Self(images.iter().map(own).collect())
    }

    /// Lets the image of a line have its name, unless that means something else already. Without a tag a name may
    /// stand for many images, each with its digest.
    pub fn claim(&mut self, name: &StoredName, root: &Digest, line: &Line) -> Result<(), NameTaken> {
        if name.tag.is_none() {
            return Ok(());
        }
        let own = || (*root, line.origin.clone(), line.reference.clone());
        let (digest, other, reference) = self.0.entry(name.clone()).or_insert_with(own);
        if digest == root {
            return Ok(());
        }
        let (other, reference) = (Box::new(other.clone()), Box::new(reference.clone()));
        Err(NameTaken { name: Box::new(name.clone()), other, reference })
    }
}

/// Something that is an image under a name.
pub trait NamedImage: Sized {
    /// The name in the store, and the digest of the root.
    fn key(&self) -> (StoredName, Digest);

    /// Takes in what another has of the same image; gives it back where it has to stay on its own.
    fn join(&mut self, other: Self) -> Option<Self>;
}

/// The images, each once, in the order of their first mention.
pub fn merged<T: NamedImage>(images: Vec<T>) -> Vec<T> {
    let mut positions: HashMap<_, Vec<usize>> = HashMap::new();
    let mut all: Vec<T> = Vec::with_capacity(images.len());
    for image in images {
        let same = positions.entry(image.key()).or_default();
        let mut left = Some(image);
        for position in same.iter() {
            if let Some(first) = all.get_mut(*position) {
                left = left.and_then(|image| first.join(image));
            }
        }
        if let Some(image) = left {
            same.push(all.len());
            all.push(image);
        }
    }
    all
}

impl NamedImage for StoredImage {
    fn key(&self) -> (StoredName, Digest) {
        (self.name.clone(), self.graph.root.descriptor.digest)
    }

    fn join(&mut self, other: Self) -> Option<Self> {
        self.graph.join(other.graph);
        self.pinned |= other.pinned;
        self.referrers = both(self.referrers.take(), other.referrers);
        None
    }
}

impl NamedImage for ResolvedImage {
    fn key(&self) -> (StoredName, Digest) {
        (self.name.clone(), self.graph.root.descriptor.digest)
    }

    /// What is at another place and not at this one stays on its own: there it has to be fetched, and there a lock has
    /// to say that it is.
    fn join(&mut self, other: Self) -> Option<Self> {
        let is_here = self.place == other.place && self.source.place() == other.source.place();
        if !is_here && !covers(self, &other) {
            return Some(other);
        }
        if is_here {
            self.platforms.join(other.platforms);
            // Where one line leaves it to the run, nothing was asked of an image without an index.
            let own = self.line.platforms.take().zip(other.line.platforms.clone());
            self.line.platforms = own.map(|(mut own, others)| {
                own.join(others);
                own
            });
        }
        self.line.referrers = both(self.line.referrers.take(), other.line.referrers.clone());
        Arc::make_mut(&mut self.graph).join(Arc::unwrap_or_clone(other.graph));
        let fresh: Vec<Attachment> = other.attached.into_iter().filter(|it| !has(&self.attached, it)).collect();
        self.attached.extend(fresh);
        self.also.push(other.line);
        self.also.extend(other.also);
        None
    }
}

/// Returns true if one has all that the other has.
fn covers(one: &ResolvedImage, other: &ResolvedImage) -> bool {
    let digests =
        |graph: &Graph| -> HashSet<Digest> { graph.manifests().iter().map(|node| node.descriptor.digest).collect() };
    digests(&one.graph).is_superset(&digests(&other.graph)) && other.attached.iter().all(|it| has(&one.attached, it))
}

fn has(all: &[Attachment], one: &Attachment) -> bool {
    let root = |attached: &Attachment| attached.graph.root.descriptor.digest;
    all.iter().any(|other| other.tag == one.tag && root(other) == root(one))
}

/// What belongs to an image by two lines. A line that does not say takes what there is, and so do both.
fn both(one: Option<Vec<PinnedReferrer>>, other: Option<Vec<PinnedReferrer>>) -> Option<Vec<PinnedReferrer>> {
    let (mut all, other) = one.zip(other)?;
    all.extend(other);
    all.sort();
    all.dedup();
    Some(all)
}
