//! Creates an image without layers in a layout, for other tools to extend.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use hod_engine::endpoint::{EndpointError, Fault, Result, Sink as _, Verified};
use hod_oci::{Descriptor, Digest, MediaType, Platform};
use hod_transport::{CREATED, Layout};

/// An image without layers: the same for all that have one platform.
#[derive(Debug)]
pub struct NewImage {
    config: (Descriptor, Bytes),
    root: (Descriptor, Bytes),
}

impl NewImage {
    /// The image of a platform.
    pub fn new(platform: &Platform) -> Result<Self> {
        let failed = |error: serde_json::Error| EndpointError::new(Fault::Other, error);
        let mut config: Map<String, Value> =
            serde_json::to_value(platform).and_then(serde_json::from_value).map_err(failed)?;
        config.insert("created".to_owned(), json!(CREATED));
        config.insert("config".to_owned(), json!({}));
        config.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": [] }));
        let config = Bytes::from(serde_json::to_vec(&config).map_err(failed)?);
        let descriptor = Descriptor::of(MediaType::parse("application/vnd.oci.image.config.v1+json"), &config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciManifest,
            "config": descriptor,
            "layers": [],
        });
        let manifest = Bytes::from(manifest.to_string());
        let root = Descriptor::of(MediaType::OciManifest, &manifest);
        Ok(Self { config: (descriptor, config), root: (root, manifest) })
    }

    /// The digest of its manifest.
    pub const fn digest(&self) -> Digest {
        self.root.0.digest
    }

    /// Writes it to a layout, under a name.
    pub async fn write(self, layout: &Layout, name: &str) -> Result<()> {
        let sink = layout.sink(Some(name))?;
        let ((config, bytes), (root, manifest)) = (self.config, self.root);
        sink.put(&config, Verified::bytes(&config, bytes)).await?;
        sink.publish(&root, manifest, &[]).await
    }
}
