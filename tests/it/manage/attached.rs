//! Signatures, attestations and what else belongs to images: it lives as long as they do.

use fs_err as fs;
use hod_oci::{Digest, referrers_tag};

use super::{gc, rm, root_blobs, sample};
use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, artifact, image, index, layer};
use crate::support::job::{assert_clean, assert_serves, assert_sound, blob_path, names, reach, text};
use crate::support::tree;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
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
#[ignore = "needs the tools that scripts/test installs"]
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

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn signatures_are_known_for_what_they_are_after_gc_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    let (mut content, mut apps) = (Content::default(), Vec::new());
    for seed in 0..30 {
        let app = image("linux/amd64", &[layer(seed, 50)]);
        let bill = artifact("text/bill", &[Blob::new("text/plain", format!("{seed}"))], Some(&app));
        let tag = referrers_tag(&app.digest()).unwrap();
        content = content
            .with(&format!("app:{seed}"), &app)
            .with(&format!("app:{tag}.sig"), &image("linux/amd64", &[layer(1000 + seed, 50)]))
            .with("app", &bill)
            .with(&format!("app:{tag}"), &index(&[bill]));
        apps.push(format!("app:{seed}"));
    }
    content.write_root(&base);
    rm(&base, &apps.iter().map(String::as_str).collect::<Vec<_>>());
    for moment in 0..4 {
        let root = folder.path().join(moment.to_string());
        tree::copy(&base, &root);
        let manifests = root.join("docker/registry/v2/repositories/app/_manifests");
        let count = |path: &str| fs::read_dir(manifests.join(path)).map_or(0, Iterator::count);
        let (tags, revisions) = (count("tags"), count("revisions/sha256"));
        let mut running = hod(["gc", "--store", text(&root)]).spawn();
        running.until("a step of gc", || match moment {
            0 => count("tags") < tags,
            1 => count("tags") < tags / 2,
            2 => count("tags") == 0,
            _ => count("revisions/sha256") < revisions - 10,
        });
        running.kill();
        assert_clean(&root);
        gc(&root, &[]);
        assert_eq!(names(&root), [""; 0], "moment {moment}");
        assert!(root_blobs(&root).is_empty(), "moment {moment}");
        assert_sound(&root);
        assert_eq!(fs::read_dir(root.join(".hod/staged")).unwrap().count(), 0);
    }
}
