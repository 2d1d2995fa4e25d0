//! `hod tag`, `rm`, `gc` and `stat`, with umoci and docker-registry as judges.

mod attached;
mod leading_out;
mod looking;
mod unreadable;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::referrers_tag;
use serde_json::Value;

use crate::support::docker_registry::{DockerRegistry, garbage_collect};
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, Image, artifact, docker_image, image, index, layer};
use crate::support::job::{assert_clean, assert_serves, assert_sound, blob_path, names, reach, text};
use crate::support::{fixtures, tree};

/// The blobs of a root or layout, by their digests in hex.
fn blobs(folder: &Path) -> BTreeSet<String> {
    let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|it| it.file_type().is_file());
    files
        .map(|file| {
            let path = file.path();
            let named = if path.ends_with("data") { path.parent().unwrap() } else { path };
            named.file_name().unwrap().to_str().unwrap().to_owned()
        })
        .collect()
}

fn root_blobs(root: &Path) -> BTreeSet<String> {
    blobs(&root.join("docker/registry/v2/blobs"))
}

fn rm(root: &Path, images: &[&str]) {
    hod(["rm", "--store", text(root)].iter().chain(images)).ok();
}

fn gc(root: &Path, more: &[&str]) -> Value {
    hod(["gc", "--store", text(root), "--json"].iter().chain(more)).ok().json()
}

