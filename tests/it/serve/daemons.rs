//! Docker, containerd and buildah pull and push: by tag, by digest, sparse indexes, as mirrors, many at once.

use fs_err as fs;
use hod_oci::Digest;

use super::clients::run;
use super::push::registry;
use super::serving::Serving;
use super::{manifest, stored};
use crate::support::daemons::Daemon;
use crate::support::docker_registry::assert_no_garbage;
use crate::support::hod::hod;
use crate::support::{fixtures, skopeo};

/// An image whose index names platforms that are not there.
const SPARSE: &str = "base/busybox:1.35";

/// A root with images for amd64 alone, of which some are called as Docker Hub calls them.
fn sparse_root() -> tempfile::TempDir {
    let source = Serving::root(fixtures::root());
    let root = tempfile::tempdir().unwrap();
    let list = root.path().join("list");
    let names = [
        "base/busybox:1.35",
        "web:1.0",
        "web:1.1",
        "certs:2023",
        "pause:3.9",
        "base/busybox:1.35 as=library/busybox:1.35",
    ];
    fs::write(&list, names.map(|name| format!("{}/{name}\n", source.address)).concat()).unwrap();
    let words = ["pull", "--platform", "linux/amd64", "--store", root.path().to_str().unwrap(), "--file"];
    hod(words).arg(&list).ok();
    root
}

