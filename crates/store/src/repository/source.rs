//! Reading from a repository of a store.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Repository, blocking, reader};
use crate::{Store, StoreError};
use hod_engine::endpoint::{BlobReader, LocalFile, Place, Result, Source};
use hod_oci::{Descriptor, Digest, Manifest, MediaType, RepositoryName, Version};

#[async_trait]
impl Source for Repository {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        let (store, name, version) = (self.store.clone(), self.name.clone(), version.clone());
        blocking(move || {
            let Some(digest) = find(&store, &name, &version)? else {
                return Err(StoreError::Unknown { root: store.root().to_owned(), name, version });
            };
            let bytes = store.read_manifest(&digest)?;
            let manifest = Manifest::parse(&MediaType::parse(""), &bytes)
                .map_err(|source| StoreError::Manifest { digest, source })?;
            Ok((Descriptor::new(manifest.media_type, digest, bytes.len() as u64), bytes))
        })
        .await
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        let (store, digest, size) = (self.store.clone(), content.digest, content.size);
        blocking(move || reader::open(&store, &digest, size, offset)).await
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        let (store, digest, declared) = (self.store.clone(), content.digest, content.size);
        blocking(move || store.real_size(&digest, declared)).await
    }

    async fn file(&self, content: &Descriptor) -> Result<Option<LocalFile>> {
        let (store, digest, size) = (self.store.clone(), content.digest, content.size);
        blocking(move || store.file(&digest, size)).await
    }
}

/// The digest of a version that the repository has.
fn find(store: &Store, name: &RepositoryName, version: &Version) -> crate::Result<Option<Digest>> {
    match version {
        Version::Tag(tag) => store.tag(name, tag),
        Version::Digest(digest) => Ok(store.has_revision(name, digest)?.then_some(*digest)),
    }
}
