//! Signatures, attestations and what else belongs to images: it lives as long as they do.

use hod::oci::{Digest, referrers_tag};

use super::{gc, rm, root_blobs, sample};
use crate::support::docker_registry::DockerRegistry;
use crate::support::images::{Blob, Content, artifact, image, layer};
use crate::support::job::{assert_clean, assert_serves, assert_sound, blob_path, names, reach};

#[test]
fn what_belongs_to_an_image_lives_as_long_as_it_does() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let root = folder.path();
    sample.content.write_root(root);
    let all = root_blobs(root);
    assert_eq!(gc(root, &[])["blobs"].as_array().unwrap().len(), 0, "an image without a tag and all referrers stay");
    assert_eq!(root_blobs(root), all);
    assert_serves(root, &sample.content);

    rm(root, &["app:1"]);
    assert_clean(root);
    assert_eq!(root_blobs(root), all);
    let done = gc(root, &[]);
    assert_eq!(done["tags"].as_array().unwrap().len(), 3, "{done:#}");
    assert_eq!(names(root), [format!("app@{}", sample.pinned.digest()), "other:1".to_owned()]);
    assert!(!blob_path(root, &sample.signature.digest()).exists());
    assert_sound(root);
    assert_eq!(gc(root, &[])["bytes"], 0);

    let done = gc(root, &["--untagged"]);
    assert_eq!(done["manifests"].as_array().unwrap().len(), 2, "{done:#}");
    assert_eq!(names(root), ["other:1"]);
    assert!(!root.join("docker/registry/v2/repositories/app").exists());
    assert_sound(root);
    let registry = DockerRegistry::over(root);
    reach(registry.host(), "other", "1");
}

#[test]
fn signatures_may_lie_in_another_repository() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let root = folder.path();
    let seal = artifact("text/seal", &[Blob::new("text/plain", "seal")], Some(&sample.app));
    // Of the seal, which is found only once the seal is known to stay.
    let receipt = artifact("text/receipt", &[Blob::new("text/plain", "receipt")], Some(&seal));
    let cosign = image("linux/amd64", &[layer(6, 50)]);
    let content = Content::default()
        .with("app:1", &sample.app)
        .with(&format!("a/sigs:{}.sig", referrers_tag(&sample.app.digest()).unwrap()), &cosign)
        .with("a/receipts", &receipt)
        .with("seals", &seal);
    content.write_root(root);
    let all = root_blobs(root);
    for more in [&[][..], &["--untagged"]] {
        let done = gc(root, more);
        assert_eq!((&done["manifests"], &done["bytes"]), (&serde_json::json!([]), &serde_json::json!(0)), "{done:#}");
        assert_eq!(root_blobs(root), all);
    }
    assert_serves(root, &content);

    rm(root, &["app:1"]);
    gc(root, &[]);
    assert_eq!(names(root), [""; 0]);
    assert_sound(root);
    assert!(root_blobs(root).is_empty());
}

#[test]
fn a_companion_of_what_was_never_there_stays() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let lone = format!("lone:{}.sig", referrers_tag(&Digest::sha256(b"elsewhere")).unwrap());
    Content::default().with(&lone, &sample.signature).write_root(folder.path());
    gc(folder.path(), &[]);
    assert_eq!(names(folder.path()), [lone]);
}
