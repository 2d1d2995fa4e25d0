//! A disk that takes `V1` and `v1` for one name, as exFAT does.

use std::path::{Path, PathBuf};
use std::process::Command;

use hod_store::{Store, StoreError};
use hod_transport::{DirTree, TransportError};

use super::{image, layer, write};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::skipped::skipped;

/// A file with an exFAT file system, mounted; `None` where this machine cannot.
struct Stick {
    folder: tempfile::TempDir,
    device: String,
}

impl Stick {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (image, place) = (folder.path().join("image"), folder.path().join("stick"));
        fs_err::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs_err::create_dir(&place).unwrap();
        let made = Command::new("mkfs.exfat").arg(&image).output().expect("scripts/test installs exfatprogs");
        assert!(made.status.success(), "{made:?}");
        let device = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().unwrap();
        let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
        let stick = Self { folder, device };
        let mounted = Command::new("mount.exfat-fuse").arg(&stick.device).arg(&place).output();
        if stick.device.is_empty() || !mounted.is_ok_and(|output| output.status.success()) {
            skipped("all of it", "no permission to mount an exFAT file system");
            return None;
        }
        Some(stick)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("stick").join(name)
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path("")).status();
        if !self.device.is_empty() {
            let _ = Command::new("losetup").args(["--detach", &self.device]).status();
        }
    }
}

/// A store with two images whose tags differ in case, and one more.
fn store() -> tempfile::TempDir {
    let store = fixtures::copy();
    for (image, tag) in [("web:1.0", "V1"), ("web:1.1", "v1")] {
        hod(["tag", image, tag, "--store"]).arg(store.path()).ok();
    }
    store
}

fn tags(root: &Path) -> Vec<String> {
    let store = Store::open(root).unwrap();
    store.tags(&"web".parse().unwrap()).unwrap().iter().map(ToString::to_string).collect()
}

fn assert_empty(root: &Path) {
    let files = walkdir::WalkDir::new(root.join("docker")).into_iter().map(Result::unwrap);
    let files: Vec<_> = files.filter(|entry| entry.file_type().is_file()).collect();
    assert!(files.is_empty(), "{files:?}");
}

/// What every command says that would lose an image.
fn assert_refused(output: &crate::support::hod::Output) {
    for part in ["does not tell the tags", "V1", "v1", "of web apart", "hint: use a disk with ext4"] {
        assert!(output.stderr.contains(part), "no {part:?} in {}", output.stderr);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn tags_that_differ_in_case_only_are_refused_where_they_are_one_name() {
    let Some(stick) = Stick::mount() else { return };
    let source = store();
    let registry = DockerRegistry::over(source.path());
    let both = ["web:V1", "web:v1"];

    let root = stick.path("pulled");
    let pull = |images: &[&str]| hod(["pull", "--from", registry.host(), "--store"]).arg(&root).args(images);
    assert_refused(&pull(&both).code(1));
    assert_empty(&root);
    pull(&["web:V1"]).ok();
    assert_refused(&pull(&["web:v1"]).code(1));
    pull(&["web:V1", "web:1.0"]).ok();
    assert_eq!(tags(&root), ["1.0", "V1"]);

    let bundle = stick.path("release.tar");
    hod(["pack", "web:V1", "web:v1", "--store"]).arg(source.path()).arg("-o").arg(&bundle).ok();
    let root = stick.path("unpacked");
    assert_refused(&hod(["unpack"]).arg(&bundle).arg("--root").arg(&root).code(1));
    assert_empty(&root);
    let root = stick.path("selected");
    assert_refused(&hod(["select", "web:V1", "web:v1", "--store"]).arg(source.path()).arg("--to").arg(&root).code(1));

    let tree = DirTree::new(&stick.path("images"));
    let _first = tree.sink(&stick.path("images/V1")).unwrap();
    let error = tree.sink(&stick.path("images/v1")).unwrap_err();
    assert!(matches!(&error, TransportError::Alike { other, .. } if other == "V1"), "{error}");

    let verified = hod(["verify"]).arg(stick.path("pulled")).ok();
    assert!(verified.stderr.contains("does not tell all tags apart"), "{}", verified.stderr);
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn commits_at_the_same_time_do_not_take_each_others_place() {
    let Some(stick) = Stick::mount() else { return };
    let store = Store::create(&stick.path("root")).unwrap();
    let (one, other) = (image("amd64", &[layer("1")]), image("amd64", &[layer("2")]));
    let (first, second) = tokio::join!(write(&store, "a", &["V1"], &one), write(&store, "a", &["v1"], &other));
    let failed = [first, second].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].to_string().contains("does not tell the tags"), "{}", failed[0]);
    let name = "a".parse().unwrap();
    let tags = store.tags(&name).unwrap();
    let expected = if tags[0].as_str() == "V1" { one.digest() } else { other.digest() };
    assert_eq!(store.tag(&name, &tags[0]).unwrap(), Some(expected));
    // Once a tag is removed, its place is free.
    let second = if tags[0].as_str() == "V1" { "v1" } else { "V1" };
    assert!(write(&store, "a", &[second], &one).await.is_err());
    store.remove_tag(&name, &tags[0]).unwrap();
    write(&store, "a", &[second], &one).await.unwrap();
    let tags = store.tags(&name).unwrap();
    let taken = [(&name, &tags[0])];
    assert!(matches!(store.check_spelling(taken), Ok(())));
    let same: hod_oci::Tag = tags[0].as_str().to_uppercase().parse().unwrap();
    let small: hod_oci::Tag = tags[0].as_str().to_lowercase().parse().unwrap();
    assert!(matches!(store.check_spelling([(&name, &same), (&name, &small)]), Err(StoreError::TagsAlike { .. })));
}
