//! The content that a pull would write to an empty store, computed in advance.
//!
//! `hod bundle` and the plan of a pull ask it what they would ask the store, so that they come to the same answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::attached::with_attached;
use super::contents::{ContentsError, Holdings, StoredImage};
use super::merge;
use super::resolve::ResolvedImage;
use hod_oci::{Descriptor, Digest, Graph, MergeError, RegistryPath, RepositoryName, Tag, merged};

/// A list of referrers and something else that want the same tag.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be both a list of referrers and another image")]
pub struct TagConflict {
    /// The tag, with its repository.
    pub name: String,
    /// What the one is.
    #[source]
    pub source: MergeError,
}

/// The images as they would be found in a store, each followed by what belongs to it.
pub fn in_store(images: &[ResolvedImage], from: &RegistryPath) -> Result<Vec<StoredImage>, ContentsError<TagConflict>> {
    let gathered = ImageGroups::of(images).map_err(ContentsError::Read)?;
    with_attached(&gathered, merge::merged(images.iter().map(|image| held(image, from)).collect()))
}

fn held(image: &ResolvedImage, from: &RegistryPath) -> StoredImage {
    let listed = image.line.place.is_none().then(|| from.qualify(&image.line.reference).ok()).flatten();
    let source = listed.map(|reference| reference.to_string().into());
    StoredImage {
        name: image.name.clone(),
        graph: Graph::clone(&image.graph),
        group: image.line.group.clone(),
        source,
        pinned: image.line.reference.digest.is_some(),
        referrers: image.line.referrers.clone(),
    }
}

/// Manifests that were resolved, by the repositories that they will be in.
#[derive(Debug, Default)]
struct ImageGroups {
    repositories: BTreeMap<RepositoryName, Repository>,
    manifests: HashMap<Digest, Bytes>,
    configs: HashMap<Digest, Bytes>,
}

#[derive(Debug, Default)]
struct Repository {
    tags: BTreeMap<Tag, Digest>,
    revisions: BTreeSet<Digest>,
}

impl ImageGroups {
    fn of(images: &[ResolvedImage]) -> Result<Self, TagConflict> {
        let mut all = Self::default();
        for image in images {
            all.add(&image.name.repository, image.name.tag.as_ref(), &image.graph)?;
            for attached in &image.attached {
                all.add(&image.name.repository, Some(&attached.tag), &attached.graph)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, name: &RepositoryName, tag: Option<&Tag>, graph: &Graph) -> Result<(), TagConflict> {
        let repository = self.repositories.entry(name.clone()).or_default();
        for node in graph.manifests() {
            repository.revisions.insert(node.descriptor.digest);
            self.manifests.insert(node.descriptor.digest, node.bytes.clone());
            if let Some((config, bytes)) = node.manifest.config().zip(node.config.clone()) {
                self.configs.insert(config.digest, bytes);
            }
        }
        let Some(tag) = tag else { return Ok(()) };
        let mut digest = graph.root.descriptor.digest;
        let before = repository.tags.get(tag).filter(|before| **before != digest);
        let is_index = hod_oci::is_referrers_tag(tag);
        if let Some(old) = before.filter(|_| is_index).and_then(|before| self.manifests.get(before)) {
            // As a store does it when a second list of referrers arrives.
            let unmergeable = |source| TagConflict { name: format!("{name}:{tag}"), source };
            let bytes = merged(Some(old), &graph.root.bytes).map_err(unmergeable)?;
            digest = Digest::sha256(&bytes);
            repository.revisions.insert(digest);
            self.manifests.insert(digest, bytes);
        }
        repository.tags.insert(tag.clone(), digest);
        Ok(())
    }
}

impl Holdings for ImageGroups {
    type Error = TagConflict;

    fn repositories(&self) -> Result<Vec<RepositoryName>, TagConflict> {
        Ok(self.repositories.keys().cloned().collect())
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Vec<(Tag, Digest)>, TagConflict> {
        let found = self.repositories.get(repository);
        Ok(found.into_iter().flat_map(|found| &found.tags).map(|(tag, digest)| (tag.clone(), *digest)).collect())
    }

    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, TagConflict> {
        Ok(self.repositories.get(repository).into_iter().flat_map(|found| &found.revisions).copied().collect())
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, TagConflict> {
        Ok(self.manifests.get(digest).cloned())
    }

    fn config(&self, config: &Descriptor) -> Result<Option<Bytes>, TagConflict> {
        Ok(self.configs.get(&config.digest).cloned())
    }

    fn size(&self, _: &Descriptor) -> Result<Option<u64>, TagConflict> {
        Ok(None)
    }
}
