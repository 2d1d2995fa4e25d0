//! Deltas: what the far side has stays at home, and everything is there in the end.

mod base;

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::hod::{Output, hod};
use crate::support::images::{Content, Image, image, index, layer};
use crate::support::{skopeo, tree};

/// A release and the next one: a moved tag, a new image in a new repository, a removed one, and one that stays.
struct Releases {
    folder: TempDir,
    patched: Image,
    shared: Image,
}

impl Releases {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = layer(1, 400_000);
        let app = |seed, platform| image(platform, &[base.clone(), layer(seed, 20_000)]);
        let old = index(&[app(2, "linux/amd64"), app(3, "linux/arm64")]);
        let patched = index(&[app(4, "linux/amd64"), app(5, "linux/arm64")]);
        let stays = image("linux/amd64", &[layer(6, 30_000)]);
        let gone = image("linux/amd64", &[layer(7, 30_000)]);
        let shared = image("linux/amd64", &[base, layer(8, 10_000)]);
        let first = Content::default().with("app:1", &old).with("stays:1", &stays).with("gone:1", &gone);
        first.write_root(&folder.path().join("first"));
        let second = Content::default().with("app:1", &patched).with("stays:1", &stays).with("new/tool:2", &shared);
        second.write_root(&folder.path().join("second"));
        let releases = Self { folder, patched, shared };
        releases.pack("first", "first.tar", &[]);
        releases.pack("second", "second.tar", &[]);
        releases
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, words: &[&str], code: i32) -> Output {
        hod(words).in_folder(self.folder.path()).code(code)
    }

    fn pack(&self, store: &str, output: &str, have: &[&str]) -> u64 {
        let mut words = vec!["pack", "--store", store, "-o", output];
        words.extend(have.iter().flat_map(|file| ["--have", *file]));
        self.run(&words, 0);
        fs::metadata(self.path(output)).unwrap().len()
    }

    /// A site that has unpacked these bundles, one after the other.
    fn site(&self, name: &str, bundles: &[&str]) -> PathBuf {
        for bundle in bundles {
            self.run(&["unpack", bundle, "--root", name], 0);
        }
        self.path(name)
    }
}

fn docker(root: &Path) -> PathBuf {
    root.join("docker")
}

