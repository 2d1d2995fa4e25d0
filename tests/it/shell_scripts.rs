//! The defects of the shell scripts that hod replaces, by their numbers in `docs/coming-from-shell-scripts.md`.
//!
//! What another file tests already is named there and not repeated here; the last test checks that those tests exist.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use serde_json::{Value, json};

use crate::scenarios::assert_exists;
use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::hod::hod;
use crate::support::images::{Content, Image, image, index, layer};
use crate::support::job::{self, assert_sound, names, pull, push, text};
use crate::support::{raw, skopeo, tree};

/// A registry with these names, each another image.
fn registry(names: &[&str]) -> (tempfile::TempDir, DockerRegistry) {
    let with =
        |content: Content, (seed, name): (u64, &&str)| content.with(name, &image("linux/amd64", &[layer(seed, 300)]));
    let root = tempfile::tempdir().unwrap();
    (1..).zip(names).fold(Content::default(), with).write_root(root.path());
    let registry = DockerRegistry::over(root.path());
    (root, registry)
}

/// The tags of a repository, as the registry lists them.
fn tags(host: &str, repository: &str) -> Value {
    raw::get(host, &format!("/v2/{repository}/tags/list")).json()["tags"].clone()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_01_untagged_lines_notes_and_carriage_returns_lose_no_image() {
    let (_root, registry) = registry(&["nginx:latest", "img:tag", "last:1"]);
    let folder = tempfile::tempdir().unwrap();
    let list = "nginx\r\n  img:tag # note\r\n# nothing\r\nlast:1";
    pull(registry.host(), folder.path(), ["-f", "-"]).input(list).ok();
    assert_eq!(names(folder.path()), ["img:tag", "last:1", "nginx:latest"]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_03_ports_and_digests_are_parts_of_references() {
    let (_root, registry) = registry(&["x:1", "y:1"]);
    let host = registry.host();
    let (x, y) = (skopeo::digest(&format!("{host}/x:1")), skopeo::digest(&format!("{host}/y:1")));
    let folder = tempfile::tempdir().unwrap();
    let list = format!("{host}/x:1\n{host}/y@{y}\n{host}/x:again@{x}\n");
    hod(["pull", "-f", "-", "--store", text(folder.path())]).input(list).ok();
    assert_eq!(names(folder.path()), ["x:1".to_owned(), "x:again".to_owned(), format!("y@{y}")]);
    let repositories = fs::read_dir(folder.path().join("docker/registry/v2/repositories")).unwrap();
    let found: BTreeSet<_> = repositories.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, BTreeSet::from(["x".to_owned(), "y".to_owned()]), "no repository is called y@sha256");
    assert_no_garbage(folder.path());
}

/// Names of one, two and four parts, and two whose last parts are the same.
const NAMES: [&str; 5] = ["alpine:3", "ns/name:1", "a/b/c/d:1", "a/x/i:1", "a/y/i:1"];

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_04_names_have_as_many_parts_as_they_have() {
    let (_root, registry) = registry(&NAMES);
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), NAMES).ok();
    let mut expected = NAMES.map(str::to_owned);
    expected.sort();
    assert_eq!(names(folder.path()), expected);
    let served = DockerRegistry::over(folder.path());
    for name in NAMES {
        let digest = |host: &str| skopeo::digest(&format!("{host}/{name}"));
        assert_eq!(digest(served.host()), digest(registry.host()), "{name}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_07_a_digest_in_an_annotation_is_no_layer() {
    let plain = image("linux/amd64", &[layer(1, 300)]);
    let mut manifest: Value = serde_json::from_slice(&plain.bytes).unwrap();
    let stranger = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    manifest["annotations"] = json!({
        "org.opencontainers.image.base.digest": format!("sha256:{stranger}"),
        "io.github.containers.zstd-chunked.manifest-checksum": format!("sha256:{}", "ab".repeat(32)),
    });
    let annotated = Image::of_bytes("application/vnd.oci.image.manifest.v1+json", manifest.to_string());
    let annotated = Image { blobs: plain.blobs, ..annotated };
    let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Content::default().with("app:1", &annotated).write_root(source.path());
    let registry = DockerRegistry::over(source.path());
    let (store, bundle, root) = (folder.path().join("s"), folder.path().join("b.tar"), folder.path().join("r"));
    pull(registry.host(), &store, ["app:1"]).ok();
    job::pack(&store, &bundle, []).ok();
    job::unpack(&bundle, &root, []).ok();
    for at in [&store, &root] {
        assert_sound(at);
        let layers = at.join("docker/registry/v2/repositories/app/_layers/sha256");
        let linked = fs::read_dir(&layers).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let expected = annotated.blobs.iter().map(|blob| blob.digest().hex());
        assert_eq!(linked.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_10_content_goes_from_one_filesystem_to_another() {
    let (_root, registry) = registry(&["app:1"]);
    // A filesystem of its own on every Linux.
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    pull(registry.host(), here.path(), ["app:1"]).ok();
    let from = format!("store:{}:app:1", here.path().display());
    let to = |folder: &Path| format!("store:{}:app:1", folder.display());
    let beside = tempfile::tempdir_in(here.path()).unwrap();
    hod(["copy", &from, &to(there.path())]).ok();
    hod(["copy", &from, &to(beside.path())]).ok();
    for root in [there.path(), beside.path()] {
        assert_sound(root);
        tree::assert_same(&here.path().join("docker"), &root.join("docker"));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_12_every_name_arrives_at_the_second_registry() {
    let (_root, registry) = registry(&NAMES);
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), NAMES).ok();
    let second = DockerRegistry::empty();
    push(folder.path(), second.host(), []).ok();
    let catalog = |host: &str| raw::get(host, "/v2/_catalog").json()["repositories"].clone();
    assert_eq!(catalog(second.host()), catalog(registry.host()));
    for name in NAMES {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        assert_eq!(tags(second.host(), repository), json!([tag]));
        let digest = |host: &str| skopeo::digest(&format!("{host}/{name}"));
        assert_eq!(digest(second.host()), digest(registry.host()), "{name}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_13_repositories_and_tags_may_be_called_current() {
    let all = ["current:current", "tags/current:1", "app:current"];
    let (_root, registry) = registry(&all);
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), all).ok();
    // What a broken run of the scripts leaves: a tag without a link.
    let broken = folder.path().join("docker/registry/v2/repositories/app/_manifests/tags/broken/current");
    fs::create_dir_all(broken).unwrap();
    assert_eq!(names(folder.path()), ["app:current", "current:current", "tags/current:1"]);
    let second = DockerRegistry::empty();
    push(folder.path(), second.host(), []).ok();
    for name in all {
        let digest = |host: &str| skopeo::digest(&format!("{host}/{name}"));
        assert_eq!(digest(second.host()), digest(registry.host()), "{name}");
    }
    assert_eq!(tags(second.host(), "app"), json!(["current"]));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_17_it_does_not_matter_where_the_command_is_run() {
    let (_root, registry) = registry(&NAMES);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    pull(registry.host(), &store, NAMES).ok();
    let pack = |place: &Path, store: &str, output: &str| {
        hod(["pack", "a/b/c/d:1", "--store", store, "-o", output]).in_folder(place).ok();
    };
    let absolute = folder.path().join("absolute.tar");
    pack(Path::new("/"), text(&store), text(&absolute));
    pack(folder.path(), "store", "relative.tar");
    pack(&store, ".", "../inside.tar");
    let bytes = fs::read(&absolute).unwrap();
    for name in ["relative.tar", "inside.tar"] {
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), bytes, "{name}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn defect_21_nothing_else_is_left_in_the_root() {
    let content = Content::default().with("app:1", &index(&[image("linux/amd64", &[layer(1, 300)])]));
    let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    content.write_root(source.path());
    let registry = DockerRegistry::over(source.path());
    let (store, bundle, root) = (folder.path().join("s"), folder.path().join("b.tar"), folder.path().join("r"));
    pull(registry.host(), &store, ["app:1", "--all-platforms"]).ok();
    job::pack(&store, &bundle, []).ok();
    job::unpack(&bundle, &root, []).ok();
    push(&store, DockerRegistry::empty().host(), []).ok();
    for at in [&store, &root] {
        let entries = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let foreign: Vec<String> = entries.filter(|name| name != "docker" && name != ".hod").collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        tree::assert_same(&source.path().join("docker"), &at.join("docker"));
    }
}

#[test]
fn every_defect_has_a_test_that_exists() {
    let document =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/coming-from-shell-scripts.md")).unwrap();
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")).collect();
    let rows: Vec<&&str> = rows.iter().filter(|line| !line.starts_with("| ---")).collect();
    assert_eq!(rows.len(), 21);
    for (number, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| {number} |")), "{row}");
        let cell = row.trim_end_matches('|').trim().rsplit('|').next().unwrap();
        let tests: Vec<&str> = cell.split('`').filter(|word| word.contains("::")).collect();
        assert!(!tests.is_empty(), "{row}");
        tests.into_iter().for_each(assert_exists);
    }
}