fn umoci<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let output = Command::new("umoci").args(words).output().expect("umoci does not start: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn layout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tree::copy(&fixtures::folder().join("images"), folder.path());
    folder
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn gc_deletes_what_the_registry_would() {
    // Names to remove, and what remains of them in what others share.
    for removed in [
        &["web:1.0"][..],
        &["base/busybox:1.35"],
        &["base/busybox:1.35", "base/busybox:latest"],
        &["suite/complete:1", "build/agent:7", "pause:3.9"],
        &["legacy/shell:2.0", "charts/web:0.1.0", "docs/handbook:1.0", "platform/tools/network/toolbox:2026.1"],
    ] {
        let (ours, theirs) = (fixtures::copy(), fixtures::copy());
        for root in [ours.path(), theirs.path()] {
            rm(root, removed);
            assert_clean(root);
        }
        let before = root_blobs(ours.path());
        let planned = gc(ours.path(), &["--dry-run"]);
        assert_eq!(root_blobs(ours.path()), before, "a dry run deletes nothing");
        let done = gc(ours.path(), &[]);
        assert_eq!((&planned["blobs"], &planned["bytesFreed"]), (&done["blobs"], &done["bytes"]));
        garbage_collect(theirs.path(), []);
        assert_eq!(root_blobs(ours.path()), root_blobs(theirs.path()), "{removed:?}");
        assert_eq!(root_blobs(ours.path()).len() + done["blobs"].as_array().unwrap().len(), before.len());
        assert_sound(ours.path());
        let left: Vec<String> =
            names(fixtures::root()).into_iter().filter(|name| !removed.contains(&&**name)).collect();
        assert_eq!(names(ours.path()), left);
        let registry = DockerRegistry::over(ours.path());
        for name in left {
            let (repository, tag) = name.rsplit_once(':').unwrap();
            assert!(reach(registry.host(), repository, tag).absent.is_empty());
        }
    }
}

#[test]
fn nothing_goes_of_a_store_in_which_everything_is_wanted() {
    let root = fixtures::copy();
    let before = tree::listing(&root.path().join("docker"));
    let done = gc(root.path(), &[]);
    assert_eq!((&done["blobs"].as_array().unwrap().len(), &done["bytes"]), (&0, &0.into()));
    assert_eq!(tree::listing(&root.path().join("docker")), before);
}

struct Sample {
    content: Content,
    app: Image,
    signature: Image,
    pinned: Image,
}

/// An index with a referrer that has a referrer itself, a signature by tag, a referrer that no tag leads to, and an
/// image that is called by its digest alone.
fn sample() -> Sample {
    let app = index(&[image("linux/amd64", &[layer(1, 900)]), image("linux/arm64", &[layer(2, 900)])]);
    let bill = artifact("text/bill", &[Blob::new("text/plain", "bill")], Some(&app));
    let signature = artifact("text/signature", &[Blob::new("text/plain", "signature")], Some(&bill));
    let loose = artifact("text/loose", &[Blob::new("text/plain", "loose")], Some(&app.children[0]));
    let cosign = image("linux/amd64", &[layer(3, 50)]);
    let pinned = index(&[image("linux/amd64", &[layer(4, 700)])]);
    let list = |image: &Image| index(std::slice::from_ref(image));
    let content = Content::default()
        .with("app:1", &app)
        .with("app", &bill)
        .with(&format!("app:{}", referrers_tag(&app.digest()).unwrap()), &list(&bill))
        .with("app", &signature)
        .with(&format!("app:{}", referrers_tag(&bill.digest()).unwrap()), &list(&signature))
        .with("app", &loose)
        .with(&format!("app:{}.sig", referrers_tag(&app.children[1].digest()).unwrap()), &cosign)
        .with("app", &pinned)
        .with("other:1", &image("linux/amd64", &[layer(1, 900), layer(5, 10)]));
    Sample { content, app, signature, pinned }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_sparse_index_and_a_moved_tag() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut sparse = index(&[image("linux/amd64", &[layer(1, 900)]), image("linux/arm64", &[layer(2, 900)])]);
    sparse.children.pop();
    let old = docker_image("linux/amd64", &[layer(3, 800)]);
    let content = Content::default().with("app:1", &sparse).with("app", &old);
    content.write_root(root);
    // As a tag leaves it that was moved.
    let history = root.join(format!(
        "docker/registry/v2/repositories/app/_manifests/tags/1/index/{}",
        old.digest().to_string().replace(':', "/")
    ));
    fs::create_dir_all(&history).unwrap();
    fs::write(history.join("link"), old.digest().to_string()).unwrap();
    gc(root, &[]);
    assert!(history.exists() && blob_path(root, &old.blobs[1].digest()).exists(), "it can be pulled by its digest");
    gc(root, &["--untagged"]);
    assert!(!history.exists() && !blob_path(root, &old.blobs[1].digest()).exists());
    assert_sound(root);
    let registry = DockerRegistry::over(root);
    let reached = reach(registry.host(), "app", "1");
    assert_eq!((reached.blobs.len(), reached.absent.len()), (2, 1));
}

#[test]
fn what_cannot_be_read_ends_it_before_anything_is_gone() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let root = folder.path();
    for damage in ["gone", "changed", "no manifest"] {
        let _ = fs::remove_dir_all(root.join("docker"));
        let odd = Image::of_bytes("application/vnd.oci.image.manifest.v1+json", "{}");
        let content = sample.content.clone();
        let content = if damage == "no manifest" { content.with("odd:1", &odd) } else { content };
        content.write_root(root);
        let child = blob_path(root, &sample.app.digest());
        match damage {
            "gone" => fs::remove_file(&child).unwrap(),
            "changed" => fs::write(&child, "{}").unwrap(),
            _ => {}
        }
        fs::remove_dir_all(root.join("docker/registry/v2/repositories/other")).unwrap();
        let before = tree::listing(&root.join("docker"));
        let output = hod(["gc", text(root)]).code(4);
        assert!(output.stderr.contains("nothing was deleted"), "{damage}: {}", output.stderr);
        assert_eq!(tree::listing(&root.join("docker")), before);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn interrupted_runs_and_shared_files() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let (root, twin) = (folder.path().join("root"), folder.path().join("twin"));
    sample.content.write_root(&root);
    hod(["select", "--store", text(&root), "--to", text(&twin)]).ok();
    let partial = twin.join(".hod/partial").join("sha256-".to_owned() + &"0".repeat(64));
    fs::write(&partial, "half").unwrap();
    rm(&twin, &["other:1"]);
    let planned = gc(&twin, &["--dry-run"]);
    assert!(partial.exists());
    assert_eq!((&planned["unfinished"]["bytes"], &planned["bytesFreed"]), (&4.into(), &4.into()), "{planned:#}");
    let output = hod(["gc", &format!("store:{}", text(&twin))]).ok();
    assert!(output.stderr.contains("hard links") && output.stderr.contains("registry"), "{}", output.stderr);
    assert!(!partial.exists());
    assert_serves(&root, &sample.content);
    assert_sound(&twin);
}

#[test]
fn nobody_else_may_write() {
    let root = fixtures::copy();
    let mut server = hod(["serve", text(root.path()), "--listen", "127.0.0.1:0", "--writable"]).spawn();
    server.until_printed("listening on");
    for command in [&["gc"][..], &["rm", "web:1.0"]] {
        let output = hod(command.iter().chain(&["--store", text(root.path())])).code(1);
        assert!(output.stderr.contains("in use"), "{}", output.stderr);
    }
    server.kill();
    rm(root.path(), &["web:1.0"]);
    // A layout that somebody is copying to.
    let layout = layout();
    let blobs = fs::File::open(layout.path().join("blobs")).unwrap();
    blobs.lock_shared().unwrap();
    let output = hod(["gc", &format!("oci:{}", text(layout.path()))]).code(1);
    assert!(output.stderr.contains("in use"), "{}", output.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn rm_takes_names_and_digests_and_says_what_is_not_there() {
    let root = fixtures::copy();
    let before = tree::listing(&root.path().join("docker"));
    let missing = hod(["rm", "--store", text(root.path()), "web:1.0", "web:9", "no/such", "certs:2023"]).code(1);
    assert!(missing.stderr.contains("web:9") && missing.stderr.contains("no/such"), "{}", missing.stderr);
    assert_eq!(tree::listing(&root.path().join("docker")), before, "nothing was removed");
    hod(["rm", "web:1.0"]).code(2);
    hod(["rm", "docker://web:1.0"]).code(2);
    hod(["rm", &format!("store:{}", text(root.path()))]).code(2);

    // By digest all tags go; a child alone does not, since its index would lose it.
    let busybox = format!("store:{}:base/busybox@{}", text(root.path()), fixtures::digest("base/busybox:1.35"));
    let registry = DockerRegistry::over(root.path());
    let child = reach(registry.host(), "web", "1.1").manifests;
    let child = child.into_iter().find(|digest| *digest != fixtures::digest("web:1.1")).unwrap();
    let part = hod(["rm", "--store", text(root.path()), &format!("web@{child}")]).code(1);
    assert!(part.stderr.contains("is part of web:1.1"), "{}", part.stderr);
    let removed = hod(["rm", "--json", &busybox]).ok().json();
    assert_eq!(removed["removed"].as_array().unwrap().len(), 3, "{removed:#}");
    let names = names(root.path());
    assert!(!names.iter().any(|name| name.starts_with("base/busybox")), "{names:?}");

    // The tag alone: the rest stays until --untagged.
    hod(["rm", "--tag-only", "--store", text(root.path()), "certs:2023"]).ok();
    gc(root.path(), &[]);
    reach(registry.host(), "certs", &fixtures::digest("certs:2023").to_string());
    hod(["rm", "--store", text(root.path()), &format!("certs@{}", fixtures::digest("certs:2023"))]).ok();
    gc(root.path(), &[]);
    assert!(!root.path().join("docker/registry/v2/repositories/certs").exists());
    drop(registry);
    assert_sound(root.path());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn tag_gives_names_in_stores() {
    let root = fixtures::copy();
    let store = text(root.path());
    hod(["tag", &format!("store:{store}:web:1.0"), "stable", "a/b/mirror:1"]).ok();
    let output = hod(["tag", "--store", store, "suite/complete:1", "elsewhere"]).ok();
    assert!(output.text().contains(&fixtures::digest("suite/complete:1").to_string()), "{}", output.text());
    hod(["tag", "--store", store, &format!("web@{}", fixtures::digest("web:1.1")), "web:1.0"]).ok();
    hod(["tag", "--store", store, "web:9", "x"]).code(1);
    hod(["tag", "--store", store, "web:1.0", "UPPER/x"]).code(2);
    assert_sound(root.path());
    let registry = DockerRegistry::over(root.path());
    for (name, tag, of) in [
        ("web", "stable", "web:1.0"),
        ("a/b/mirror", "1", "web:1.0"),
        ("suite/complete", "elsewhere", "suite/complete:1"),
        ("web", "1.0", "web:1.1"),
    ] {
        let reached = reach(registry.host(), name, tag);
        assert!(reached.manifests.contains(&fixtures::digest(of)) && reached.absent.is_empty(), "{name}:{tag}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn layouts_are_as_umoci_leaves_them() {
    let (ours, theirs) = (layout(), layout());
    let (place, path) = (format!("oci:{}", text(ours.path())), text(theirs.path()));
    let index = |layout: &Path| {
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        // umoci does not write the complete name, by which containerd knows an image.
        let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
        let entry = |entry: &Value| format!("{} {}", name(entry), entry["digest"]);
        index["manifests"].as_array().unwrap().iter().map(entry).collect::<BTreeSet<String>>()
    };
    let same = |step: &str| {
        assert_eq!(index(ours.path()), index(theirs.path()), "{step}");
        assert_eq!(blobs(&ours.path().join("blobs")), blobs(&theirs.path().join("blobs")), "{step}");
    };
    hod(["tag", &format!("{place}:jobs/backup:2.4"), "jobs/backup:stable"]).ok();
    umoci(["tag", "--image", &format!("{path}:jobs/backup:2.4"), "jobs/backup:stable"]);
    same("tag");
    // umoci does not know Docker's types: it would leave their manifests and delete what these name.
    for name in ["jobs/backup:2.4", "web:1.0", "charts/web:0.1.0", "pause:3.9", "legacy/shell:2.0"] {
        hod(["rm", &format!("{place}:{name}")]).ok();
        umoci(["rm", "--image", &format!("{path}:{name}")]);
    }
    same("rm");
    hod(["gc", &place]).ok();
    umoci(["gc", "--layout", path]);
    same("gc of some");
    for name in ["suite/complete:1", "build/agent:7", "jobs/backup:stable"] {
        hod(["rm", &format!("{place}:{name}")]).ok();
        umoci(["rm", "--image", &format!("{path}:{name}")]);
    }
    hod(["gc", &place, "--json"]).ok();
    umoci(["gc", "--layout", path]);
    same("gc of more");

    let missing = hod(["rm", &format!("{place}:edge/sensor:1.0"), &format!("{place}:edge/no:1")]).code(1);
    assert!(missing.stderr.contains("edge/no:1") && !missing.stderr.contains("edge/sensor:1.0"), "{}", missing.stderr);
    assert!(index(ours.path()).iter().any(|entry| entry.contains("edge/sensor")), "nothing was removed");
    hod(["rm", &format!("{place}:@{}", fixtures::digest("base/busybox:1.35"))]).ok();
    assert!(!index(ours.path()).iter().any(|entry| entry.contains("busybox")));
}

#[test]
fn a_layout_keeps_referrers_of_what_it_keeps() {
    let layout = layout();
    let place = format!("oci:{}", text(layout.path()));
    let tag = referrers_tag(&fixtures::digest("described/app:1.0")).unwrap();
    hod(["rm", &format!("{place}:described/app:{tag}")]).ok();
    let before = blobs(&layout.path().join("blobs"));
    hod(["gc", &place]).ok();
    let after = blobs(&layout.path().join("blobs"));
    assert_eq!(before.len() - after.len(), 1, "the index of referrers alone");
    hod(["rm", &format!("{place}:described/app:1.0")]).ok();
    let planned = hod(["gc", &place, "--dry-run", "--json"]).ok().json();
    assert!(planned["blobs"].as_array().unwrap().len() > 3, "{planned:#}");
    assert_eq!(blobs(&layout.path().join("blobs")), after);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn stat_is_that_of_umoci() {
    let layout = layout();
    umoci(["new", "--image", &format!("{}:made:1", text(layout.path()))]);
    let made = format!("{}:made:1", text(layout.path()));
    umoci(["config", "--image", &made, "--config.cmd", "/bin/sh", "--author", "somebody"]);
    for name in ["jobs/backup:2.4", "edge/sensor:1.0", "made:1"] {
        let image = format!("{}:{name}", text(layout.path()));
        let theirs: Value = serde_json::from_str(&umoci(["stat", "--image", &image, "--json"])).unwrap();
        let arch = if name.starts_with("edge") { "arm" } else { "amd64" };
        let ours = hod(["stat", &format!("oci:{image}"), "--json", "--override-arch", arch]).ok();
        assert_eq!(ours.json(), theirs, "{name}");
        let table = hod(["stat", &format!("oci:{image}")]).ok().text();
        assert_eq!(table.lines().count(), 1 + theirs["history"].as_array().unwrap().len(), "{table}");
    }
    // An index, a chart, and a history that says nothing of times and layers.
    let web = hod(["stat", &format!("store:{}:web:1.0", text(fixtures::root()))]).ok().text();
    assert!(web.contains("scripts/make-fixtures") && web.contains("sha256:"), "{web}");
    hod(["stat", &format!("store:{}:charts/web:0.1.0", text(fixtures::root()))]).ok();
    let folder = tempfile::tempdir().unwrap();
    Content::default().with("bare:1", &image("linux/amd64", &[layer(1, 10), layer(2, 10)])).write_root(folder.path());
    let bare = hod(["stat", &format!("store:{}:bare:1", text(folder.path())), "--json"]).ok().json();
    let steps = bare["history"].as_array().unwrap();
    assert!(steps.len() == 2 && steps.iter().all(|step| step["diff_id"].as_str().unwrap().len() == 71), "{bare:#}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    let mut content = Content::default();
    let mut removed = Vec::new();
    for seed in 0..60 {
        let nested =
            index(&[index(&[image("linux/amd64", &[layer(seed, 400)])]), image("linux/arm64", &[layer(900, 9)])]);
        let name = format!("app:{seed}");
        content = content.with(&name, &nested);
        if seed % 3 > 0 {
            removed.push(name);
        }
    }
    content.write_root(&base);
    let repositories = |root: &Path| root.join("docker/registry/v2/repositories/app/_manifests");
    let count = |path: &Path| fs::read_dir(path).unwrap().count();
    let removed: Vec<&str> = removed.iter().map(String::as_str).collect();
    for step in 0..6 {
        let root = folder.path().join(step.to_string());
        tree::copy(&base, &root);
        let tags = || count(&repositories(&root).join("tags"));
        let revisions = || count(&repositories(&root).join("revisions/sha256"));
        let (all_tags, all_revisions, all_blobs) = (tags(), revisions(), root_blobs(&root).len());
        if step < 3 {
            let mut running = hod(["rm", "--store", text(&root)].iter().chain(&removed)).spawn();
            running.until("a step of rm", || match step {
                0 => tags() < all_tags,
                1 => tags() < all_tags - 20,
                _ => revisions() < all_revisions,
            });
            running.kill();
        } else {
            rm(&root, &removed);
            let mut running = hod(["gc", "--store", text(&root)]).spawn();
            let layers = || count(&root.join("docker/registry/v2/repositories/app/_layers/sha256"));
            let all_layers = layers();
            // Folders of blobs come and go while one looks.
            let left = || walkdir::WalkDir::new(root.join("docker/registry/v2/blobs")).into_iter().flatten();
            let left = || left().filter(|entry| entry.file_name() == "data").count();
            running.until("a step of gc", || match step {
                3 => layers() < all_layers,
                4 => left() < all_blobs,
                _ => left() < all_blobs - 30,
            });
            running.kill();
        }
        assert_clean(&root);
        // The same command again: what comes next brings back what it had kept aside.
        if step < 3 {
            rm(&root, &removed);
        }
        gc(&root, &["--untagged"]);
        assert_sound(&root);
        assert_eq!(names(&root).len(), 20);
    }
}
