//! Every command that reads content says so when a byte of it is wrong: exit code 4, whatever it reads from.
//!
//! And what takes content in repairs what it finds damaged there.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_oci::Digest;
use tempfile::TempDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, Image, image, index, layer};
use crate::support::job::{assert_clean, blob_path, findings, pack, pull, push, text, unpack};
use crate::support::tree;

/// The layer is large enough to be written for itself, the others are not.
fn app() -> Image {
    image("linux/amd64", &[layer(1, 1_500_000)])
}

fn content() -> Content {
    Content::default().with("app:1", &app())
}

/// The same image at every kind of place that a command may read from.
struct Places(TempDir);

impl Places {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        content().write_root(&at("foreign"));
        pack(&at("foreign"), &at("bundle.tar"), []).ok();
        // A store of hod's own, which has a record of what was hashed.
        unpack(&at("bundle.tar"), &at("store"), []).ok();
        let source = format!("store:{}:app:1", text(&at("foreign")));
        for to in [format!("oci:{}:1", text(&at("oci"))), format!("dir:{}", text(&at("dir")))] {
            hod(["copy", &source, &to]).ok();
        }
        hod(["copy", &source, &format!("oci-archive:{}:1", text(&at("archive.tar")))]).ok();
        Self(folder)
    }

    /// A copy of a place, in which one byte of some content is another.
    fn damaged(&self, place: &str, content: (&str, &Digest, &[u8]), to: &Path) -> Damaged {
        let (what, digest, bytes) = content;
        let (from, path) = (self.0.path().join(place), to.join(place));
        if place.strip_suffix(".tar").is_some() {
            fs::copy(&from, &path).unwrap();
            let whole = fs::read(&path).unwrap();
            let start = whole.windows(bytes.len()).position(|window| window == bytes).unwrap();
            flip(&path, start + bytes.len() / 2);
        } else if matches!(place, "store" | "foreign") {
            // Hard links or copies would not be the files that the record knows.
            content_of(&self.0.path().join("bundle.tar"), place, &from, &path);
            flip(&blob_path(&path, digest), bytes.len() / 2);
        } else {
            tree::copy(&from, &path);
            let file = match (place, what) {
                ("oci", _) => path.join("blobs/sha256").join(digest.hex()),
                (_, "manifest") => path.join("manifest.json"),
                _ => path.join(digest.hex()),
            };
            // In the media type, where an image directory shows it.
            flip(&file, if what == "manifest" { 3 } else { bytes.len() / 2 });
        }
        let image = match place {
            "oci" => format!("oci:{}:1", text(&path)),
            "dir" => format!("dir:{}", text(&path)),
            "archive.tar" => format!("oci-archive:{}:1", text(&path)),
            "bundle.tar" => format!("bundle:{}:app:1", text(&path)),
            _ => format!("store:{}:app:1", text(&path)),
        };
        Damaged { path, image }
    }
}

/// Makes a store as it was made the first time.
fn content_of(bundle: &Path, place: &str, from: &Path, to: &Path) {
    if place == "store" {
        unpack(bundle, to, []).ok();
    } else {
        tree::copy(from, to);
    }
}

struct Damaged {
    path: PathBuf,
    image: String,
}

/// Changes a byte in place, as a faulty program would, and not within the same tick of the clock.
fn flip(path: &Path, position: usize) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    crate::support::job::flip(path, position);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
}

/// A command: what it is given beside the image, and what of the image it reads.
struct Command {
    words: fn(&Damaged, &str) -> Vec<String>,
    places: &'static [&'static str],
    reads: &'static [&'static str],
}