#[test]
fn one_image_of_a_delta_says_what_its_base_has() {
    let releases = Releases::new();
    releases.pack("second", "delta.tar", &["first"]);
    releases.pack("second", "delta.tar.zst", &["first"]);
    // What the tool shares with the first release: the base layer.
    let base = releases.shared.blobs[1].descriptor.clone();
    let left = format!("it leaves 1 content ({} bytes) of new/tool:2 to its base", base.size);
    for words in [
        &["copy", "bundle:delta.tar:new/tool:2", "dir:copied"][..],
        &["copy", "bundle:delta.tar.zst:new/tool:2", "oci:layout:tool"],
        &["copy", "bundle:delta.tar:new/tool:2", "docker-archive:tool.tar"],
        &["unpack-image", "bundle:delta.tar:new/tool:2", "unpacked"],
        &["index", "create", "oci:layout:index", "bundle:delta.tar:new/tool:2"],
    ] {
        let output = releases.run(words, 1);
        for part in [&base.digest.to_string(), "which is a delta", &left, "hint: ", "hod unpack it into a root"] {
            assert!(output.stderr.contains(part), "{words:?}: {part}: {}", output.stderr);
        }
        assert!(!output.stderr.contains("check the name"), "{}", output.stderr);
    }
    // Of several platforms, all that is left out counts once.
    let output = releases.run(&["copy", "--all", "bundle:delta.tar:app:1", "dir:all"], 1);
    assert!(output.stderr.contains(&left.replace("new/tool:2", "app:1")), "{}", output.stderr);
    // What the hint says, and a destination that has the base.
    let site = releases.site("site", &["first.tar", "delta.tar"]);
    hod(["copy", &format!("store:{}:new/tool:2", site.display()), "dir:copied"]).in_folder(&releases.path(".")).ok();
    releases.run(&["copy", "bundle:delta.tar:new/tool:2", "store:first:new/tool:2"], 0);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_delta_on_its_base_is_the_full_bundle() {
    let releases = Releases::new();
    let site = releases.site("site", &["first.tar"]);
    let full_site = releases.site("full", &["first.tar", "second.tar"]);
    releases.run(&["inventory", "site", "-o", "site.json"], 0);
    releases.run(&["pack", "--store", "first", "-o", "cut.tar", "--volume-size", "100000"], 0);
    let full = fs::metadata(releases.path("second.tar")).unwrap().len();
    for (position, have) in ["site.json", "first.tar", "cut.tar.001", "first", "site"].iter().enumerate() {
        let delta = format!("delta-{position}.tar");
        let length = releases.pack("second", &delta, &[have]);
        // Four layers that the site does not have, of 20 and 10 kB, instead of 400 kB more.
        assert!(length < full / 3, "{have}: {length} of {full}");
        let other = format!("other-{position}");
        tree::copy(&site, &releases.path(&other));
        releases.site(&other, &[&delta]);
        tree::assert_same(&docker(&full_site), &docker(&releases.path(&other)));
        releases.run(&["verify", &other], 0);
        releases.run(&["verify", &delta], 0);
        // Again, on what is there: nothing changes.
        releases.site(&other, &[&delta]);
        tree::assert_same(&docker(&full_site), &docker(&releases.path(&other)));
    }
    // The same question has the same answer, and so the same bundle, but for the name of the base.
    let [one, other] = ["delta-0.tar", "delta-1.tar"].map(|delta| releases.header_without_base(delta));
    assert_eq!(one, other);
    releases.pack("second", "again.tar", &["first.tar"]);
    assert_eq!(fs::read(releases.path("again.tar")).unwrap(), fs::read(releases.path("delta-1.tar")).unwrap());
    assert_no_garbage(&releases.path("other-0"));
}

#[test]
fn compressed_and_in_volumes() {
    let releases = Releases::new();
    releases.run(&["pack", "--store", "second", "-o", "d.tar.zst", "--have", "first.tar", "--volume-size", "20000"], 0);
    let full = releases.site("full", &["first.tar", "second.tar"]);
    let site = releases.site("site", &["first.tar", "d.tar.zst"]);
    tree::assert_same(&docker(&full), &docker(&site));
    // A delta on a delta: what the first built on is there too.
    let length = releases.pack("second", "nothing.tar", &["d.tar.zst"]);
    assert!(length < 50_000, "{length}");
    releases.site("site", &["nothing.tar"]);
    tree::assert_same(&docker(&full), &docker(&site));
}

#[test]
fn a_minimal_inventory_is_expanded_from_the_near_store() {
    let releases = Releases::new();
    let site = releases.site("site", &["first.tar"]);
    releases.run(&["inventory", "site", "-o", "full.json"], 0);
    releases.run(&["inventory", "site", "--minimal", "-o", "minimal.json"], 0);
    let sizes = ["full.json", "minimal.json"].map(|file| fs::metadata(releases.path(file)).unwrap().len());
    assert!(sizes[1] < 400 && sizes[1] < sizes[0] / 4, "{sizes:?}");
    // The near side has both releases in one store.
    let near = releases.site("near", &["first.tar", "second.tar"]);
    releases.run(&["pack", "--store", "near", "app:1", "new/tool:2", "-o", "a.tar", "--have", "full.json"], 0);
    releases.run(&["pack", "--store", "near", "app:1", "new/tool:2", "-o", "b.tar", "--have", "minimal.json"], 0);
    assert_eq!(releases.header_without_base("a.tar"), releases.header_without_base("b.tar"));
    releases.site("site", &["b.tar"]);
    assert!(near.exists() && site.exists());
    releases.run(&["verify", "site"], 0);
    // A store that knows nothing of the old release leaves nothing out but what it is sure of.
    let length = releases.pack("second", "c.tar", &["minimal.json"]);
    let full = fs::metadata(releases.path("second.tar")).unwrap().len();
    assert!(length < full && length > full / 2, "{length} of {full}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_sparse_site_is_not_taken_for_a_whole_one() {
    let releases = Releases::new();
    let digest = releases.patched.children[1].digest();
    // A site without the second platform of the index, and a near store with both.
    releases.run(&["pack", "--store", "second", "app:1", "--platform", "linux/amd64", "-o", "sparse.tar"], 0);
    releases.site("site", &["sparse.tar"]);
    for minimal in [&["--minimal"][..], &[]] {
        releases.run(&[&["inventory", "site", "-o", "site.json"], minimal].concat(), 0);
        releases.pack("second", "delta.tar", &["site.json"]);
        let copy = format!("site-{}", minimal.len());
        tree::copy(&releases.path("site"), &releases.path(&copy));
        releases.site(&copy, &["delta.tar"]);
        releases.run(&["verify", &copy], 0);
        let registry = DockerRegistry::over(&releases.path(&copy));
        assert_eq!(skopeo::digest(&format!("{}/app@{digest}", registry.host())), digest);
        skopeo::copy_all(
            &format!("docker://{}/app:1", registry.host()),
            &format!("dir:{}", releases.path(&format!("dir-{}", minimal.len())).display()),
        );
    }
}

#[test]
fn what_several_sites_have_is_what_all_of_them_have() {
    let releases = Releases::new();
    releases.run(&["pack", "--store", "first", "stays:1", "-o", "stays.tar"], 0);
    releases.pack("second", "delta.tar", &["first.tar", "stays.tar"]);
    let required = releases.run(&["ls", "delta.tar", "--json"], 0).json()["required"].clone();
    // The config and the layer of the image that stays.
    assert_eq!(required, 2);
    releases.site("site", &["stays.tar", "delta.tar"]);
    releases.run(&["verify", "site"], 0);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn without_its_base_nothing_is_written() {
    let releases = Releases::new();
    releases.pack("second", "delta.tar", &["first.tar"]);
    let base = releases.shared.blobs[1].digest().to_string();
    let output = releases.run(&["unpack", "delta.tar", "--root", "empty"], 5);
    let line = output.stderr.lines().find(|line| line.contains(&base)).unwrap_or_else(|| panic!("{}", output.stderr));
    assert!(line.contains("app:1") && line.contains("new/tool:2") && !line.contains("stays:1"), "{line}");
    assert!(output.stderr.contains("nothing was written"), "{}", output.stderr);
    let files = walkdir::WalkDir::new(releases.path("empty")).into_iter().filter(|entry| {
        let entry = entry.as_ref().unwrap();
        entry.file_type().is_file() && entry.path().components().any(|part| part.as_os_str() == "docker")
    });
    assert_eq!(files.count(), 0);
    let registry = DockerRegistry::empty();
    let destination = format!("docker://{}", registry.host());
    let output = releases.run(&["push", "delta.tar", &destination], 5);
    assert!(output.stderr.contains(&base), "{}", output.stderr);
    let bundle = fs::read(releases.path("delta.tar")).unwrap();
    let output = hod(["push", "-", &destination]).input(bundle).code(5);
    assert!(output.stderr.contains(&base), "{}", output.stderr);
    assert!(!registry.root().join("docker/registry/v2/repositories").exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_delta_goes_to_a_registry_that_has_its_base() {
    let releases = Releases::new();
    releases.pack("second", "delta.tar", &["first.tar"]);
    let bundle = fs::read(releases.path("delta.tar")).unwrap();
    for (from_stdin, prefix) in [(false, ""), (true, ""), (false, "/site/a")] {
        let registry = DockerRegistry::empty();
        let destination = format!("docker://{}{prefix}", registry.host());
        releases.run(&["push", "first.tar", &destination], 0);
        if from_stdin {
            hod(["push", "-", &destination]).input(bundle.clone()).ok();
        } else {
            let sent = releases.run(&["push", "delta.tar", &destination, "--json"], 0).json()["bytesSent"].clone();
            // The large layer is mounted into the repository that did not have it.
            assert!(sent.as_u64().unwrap() < 200_000, "{sent}");
        }
        for (name, image) in [("app:1", &releases.patched), ("new/tool:2", &releases.shared)] {
            let name = format!("{}{prefix}/{name}", registry.host());
            assert_eq!(skopeo::digest(&name), image.digest());
            let folder = tempfile::tempdir().unwrap();
            skopeo::copy_all(&format!("docker://{name}"), &format!("dir:{}", folder.path().display()));
        }
        assert_no_garbage(registry.root());
    }
    // One image of the delta needs no more than its own base.
    releases.run(&["pack", "--store", "first", "stays:1", "-o", "stays.tar"], 0);
    let registry = DockerRegistry::empty();
    let destination = format!("docker://{}", registry.host());
    releases.run(&["push", "stays.tar", &destination], 0);
    fs::write(releases.path("list"), "stays:1\n").unwrap();
    releases.run(&["push", "delta.tar", &destination, "-f", "list"], 0);
    let stays = releases.path("list");
    hod(["push", "-", &destination, "--file", stays.to_str().unwrap()]).input(bundle.clone()).ok();
    // What nobody asked for is not sent either.
    let repositories = fs::read_dir(registry.root().join("docker/registry/v2/repositories")).unwrap();
    assert_eq!(repositories.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["stays"]);
    fs::write(releases.path("list"), "new/tool:2\n").unwrap();
    releases.run(&["push", "delta.tar", &destination, "-f", "list"], 5);
    hod(["push", "-", &destination, "--file", stays.to_str().unwrap()]).input(bundle).code(5);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn registries_and_their_roots_have_the_same_inventory() {
    let releases = Releases::new();
    let site = releases.site("site", &["first.tar", "second.tar"]);
    let registry = DockerRegistry::over(&site);
    let parsed = |words: &[&str]| -> Value { releases.run(words, 0).json() };
    for minimal in [&[][..], &["--minimal"]] {
        let of_root = parsed(&[&["inventory", "site"], minimal].concat());
        let of_registry = parsed(&[&["inventory", &format!("docker://{}", registry.host())], minimal].concat());
        for part in ["contents", "complete", "alone"] {
            let sorted = |value: &Value| {
                let mut all: Vec<String> =
                    value[part].as_array().cloned().unwrap_or_default().iter().map(Value::to_string).collect();
                all.sort();
                all
            };
            let (root, registry) = (sorted(&of_root), sorted(&of_registry));
            // The old index lost its tag, and no registry lists what has none.
            assert!(registry.iter().all(|content| root.contains(content)), "{part}");
            assert!(part == "alone" || !registry.is_empty() || (part == "contents") != minimal.is_empty());
        }
    }
    let destination = format!("docker://{}", registry.host());
    releases.run(&["inventory", &destination, "-o", "site.json"], 0);
    let length = releases.pack("second", "delta.tar", &["site.json"]);
    assert!(length < 40_000, "{length}");
}

#[test]
fn damaged_blobs_are_not_taken_for_present() {
    let releases = Releases::new();
    let site = releases.site("site", &["first.tar"]);
    let digest = releases.shared.blobs[1].digest();
    let blob = site.join(format!("docker/registry/v2/blobs/sha256/{}/{}/data", &digest.hex()[..2], digest.hex()));
    fs::write(&blob, "cut off").unwrap();
    for minimal in [&[][..], &["--minimal"]] {
        releases.run(&[&["inventory", "site", "-o", "site.json"], minimal].concat(), 0);
        assert!(!fs::read_to_string(releases.path("site.json")).unwrap().contains(&digest.to_string()));
        releases.pack("second", "delta.tar", &["site.json"]);
        let copy = format!("copy-{}", minimal.len());
        tree::copy(&site, &releases.path(&copy));
        fs::remove_file(releases.path(&copy).join(blob.strip_prefix(&site).unwrap())).unwrap();
        releases.site(&copy, &["delta.tar"]);
    }
}

#[test]
fn diffs_of_every_two_kinds() {
    let releases = Releases::new();
    releases.run(&["inventory", "first", "-o", "first.json"], 0);
    releases.run(&["inventory", "second", "-o", "second.json"], 0);
    let names = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|change| change["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut all = Vec::new();
    for one in ["first", "first.tar", "first.json"] {
        for other in ["second", "second.tar", "second.json"] {
            let found = releases.run(&["diff", one, other, "--json"], 0).json();
            assert_eq!(names(&found["added"]), ["new/tool:2"], "{one} {other}");
            assert_eq!(names(&found["removed"]), ["gone:1"]);
            assert_eq!(names(&found["moved"]), ["app:1"]);
            assert_eq!(found["unchanged"], 1);
            assert_eq!(found["moved"][0]["to"], releases.patched.digest().to_string());
            let bytes = found["bytesAdded"].as_u64().unwrap();
            assert!((50_000..60_000).contains(&bytes), "{bytes}");
            all.push(found);
        }
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    let same = releases.run(&["diff", "first", "first.tar", "--json"], 0).json();
    assert_eq!(same["unchanged"], 3);
    assert_eq!(same["bytesAdded"], 0);
    let text = releases.run(&["diff", "first.tar", "second.tar"], 0).text();
    assert!(text.contains("+  new/tool:2") && text.contains("-  gone:1") && text.contains("~  app:1"), "{text}");
}

#[test]
fn diffs_of_locks() {
    let releases = Releases::new();
    let lock = format!("host.example/app:1@{} as=app:1\n", releases.patched.digest());
    fs::write(releases.path("release.lock"), lock).unwrap();
    let found = releases.run(&["diff", "first", "release.lock", "--json"], 0).json();
    assert_eq!(found["moved"][0]["to"], releases.patched.digest().to_string());
    assert_eq!(found["moved"][0]["bytes"], Value::Null);
    let found = releases.run(&["diff", "release.lock", "second", "--json"], 0).json();
    assert_eq!((found["unchanged"].clone(), found["added"].as_array().unwrap().len()), (1.into(), 2));
    fs::write(releases.path("list"), "app:1\n").unwrap();
    let output = releases.run(&["diff", "first", "list"], 2);
    assert!(output.stderr.contains("names no digest"), "{}", output.stderr);
}

#[test]
fn what_is_no_inventory() {
    let releases = Releases::new();
    for (text, words) in [
        ("{}", "damaged"),
        ("{\"format\":\"hod-inventory\",\"version\":2}", "newer hod"),
        (
            "{\"format\":\"hod-inventory\",\"version\":1,\"images\":[],\"contents\":[],\"complete\":[]}",
            "neither a full nor a minimal inventory",
        ),
    ] {
        fs::write(releases.path("site.json"), text).unwrap();
        let output = releases.run(&["pack", "--store", "second", "-o", "delta.tar", "--have", "site.json"], 2);
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
    assert!(!releases.path("delta.tar").exists());
}
