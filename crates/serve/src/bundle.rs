//! Bundles as something to serve from, with no unpacking: one, or a base and what builds upon it.
//!
//! Content is looked for in all of them, so a bundle that leaves out what the site has is served whole
//! beside the one that brought it. Of two bundles with one tag the later one counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::repositories::{BlobReader, Repositories};
use hod_bundle::{Content, Header, OpenBundle};
use hod_engine::endpoint::{EndpointError, Fault, Result};
use hod_oci::{Digest, MANIFEST_LIMIT, ManifestError, RepositoryName, Tag};

/// Bundles that are served together.
#[derive(Debug)]
pub struct Bundles {
    bundles: Vec<(PathBuf, OpenBundle)>,
    repositories: BTreeMap<RepositoryName, Links>,
}

/// A delta that is served without all of its base.
#[derive(Debug)]
pub struct IncompleteDelta<'a> {
    /// Its file.
    pub path: &'a Path,
    /// Its header.
    pub header: &'a Header,
}

/// The links of a repository in all bundles.
#[derive(Debug, Default)]
struct Links {
    layers: BTreeSet<Digest>,
    manifests: BTreeSet<Digest>,
    tags: BTreeMap<Tag, Digest>,
    /// The groups of the list, by tag.
    groups: BTreeMap<Tag, Box<str>>,
}

impl Bundles {
    /// Serves bundles together, older ones first, each with where it lies.
    pub fn new(bundles: Vec<(PathBuf, OpenBundle)>) -> Self {
        let mut repositories: BTreeMap<RepositoryName, Links> = BTreeMap::new();
        for links in bundles.iter().flat_map(|(_, bundle)| bundle.header().repositories()) {
            let all = repositories.entry(links.name.clone()).or_default();
            all.layers.extend(&links.layers);
            all.manifests.extend(&links.revisions);
            all.tags.extend(links.tags.iter().map(|tag| (tag.name.clone(), tag.digest)));
        }
        for image in bundles.iter().flat_map(|(_, bundle)| bundle.header().images()) {
            let links = repositories.get_mut(&image.name);
            if let (Some(links), Some(tag), Some(group)) = (links, &image.tag, &image.group) {
                links.groups.insert(tag.clone(), group.clone());
            }
        }
        Self { bundles, repositories }
    }

    /// What the bundles refer to and none of them holds: images with this cannot be pulled in full.
    pub fn missing(&self) -> Vec<Content> {
        let required = self.bundles.iter().flat_map(|(_, bundle)| bundle.header().requires());
        required.filter(|content| self.holder(&content.digest).is_none()).copied().collect()
    }

    /// The deltas whose base none of the bundles is.
    pub fn incomplete(&self) -> impl Iterator<Item = IncompleteDelta<'_>> {
        let lacks = |content: &Content| self.holder(&content.digest).is_none();
        let lacking = self.bundles.iter().filter(move |(_, bundle)| bundle.header().requires().iter().any(lacks));
        lacking.map(|(path, bundle)| IncompleteDelta { path, header: bundle.header() })
    }

    /// The bundle that holds some content, and the content's length.
    fn holder(&self, digest: &Digest) -> Option<(&(PathBuf, OpenBundle), u64)> {
        self.bundles.iter().find_map(|bundle| Some((bundle, bundle.1.header().blob(digest)?.size)))
    }

    fn reader(&self, digest: &Digest, offset: u64) -> Result<Box<dyn Read + Send>> {
        let blob = self.holder(digest).and_then(|((_, bundle), _)| bundle.blob(digest));
        let mut blob = blob.ok_or_else(|| EndpointError::new(Fault::Missing, format!("no bundle holds {digest}")))?;
        blob.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(blob))
    }
}

impl Repositories for Bundles {
    fn names(&self) -> Result<Vec<RepositoryName>> {
        Ok(self.repositories.keys().cloned().collect())
    }

    fn tags(&self, name: &RepositoryName) -> Result<Option<Vec<Tag>>> {
        Ok(self.repositories.get(name).map(|links| links.tags.keys().cloned().collect()))
    }

    fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        Ok(self.repositories.get(name).and_then(|links| links.tags.get(tag).copied()))
    }

    fn manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Bytes>> {
        let linked = self.repositories.get(name).is_some_and(|links| links.manifests.contains(digest));
        let Some((_, size)) = self.holder(digest).filter(|_| linked) else { return Ok(None) };
        if size > MANIFEST_LIMIT {
            return Err(EndpointError::new(Fault::Rejected, ManifestError::Large(size)));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        self.reader(digest, 0)?.take(size).read_to_end(&mut bytes)?;
        Ok(Some(bytes.into()))
    }

    fn manifests(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        Ok(self.repositories.get(name).map(|links| links.manifests.iter().copied().collect()).unwrap_or_default())
    }

    fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        let linked = self.repositories.get(name).is_some_and(|links| links.layers.contains(digest));
        Ok(self.holder(digest).filter(|_| linked).map(|(_, size)| size))
    }

    fn open(&self, _: &RepositoryName, digest: &Digest, offset: u64) -> Result<BlobReader> {
        // Media wear out and are pulled from their drives: their bytes are hashed every time.
        Ok(BlobReader { reader: self.reader(digest, offset)?, stamp: None })
    }

    fn group(&self, name: &RepositoryName, tag: &Tag) -> Option<&str> {
        self.repositories.get(name)?.groups.get(tag).map(|group| &**group)
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.holder(digest).map(|((path, _), _)| path.clone()).unwrap_or_default()
    }
}