const ALL: &[&str] = &["store", "foreign", "oci", "dir", "bundle.tar", "archive.tar"];
const STORES: &[&str] = &["store", "foreign"];
/// What lines of a list may name.
const LISTED: &[&str] = &["oci", "dir", "archive.tar"];
const EVERYTHING: &[&str] = &["layer", "config", "manifest"];
const DESCRIPTION: &[&str] = &["config", "manifest"];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const COMMANDS: &[Command] = &[
    Command { words: |it, new| words(&["copy", &it.image, &format!("oci:{new}:1")]), places: ALL, reads: EVERYTHING },
    Command { words: |it, new| words(&["copy", &it.image, &format!("dir:{new}")]), places: ALL, reads: EVERYTHING },
    Command {
        words: |it, new| words(&["copy", &it.image, &format!("store:{new}:app:1")]),
        places: ALL,
        reads: EVERYTHING,
    },
    Command {
        words: |it, new| words(&["copy", &it.image, &format!("oci-archive:{new}")]),
        places: ALL,
        reads: EVERYTHING,
    },
    Command {
        words: |it, new| words(&["copy", &it.image, &format!("docker-archive:{new}:app:1")]),
        places: ALL,
        reads: EVERYTHING,
    },
    Command {
        words: |it, new| words(&["copy", "--format", "v2s2", &it.image, &format!("oci:{new}:1")]),
        places: ALL,
        reads: EVERYTHING,
    },
    Command {
        words: |it, new| words(&["index", "create", &format!("oci:{new}:1"), &it.image]),
        places: ALL,
        reads: EVERYTHING,
    },
    Command { words: |it, new| words(&["unpack-image", &it.image, new]), places: ALL, reads: EVERYTHING },
    Command { words: |it, new| words(&["layer", "extract", &it.image, "1", new]), places: ALL, reads: EVERYTHING },
    Command { words: |it, _| words(&["inspect", &it.image]), places: ALL, reads: DESCRIPTION },
    Command { words: |it, _| words(&["inspect", "--config", &it.image]), places: ALL, reads: DESCRIPTION },
    Command { words: |it, _| words(&["stat", &it.image]), places: ALL, reads: DESCRIPTION },
    Command { words: |it, _| words(&["inspect", "--raw", &it.image]), places: ALL, reads: &["manifest"] },
    Command { words: |it, new| words(&["pull", "--store", new, &it.image]), places: LISTED, reads: EVERYTHING },
    Command {
        words: |it, new| words(&["bundle", "-o", &format!("{new}.tar"), &it.image]),
        places: LISTED,
        reads: EVERYTHING,
    },
    Command { words: |it, new| words(&["plan", "--store", new, &it.image]), places: LISTED, reads: &["manifest"] },
    Command {
        words: |it, new| words(&["select", "--store", text(&it.path), "--to", new]),
        places: STORES,
        reads: EVERYTHING,
    },
    Command {
        words: |it, new| words(&["pack", "--store", text(&it.path), "-o", &format!("{new}.tar")]),
        places: STORES,
        reads: EVERYTHING,
    },
    Command { words: |it, _| words(&["ls", text(&it.path)]), places: STORES, reads: &["manifest"] },
    Command { words: |it, _| words(&["inventory", text(&it.path)]), places: STORES, reads: &["manifest"] },
    Command { words: |it, _| words(&["gc", "--store", text(&it.path)]), places: STORES, reads: &["manifest"] },
    Command {
        words: |it, new| words(&["unpack", text(&it.path), "--root", new]),
        places: &["bundle.tar"],
        reads: EVERYTHING,
    },
    Command {
        words: |it, _| words(&["verify", it.image.strip_suffix(":app:1").unwrap_or(&it.image)]),
        places: &["oci", "dir", "archive.tar"],
        reads: EVERYTHING,
    },
    Command {
        words: |it, _| words(&["verify", text(&it.path)]),
        places: &["store", "foreign", "bundle.tar"],
        reads: EVERYTHING,
    },
];

