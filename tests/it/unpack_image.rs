//! `hod unpack-image`: images as files, compared with what umoci makes of them, and run.

mod hostile;
mod layers;
mod places;
mod repack;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, Image, image, image_with};
use crate::support::job::text;
use crate::support::skipped::{is_root_for, skipped};

/// An entry of a layer.
#[derive(Debug, Clone)]
struct Entry {
    header: tar::Header,
    path: Vec<u8>,
    link: Vec<u8>,
    body: Vec<u8>,
    pax: Vec<(String, Vec<u8>)>,
}

fn entry(kind: tar::EntryType, path: &str) -> Entry {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_mtime(1_600_000_000);
    Entry { header, path: path.as_bytes().to_vec(), link: Vec::new(), body: Vec::new(), pax: Vec::new() }
}

fn file(path: &str, body: &str) -> Entry {
    Entry { body: body.as_bytes().to_vec(), ..entry(tar::EntryType::Regular, path) }
}

fn folder(path: &str) -> Entry {
    entry(tar::EntryType::Directory, path)
}

fn symlink(path: &str, to: &str) -> Entry {
    Entry { link: to.as_bytes().to_vec(), ..entry(tar::EntryType::Symlink, path) }
}

fn hardlink(path: &str, to: &str) -> Entry {
    Entry { link: to.as_bytes().to_vec(), ..entry(tar::EntryType::Link, path) }
}

impl Entry {
    fn mode(mut self, mode: u32) -> Self {
        self.header.set_mode(mode);
        self
    }

    /// As the oldest archives say that something is a file, or by its name a folder.
    fn old(mut self) -> Self {
        self.header.as_old_mut().linkflag = [0];
        self
    }

    fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.header.set_uid(uid);
        self.header.set_gid(gid);
        self
    }

    fn time(mut self, seconds: u64) -> Self {
        self.header.set_mtime(seconds);
        self
    }

    fn device(mut self, major: u32, minor: u32) -> Self {
        self.header.set_device_major(major).unwrap();
        self.header.set_device_minor(minor).unwrap();
        self
    }

    fn pax(mut self, keyword: &str, value: &[u8]) -> Self {
        self.pax.push((keyword.to_owned(), value.to_vec()));
        self
    }

    /// The blocks of the entry; names are written as they are, whatever they are.
    fn write(mut self, tar: &mut Vec<u8>) {
        if !self.pax.is_empty() {
            let body = self.pax.iter().flat_map(|(keyword, value)| record(keyword, value)).collect();
            let kind = tar::EntryType::XHeader;
            Self { body, ..entry(kind, "extended") }.write(tar);
        }
        let old = self.header.as_old_mut();
        old.name[..self.path.len()].copy_from_slice(&self.path);
        old.linkname[..self.link.len()].copy_from_slice(&self.link);
        self.header.set_size(self.body.len() as u64);
        self.header.set_cksum();
        tar.extend_from_slice(self.header.as_bytes());
        tar.extend_from_slice(&self.body);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
}

fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let length = (rest..rest + 9).find(|length| length.to_string().len() + rest == *length).unwrap();
    [format!("{length} {keyword}=").as_bytes(), value, b"\n"].concat()
}

fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    entries.iter().cloned().for_each(|entry| entry.write(&mut tar));
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A layer that is not compressed.
fn plain(entries: &[Entry]) -> Blob {
    Blob::new("application/vnd.oci.image.layer.v1.tar", tar_of(entries))
}

/// A store and an OCI layout in a folder, both with one image, `app:1`.
fn places(folder: &Path, image: &Image) {
    Content::default().with("app:1", image).write_root(&folder.join("store"));
    hod(["copy", "store:store:app:1", "oci:layout:app"]).in_folder(folder).ok();
}

