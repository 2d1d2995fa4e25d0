//! Disks that are full or read-only, roots of other users, and links that lead astray.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hod_engine::endpoint::Fault;
use hod_store::{Store, StoreError};

use super::{assert_sound, image, layer, noise, write};
use crate::support::skipped::{is_root_for, skipped};

/// A small filesystem in memory; `None` where this process may not mount one.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "hod-test"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            _ => {
                skipped("all of it", "no permission to mount a tmpfs");
                None
            }
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn make_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(self.folder.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_loses_nothing() {
    let Some(disk) = Disk::mount("size=4m") else { return };
    let store = Store::create(&disk.root()).unwrap();
    let small = image("amd64", &[layer(noise(1, 1_000_000))]);
    write(&store, "a", &["1"], &small).await.unwrap();

    let large = image("amd64", &[layer(noise(2, 8_000_000))]);
    let error = write(&store, "a", &["1"], &large).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Full, "{error}");
    let text = error.to_string();
    assert!(text.contains("no space left") && text.contains(&large.parts[1].digest().hex()), "{text}");

    assert_eq!(store.tag(&"a".parse().unwrap(), &"1".parse().unwrap()).unwrap(), Some(small.digest()));
    drop(store);
    assert_sound(&disk.root());
}

#[tokio::test]
async fn no_inodes_left_is_full_too() {
    let Some(disk) = Disk::mount("size=4m,nr_inodes=60") else { return };
    let store = Store::create(&disk.root()).unwrap();
    let mut published = 0;
    let error = loop {
        match write(&store, &format!("a{published}"), &["1"], &image("amd64", &[layer(format!("{published}"))])).await {
            Ok(()) => published += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.fault(), Fault::Full, "{error}");
    assert_sound(&disk.root());
    assert_eq!(
        store.repositories().unwrap().iter().filter(|name| !store.tags(name).unwrap().is_empty()).count(),
        published
    );
}

#[tokio::test]
async fn a_read_only_root_can_be_read() {
    let Some(disk) = Disk::mount("size=4m") else { return };
    let image = image("amd64", &[layer("1")]);
    write(&Store::create(&disk.root()).unwrap(), "a", &["1"], &image).await.unwrap();
    disk.make_read_only();

    let store = Store::open(&disk.root()).unwrap();
    assert_eq!(store.read_manifest(&image.digest()).unwrap(), image.bytes);
    assert!(matches!(store.commit(&[]), Err(StoreError::ReadOnly(_))));
    let error = Store::create(&disk.root()).unwrap_err().to_string();
    assert!(error.contains("Read-only file system") && error.contains(".hod"), "{error}");
}

#[test]
fn what_is_no_root_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::NoRoot(_))));
    assert!(matches!(Store::open(&folder.path().join("nowhere")), Err(StoreError::NoRoot(_))));
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn new_files_belong_to_the_owner_of_the_root() {
    if !is_root_for("to give files away") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs_err::create_dir(&root).unwrap();
    fs_err::os::unix::fs::chown(&root, Some(4711), Some(4712)).unwrap();
    let store = Store::create(&root).unwrap();
    write(&store, "a/b", &["1"], &image("amd64", &[layer("1"), layer(noise(1, 2_000_000))])).await.unwrap();
    drop(store.lock_referrers().unwrap());
    let mut seen = 0;
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        // The record of what root has hashed, which nobody else may write.
        if entry.file_name() == "hashed-0" {
            assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o600));
            continue;
        }
        assert_eq!((metadata.uid(), metadata.gid()), (4711, 4712), "{}", entry.path().display());
        let mode = if metadata.is_dir() { 0o755 } else { 0o644 };
        assert_eq!(metadata.mode() & 0o777, mode, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[tokio::test]
async fn a_symbolic_link_out_of_the_root_is_refused() {
    for relative in ["docker", "docker/registry/v2/blobs/sha256", "docker/registry/v2/repositories/a"] {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs_err::create_dir(&outside).unwrap();
        let link = root.join(relative);
        fs_err::create_dir_all(link.parent().unwrap()).unwrap();
        fs_err::os::unix::fs::symlink(&outside, &link).unwrap();
        let image = image("amd64", &[layer("1"), layer(noise(1, 2_000_000))]);
        let error = match Store::create(&root) {
            Err(error) => error.to_string(),
            Ok(store) => write(&store, "a/b", &["1"], &image).await.unwrap_err().to_string(),
        };
        assert_leads_out(&error, &link);
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0, "{relative}");
    }
}

#[track_caller]
fn assert_leads_out(error: &str, link: &Path) {
    assert!(error.contains("leads out of the store") && error.contains(link.to_str().unwrap()), "{error}");
}
