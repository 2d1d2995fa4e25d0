//! Locks, and bundles that are the same wherever they are made.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Content, image, index, layer};
use crate::support::skipped::is_root_for;

#[test]
fn a_lock_says_what_has_moved_since() {
    let (old, new) = (image("linux/amd64", &[layer(1, 100)]), image("linux/amd64", &[layer(2, 100)]));
    let both = index(&[old.clone(), image("linux/arm64", &[layer(3, 100)])]);
    let registry = Faulty::new(Content::default().with("app:1", &old).with("multi:1", &both)).start();
    let folder = tempfile::tempdir().unwrap();
    let lock = |images: &[&str]| {
        let words = ["lock", "--from", registry.host(), "-o", "a.lock", "--platform", "linux/amd64", "--json"];
        hod(words.iter().chain(images)).in_folder(folder.path())
    };
    lock(&["app:1", "multi:1"]).ok();
    let layers = [layer(1, 100), layer(3, 100)].map(|layer| layer.digest());
    assert_eq!(
        registry.count(|seen| layers.iter().any(|layer| seen.is_blob(layer))),
        0,
        "no layer is moved for a lock"
    );
    hod(["lock", "--check", "a.lock"]).in_folder(folder.path()).ok();
    registry.change(|content| {
        *content = content.clone().with("app:1", &new).with("app:2", &new);
    });
    let before = fs::read(folder.path().join("a.lock")).unwrap();
    let checked = hod(["lock", "--check", "a.lock"]).in_folder(folder.path()).code(3);
    assert_eq!(checked.text(), format!("moved    app:1  {} → {}\n", old.digest(), new.digest()));
    assert_eq!(fs::read(folder.path().join("a.lock")).unwrap(), before);
    // What was locked can still be had.
    hod(["pull", "-f", "a.lock", "--store", "store"]).in_folder(folder.path()).ok();
    let listed = hod(["ls", "store", "--json"]).in_folder(folder.path()).ok().json();
    assert!(listed["images"].as_array().unwrap().iter().any(|image| image["digest"] == old.digest().to_string()));
    // pull says it too, and so does a new lock.
    let words = ["pull", "app:1", "--from", registry.host(), "--store", "store", "--lock", "b.lock"];
    fs::write(folder.path().join("b.lock"), &before).unwrap();
    let pulled = hod(words).in_folder(folder.path()).ok();
    assert!(pulled.stderr.contains("since the last lock: moved    app:1"), "{}", pulled.stderr);
    let changes = lock(&["app:1", "app:2"]).ok().json()["changes"].clone();
    assert_eq!(changes["moved"][0]["now"], new.digest().to_string());
    assert_eq!((&changes["added"][0], &changes["removed"][0]), (&"app:2".into(), &"multi:1".into()));
}

#[test]
fn lines_that_share_a_name_have_not_moved() {
    let (first, second) = (image("linux/amd64", &[layer(1, 100)]), image("linux/amd64", &[layer(2, 100)]));
    let both = index(&[first.clone(), image("linux/arm64", &[layer(3, 100)])]);
    let content = Content::default().with("multi:3", &both).with("multi:latest", &both);
    let registry = Faulty::new(content.with("tool:1", &first).with("tool:2", &second)).start();
    let folder = tempfile::tempdir().unwrap();
    let (first_tool, second_tool) = (format!("tool@{}", first.digest()), format!("tool@{}", second.digest()));
    let list = format!(
        "{first_tool}\n{second_tool}\nmulti:3 platform=linux/amd64\nmulti:3 platform=linux/arm64\nmulti\nmulti:latest\n"
    );
    fs::write(folder.path().join("list"), list).unwrap();
    let lock = |words: &[&str]| hod(["lock", "--from", registry.host(), "--json"]).args(words).in_folder(folder.path());
    let none = serde_json::json!({"moved": [], "added": [], "removed": []});
    lock(&["-f", "list", "-o", "a.lock"]).ok();
    assert_eq!(lock(&["--check", "a.lock"]).ok().json()["changes"], none);
    assert_eq!(lock(&["-f", "list", "-o", "a.lock"]).ok().json()["changes"], none);
    // One of two that have no tag is gone; the other is what it was.
    fs::write(folder.path().join("list"), format!("{first_tool}\nmulti\nmulti:3\n")).unwrap();
    let changes = lock(&["-f", "list", "-o", "a.lock"]).ok().json()["changes"].clone();
    assert_eq!(changes, serde_json::json!({"moved": [], "added": [], "removed": [second_tool]}));
    // What both platforms are of has moved, and that is one change.
    lock(&["multi:3", "-o", "b.lock"]).ok();
    registry.change(|content| *content = content.clone().with("multi:3", &first));
    let changes = lock(&["--check", "b.lock"]).code(3).json()["changes"].clone();
    let moved = serde_json::json!({"name": "multi:3", "locked": both.digest(), "now": first.digest()});
    assert_eq!(changes["moved"], serde_json::json!([moved]));
}

#[test]
fn a_lock_is_written_whole_or_not_at_all() {
    let registry = Faulty::new(Content::default().with("app:1", &image("linux/amd64", &[]))).start();
    let folder = tempfile::tempdir().unwrap();
    let words = ["lock", "app:1", "absent:1", "--from", registry.host(), "-o", "a.lock"];
    let output = hod(words).in_folder(folder.path()).code(1);
    assert!(output.stderr.contains("absent:1"), "{}", output.stderr);
    assert!(!folder.path().join("a.lock").exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn one_lock_gives_the_same_bytes_out_of_two_stores() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let list = fixtures::list();
    let lock =
        ["lock", "-f", list.to_str().unwrap(), "--from", registry.host(), "--all-platforms", "-o", "release.lock"];
    hod(lock).in_folder(here).ok();
    // One store is filled at once, the other backwards, image by image, with more in it, by another user and umask.
    hod(["pull", "-f", "release.lock", "--store", "a"]).in_folder(here).ok();
    let text = fs::read_to_string(here.join("release.lock")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let hod_binary = env!("CARGO_BIN_EXE_hod");
    let other_user = |words: &str| {
        let script = format!("umask 077; cd {}; exec {words}", here.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env_clear().env("HOME", here).env("TZ", "Asia/Tokyo").env("LC_ALL", "C");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if is_root_for("to be another user") {
            command.uid(12_345).gid(12_345);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    };
    fs::set_permissions(here, std::fs::Permissions::from_mode(0o777)).unwrap();
    let binary = here.join("hod");
    fs::copy(hod_binary, &binary).unwrap();
    other_user(&format!("./hod pull base/busybox:latest --from {} --store b --names with-host", registry.host()));
    for (number, line) in lines.iter().enumerate().rev() {
        fs::write(here.join(format!("{number}.lock")), line).unwrap();
        other_user(&format!("./hod pull -f {number}.lock --store b"));
    }
    for format in ["tar", "tar.zst"] {
        let pack =
            |store: &str, more: &str| format!("./hod pack -f release.lock --store {store} -o {store}.{format} {more}");
        hod(["pack", "-f", "release.lock", "--store", "a", "-o", &format!("a.{format}")]).in_folder(here).ok();
        other_user(&pack("b", "-j 3"));
        let read = |store: &str| fs::read(here.join(format!("{store}.{format}"))).unwrap();
        assert!(read("a") == read("b"), "the bundles a.{format} and b.{format} differ");
    }
}
