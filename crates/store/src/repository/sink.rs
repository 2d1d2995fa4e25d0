//! Writing to a repository of a store.

use async_trait::async_trait;
use bytes::Bytes;

use super::writer::receive;
use super::{Repository, begin, blocking, has_layer, has_revision};
use crate::{Store, StoreError, TagLink};
use hod_engine::endpoint::{
    EndpointError, Fault, LocalFile, Mismatch, Place, Placement, Prefix, Result, Sink, Verified,
};
use hod_oci::{Descriptor, Digest, Graph, MANIFEST_LIMIT, ManifestError, RepositoryName, Tag};

#[async_trait]
impl Sink for Repository {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, graph: &Graph, tags: &[Tag]) -> Result<bool> {
        let wanted = Wanted {
            manifests: graph.manifests().iter().map(|node| node.descriptor.digest).collect(),
            blobs: graph.blobs().into_iter().map(|blob| blob.digest).collect(),
            tags: tags.to_vec(),
            root: graph.root.descriptor.digest,
        };
        let (store, name) = (self.store.clone(), self.name.clone());
        blocking(move || wanted.is_in(&store, &name)).await
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        if self.is_pending(content) {
            return Ok(true);
        }
        let (store, name, content) = (self.store.clone(), self.name.clone(), content.clone());
        blocking(move || {
            let linked = if content.media_type.is_manifest() { has_revision } else { has_layer };
            Ok(linked(&store, &name, &content.digest)? && store.holds(&content.digest)?)
        })
        .await
    }

    async fn adopt(&self, content: &Descriptor, _: Option<&RepositoryName>) -> Result<Option<Placement>> {
        let (store, digest) = (self.store.clone(), content.digest);
        let is_manifest = content.media_type.is_manifest();
        let found = blocking(move || match (store.holds(&digest)?, is_manifest) {
            (false, _) => Ok(None),
            (true, false) => Ok(Some(Bytes::new())),
            (true, true) => store.read_manifest(&digest).map(Some),
        });
        let Some(bytes) = found.await? else { return Ok(None) };
        if is_manifest {
            self.check_manifest(content, &bytes).await?;
        }
        self.remember(content);
        Ok(Some(Placement::Linked))
    }

    async fn link(&self, content: &Descriptor, file: LocalFile) -> Result<Option<Placement>> {
        let (store, digest, size) = (self.store.clone(), content.digest, content.size);
        let placed = blocking(move || store.link_in(&digest, size, &file)).await?;
        if placed.is_some() {
            self.remember(content);
        }
        Ok(placed)
    }

    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        let none = Prefix::none(content.digest.algorithm());
        if content.media_type.is_manifest() {
            return Ok(none);
        }
        let Some(mut ingest) = begin(&self.store, content.digest, content.size).await? else { return Ok(none) };
        let (prefix, parked) = blocking(move || {
            let prefix = ingest.prefix()?;
            let is_kept = prefix.length() > 0;
            if is_kept {
                ingest.park()?;
            }
            Ok((prefix, is_kept.then_some(ingest)))
        })
        .await?;
        if let Some(parked) = parked {
            self.pending().parked.insert(content.digest, parked);
        }
        Ok(prefix)
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        let parked = self.pending().parked.remove(&content.digest);
        let placed = if content.media_type.is_manifest() {
            if content.size > MANIFEST_LIMIT {
                let source = ManifestError::Large(content.size);
                return Err(StoreError::Manifest { digest: content.digest, source }.into());
            }
            let bytes = body.collect().await?;
            self.check_manifest(content, &bytes).await?;
            self.write_manifest(content, bytes).await?
        } else {
            receive(&self.store, content, parked, body).await?
        };
        self.remember(content);
        Ok(placed)
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        let expected = root.digest;
        let found = Digest::of(expected.algorithm(), &bytes);
        if found != expected {
            return Err(EndpointError::new(Fault::Corrupt, Mismatch::Digest { expected, found }));
        }
        self.check_manifest(root, &bytes).await?;
        let root = Descriptor::new(root.media_type.clone(), expected, bytes.len() as u64);
        self.write_manifest(&root, bytes).await?;
        self.remember(&root);
        let mut links = self.links();
        links.tags = tags.iter().map(|name| TagLink { name: name.clone(), digest: expected }).collect();
        let store = self.store.clone();
        blocking(move || store.commit(&[links]).map(|_| ())).await
    }
}

impl Repository {
    /// Takes the bytes of a manifest, which are those that `content` names.
    async fn write_manifest(&self, content: &Descriptor, bytes: Bytes) -> Result<Placement> {
        receive(&self.store, content, None, Verified::bytes(content, bytes)).await
    }
}

/// An image, as far as it matters whether a repository has it.
struct Wanted {
    manifests: Vec<Digest>,
    blobs: Vec<Digest>,
    tags: Vec<Tag>,
    root: Digest,
}

impl Wanted {
    /// The tags first: where the image is new, one look is enough to know.
    fn is_in(&self, store: &Store, name: &RepositoryName) -> crate::Result<bool> {
        for tag in &self.tags {
            match store.tag(name, tag) {
                Ok(Some(digest)) if digest == self.root => {}
                Ok(_) | Err(StoreError::Link { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        for digest in &self.manifests {
            if !has_revision(store, name, digest)? || !store.holds(digest)? {
                return Ok(false);
            }
        }
        for digest in &self.blobs {
            if !has_layer(store, name, digest)? || !store.holds(digest)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
