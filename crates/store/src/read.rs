//! Looking into a root.
//!
//! Lists are sorted. What does not belong into a root is passed over here, and so are symbolic links
//! in listings; [`Store::walk`](super::Store::walk) shows them. A link that holds no digest is an
//! error, since a registry would fail on it as well.

use std::io::Read as _;

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{FileType, OFlags};

use super::layout::{LINK_LIMIT, REPOSITORIES};
use super::root::absent;
use super::{Entry, Result, Store, StoreError};
use hod_oci::{Algorithm, Digest, MANIFEST_LIMIT, ManifestError, RepositoryName, Tag};

impl Store {
    /// The repositories, however deep their names.
    pub fn repositories(&self) -> Result<Vec<RepositoryName>> {
        let mut found = Vec::new();
        let mut folders = self.folders(REPOSITORIES)?;
        while let Some(name) = folders.pop() {
            let Ok(repository) = name.parse::<RepositoryName>() else { continue };
            let below = self.folders(&format!("{REPOSITORIES}/{name}"))?;
            if below.iter().any(|folder| matches!(folder.as_str(), "_layers" | "_manifests")) {
                found.push(repository);
            }
            folders.extend(below.iter().map(|folder| format!("{name}/{folder}")));
        }
        found.sort();
        Ok(found)
    }

    /// The tags of a repository that point to something; none where there is no such repository.
    pub fn tags(&self, name: &RepositoryName) -> Result<Vec<Tag>> {
        let mut found = Vec::new();
        for folder in self.folders(&Entry::Tags(name.clone()).to_string())? {
            let Ok(tag) = folder.parse::<Tag>() else { continue };
            if self.is_file(&Entry::TagCurrent(name.clone(), tag.clone()))? {
                found.push(tag);
            }
        }
        Ok(found)
    }

    /// What a tag points to.
    pub fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        self.link(&Entry::TagCurrent(name.clone(), tag.clone()))
    }

    /// The manifests of a repository, children too.
    pub fn revisions(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        self.linked(&Entry::Revisions(name.clone()), |digest| Entry::Revision(name.clone(), digest))
    }

    /// The configs and layers of a repository.
    pub fn layers(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        self.linked(&Entry::Layers(name.clone()), |digest| Entry::Layer(name.clone(), digest))
    }

    /// Whether a repository has a manifest.
    pub fn has_revision(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        Ok(self.link(&Entry::Revision(name.clone(), *digest))? == Some(*digest))
    }

    /// Whether a repository has a config or layer.
    pub fn has_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        Ok(self.link(&Entry::Layer(name.clone(), *digest))? == Some(*digest))
    }

    /// The content that the link of a layer holds, which may be the same under another algorithm.
    pub fn layer_target(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Digest>> {
        self.link(&Entry::Layer(name.clone(), *digest))
    }

    /// The length of some content in its place, in bytes.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let found = self.tree().look(&Entry::Data(*digest).to_string())?;
        Ok(found.filter(std::fs::Metadata::is_file).map(|metadata| metadata.len()))
    }

    /// Opens some content for reading; what waits for its commit is found as well.
    pub fn open_blob(&self, digest: &Digest) -> Result<fs::File> {
        if let Some(writing) = self.inner.writing.as_ref().filter(|writing| writing.staging.size(digest).is_some())
            && let Some(file) = absent(writing.staging.staged(digest).open(OFlags::RDONLY))?
        {
            return Ok(file);
        }
        match self.tree().open(&Entry::Data(*digest).to_string())? {
            Some((file, _)) => Ok(file),
            None => Err(StoreError::Absent { root: self.root().to_owned(), digest: *digest }),
        }
    }

    /// The bytes of a manifest, whose digest is checked.
    pub fn read_manifest(&self, digest: &Digest) -> Result<Bytes> {
        let file = self.open_blob(digest)?;
        let path = file.path().to_owned();
        let size = file.metadata()?.len();
        if size > MANIFEST_LIMIT {
            return Err(StoreError::Manifest { digest: *digest, source: ManifestError::Large(size) });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.take(MANIFEST_LIMIT).read_to_end(&mut bytes)?;
        match Digest::of(digest.algorithm(), &bytes) {
            found if found == *digest => Ok(bytes.into()),
            found => Err(StoreError::Corrupt { path, found }),
        }
    }

    /// What a link file holds.
    pub(super) fn link(&self, entry: &Entry) -> Result<Option<Digest>> {
        let relative = entry.to_string();
        let Some(text) = self.link_text(&relative)? else { return Ok(None) };
        let wrong = |source| StoreError::Link { path: self.root().join(&relative), source };
        Ok(Some(text.parse().map_err(wrong)?))
    }

    /// The text of the link file at a path below the root, which may be anything.
    pub fn link_text(&self, relative: &str) -> Result<Option<String>> {
        let Some((file, _)) = self.tree().open(relative)? else { return Ok(None) };
        let mut text = Vec::new();
        file.take(LINK_LIMIT).read_to_end(&mut text)?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn is_file(&self, entry: &Entry) -> Result<bool> {
        Ok(self.tree().look(&entry.to_string())?.is_some_and(|metadata| metadata.is_file()))
    }

    /// The digests that have a link of their own below a folder.
    fn linked(&self, folder: &Entry, entry: impl Fn(Digest) -> Entry) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for hex in self.folders(&format!("{folder}/{}", algorithm.name()))? {
                let Ok(digest) = Digest::from_parts(algorithm, &hex) else { continue };
                if self.link(&entry(digest))? == Some(digest) {
                    found.push(digest);
                }
            }
        }
        Ok(found)
    }

    /// The names of the folders in a folder, sorted; none where it does not exist.
    pub(super) fn folders(&self, relative: &str) -> Result<Vec<String>> {
        let Some(folder) = self.tree().directory(relative)? else { return Ok(Vec::new()) };
        let Some(entries) = absent(folder.entries())? else { return Ok(Vec::new()) };
        let folders = entries.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
        Ok(folders.filter_map(|(name, _)| name.into_string().ok()).collect())
    }
}
