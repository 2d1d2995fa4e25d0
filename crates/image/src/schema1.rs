//! Converts schema 1 images: builds a manifest and a config, for which all layers are decompressed once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::copy_image::CopyImageError;
use super::open::OpenSource;
use super::recompress::RecompressedSource;
use hod_engine::copy::{CopyError, Engine};
use hod_engine::endpoint::{BlobReader, EndpointError, Fault, FirstFormat, Place, Result, Source};
use hod_oci::{Descriptor, Digest, ManifestError, MediaType, Version};
use hod_transport::{RecodedLayer, keep};

/// Layers that are worked on at the same time; each takes a processor.
const AT_ONCE: usize = 4;
/// What layers of the first format are, whatever their bytes.
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Returns true if an image could not be loaded because it is of the first format.
pub(crate) fn is_reason(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| matches!(error.downcast_ref(), Some(ManifestError::Schema1)))
}

/// What a source has in the first format.
pub async fn first_format(engine: &Engine, from: &OpenSource) -> std::result::Result<FirstFormat, CopyImageError> {
    let what = format!("{} in {}", from.version, from.source.place());
    let ask = || from.source.first_format(&from.version);
    let found = engine.question(&what, from.source.place(), ask).await.map_err(CopyImageError::First)?;
    found.ok_or_else(|| {
        let problem = format!("{} is not a manifest of Docker's first format any more", from.version);
        CopyImageError::First(EndpointError::new(Fault::Missing, problem))
    })
}

/// The image as it would be today, with its layers in nameless files of the folder `scratch`.
pub(crate) async fn modern(
    engine: &Engine,
    from: &OpenSource,
    scratch: &Path,
) -> std::result::Result<(Digest, OpenSource), CopyImageError> {
    let first = first_format(engine, from).await?;
    modern_of(engine, from, &first, scratch).await
}

/// The same where the manifest has been read already.
pub(crate) async fn modern_of(
    engine: &Engine,
    from: &OpenSource,
    first: &FirstFormat,
    scratch: &Path,
) -> std::result::Result<(Digest, OpenSource), CopyImageError> {
    let mut different: Vec<Descriptor> = Vec::new();
    for layer in layers(first) {
        if !different.contains(&layer) {
            different.push(layer);
        }
    }
    // Each layer in a file, and what it expands to.
    let keep = |layer: Descriptor| async move {
        let work = |body| keep(body, scratch);
        let (file, diff) = engine.read_layer(&from.source, "layers of an old image", &layer, work).await?;
        Ok::<_, CopyError>((layer.digest, (Arc::new(file), diff)))
    };
    let kept = futures_util::stream::iter(different).map(keep).buffer_unordered(AT_ONCE);
    let kept: HashMap<Digest, (Arc<RecodedLayer>, Digest)> = kept.try_collect().await?;
    let diffs: Vec<Digest> = layers(first).filter_map(|layer| kept.get(&layer.digest).map(|(_, diff)| *diff)).collect();
    let files = kept.into_values().map(|(layer, _)| layer);
    let source = Arc::new(RecompressedSource::new(from.source.clone(), files));
    Ok((first.manifest.digest, made_up(first, source, &diffs, from)?))
}

/// The image for somebody who looks at it: all is there but what only the layers know.
pub(crate) fn outline(first: &FirstFormat, from: &OpenSource) -> std::result::Result<OpenSource, CopyImageError> {
    made_up(first, from.source.clone(), &[], from)
}

/// The layers that change files.
fn layers(first: &FirstFormat) -> impl Iterator<Item = Descriptor> {
    let layers = first.manifest.layers.iter().filter(|layer| !layer.is_empty);
    layers.map(|layer| {
        let size = first.sizes.get(&layer.blob).copied().unwrap_or_default();
        Descriptor::new(MediaType::parse(LAYER), layer.blob, size)
    })
}

fn made_up(
    first: &FirstFormat,
    inner: Arc<dyn Source>,
    diffs: &[Digest],
    from: &OpenSource,
) -> std::result::Result<OpenSource, CopyImageError> {
    let unusable = |error| CopyImageError::First(EndpointError::new(Fault::Rejected, error));
    let config = Bytes::from(first.manifest.config(diffs).map_err(unusable)?);
    let descriptor = Descriptor::of(MediaType::parse("application/vnd.docker.container.image.v1+json"), &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::DockerManifest,
        "config": descriptor,
        "layers": layers(first).collect::<Vec<_>>(),
    });
    let manifest = Bytes::from(manifest.to_string());
    let root = Descriptor::of(MediaType::DockerManifest, &manifest);
    let version = Version::Digest(root.digest);
    let source = Arc::new(ConvertedSource { inner, config: (descriptor.digest, config), root, manifest });
    Ok(OpenSource { source, version, held: None, guard: from.guard.clone(), made_up: false })
}

/// A source with the manifest and the config that were made up.
struct ConvertedSource {
    inner: Arc<dyn Source>,
    root: Descriptor,
    manifest: Bytes,
    config: (Digest, Bytes),
}

#[async_trait]
impl Source for ConvertedSource {
    fn place(&self) -> &Place {
        self.inner.place()
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        if *version == Version::Digest(self.root.digest) {
            return Ok((self.root.clone(), self.manifest.clone()));
        }
        self.inner.manifest(version).await
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        let (digest, config) = &self.config;
        if content.digest != *digest {
            return self.inner.open(content, offset).await;
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(config.len());
        let rest = config.slice(start..);
        Ok(futures_util::stream::once(std::future::ready(Ok(rest))).boxed())
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        if content.digest == self.config.0 { Ok(None) } else { self.inner.size(content).await }
    }
}