/// What umoci makes of `app` in `layout`.
fn umoci(folder: &Path, bundle: &str) {
    let output =
        Command::new("umoci").args(["unpack", "--image", "layout:app", bundle]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// After the latest time that an image in these tests has.
const LAST: u64 = 1_750_000_000;

/// Everything of a tree that an image decides, by path: as mtree lists it, with the names that share an inode.
fn listing(rootfs: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut inodes: BTreeMap<u64, String> = BTreeMap::new();
    for entry in WalkDir::new(rootfs).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = path.strip_prefix(rootfs).unwrap().display().to_string();
        let metadata = fs::symlink_metadata(path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            fs::read_link(path).unwrap().display().to_string()
        } else if kind.is_file() {
            format!("{} {}", metadata.len(), Digest::sha256(&fs::read(path).unwrap()))
        } else if kind.is_char_device() || kind.is_block_device() {
            format!("{:x}", metadata.rdev())
        } else {
            String::new()
        };
        let first = if kind.is_dir() { &name } else { inodes.entry(metadata.ino()).or_insert_with(|| name.clone()) };
        let time = (metadata.mtime(), metadata.mtime_nsec());
        let (mode, owner) = (metadata.mode(), (metadata.uid(), metadata.gid()));
        let line = format!("{mode:o} {owner:?} {time:?} {content} = {first} {:?}", xattrs(path));
        found.insert(name, line);
    }
    found
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value[..length].to_vec()
    };
    names.map(|name| (String::from_utf8(name.to_vec()).unwrap(), value(name))).collect()
}

#[track_caller]
fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (listing(ours), listing(theirs));
    // In folders that no layer describes, or in which something was hidden, umoci leaves the time of the day.
    let without_time = |line: &String| {
        let mut parts: Vec<&str> = line.split(' ').collect();
        parts.drain(3..5);
        parts.join(" ")
    };
    for (path, line) in &theirs {
        let mine = ours.get(path).unwrap_or_else(|| panic!("{path} is not there"));
        let seconds: u64 = line.split([' ', '(', ',']).filter(|part| !part.is_empty()).nth(3).unwrap().parse().unwrap();
        if line.starts_with('4') && seconds > LAST {
            assert_eq!(without_time(mine), without_time(line), "{path}");
        } else {
            assert_eq!(mine, line, "{path}");
        }
    }
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
}

