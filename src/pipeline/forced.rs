//! `--force`: a place that is written to even where all of the image is there.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::endpoint::{Place, Placed, Prefix, Result, Sink, Verified};
use crate::oci::{Descriptor, Digest, Graph, RepositoryName, Tag};

/// A sink that does not say which manifests it has, so that they are sent again.
pub(super) struct Forced(pub(super) Arc<dyn Sink>);

#[async_trait]
impl Sink for Forced {
    fn place(&self) -> &Place {
        self.0.place()
    }

    async fn published(&self, _: &Graph, _: &[Tag]) -> Result<bool> {
        Ok(false)
    }

    fn holds_foreign_layers(&self) -> bool {
        self.0.holds_foreign_layers()
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        Ok(!content.media_type.is_manifest() && self.0.contains(content).await?)
    }

    async fn adopt(&self, content: &Descriptor, from: Option<&RepositoryName>) -> Result<Option<Placed>> {
        self.0.adopt(content, from).await
    }

    async fn link(&self, content: &Descriptor, file: &Path) -> Result<Option<Placed>> {
        self.0.link(content, file).await
    }

    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        self.0.prefix(content).await
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placed> {
        self.0.put(content, body).await
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        self.0.publish(root, bytes, tags).await
    }

    async fn keep_signatures(&self, manifest: &Digest, is_root: bool, signatures: &[Bytes]) -> Result<bool> {
        self.0.keep_signatures(manifest, is_root, signatures).await
    }
}
