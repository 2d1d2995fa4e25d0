//! The images in `fixtures/`, as an OCI layout and as a registry root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fs_err as fs;
use hod_oci::Digest;
use tempfile::TempDir;

use super::tree;

/// `fixtures/`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The list that names all images, with groups and comments.
pub fn list() -> PathBuf {
    folder().join("images-list.txt")
}

/// Every name in the fixtures with the digest of its manifest or index.
pub fn names() -> Vec<(String, Digest)> {
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(folder().join("images/index.json")).unwrap()).unwrap();
    let entry = |image: &serde_json::Value| {
        let name = image["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned();
        (name, image["digest"].as_str().unwrap().parse().unwrap())
    };
    index["manifests"].as_array().unwrap().iter().map(entry).collect()
}

/// The digest of an image.
pub fn digest(name: &str) -> Digest {
    let found = names().into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no image {name} in the fixtures")).1
}

/// A registry root with all images that this test may change.
pub fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    tree::copy(root(), folder.path());
    folder
}

/// A registry root with all images, for reading only. It is made once a run.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let content = Digest::sha256(&fs::read(folder().join("images/index.json")).unwrap());
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fixtures-{}", content.short()));
        if !root.exists() {
            let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fixtures-to-root");
            let status = Command::new(script).arg(fresh.path().join("root")).status().unwrap();
            assert!(status.success(), "scripts/fixtures-to-root failed");
            // Another process may have been faster, and made the same.
            let _ = fs::rename(fresh.path().join("root"), &root);
        }
        root
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_every_image_and_copies_are_equal() {
        assert!(names().len() >= 12);
        for (name, digest) in names() {
            let (repository, tag) = name.rsplit_once(':').unwrap();
            let link = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link");
            assert_eq!(fs::read_to_string(root().join(link)).unwrap(), digest.to_string());
        }
        assert_eq!(digest("base/busybox:1.35"), digest("base/busybox:latest"));
        tree::assert_same(root(), copy().path());
    }

    #[test]
    fn the_list_names_images_that_are_there() {
        let names: Vec<String> = names().into_iter().map(|(name, _)| name).collect();
        let text = fs::read_to_string(list()).unwrap();
        let listed: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(listed.len() >= 12);
        for image in listed {
            let name = if image.contains(':') { image.to_owned() } else { format!("{image}:latest") };
            assert!(names.contains(&name), "{name} is listed and not in the fixtures");
        }
    }
}