/// The runtime's configuration.
fn config(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_trees_are_those_of_umoci() {
    if !is_root_for("the comparison with umoci") {
        return;
    }
    for name in
        ["base/busybox:1.35", "base/klibc:2.0", "web:1.0", "jobs/backup:2.4", "platform/tools/network/toolbox:2026.1"]
    {
        let folder = tempfile::tempdir().unwrap();
        let from = format!("store:{}:{name}", text(fixtures::root()));
        hod(["copy", "--override-arch", "amd64", &from, "oci:layout:app"]).in_folder(folder.path()).ok();
        umoci(folder.path(), "theirs");
        for (place, ours) in [(&*from, "of-store"), ("oci:layout:app", "of-layout")] {
            hod(["unpack-image", "--override-arch", "amd64", place, ours]).in_folder(folder.path()).ok();
            let (ours, theirs) = (folder.path().join(ours), folder.path().join("theirs"));
            assert_same(&ours.join("rootfs"), &theirs.join("rootfs"));
            assert_eq!(config(&ours), config(&theirs), "{name}");
        }
        hod(["unpack-image", "oci:layout:app", "--rootfs", "tree"]).in_folder(folder.path()).ok();
        assert_same(&folder.path().join("tree"), &folder.path().join("theirs/rootfs"));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_configuration_is_that_of_umoci() {
    if !is_root_for("the comparison with umoci") {
        return;
    }
    let accounts = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/sh\n";
    let group = || file("etc/group", "www:x:34:\nlogs:x:50:web\n");
    let etc = plain(&[folder("etc"), file("etc/passwd", accounts), group()]);
    let more = json!({"created": "2020-01-02T03:04:05Z", "author": "Somebody <a@b>"});
    for run in [
        json!({}),
        json!({"User": "web", "Entrypoint": ["/bin/a", "b"], "Cmd": ["c"], "WorkingDir": "/srv", "StopSignal": "SIGUSR1"}),
        json!({"User": "web:logs", "Env": ["PATH=/x", "A=b=c"], "Cmd": ["sh"]}),
        json!({"User": "1000:1001", "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}}),
        json!({"User": "33", "Labels": {"org.opencontainers.image.author": "label", "x.y": "z"}, "Env": ["TERM=dumb"]}),
    ] {
        let folder = tempfile::tempdir().unwrap();
        places(folder.path(), &image_with("linux/amd64", &run, &more, std::slice::from_ref(&etc)));
        umoci(folder.path(), "theirs");
        hod(["unpack-image", "oci:layout:app", "ours", "--platform", "linux/amd64"]).in_folder(folder.path()).ok();
        assert_eq!(config(&folder.path().join("ours")), config(&folder.path().join("theirs")), "{run}");
    }
    let folder = tempfile::tempdir().unwrap();
    // By a link that is one within the tree; umoci would follow it out.
    let linked =
        plain(&[self::folder("etc"), symlink("etc/passwd", "/etc/accounts"), file("etc/accounts", accounts), group()]);
    places(folder.path(), &image_with("linux/amd64", &json!({"User": "web", "Env": ["HOME=/mine"]}), &more, &[linked]));
    hod(["unpack-image", "store:store:app:1", "linked", "--platform", "linux/amd64"]).in_folder(folder.path()).ok();
    let linked = config(&folder.path().join("linked"));
    assert_eq!(linked["process"]["user"]["uid"], 33);
    // The image's own word on where home is; umoci sets it by the user even then.
    assert!(linked["process"]["env"].as_array().unwrap().contains(&json!("HOME=/mine")), "{linked}");

    let folder = tempfile::tempdir().unwrap();
    let nobody = image_with("linux/amd64", &json!({"User": "nobody"}), &json!({}), &[etc]);
    places(folder.path(), &nobody);
    let output = hod(["unpack-image", "oci:layout:app", "ours"]).in_folder(folder.path()).code(1);
    assert!(output.stderr.contains("\"nobody\"") && !folder.path().join("ours").exists(), "{}", output.stderr);
    hod(["unpack-image", "oci:layout:app", "--rootfs", "tree"]).in_folder(folder.path()).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_runtime_runs_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let image = format!("store:{}:base/busybox:1.35", text(fixtures::root()));
    for bundle in ["ours", "judge"] {
        hod(["unpack-image", &image, bundle]).in_folder(folder.path()).ok();
    }
    let run = |bundle: &str| {
        let bundle = folder.path().join(bundle);
        let mut value = config(&bundle);
        value["process"]["terminal"] = json!(false);
        value["process"]["args"] = json!(["/bin/busybox", "sh", "-c", "echo hello from $(busybox id -u)"]);
        fs::write(bundle.join("config.json"), value.to_string()).unwrap();
        let id = folder.path().file_name().unwrap().to_str().unwrap().replace('.', "hod");
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(folder.path().join("state")).args(["run", "--bundle"]).arg(&bundle).arg(id);
        runc.output().unwrap()
    };
    // What the runtime writes itself shows whether it can run anything here: not every sandbox lets it.
    fs::remove_file(folder.path().join("judge/config.json")).unwrap();
    let spec = Command::new("runc").arg("spec").current_dir(folder.path().join("judge")).output().unwrap();
    assert!(spec.status.success());
    let judge = run("judge");
    if !judge.status.success() {
        skipped("a container", &format!("runc runs nothing here: {}", String::from_utf8_lossy(&judge.stderr)));
        return;
    }
    let ours = run("ours");
    assert_eq!(String::from_utf8_lossy(&ours.stdout), "hello from 0\n", "{}", String::from_utf8_lossy(&ours.stderr));
}

#[test]
fn the_target_is_new_and_the_image_one_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    places(folder.path(), &image("linux/amd64", &[plain(&[file("a", "1")])]));
    fs::create_dir(folder.path().join("there")).unwrap();
    let output = hod(["unpack-image", "oci:layout:app", "there"]).in_folder(folder.path()).code(1);
    assert!(output.stderr.contains("there already exists: "), "{}", output.stderr);
    hod(["unpack-image", "oci:layout:app"]).in_folder(folder.path()).code(2);
    hod(["unpack-image", "oci:layout:app", "a", "--rootfs", "b"]).in_folder(folder.path()).code(2);
    hod(["unpack-image", "oci:layout:other", "a"]).in_folder(folder.path()).code(1);
    let chart = format!("store:{}:charts/web:0.1.0", text(fixtures::root()));
    let output = hod(["unpack-image", &chart, "a"]).in_folder(folder.path()).code(1);
    assert!(output.stderr.contains("a runnable image"), "{}", output.stderr);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    // A folder on the way is made; the summary of a program is JSON.
    let words = ["unpack-image", "store:store:app:1", "--rootfs", "new/tree", "--json"];
    let report = hod(words).in_folder(folder.path()).ok().json();
    assert_eq!((&report["layers"], &report["entries"]), (&json!(1), &json!(1)));
}
