//! `hod verify`: a damaged store for each code, which finds that and nothing else; and stores that are sound.

use std::path::Path;

use fs_err as fs;
use hod_engine::observe::{SilentObserver, Stop};
use hod_oci::Digest;
use serde_json::json;

use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, Image, artifact, image, index, layer};
use crate::support::job::{assert_sound, blob_path, findings, flip, pack, text};

const REPOSITORIES: &str = "docker/registry/v2/repositories";

#[test]
fn indexes_may_lie_in_each_other_however_deep() {
    let folder = tempfile::tempdir().unwrap();
    let mut root = image("linux/amd64", &[layer(1, 100)]);
    let mut content = Content::default().with("deep", &root);
    for _ in 0..3000 {
        root = index(&[Image { children: Vec::new(), ..root }]);
        content = content.with("deep", &root);
    }
    content.with("deep:1", &root).write_root(folder.path());
    let store = hod_store::Store::open(folder.path()).unwrap();
    let verify = move || hod_steps::verify::verify_store(&store, &SilentObserver, &Stop::default()).unwrap();
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(verify).unwrap();
    assert!(thread.join().unwrap().findings.is_empty());
}

#[test]
fn what_can_be_done_depends_on_what_is_damaged() {
    let store = Store::new();
    let bundle = store.path().join("x.tar");
    pack(store.path(), &bundle, []).ok();
    let layer = &store.plain.blobs[2];
    let whole = fs::read(&bundle).unwrap();
    flip(&bundle, whole.windows(layer.bytes.len()).position(|window| window == layer.bytes).unwrap());
    flip(&blob_path(store.path(), &layer.digest()), 0);
    let said = |target: &Path| hod(["verify", text(target)]).code(4).stderr;
    assert!(said(store.path()).contains("hint: delete the blob files named above"), "{}", said(store.path()));
    assert!(said(&bundle).contains("hint: copy the bundle again from an intact copy"), "{}", said(&bundle));
}

struct Store {
    folder: tempfile::TempDir,
    amd64: Image,
    arm64: Image,
    plain: Image,
    untagged: Image,
}

impl Store {
    fn new() -> Self {
        let (amd64, arm64) = (image("linux/amd64", &[layer(1, 2000)]), image("linux/arm64", &[layer(2, 100)]));
        let plain = image("linux/amd64", &[layer(1, 2000), layer(3, 100)]);
        let untagged = artifact("text/x", &[Blob::new("text/plain", "hello")], None);
        let folder = tempfile::tempdir().unwrap();
        let content = Content::default()
            .with("app:1", &index(&[amd64.clone(), arm64.clone()]))
            .with("team/plain:1", &plain)
            .with("untagged", &untagged);
        content.write_root(folder.path());
        Self { folder, amd64, arm64, plain, untagged }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, path: &str) -> std::path::PathBuf {
        self.path().join(REPOSITORIES).join(path)
    }

    /// The link of a config, layer or manifest: `app/_layers` or `app/_manifests/revisions`.
    fn link(&self, folder: &str, digest: &Digest) -> std::path::PathBuf {
        self.file(folder).join("sha256").join(digest.hex()).join("link")
    }

    fn write_link(&self, folder: &str, digest: &Digest) {
        let path = self.link(folder, digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, digest.to_string()).unwrap();
    }

    fn write_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let path = blob_path(self.path(), &digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        digest
    }
}

/// A kind of damage, how it comes about, and a part of what is said of it.
type Case = (&'static str, fn(&Store), &'static str);

const CASES: &[Case] = &[
    (
        "blob-digest-mismatch",
        |store| flip(&blob_path(store.path(), &store.plain.blobs[2].digest()), 10),
        "team/plain:1",
    ),
    (
        "blob-digest-mismatch",
        |store| flip(&blob_path(store.path(), &store.untagged.blobs[1].digest()), 0),
        "have the digest",
    ),
    (
        "blob-missing",
        |store| {
            let digest = store.plain.blobs[2].digest();
            fs::remove_file(blob_path(store.path(), &digest)).unwrap();
            fs::remove_file(store.link("team/plain/_layers", &digest)).unwrap();
        },
        "team/plain:1",
    ),
    (
        "link-malformed",
        |store| {
            let digest = store.plain.digest();
            let link = store.link("team/plain/_manifests/tags/1/index", &digest);
            fs::write(link, format!("{digest}\n")).unwrap();
        },
        "white space",
    ),
    (
        "link-malformed",
        |store| {
            let link = store.link("team/plain/_manifests/tags/1/index", &store.plain.digest());
            fs::write(link, store.amd64.digest().to_string()).unwrap();
        },
        "another digest",
    ),
    ("link-dangling", |store| store.write_link("app/_layers", &Digest::sha256(b"nowhere")), "is missing"),
    ("link-dangling", |store| store.write_link("app/_manifests/revisions", &Digest::sha256(b"nowhere")), "is missing"),
    (
        "layer-link-missing",
        |store| fs::remove_file(store.link("team/plain/_layers", &store.plain.blobs[1].digest())).unwrap(),
        "team/plain:1",
    ),
    (
        "tag-dangling",
        |store| {
            fs::write(store.file("team/plain/_manifests/tags/1/current/link"), store.amd64.digest().to_string())
                .unwrap();
        },
        "not a manifest of this repository",
    ),
    (
        "tag-incomplete",
        |store| fs::remove_file(store.file("app/_manifests/tags/1/current/link")).unwrap(),
        "current/link",
    ),
    (
        "child-revision-missing",
        |store| fs::remove_file(store.link("app/_manifests/revisions", &store.arm64.digest())).unwrap(),
        "app:1",
    ),
    (
        "manifest-invalid",
        |store| {
            let digest = store.write_blob(b"<html>");
            store.write_link("team/plain/_manifests/revisions", &digest);
        },
        "JSON",
    ),
    ("folder-missing", |store| fs::remove_dir(store.file("untagged/_manifests/tags")).unwrap(), "_manifests/tags"),
    ("path-harmful", |store| fs::write(store.file("_hod.json"), "{}").unwrap(), "_hod.json"),
    (
        "path-harmful",
        |store| fs::write(store.path().join("docker/registry/v2/blobs/sha256/data"), "x").unwrap(),
        "garbage collection",
    ),
    (
        "not-a-file",
        |store| std::os::unix::fs::symlink("/etc", store.file("app/_layers/sha256/link")).unwrap(),
        "only files and directories",
    ),
];

