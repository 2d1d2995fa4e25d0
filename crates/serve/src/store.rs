//! A store as something to serve from: what its root holds at the moment of each request.

use std::io::{Seek as _, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;

use super::repositories::{BlobReader, Repositories};
use super::stamp::Stamp;
use hod_engine::endpoint::Result;
use hod_oci::{Digest, RepositoryName, Tag};
use hod_store::{Entry, Store, StoreError};

impl Repositories for Store {
    fn names(&self) -> Result<Vec<RepositoryName>> {
        Ok(self.repositories()?)
    }

    fn tags(&self, name: &RepositoryName) -> Result<Option<Vec<Tag>>> {
        let tags = Self::tags(self, name)?;
        // A repository whose last tag was deleted is still one, as long as it links anything.
        let exists = !tags.is_empty() || !self.revisions(name)?.is_empty() || !self.layers(name)?.is_empty();
        Ok(exists.then_some(tags))
    }

    fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        Ok(Self::tag(self, name, tag)?)
    }

    fn manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Bytes>> {
        if !self.has_revision(name, digest)? {
            return Ok(None);
        }
        match self.read_manifest(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            // A revision link may stay behind when a registry's garbage collection takes the bytes.
            Err(StoreError::Absent { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn manifests(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        Ok(self.revisions(name)?)
    }

    fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        Ok(if self.has_layer(name, digest)? { self.size(digest)? } else { None })
    }

    fn open(&self, _: &RepositoryName, digest: &Digest, offset: u64) -> Result<BlobReader> {
        let mut file = self.open_blob(digest)?;
        file.seek(SeekFrom::Start(offset))?;
        let stamp = Some(Stamp::of(&file.metadata()?));
        Ok(BlobReader { reader: Box::new(file), stamp })
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        Entry::Data(*digest).under(self.root())
    }

    fn store(&self) -> Option<&Store> {
        self.is_writable().then_some(self)
    }
}