#[test]
#[ignore = "takes long"]
fn every_command_that_reads_content_knows_a_wrong_byte() {
    let (places, image) = (Places::new(), app());
    let (config, layer) = (&image.blobs[0], &image.blobs[1]);
    let contents = [
        ("layer", layer.digest(), layer.bytes.clone()),
        ("config", config.digest(), config.bytes.clone()),
        ("manifest", image.digest(), image.bytes.clone()),
    ];
    let mut wrong = Vec::new();
    for place in ALL {
        for (what, digest, bytes) in &contents {
            for command in COMMANDS.iter().filter(|it| it.places.contains(place) && it.reads.contains(what)) {
                let folder = tempfile::tempdir().unwrap();
                let damaged = places.damaged(place, (what, digest, bytes), folder.path());
                let words = (command.words)(&damaged, text(&folder.path().join("new")));
                let output = hod(&words).run();
                if output.code != Some(4) {
                    wrong.push(format!("{what} of {place}: {words:?}: {:?} {}", output.code, output.stderr));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_push_knows_a_wrong_byte() {
    let (places, image, registry) = (Places::new(), app(), DockerRegistry::empty());
    let layer = &image.blobs[1];
    for place in ["store", "foreign", "bundle.tar"] {
        let folder = tempfile::tempdir().unwrap();
        let damaged = places.damaged(place, ("layer", &layer.digest(), &layer.bytes), folder.path());
        push(&damaged.path, registry.host(), ["--retry-times", "0"]).code(4);
    }
}

/// What can be wrong with a store, each with the content that the image needs.
fn parts() -> [(Digest, &'static str); 3] {
    let Image { blobs, descriptor, .. } = app();
    [(blobs[1].digest(), "layer"), (blobs[0].digest(), "config"), (descriptor.digest, "manifest")]
}

#[test]
fn unpack_repairs_what_it_has_in_hand() {
    let places = Places::new();
    for place in STORES {
        for (digest, what) in parts() {
            let folder = tempfile::tempdir().unwrap();
            let (root, bundle) = (folder.path().join("root"), places.0.path().join("bundle.tar"));
            content_of(&bundle, place, &places.0.path().join(place), &root);
            let blob = blob_path(&root, &digest);
            flip(&blob, 5);
            // Whoever reads the blob at this moment goes on with the file that was there.
            let (reading, before) = (fs::read(&blob).unwrap(), fs::File::open(&blob).unwrap());
            let output = unpack(&bundle, &root, []).ok();
            assert!(output.stderr.contains(&format!("{digest} was damaged")), "{place} {what}: {}", output.stderr);
            assert_clean(&root);
            assert_eq!(std::io::read_to_string(before).is_err(), std::str::from_utf8(&reading).is_err());
            // What was repaired is known from then on.
            let again = unpack(&bundle, &root, ["--json"]).ok();
            assert_eq!(again.json()["written"]["count"], 0, "{place} {what}");
            assert!(!again.stderr.contains("damaged"), "{}", again.stderr);
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pull_repairs_what_it_finds_damaged() {
    let upstream = tempfile::tempdir().unwrap();
    content().write_root(upstream.path());
    let registry = DockerRegistry::over(upstream.path());
    for (digest, what) in parts() {
        let folder = tempfile::tempdir().unwrap();
        pull(registry.host(), folder.path(), ["app:1"]).ok();
        let again = pull(registry.host(), folder.path(), ["app:1", "--json"]).ok().json();
        assert_eq!(again["images"][0]["unchanged"], true);
        flip(&blob_path(folder.path(), &digest), 5);
        let output = pull(registry.host(), folder.path(), ["app:1"]).ok();
        assert!(output.stderr.contains(&format!("{digest} was damaged")), "{what}: {}", output.stderr);
        assert_clean(folder.path());
    }
}

/// A layer of another image is there, damaged, and no image of this name yet.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pull_does_not_share_what_is_damaged() {
    let upstream = tempfile::tempdir().unwrap();
    content().with("other:1", &app()).write_root(upstream.path());
    let registry = DockerRegistry::over(upstream.path());
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["app:1"]).ok();
    flip(&blob_path(folder.path(), &parts()[0].0), 5);
    pull(registry.host(), folder.path(), ["other:1"]).ok();
    assert_clean(folder.path());
}

#[test]
fn a_copy_replaces_what_is_damaged_in_a_layout() {
    let places = Places::new();
    let source = format!("store:{}:app:1", text(&places.0.path().join("foreign")));
    let layout = places.0.path().join("oci");
    for (name, (digest, _)) in ["2", "3", "4"].into_iter().zip(parts()) {
        let blob = layout.join("blobs/sha256").join(digest.hex());
        // Its file may be one with that of the store.
        let bytes = fs::read(&blob).unwrap();
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, bytes).unwrap();
        flip(&blob, 5);
        hod(["copy", &source, &format!("oci:{}:{name}", text(&layout))]).ok();
        hod(["verify", &format!("oci:{}", text(&layout))]).ok();
    }
}

#[test]
fn a_delta_does_not_build_on_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    content().write_root(&at("site"));
    content().with("new:1", &image("linux/amd64", &[layer(1, 1_500_000), layer(2, 100)])).write_root(&at("store"));
    pack(&at("store"), &at("delta.tar"), ["--have", text(&at("site"))]).ok();
    flip(&blob_path(&at("site"), &parts()[0].0), 5);
    let output = unpack(&at("delta.tar"), &at("site"), []).code(5);
    assert!(output.stderr.contains(&parts()[0].0.hex()), "{}", output.stderr);
}

#[test]
fn links_are_made_of_what_was_hashed_and_stay_cheap() {
    let places = Places::new();
    let (store, to) = (places.0.path().join("store"), places.0.path().join("to"));
    let layer: Blob = app().blobs.swap_remove(1);
    hod(["select", "--store", text(&store), "--to", text(&to)]).ok();
    let inode = |root: &Path| fs::metadata(blob_path(root, &layer.digest())).unwrap().ino();
    assert_eq!(inode(&store), inode(&to));
    // One file now: what is wrong with it is wrong in both, and each of them knows.
    flip(&blob_path(&to, &layer.digest()), 5);
    for root in [&store, &to] {
        assert_eq!(findings(root).len(), 1);
        hod(["copy", &format!("store:{}:app:1", text(root)), &format!("oci:{}:1", text(&places.0.path().join("n")))])
            .code(4);
    }
    // Repairing one of them does not touch the file of the other.
    unpack(&places.0.path().join("bundle.tar"), &to, []).ok();
    assert_clean(&to);
    assert_eq!(findings(&store).len(), 1);
}

/// A child that the repository links and the store has lost is damage, and not a platform that was left out.
#[test]
fn a_child_that_is_gone_is_not_taken_for_one_that_was_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let child = image("linux/amd64", &[layer(1, 100)]);
    let other = image("linux/arm64", &[layer(2, 100)]);
    let both = index(&[child.clone(), other]);
    Content::default().with("app:1", &both).write_root(&store);
    fs::remove_file(blob_path(&store, &child.descriptor.digest)).unwrap();
    let failed = hod(["copy", "--all", "store:store:app:1", "oci:out"]).in_folder(folder.path()).code(4);
    assert!(failed.stderr.contains(&format!("{}, which is missing", child.descriptor.digest)), "{}", failed.stderr);
    assert!(!folder.path().join("out").exists());
}
