//! Finds everything that is reachable from a manifest in a repository of a store.
//!
//! A child belongs to its index where the repository has it; the other children of a sparse index do not.

use std::collections::{BTreeSet, HashMap};

use hod_image::contents::Holdings;
use hod_oci::{Digest, Manifest, ManifestError, MediaType, RepositoryName, Tag};
use hod_store::{Store, StoreError};

/// What was reached.
#[derive(Debug, Clone, Default)]
pub(super) struct ReachedContent {
    /// Manifests and indexes.
    pub(super) manifests: BTreeSet<Digest>,
    /// Configs and layers, whether or not they are there.
    pub(super) blobs: BTreeSet<Digest>,
}

/// Why it is not known what can be reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// A manifest that cannot be used.
    #[error("{name} has an unusable manifest: {digest}")]
    Manifest {
        /// The repository.
        name: RepositoryName,
        /// The manifest.
        digest: Digest,
        /// The reason.
        #[source]
        source: ManifestError,
    },
    /// A tag without its manifest.
    #[error("{name} points to {digest}, which is missing")]
    Absent {
        /// The image.
        name: String,
        /// The missing content.
        digest: Digest,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the manifests of one repository, each once.
#[derive(Debug)]
pub(super) struct ReferenceWalk<'a> {
    store: &'a Store,
    name: &'a RepositoryName,
    /// The manifests that the repository has.
    pub(super) revisions: BTreeSet<Digest>,
    manifests: HashMap<Digest, Option<Manifest>>,
}

impl<'a> ReferenceWalk<'a> {
    /// Looks at a repository.
    pub(super) fn new(store: &'a Store, name: &'a RepositoryName) -> Result<Self, ReachError> {
        let revisions = store.revisions(name)?.into_iter().collect();
        Ok(Self { store, name, revisions, manifests: HashMap::new() })
    }

    /// A manifest, read; `None` where its bytes are not there.
    pub(super) fn manifest(&mut self, digest: &Digest) -> Result<Option<&Manifest>, ReachError> {
        if !self.manifests.contains_key(digest) {
            let bytes = Holdings::manifest(self.store, digest)?;
            let manifest = bytes.map(|bytes| Manifest::parse(&MediaType::Other("".into()), &bytes)).transpose();
            let unusable = |source| ReachError::Manifest { name: self.name.clone(), digest: *digest, source };
            self.manifests.insert(*digest, manifest.map_err(unusable)?);
        }
        Ok(self.manifests.get(digest).and_then(Option::as_ref))
    }

    /// Adds a manifest and all below it.
    pub(super) fn add(&mut self, root: &Digest, reached: &mut ReachedContent) -> Result<(), ReachError> {
        let mut queue = vec![*root];
        while let Some(digest) = queue.pop() {
            if !reached.manifests.insert(digest) {
                continue;
            }
            let Some(manifest) = self.manifest(&digest)? else { continue };
            reached.blobs.extend(manifest.blobs().map(|blob| blob.digest));
            let children: Vec<Digest> = manifest.children().iter().map(|child| child.digest).collect();
            queue.extend(children.into_iter().filter(|child| self.revisions.contains(child)));
        }
        Ok(())
    }

    /// The tags and what they point to.
    pub(super) fn tags(&self) -> Result<Vec<(Tag, Digest)>, ReachError> {
        Ok(Holdings::tags(self.store, self.name)?)
    }

    /// The manifests that no tag and no other manifest of the repository leads to: images that are called by
    /// their digest alone, and referrers.
    pub(super) fn untagged(&mut self, tags: &[(Tag, Digest)]) -> Result<Vec<Digest>, ReachError> {
        let mut named: BTreeSet<Digest> = tags.iter().map(|(_, digest)| *digest).collect();
        for digest in self.revisions.clone() {
            if let Some(manifest) = self.manifest(&digest)? {
                named.extend(manifest.children().iter().map(|child| child.digest));
            }
        }
        Ok(self.revisions.difference(&named).copied().collect())
    }

    /// Manifests in an order in which every index stands before its children.
    pub(super) fn parents_first(&mut self, digests: &BTreeSet<Digest>) -> Result<Vec<Digest>, ReachError> {
        let mut children: HashMap<Digest, Vec<Digest>> = HashMap::new();
        let mut parents: HashMap<Digest, usize> = digests.iter().map(|digest| (*digest, 0)).collect();
        for digest in digests {
            let manifest = self.manifest(digest)?;
            let below: BTreeSet<Digest> =
                manifest.iter().flat_map(|manifest| manifest.children()).map(|child| child.digest).collect();
            let below: Vec<Digest> = below.into_iter().filter(|child| digests.contains(child)).collect();
            for child in &below {
                *parents.entry(*child).or_default() += 1;
            }
            children.insert(*digest, below);
        }
        let mut ready: Vec<Digest> =
            digests.iter().filter(|digest| parents.get(*digest) == Some(&0)).copied().collect();
        let mut sorted = Vec::with_capacity(digests.len());
        while let Some(digest) = ready.pop() {
            for child in children.remove(&digest).unwrap_or_default() {
                let left = parents.entry(child).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(child);
                }
            }
            sorted.push(digest);
        }
        Ok(sorted)
    }
}
