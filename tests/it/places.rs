//! `hod pull` and `hod push` of places on this machine: layouts, directories and archives, made by skopeo and podman.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::engine::{podman, run};
use crate::support::fixtures;
use crate::support::hod::{Hod, hod};
use crate::support::page::blocks;
use crate::support::skopeo::{self, skopeo};

fn layout() -> String {
    format!("oci:{}", fixtures::folder().join("images").display())
}

fn fixture(name: &str) -> String {
    format!("{}:{name}", layout())
}

fn pull(places: &[&str], store: &Path) -> Hod {
    hod(["pull"]).args(places).args(["--all-platforms", "--json", "--store"]).arg(store)
}

fn raw_digest(place: &str) -> Digest {
    Digest::sha256(&skopeo(["inspect", "--raw", place]))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_whole_layout_is_pulled_and_shares_its_files() {
    let folder = tempfile::tempdir().unwrap();
    // On one filesystem with the store, so that files can be linked.
    let layout = folder.path().join("layout");
    run(std::process::Command::new("cp").arg("-a").arg(fixtures::folder().join("images")).arg(&layout));
    let store = folder.path().join("store");
    let output = pull(&[&format!("oci:{}", layout.display())], &store).ok().json();
    assert!(output["linked"]["bytes"].as_u64().unwrap() > 1_000_000, "{output}");
    let largest = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    assert_eq!(largest.max_by_key(std::fs::Metadata::len).unwrap().nlink(), 2);
    assert_no_garbage(&store);
    hod(["verify".as_ref(), store.as_os_str()]).ok();
    let registry = DockerRegistry::over(&store);
    for (name, digest) in fixtures::names() {
        assert_eq!(skopeo::digest(&format!("{}/{name}", registry.host())), digest, "{name}");
    }
    let again = pull(&[&format!("oci:{}", layout.display())], &store).ok().json();
    assert!(again["images"].as_array().unwrap().iter().all(|image| image["unchanged"] == true), "{again}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn names_come_from_the_place_or_from_as() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let at = |transport: &str, rest: &str| format!("{transport}:{}/{rest}", root.display());
    fs::create_dir_all(root.join("tree/base")).unwrap();
    for image in ["web:1.0", "base/busybox:1.35"] {
        skopeo::copy_all(&fixture(image), &at("dir", &format!("tree/{image}")));
    }
    skopeo(["--override-arch", "amd64", "copy", &fixture("web:1.1"), &at("oci", "shell:2.0")]);
    skopeo(["--override-arch", "amd64", "copy", &fixture("web:1.1"), &at("docker-archive", "a.tar:quay.io/x/web:2")]);
    run(podman(root).args(["load", "--input"]).arg(root.join("a.tar")));
    run(podman(root).args(["save", "--output"]).arg(root.join("saved.tar")).arg("quay.io/x/web:2"));
    let store = root.join("store");
    let spaced = format!("{} as=own/name:7", at("dir", "tree/web:1.0"));
    let places = [&at("dir", "tree"), &at("oci", "shell"), &at("docker-archive", "saved.tar"), &spaced];
    let output = pull(&places.map(String::as_str), &store).arg("web:9").arg("--from").arg("127.0.0.1:1").code(3);
    let names: Vec<Value> =
        output.json()["images"].as_array().unwrap().iter().map(|image| image["name"].clone()).collect();
    let mut names: Vec<&str> = names.iter().map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["base/busybox:1.35", "own/name:7", "shell:2.0", "web:1.0", "x/web:2"]);
    let registry = DockerRegistry::over(&store);
    for (name, place) in [
        ("web:1.0", at("dir", "tree/web:1.0")),
        ("own/name:7", at("dir", "tree/web:1.0")),
        ("base/busybox:1.35", at("dir", "tree/base/busybox:1.35")),
        ("shell:2.0", at("oci", "shell:2.0")),
    ] {
        assert_eq!(skopeo::digest(&format!("{}/{name}", registry.host())), raw_digest(&place), "{name}");
    }
    let config =
        |place: &str| skopeo(["--override-arch", "amd64", "inspect", "--tls-verify=false", "--raw", "--config", place]);
    assert_eq!(config(&format!("docker://{}/x/web:2", registry.host())), config(&fixture("web:1.1")));
}

/// A list with an image of a registry and two on this machine, as it is written.
struct Mixed {
    folder: tempfile::TempDir,
    registry: DockerRegistry,
}

impl Mixed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = format!("dir:{}", folder.path().join("a folder").display());
        skopeo::copy_all(&fixture("web:1.1"), &directory);
        let list =
            format!("##far\ncerts:2023\n##near\n{} as=other:1  # here\n{directory} as=x/web\n", fixture("web:1.0"));
        fs::write(folder.path().join("list"), list).unwrap();
        Self { folder, registry: DockerRegistry::over(fixtures::root()) }
    }

    /// A command in the folder that looks names up in the registry.
    fn hod(&self, arguments: &[&str]) -> Hod {
        hod(arguments).in_folder(self.folder.path())
    }

    fn pull(&self, arguments: &[&str]) -> Hod {
        self.hod(&["pull", "--from", self.registry.host(), "--tls-verify=false", "--all-platforms"]).args(arguments)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_list_may_have_places_and_so_may_a_lock() {
    let mixed = Mixed::new();
    let plan = mixed.pull(&["-f", "list", "--store", "store", "--dry-run", "--json"]).ok().json();
    let names = |document: &Value| -> Vec<String> {
        document["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&plan), ["certs:2023", "other:1", "x/web:latest"]);
    assert!(!mixed.folder.path().join("store").exists());
    let pulled = mixed.pull(&["-f", "list", "--store", "store", "--lock", "lock", "--json"]).ok().json();
    assert_eq!(names(&pulled), ["certs:2023", "other:1", "x/web:latest"]);
    assert_eq!(pulled["images"][1]["group"], "near");
    let store = mixed.folder.path().join("store");
    let served = DockerRegistry::over(&store);
    for (name, digest) in [("other:1", "web:1.0"), ("x/web:latest", "web:1.1"), ("certs:2023", "certs:2023")] {
        assert_eq!(skopeo::digest(&format!("{}/{name}", served.host())), fixtures::digest(digest), "{name}");
    }
    assert_no_garbage(&store);

    // The lock says which images these were, and so does a pull of it.
    let lock = mixed.text("lock");
    let line = format!("platform=all as=other:1 digest={}\n", fixtures::digest("web:1.0"));
    assert!(lock.contains(&line) && lock.contains("##near\noci:"), "{lock}");
    mixed.pull(&["-f", "lock", "--store", "again", "--lock", "lock2"]).ok();
    assert_eq!(mixed.text("lock2"), lock);
    let checked = mixed.hod(&["lock", "--check", "lock", "--tls-verify=false"]).ok();
    assert!(checked.stderr.contains("2 images on this machine"), "{}", checked.stderr);
    let place = format!("dir:{}", mixed.folder.path().join("a folder").display());
    skopeo::copy_all(&fixture("base/busybox:1.35"), &place);
    let moved = mixed.pull(&["-f", "lock", "--store", "third", "--failed", "failed"]).code(3);
    let says = format!(
        "{place} contains {}, but the list requires {}",
        fixtures::digest("base/busybox:1.35"),
        fixtures::digest("web:1.1")
    );
    assert!(moved.stderr.contains(&says), "{}", moved.stderr);
    assert!(mixed.text("failed").contains("as=x/web:latest digest="), "{}", mixed.text("failed"));

    // For pack and push the same list names what is in the store.
    for list in ["list", "lock"] {
        let bundle = format!("{list}.tar");
        mixed.hod(&["pack", "-f", list, "--store", "store", "--group", "near", "-o", &bundle]).ok();
        let packed = mixed.hod(&["ls", "--json", &bundle]).ok().json();
        assert_eq!(names(&packed), ["other:1", "x/web:latest"], "{list}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_lock_of_a_whole_layout_finds_its_images_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("l");
    for name in ["web:1.0", "web:1.1"] {
        skopeo::copy_all(&fixture(name), &format!("oci:{}:{name}", layout.display()));
    }
    let here = |words: &[&str]| hod(words).in_folder(folder.path());
    here(&["pull", "oci:l", "--all-platforms", "--store", "store", "--lock", "lock"]).ok();
    let lock = fs::read_to_string(folder.path().join("lock")).unwrap();
    let (first, second) = (fixtures::digest("web:1.0"), fixtures::digest("web:1.1"));
    assert!(lock.contains(&format!("oci:l:@{first} platform=all as=web:1.0 digest={first}")), "{lock}");
    // The first entry goes, and what comes after it moves up.
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array_mut().unwrap().remove(0)["digest"], first.to_string());
    fs::write(&path, index.to_string()).unwrap();
    let line = lock.lines().find(|line| line.contains("web:1.1")).unwrap();
    fs::write(folder.path().join("second"), line).unwrap();
    let again = here(&["pull", "-f", "second", "--store", "again", "--json"]).ok().json();
    assert_eq!(again["images"][0]["digest"], second.to_string());
    let gone = here(&["pull", "-f", "lock", "--store", "third"]).code(2);
    assert!(gone.stderr.contains(&format!("contains no image @{first}: it contains web:1.1")), "{}", gone.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn places_in_lists_that_cannot_be_used_are_refused() {
    let mixed = Mixed::new();
    fs::write(mixed.folder.path().join("list"), "dir:somewhere\ndir:nowhere as=a digest=x\n").unwrap();
    let nameless = mixed.pull(&["-f", "list", "--store", "store"]).code(2);
    assert!(
        nameless.stderr.contains("list:1: dir:somewhere: an image on this machine needs a name"),
        "{}",
        nameless.stderr
    );
    assert!(nameless.stderr.contains("list:2: ") && !mixed.folder.path().join("store").exists(), "{}", nameless.stderr);
    fs::write(mixed.folder.path().join("list"), "dir:nowhere as=a\n").unwrap();
    let nowhere = mixed.pull(&["-f", "list", "--store", "store"]).code(2);
    assert!(nowhere.stderr.contains("list:1: dir:nowhere as=a"), "{}", nowhere.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_has_no_name_is_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let at = |transport: &str, rest: &str| format!("{transport}:{}/{rest}", root.display());
    skopeo::copy_all(&fixture("web:1.0"), &at("oci", "nameless"));
    skopeo::copy_all(&fixture("web:1.0"), &at("dir", "Upper"));
    fs::create_dir(root.join("empty")).unwrap();
    for (place, says) in [
        (at("oci", "nameless"), "has no name: add one"),
        (at("dir", "Upper"), "has the name \"Upper\", which registries do not allow"),
        (at("dir", "empty"), "contains no image"),
        (format!("{} as=one:1", layout()), "but as= names one"),
        (at("oci", "nowhere"), "not an OCI image layout"),
        (format!("{} as=B", at("oci", "nameless")), "is not a valid name in a store"),
        ("docker-daemon:web".to_owned(), "names no image of the daemon"),
    ] {
        let store = root.join("store");
        let refused = pull(&[&place, &fixture("web:1.0")], &store).code(2);
        assert!(refused.stderr.contains(says), "{place}: {}", refused.stderr);
        assert!(!store.exists(), "{place}");
        let refused = hod(["push", &place, "docker://127.0.0.1:1"]).code(1);
        assert!(refused.stderr.contains(says), "{place}: {}", refused.stderr);
    }
    // Two images of one name: the first has it.
    let clash = [fixture("web:1.0"), format!("{} as=web:1.0", fixture("web:1.1"))];
    let taken = pull(&[&clash[0], &clash[1]], &root.join("store")).code(3);
    assert!(taken.stderr.contains("web:1.0 is already the name of argument 1"), "{}", taken.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn places_are_pushed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::empty();
    let to = format!("docker://{}/far", registry.host());
    hod(["push", &layout(), &to]).ok();
    // An index of referrers is the registry's own: push adds to what is there.
    for (name, digest) in fixtures::names().into_iter().filter(|(name, _)| !name.contains(":sha256-")) {
        assert_eq!(skopeo::digest(&format!("{}/far/{name}", registry.host())), digest, "{name}");
    }
    // Part of an image that has several platforms.
    let sparse = format!("dir:{}", folder.path().join("web:sparse").display());
    hod(["copy", "--platform", "linux/arm64", &fixture("web:1.0"), &sparse]).ok();
    hod(["push", &sparse, &to, "--index", "child"]).ok();
    let pushed: Value =
        serde_json::from_slice(&skopeo::manifest(&format!("{}/far/web:sparse", registry.host()))).unwrap();
    assert!(pushed["layers"].is_array(), "{pushed}");
    // Layers that an archive has expanded are compressed again.
    let archive = format!("docker-archive:{}:shell:3", folder.path().join("a.tar").display());
    skopeo(["--override-arch", "amd64", "copy", &fixture("web:1.0"), &archive]);
    let output = hod(["push", &archive, &to]).ok();
    assert!(output.stderr.contains("compressed with gzip for the registry"), "{}", output.stderr);
    let pushed: Value =
        serde_json::from_slice(&skopeo::manifest(&format!("{}/far/library/shell:3", registry.host()))).unwrap();
    assert_eq!(pushed["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
    let list = hod(["push", &layout(), &to, "web:1.0"]).code(2);
    assert!(list.stderr.contains("can only be pushed completely"), "{}", list.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_commands_of_the_documentation_work() {
    let block = &blocks("docs/transports.md", "sh")[0];
    assert_eq!(block.lines().filter(|line| line.starts_with("hod p")).count(), 2, "{block}");
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path();
    run(std::process::Command::new("cp").arg("-a").arg(fixtures::folder().join("images")).arg(work.join("images")));
    let to = |place: &str| format!("{}/{place}", work.display());
    let saved = format!("docker-archive:{}:saved:1", to("saved.tar"));
    skopeo(["--override-arch", "amd64", "copy", &fixture("web:1.0"), &saved]);
    // The layout has a web:1.0 of its own; the folder holds the same image, as a name for one thing must.
    skopeo::copy_all(&fixture("web:1.0"), &format!("dir:{}", to("web")));
    let registry = DockerRegistry::empty();
    let binaries = Path::new(env!("CARGO_BIN_EXE_hod")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let block = block.replace("registry.site:5000", registry.host());
    run(std::process::Command::new("sh").args(["-ec", &block]).current_dir(work).env("PATH", path).env("HOME", work));
    assert_eq!(skopeo::digest(&format!("{}/mirror/web:1.0", registry.host())), fixtures::digest("web:1.0"));
    let kept = hod(["ls", "--json"]).arg(work.join("store")).ok().json();
    let names: Vec<&str> =
        kept["images"].as_array().unwrap().iter().filter_map(|image| image["name"].as_str()).collect();
    assert!(names.contains(&"saved:1") || names.contains(&"library/saved:1"), "{names:?}");
}
