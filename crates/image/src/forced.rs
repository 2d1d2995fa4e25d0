//! `--force`: a registry sink that writes content without asking for it.
//!
//! What a registry says of a tag or blob is taken for true otherwise, and one that has lost a layer or manifest behind its
//! tags would never get it again.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use hod_engine::endpoint::{LocalFile, Place, Placement, Prefix, Result, Sink, Verified};
use hod_oci::{Descriptor, Digest, Graph, RepositoryName, Tag};

/// A sink that does not say what it has, so that all of it is sent again.
struct ForcedSink(Arc<dyn Sink>);

/// The same sink, forced where it is a registry. Places on this machine look at what they have themselves.
pub fn forced(sink: Arc<dyn Sink>) -> Arc<dyn Sink> {
    if sink.place().is_remote() { Arc::new(ForcedSink(sink)) } else { sink }
}

#[async_trait]
impl Sink for ForcedSink {
    fn place(&self) -> &Place {
        self.0.place()
    }

    async fn published(&self, _: &Graph, _: &[Tag]) -> Result<bool> {
        Ok(false)
    }

    fn holds_foreign_layers(&self) -> bool {
        self.0.holds_foreign_layers()
    }

    fn finds_digests(&self) -> bool {
        self.0.finds_digests()
    }

    async fn contains(&self, _: &Descriptor) -> Result<bool> {
        Ok(false)
    }

    async fn adopt(&self, _: &Descriptor, _: Option<&RepositoryName>) -> Result<Option<Placement>> {
        Ok(None)
    }

    async fn link(&self, content: &Descriptor, file: LocalFile) -> Result<Option<Placement>> {
        self.0.link(content, file).await
    }

    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        self.0.prefix(content).await
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        self.0.put(content, body).await
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        self.0.publish(root, bytes, tags).await
    }

    async fn keep_signatures(&self, manifest: &Digest, is_root: bool, signatures: &[Bytes]) -> Result<bool> {
        self.0.keep_signatures(manifest, is_root, signatures).await
    }
}
