//! What only looks at a place writes nothing there, so it works where nothing can be written.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use fs_err as fs;
use hod_store::Store;
use serde_json::Value;

use super::{gc, rm};
use crate::support::fixtures;
use crate::support::hod::{Hod, Output, hod};
use crate::support::job::{pack, text};
use crate::support::read_only::ReadOnly;
use crate::support::skipped::is_root_for;
use crate::support::tree;

const NOTE: &str = "note: other processes may be writing there";

/// A folder with a store that has garbage, a layout, bundles and an inventory.
fn sample() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (from, to) in [(fixtures::root(), "store"), (&fixtures::folder().join("images"), "layout")] {
        fs::create_dir(path(to)).unwrap();
        tree::copy(from, &path(to));
    }
    pack(&path("store"), &path("bundle.tar"), []).ok();
    pack(&path("store"), &path("bundle.tar.zst"), []).ok();
    hod(["inventory", "store", "-o", "inventory.json"]).in_folder(folder.path()).ok();
    rm(&path("store"), &["web:1.0"]);
    hod(["rm", "oci:layout:web:1.0"]).in_folder(folder.path()).ok();
    // What an interrupted run has left.
    fs::create_dir_all(path("store/.hod/partial")).unwrap();
    let name = format!("sha256-{}", hod_oci::Digest::sha256(b"left").hex());
    fs::write(path("store/.hod/partial").join(name), "left").unwrap();
    folder
}

/// Runs what only looks, in a folder like the sample, whatever `run` does with each.
fn look_at_everything(folder: &Path, run: impl Fn(Hod) -> Output) {
    let elsewhere = tempfile::tempdir().unwrap();
    let packed = elsewhere.path().join("packed.tar");
    for words in [
        &["ls", "store"][..],
        &["stat", "store:store:pause:3.9"],
        &["stat", "oci:layout:pause:3.9"],
        &["verify", "store"],
        &["verify", "bundle.tar.zst"],
        &["verify", "oci:layout"],
        &["diff", "store", "bundle.tar"],
        &["inventory", "store"],
        &["inspect", "store:store:pause:3.9"],
        &["plan", "--store", "store", "-o", text(&packed)],
        &["plan", "--store", "store", "oci:layout:pause:3.9"],
        &["pack", "--store", "store", "-o", text(&packed), "--have", "inventory.json"],
        &["gc", "--store", "store", "--dry-run"],
        &["gc", "oci:layout", "--dry-run"],
    ] {
        let output = run(hod(words).in_folder(folder));
        // `diff` says by its code that something differs.
        let is_fine = output.code == Some(0) || (words[0] == "diff" && output.code == Some(1));
        assert!(is_fine && !output.stderr.contains(NOTE), "{words:?}: {}", output.stderr);
    }
}

#[test]
fn on_a_filesystem_that_is_read_only() {
    let folder = sample();
    let Some(mounted) = ReadOnly::of(folder.path()) else { return };
    look_at_everything(mounted.path(), Hod::run);
    let planned = gc(&mounted.path().join("store"), &["--dry-run"]);
    drop(mounted);
    let store = folder.path().join("store");
    assert_eq!(planned["unfinished"], serde_json::json!({ "count": 1, "bytes": 4 }));
    let mut done = gc(&store, &[]);
    done["dryRun"] = Value::Bool(true);
    assert_eq!(planned, done);
}

#[test]
fn of_another_user() {
    if !is_root_for("to be another user") {
        return;
    }
    let folder = sample();
    for entry in walkdir::WalkDir::new(folder.path()) {
        chown(entry.unwrap().path(), Some(1234), Some(1234)).unwrap();
    }
    fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    look_at_everything(folder.path(), Hod::unprivileged);
    // A lock that may not be had is no reason not to look.
    let lock = folder.path().join("store/.hod/lock");
    fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o600)).unwrap();
    let output = hod(["gc", "store", "--dry-run"]).in_folder(folder.path()).unprivileged();
    assert!(output.code == Some(0) && output.stderr.contains(NOTE), "{}", output.stderr);
}

#[test]
fn while_others_write() {
    let folder = sample();
    let store = folder.path().join("store");
    let writer = Store::create(&store).unwrap();
    let words = ["gc", text(&store), "--dry-run", "--json"];
    let output = hod(words).ok();
    assert!(output.stderr.contains(NOTE), "{}", output.stderr);
    drop(writer);
    let alone = hod(words).ok();
    assert!(!alone.stderr.contains(NOTE), "{}", alone.stderr);
    assert_eq!(output.json(), alone.json());
    let blobs = fs::File::open(folder.path().join("layout/blobs")).unwrap();
    blobs.lock_shared().unwrap();
    let output = hod(["gc", "oci:layout", "--dry-run"]).in_folder(folder.path()).ok();
    assert!(output.stderr.contains(NOTE), "{}", output.stderr);
    hod(["gc", "oci:layout"]).in_folder(folder.path()).code(1);
}

#[test]
fn nothing_is_left_behind() {
    let root = tempfile::tempdir().unwrap();
    tree::copy(fixtures::root(), root.path());
    let before = tree::listing(root.path());
    gc(root.path(), &["--dry-run"]);
    assert!(tree::listing(root.path()) == before, "something was written");
}
