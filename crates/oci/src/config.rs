//! The layers and history in an image's config (OCI image-spec, "Image Configuration").

use serde::Deserialize;

use super::Digest;

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// The digests of a config's layers before compression, lowest first.
pub fn diff_ids(config: &[u8]) -> Result<Vec<Digest>, serde_json::Error> {
    serde_json::from_slice::<Config>(config).map(|config| config.rootfs.diff_ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_before_compression() {
        let digest = Digest::sha256(b"layer");
        let config = format!(r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#);
        assert_eq!(diff_ids(config.as_bytes()).unwrap(), [digest]);
        assert!(diff_ids(br#"{"rootfs":{}}"#).unwrap().is_empty());
        assert!(diff_ids(b"{}").is_err());
        assert!(diff_ids(br#"{"rootfs":{"diff_ids":["x"]}}"#).is_err());
    }
}
