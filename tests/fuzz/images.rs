//! What is inside images: configs, archives, layers, signatures.

use std::path::Path;

use fs_err as fs;
use hod_image::inspect::ImageConfig;
use hod_oci::{Algorithm, Digest, diff_ids};
use hod_rootfs::{Owners, apply_layer};
use hod_transport::DockerArchive;
use hod_trust::signature::{self, PublicKeys};

use super::configuration::in_file;

/// The config of an image: what is shown of it reads as the same.
pub fn config(bytes: &[u8]) {
    let _ = diff_ids(bytes);
    let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) else { return };
    let written = serde_json::to_vec(&config).expect("it can be written");
    let again: ImageConfig = serde_json::from_slice(&written).expect("what is written is read");
    assert_eq!(serde_json::to_vec(&again).expect("it can be written"), written);
}

/// An archive of `docker save`, and one in which these bytes are `manifest.json`.
pub fn docker_archive(bytes: &[u8]) {
    let look = |path: &Path| {
        let Ok(archive) = DockerArchive::open_in(path, path.parent().unwrap_or(path)) else { return };
        let _ = archive.source(None);
    };
    in_file(bytes, look);
    let config = r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#.as_bytes();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [("manifest.json", bytes), ("config.json", config), ("layer.tar", b"")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).expect("memory takes it");
    }
    in_file(&tar.into_inner().expect("memory takes it"), look);
}

/// A layer, unpacked by somebody who is not root: nothing outside its directory is changed.
pub fn layer(bytes: &[u8]) {
    const CANARY: &str = "alive";
    let folder = tempfile::tempdir().expect("a directory for the layer");
    let (rootfs, canary) = (folder.path().join("rootfs"), folder.path().join("canary"));
    fs::create_dir(&rootfs).expect("a directory can be made there");
    fs::write(&canary, CANARY).expect("a file can be written there");
    // Names that lead out where links of the archive are followed.
    fs_err::os::unix::fs::symlink("..", rootfs.join("up")).expect("a link can be made there");
    fs_err::os::unix::fs::symlink(folder.path(), rootfs.join("out")).expect("a link can be made there");
    let before = fs::metadata(&canary).expect("it is there").modified().ok();
    let diff_id = Digest::of(Algorithm::Sha256, bytes);
    let _ = apply_layer(bytes, &diff_id, &rootfs, Owners::rootless(Vec::new(), Vec::new()));
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).expect("it is there").map(|it| it.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["canary", "rootfs"], "the layer made or removed something outside its directory");
    assert_eq!(fs::read_to_string(&canary).expect("it is there"), CANARY);
    assert_eq!(fs::metadata(&canary).expect("it is there").modified().ok(), before);
}

/// Keys and signatures of the containers tools. Without a key, no signature is good.
pub fn openpgp(bytes: &[u8]) {
    assert!(signature::verify(bytes, &PublicKeys::default()).is_err());
    let mut keys = PublicKeys::default();
    if keys.add(bytes, "keys").is_ok() {
        let _ = signature::verify(bytes, &keys);
    }
}