fn amd64(name: &str) -> Digest {
    manifest(&fixtures::digest(name)).children()[0].digest
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_pulls_by_tag_and_digest_and_many_at_once() {
    let Some(docker) = Daemon::docker(None) else { return };
    let root = sparse_root();
    let serving = Serving::root(root.path());
    let image = |name: &str| format!("{}/{name}", serving.address);
    let names = [SPARSE, "web:1.0", "web:1.1", "certs:2023", "pause:3.9"];
    std::thread::scope(|scope| {
        for name in names {
            let (docker, image) = (&docker, image(name));
            scope.spawn(move || docker.run(&["pull", "--quiet", &image]));
        }
    });
    for name in names {
        let config = manifest(&amd64(name)).config().unwrap().digest;
        assert_eq!(docker.run(&["inspect", "--format", "{{.Id}}", &image(name)]), config.to_string(), "{name}");
        let digests = docker.run(&["inspect", "--format", "{{.RepoDigests}}", &image(name)]);
        assert!(digests.contains(&fixtures::digest(name).to_string()), "the sparse index: {digests}");
    }
    // The index and a child of it, by their digests.
    docker.run(&["rmi", "--force", &image("web:1.1")]);
    for digest in [fixtures::digest("web:1.1"), amd64("web:1.1")] {
        docker.run(&["pull", "--quiet", &image(&format!("web@{digest}"))]);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_pulls_through_a_mirror() {
    let root = sparse_root();
    let serving = Serving::root(root.path());
    let Some(docker) = Daemon::docker(Some(&serving.address.to_string())) else { return };
    // There is no other network: what comes is from the mirror.
    docker.run(&["pull", "--quiet", "busybox:1.35"]);
    let id = docker.run(&["inspect", "--format", "{{.Id}}", "busybox:1.35"]);
    assert_eq!(id, manifest(&amd64(SPARSE)).config().unwrap().digest.to_string());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_pushes() {
    let Some(docker) = Daemon::docker(None) else { return };
    let source = Serving::root(fixtures::root());
    let (serving, root) = registry();
    let (from, to) = (format!("{}/web:1.1", source.address), format!("{}/own/web:1", serving.address));
    docker.run(&["pull", "--quiet", &from]);
    docker.run(&["tag", &from, &to]);
    docker.run(&["push", "--quiet", &to]);
    let id = docker.run(&["inspect", "--format", "{{.Id}}", &to]);
    // The second name takes the layers of the first by mounts.
    let second = format!("{}/other:2", serving.address);
    docker.run(&["tag", &from, &second]);
    docker.run(&["push", "--quiet", &second]);
    for name in [&from, &to, &second] {
        docker.run(&["rmi", "--force", name]);
    }
    for name in [&to, &second] {
        docker.run(&["pull", "--quiet", name]);
        assert_eq!(docker.run(&["inspect", "--format", "{{.Id}}", name]), id);
    }
    assert_eq!(skopeo::digest(&to), skopeo::digest(&second));
    drop(serving);
    assert_no_garbage(root.path());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn containerd_pulls_and_pushes() {
    let Some(containerd) = Daemon::containerd() else { return };
    let root = sparse_root();
    let serving = Serving::root(root.path());
    let pull = |name: &str, more: &[&str]| {
        containerd.run(&[&["images", "pull", "--snapshotter", "native"], more, &[name]].concat());
    };
    let image = |name: &str| format!("{}/{name}", serving.address);
    let by_digest = image(&format!("web@{}", fixtures::digest("web:1.1")));
    let by_child = image(&format!("certs@{}", amd64("certs:2023")));
    for name in [&image(SPARSE), &image("pause:3.9"), &by_digest, &by_child] {
        pull(name, &["--plain-http"]);
    }
    // As the installer sets it up: requests have ?ns=docker.io then.
    let hosts = containerd.folder().join("certs.d");
    fs::create_dir_all(hosts.join("docker.io")).unwrap();
    let toml = format!("[host.\"http://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", serving.address);
    fs::write(hosts.join("docker.io/hosts.toml"), toml).unwrap();
    pull("docker.io/library/busybox:1.35", &["--hosts-dir", hosts.to_str().unwrap()]);
    let listed = containerd.run(&["images", "ls"]);
    for (name, digest) in [
        (image(SPARSE), fixtures::digest(SPARSE)),
        (by_child, amd64("certs:2023")),
        ("docker.io/library/busybox:1.35".to_owned(), fixtures::digest(SPARSE)),
    ] {
        let line = listed.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{name}: {listed}"));
        assert!(line.contains(&digest.to_string()), "{line}");
    }

    let (target, written) = registry();
    let to = format!("{}/own/web:1", target.address);
    let words = ["images", "push", "--plain-http", "--platform", "linux/amd64", &to, &by_digest];
    containerd.run(&words);
    let source = Serving::root(fixtures::root());
    let whole = format!("{}/jobs/backup:2.4", source.address);
    pull(&whole, &["--plain-http"]);
    let other = format!("{}/jobs/backup:2.4", target.address);
    containerd.run(&["images", "push", "--plain-http", &other, &whole]);
    assert_eq!(skopeo::manifest(&other), stored(&fixtures::digest("jobs/backup:2.4")));
    for name in [&to, &other] {
        let folder = tempfile::tempdir().unwrap();
        skopeo::copy_all(&format!("docker://{name}"), &format!("dir:{}", folder.path().display()));
    }
    drop(target);
    assert_no_garbage(written.path());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn buildah_builds_pushes_and_pulls() {
    let (serving, root) = registry();
    let folder = tempfile::tempdir().unwrap();
    let source = Serving::root(fixtures::root());
    let buildah = |words: &[&str]| run("buildah", folder.path(), words);
    let base = format!("{}/{SPARSE}", source.address);
    let container = buildah(&["from", "--tls-verify=false", &base]);
    fs::write(folder.path().join("file"), "built here").unwrap();
    buildah(&["copy", "--quiet", &container, folder.path().join("file").to_str().unwrap(), "/built"]);
    let built = buildah(&["commit", "--quiet", &container]);
    let to = format!("{}/built/app:1", serving.address);
    for format in ["oci", "v2s2"] {
        buildah(&["push", "--quiet", "--tls-verify=false", "--format", format, &built, &format!("docker://{to}")]);
        let digest = skopeo::digest(&to);
        let again =
            buildah(&["pull", "--quiet", "--tls-verify=false", &format!("{}/built/app@{digest}", serving.address)]);
        assert!(!again.is_empty());
    }
    drop(serving);
    assert_no_garbage(root.path());
}
