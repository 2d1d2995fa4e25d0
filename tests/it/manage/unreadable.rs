//! What cannot be read may be wanted: it is not taken for nothing, and ends a garbage collection.

use fs_err as fs;

use super::{root_blobs, sample};
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Blob, artifact, image, layer};
use crate::support::job::{blob_path, text};
use crate::support::tree;

#[test]
fn a_referrer_in_a_layout() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, aside) = (folder.path().join("layout"), folder.path().join("aside"));
    let app = image("linux/amd64", &[layer(1, 50)]);
    let signature = artifact("text/signature", &[Blob::new("text/plain", "signature")], Some(&app));
    // The index names the last one alone, so nothing but its subject leads to the signature.
    for image in [&signature, &app] {
        image.write_layout(&layout);
    }
    let place = format!("oci:{}", text(&layout));
    let file = layout.join("blobs/sha256").join(signature.digest().hex());
    fs::rename(&file, &aside).unwrap();
    // A file that not even root can read.
    fs_err::os::unix::fs::symlink(&file, &file).unwrap();
    let before = tree::listing(&layout);
    for more in [&[][..], &["--dry-run"]] {
        let output = hod([&["gc", &place], more].concat()).code(1);
        assert!(output.stderr.contains(text(&file)), "{}", output.stderr);
        assert_eq!(tree::listing(&layout), before);
    }

    fs::rename(&aside, &file).unwrap();
    let done = hod(["gc", &place, "--json"]).ok().json();
    assert_eq!(done["blobs"].as_array().unwrap().len(), 0, "{done:#}");
    // What is damaged is of no use to anybody, and in nobody's way.
    fs::write(layout.join("blobs/sha256").join("0".repeat(64)), "{}").unwrap();
    let done = hod(["gc", &place, "--json"]).ok().json();
    assert_eq!(done["blobs"].as_array().unwrap().len(), 1, "{done:#}");
}

#[test]
fn a_folder_of_uploads_in_a_store() {
    let folder = tempfile::tempdir().unwrap();
    sample().content.write_root(folder.path());
    let repositories = folder.path().join("docker/registry/v2/repositories");
    // A repository with nothing in it but what a registry is still taking.
    let upload = repositories.join("taking/_uploads/1");
    fs::create_dir_all(&upload).unwrap();
    fs::write(upload.join("data"), "1").unwrap();
    for needed in ["_layers", "_manifests/revisions", "_manifests/tags"] {
        fs::create_dir_all(repositories.join("taking").join(needed)).unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(&upload, mode(0o000)).unwrap();
    let output = hod(["gc", text(folder.path())]).unprivileged();
    fs::set_permissions(&upload, mode(0o755)).unwrap();
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains(text(&upload)), "{}", output.stderr);
    assert!(upload.join("data").exists());
    assert!(repositories.join("taking/_layers").exists());
}

#[test]
fn a_manifest_of_a_store() {
    let root = fixtures::copy();
    let link = "docker/registry/v2/repositories/pause/_manifests/tags/3.9/current/link";
    let manifest = blob_path(root.path(), &fs::read_to_string(root.path().join(link)).unwrap().parse().unwrap());
    fs::set_permissions(manifest, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let before = root_blobs(root.path());
    let output = hod(["gc", "--store", text(root.path())]).unprivileged();
    let said = output.stderr;
    assert_eq!(output.code, Some(1), "{said}");
    assert!(
        said.contains("ermission denied") && said.contains("hint: run hod as a user who can access that file"),
        "{said}"
    );
    assert!(said.contains("hint: nothing was deleted") && !said.contains("damaged"), "{said}");
    assert_eq!(root_blobs(root.path()), before);
}