#[test]
fn each_kind_of_damage_is_found_alone() {
    for (code, damage, said) in CASES {
        let store = Store::new();
        damage(&store);
        let output = hod(["verify", text(store.path()), "--json"]).code(4);
        let report = output.json();
        let found = report["findings"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{code}: {report:#}");
        assert_eq!(found[0]["code"], *code, "{report:#}");
        assert!(found[0].to_string().contains(said), "{code}: {said} is not in {report:#}");
        assert!(output.stderr.contains("is damaged: 1 finding"), "{}", output.stderr);
        let output = hod(["verify", text(store.path())]).code(4);
        assert!(output.text().starts_with(&format!("{code}: docker/registry/v2/")), "{}", output.text());
    }
}

#[test]
fn several_kinds_are_found_together_with_the_images_that_they_concern() {
    let store = Store::new();
    let shared = store.amd64.blobs[1].digest();
    flip(&blob_path(store.path(), &shared), 100);
    fs::remove_file(store.file("app/_manifests/tags/1/current/link")).unwrap();
    fs::write(store.file("_x"), "").unwrap();
    let report = hod(["verify", text(store.path()), "--json"]).code(4).json();
    let codes: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["blob-digest-mismatch", "tag-incomplete", "path-harmful"]);
    assert_eq!(report["findings"][0]["images"], json!(["team/plain:1"]));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn sound_stores_and_bundles_have_none() {
    let store = Store::new();
    assert_sound(fixtures::root());
    assert!(findings(store.path()).is_empty());
    // What a registry leaves while it works, and what people put beside it.
    fs::create_dir_all(store.file("app/_uploads/1234")).unwrap();
    fs::write(store.file("app/_uploads/1234/data"), "half").unwrap();
    fs::create_dir_all(store.file("begun/_layers")).unwrap();
    fs::write(store.path().join("README"), "mine").unwrap();
    fs::create_dir(store.path().join("lost+found")).unwrap();
    assert!(findings(store.path()).is_empty());
    // A sparse index: the child is nowhere.
    let sparse = Store::new();
    for blob in &sparse.arm64.blobs {
        fs::remove_file(blob_path(sparse.path(), &blob.digest())).unwrap();
        fs::remove_file(sparse.link("app/_layers", &blob.digest())).unwrap();
    }
    fs::remove_file(blob_path(sparse.path(), &sparse.arm64.digest())).unwrap();
    fs::remove_file(sparse.link("app/_manifests/revisions", &sparse.arm64.digest())).unwrap();
    assert!(findings(sparse.path()).is_empty());
}

#[test]
fn bundles() {
    let store = Store::new();
    for name in ["x.tar", "x.tar.zst"] {
        let bundle = store.path().join(name);
        pack(store.path(), &bundle, []).ok();
        assert!(findings(&bundle).is_empty());
        let bytes = fs::read(&bundle).unwrap();
        fs::write(&bundle, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(findings(&bundle), ["bundle-truncated".to_owned()].into());
        fs::write(&bundle, [&bytes[..], b"x"].concat()).unwrap();
        assert_eq!(findings(&bundle), ["bundle-invalid".to_owned()].into());
    }
    let bundle = store.path().join("y.tar");
    pack(store.path(), &bundle, []).ok();
    let bytes = fs::read(&bundle).unwrap();
    for image in [&store.plain, &store.untagged] {
        let content = &image.blobs.last().unwrap().bytes;
        flip(&bundle, bytes.windows(content.len()).position(|window| window == content).unwrap());
    }
    // A wrong blob does not hide the next.
    let report = hod(["verify", text(&bundle), "--json"]).code(4).json();
    let found = report["findings"].as_array().unwrap();
    assert!(found.len() == 2 && found.iter().all(|it| it["code"] == "blob-digest-mismatch"), "{report:#}");
    assert!(found.iter().any(|it| it["images"] == json!(["team/plain:1"])), "{report:#}");
}
