//! Loads an image with all platforms that its source has, for places and for listed registries.
//!
//! A child that the source does not have is absent, as in a sparse index of a store; any other failure is one.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use hod_engine::copy::correct_sizes;
use hod_engine::endpoint::{EndpointError, Fault, Source};
use hod_oci::{Descriptor, Digest, Graph, GraphError, Node, Version, Walk};

/// The errors of reading an image.
#[derive(Debug, thiserror::Error)]
pub enum WholeError {
    /// The source. Its fault decides what can be done.
    #[error("{0}")]
    Source(#[from] EndpointError),
    /// A manifest that makes no sense, or with which it is too much.
    #[error("manifest {digest} cannot be used")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// The reason.
        #[source]
        source: GraphError,
    },
}

/// The image that a tag or digest stands for, with all of its children that are there. Only its root can be missing.
pub async fn whole(source: &dyn Source, version: &Version) -> Result<Graph, WholeError> {
    let (descriptor, bytes) = source.manifest(version).await?;
    let mut graph = Graph { root: node(source, descriptor, bytes, Walk::default()).await? };
    correct_sizes(source, &mut graph).await?;
    Ok(graph)
}

fn node(
    source: &dyn Source,
    descriptor: Descriptor,
    bytes: bytes::Bytes,
    walk: Walk,
) -> BoxFuture<'_, Result<Node, WholeError>> {
    async move {
        let unusable = |source| WholeError::Manifest { digest: descriptor.digest, source };
        let (manifest, below) = walk.read(&descriptor.media_type, &bytes).map_err(unusable)?;
        let (mut children, mut absent) = (Vec::new(), Vec::new());
        for child in manifest.children() {
            match source.manifest(&Version::Digest(child.digest)).await {
                Ok((_, bytes)) => children.push(node(source, child.clone(), bytes, below.clone()).await?),
                Err(error) if error.fault() == Fault::Missing => absent.push(child.clone()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Node::new(descriptor, bytes, manifest, children, absent))
    }
    .boxed()
}
