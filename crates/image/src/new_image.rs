//! An image without layers in a layout, to which other tools add some.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use hod_engine::endpoint::{EndpointError, Fault, Result, Sink as _, Verified};
use hod_oci::{Descriptor, Digest, MediaType, Platform};
use hod_transport::{CREATED, Layout};

/// Makes the image, and says what its digest is: the same for all that have one platform.
pub async fn new_image(layout: &Layout, name: &str, platform: &Platform) -> Result<Digest> {
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
    let sink = layout.sink(Some(name))?;
    sink.put(&descriptor, Verified::bytes(&descriptor, config)).await?;
    sink.publish(&root, manifest, &[]).await?;
    Ok(root.digest)
}
