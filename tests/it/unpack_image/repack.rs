//! Bundles that hod has unpacked go back into an image by `umoci repack`.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use serde_json::{Value, json};

use super::{Entry, entry, file, folder, hardlink, places, plain, symlink, tar_of};
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Blob, image, image_with};
use crate::support::job::text;
use crate::support::skipped::is_root_for;

/// Runs umoci, as the user whose bundles it works on.
#[track_caller]
fn umoci(place: &Path, user: &[&str], arguments: &[&str]) {
    let mut command = Command::new(user.first().copied().unwrap_or("umoci"));
    command.args(user.get(1..).unwrap_or_default());
    if !user.is_empty() {
        command.arg("umoci");
    }
    let output = command.args(arguments).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A blob of the layout `layout`, by the digest in a descriptor.
fn blob(place: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    fs::read(place.join("layout/blobs").join(digest.replace(':', "/"))).unwrap()
}

/// The layers of an image of the layout.
fn layers(place: &Path, name: &str) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&fs::read(place.join("layout/index.json")).unwrap()).unwrap();
    let named = |it: &&Value| it["annotations"]["org.opencontainers.image.ref.name"] == name;
    let found = index["manifests"].as_array().unwrap().iter().find(named).unwrap().clone();
    let manifest: Value = serde_json::from_slice(&blob(place, &found)).unwrap();
    manifest["layers"].as_array().unwrap().clone()
}

/// What tar says of the uppermost layer of an image.
fn uppermost(place: &Path, name: &str) -> String {
    let archive = blob(place, layers(place, name).last().unwrap());
    fs::write(place.join("layer.tar.gz"), archive).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-tvvzf", "layer.tar.gz"]);
    let output = tar.current_dir(place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of a listing that do not tell when and where it was made, nor the times of folders.
fn listing(bundle: &Path) -> Vec<String> {
    let names = fs::read_dir(bundle).unwrap().map(|entry| entry.unwrap().path());
    let listings: Vec<_> = names.filter(|path| path.extension().is_some_and(|it| it == "mtree")).collect();
    let [listing] = &*listings else { panic!("{listings:?}") };
    let text = fs::read_to_string(listing).unwrap();
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

fn layer_of_oddities() -> Vec<Entry> {
    vec![
        folder("./").time(1_500_000_000),
        folder("closed").mode(0o000),
        folder("d").mode(0o1777).pax("SCHILY.xattr.user.note", b"brick"),
        file("d/attributed", "x").pax("SCHILY.xattr.user.note", b"\x01\xff"),
        file("d/blank name#*[x]?", "x"),
        file("d/suid", "suid").mode(0o4755),
        file("d/unreadable", "secret").mode(0o000),
        file("d/gone", "x"),
        file("d/one", "shared").pax("mtime", b"1600000000.987654321"),
        hardlink("d/two", "d/one"),
        symlink("d/link", "blank name#*[x]?"),
        symlink("d/to-attributed", "attributed"),
        file("x", "x").pax("path", "d/a\n\u{e4}\\\t\u{1f9f1}".as_bytes()),
        entry(tar::EntryType::Fifo, "d/pipe").mode(0o622),
        folder("e"),
        folder("e/sub"),
        file("e/sub/deep", ""),
        file("z", &"brick ".repeat(100_000)),
    ]
}

/// Things that belong to others.
fn layer_of_others() -> Vec<Entry> {
    vec![
        folder("others").owner(5, 6),
        file("others/file", "x").owner(1000, 0).mode(0o600),
        file("others/file2", "x").owner(0, 300).mode(0o400),
        entry(tar::EntryType::Char, "others/null").device(1, 3).mode(0o666),
    ]
}

/// Unpacks by both tools, compares what they leave for `umoci repack`, and repacks both, first as they are.
fn repacks(user: &[&str], flags: &[&str], upper: &[Entry]) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let two: [Blob; 2] = [plain(&layer_of_oddities()), plain(upper)];
    places(place, &image_with("linux/amd64", &json!({}), &json!({"created": "2020-01-02T03:04:05Z"}), &two));
    let program = place.join("hod");
    fs::copy(env!("CARGO_BIN_EXE_hod"), &program).unwrap();
    let chmod = Command::new("chmod").args(["-R", "a+rwX", text(place)]).status().unwrap();
    assert!(chmod.success());
    umoci(place, user, &[&["unpack", "--image", "layout:app"], flags, &["theirs"]].concat());
    let mut ours = Command::new(user.first().copied().unwrap_or("env"));
    ours.args(user.get(1..).unwrap_or_default()).arg(&program).args(["unpack-image", "oci:layout:app", "ours"]);
    let output = ours.args(flags).env("HOME", place).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    super::assert_same(&place.join("ours/rootfs"), &place.join("theirs/rootfs"));
    let read = |path: &str| -> Value { serde_json::from_slice(&fs::read(place.join(path)).unwrap()).unwrap() };
    // The image's name is no part of the image.
    let mut theirs = read("theirs/umoci.json");
    theirs["from_descriptor_path"]["descriptor_walk"][0].as_object_mut().unwrap().remove("annotations");
    assert_eq!(read("ours/umoci.json"), theirs);
    assert_eq!(read("ours/config.json"), read("theirs/config.json"));
    assert_eq!(listing(&place.join("ours")), listing(&place.join("theirs")));

    umoci(place, user, &["repack", "--image", "layout:same", "ours"]);
    assert_eq!(layers(place, "same"), layers(place, "app"), "nothing was changed, but umoci sees something");
    for bundle in ["ours", "theirs"] {
        let tree = place.join(bundle).join("rootfs");
        fs::remove_file(tree.join("d/gone")).unwrap();
        fs::write(tree.join("e/sub/deep"), "changed").unwrap();
        fs::write(tree.join("e/new file"), "new").unwrap();
        fs::set_permissions(tree.join("z"), std::os::unix::fs::PermissionsExt::from_mode(0o751)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_001);
        for changed in ["e/sub/deep", "e/new file", "e/sub", "e", "d"] {
            fs::File::open(tree.join(changed)).unwrap().into_parts().0.set_modified(time).unwrap();
        }
        let chown = Command::new("chown").args(["--reference=e", "e/new file"]).current_dir(&tree).status();
        assert!(chown.unwrap().success());
        umoci(place, user, &["repack", "--image", &format!("layout:{bundle}"), bundle]);
    }
    let upper = uppermost(place, "ours");
    for expected in [".wh.gone", "e/sub/deep", "e/new file", " z\n"] {
        assert!(upper.contains(expected), "{expected}: {upper}");
    }
    assert_eq!(upper, uppermost(place, "theirs"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_root_has_unpacked() {
    if is_root_for("files of several owners") {
        repacks(&[], &[], &layer_of_others());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_root_has_unpacked_for_other_ids() {
    if is_root_for("ids of others") {
        repacks(&[], &["--uid-map", "0:100000:65536", "--gid-map", "0:200000:65536"], &layer_of_others());
        repacks(&[], &["--uid-map", "0:0", "--uid-map", "1:100001:1000", "--keep-dirlinks"], &layer_of_others());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_belongs_to_one_user() {
    if is_root_for("files of several owners, and to be somebody else") {
        repacks(&[], &["--rootless"], &layer_of_others());
        let user = ["setpriv", "--reuid=1234", "--regid=1235", "--clear-groups"];
        // umoci gives files that may not be written no attribute.
        let others: Vec<Entry> =
            layer_of_others().into_iter().filter(|entry| !entry.path.ends_with(b"file2")).collect();
        repacks(&user, &["--rootless"], &others);
    }
}

#[test]
fn ids_that_no_mapping_covers_are_refused() {
    if !is_root_for("files of others") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    places(folder.path(), &image("linux/amd64", &[plain(&layer_of_others())]));
    let run = |flags: &[&str]| {
        hod(["unpack-image", "oci:layout:app", "ours"].into_iter().chain(flags.iter().copied()))
            .in_folder(folder.path())
    };
    let output = run(&["--uid-map", "0:100000:10"]).code(1);
    assert!(
        output.stderr.contains("\"others/file\" belongs to user 1000, which no mapping covers"),
        "{}",
        output.stderr
    );
    let output = run(&["--gid-map", "5:100000:1000"]).code(1);
    assert!(output.stderr.contains("\"/\" belongs to group 0"), "{}", output.stderr);
    for wrong in ["0", "0:1:0", "a:b:c", "0:1:2:3", "0:4294967295:2"] {
        let output = run(&["--uid-map", wrong]).code(2);
        assert!(output.stderr.contains("CONTAINER:HOST:SIZE"), "{}", output.stderr);
    }
    assert!(!folder.path().join("ours").exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn links_to_folders_stay_where_that_is_asked_for() {
    if !is_root_for("the comparison with umoci") {
        return;
    }
    let folder_ = tempfile::tempdir().unwrap();
    let place = folder_.path();
    let lower = [
        folder("usr"),
        folder("usr/lib"),
        file("usr/file", "x"),
        symlink("lib", "usr/lib"),
        symlink("up", "/../usr"),
        symlink("gone", "nowhere"),
        symlink("round", "round"),
        symlink("to-file", "usr/file"),
    ];
    let upper = [
        folder("lib").mode(0o700).owner(3, 4).time(1_550_000_000),
        file("lib/a", "1"),
        folder("up"),
        file("up/b", "1"),
        folder("gone"),
        file("gone/c", "1"),
        folder("round"),
        folder("to-file"),
        file("to-file/d", "1"),
    ];
    places(place, &image("linux/amd64", &[plain(&lower), plain(&upper)]));
    umoci(place, &[], &["unpack", "--keep-dirlinks", "--image", "layout:app", "theirs"]);
    hod(["unpack-image", "oci:layout:app", "ours", "--keep-dirlinks"]).in_folder(place).ok();
    super::assert_same(&place.join("ours/rootfs"), &place.join("theirs/rootfs"));
    assert_eq!(fs::read_link(place.join("ours/rootfs/lib")).unwrap(), Path::new("usr/lib"));
    assert!(place.join("ours/rootfs/usr/lib/a").exists() && place.join("ours/rootfs/gone/c").exists());
    assert!(!tar_of(&lower).is_empty());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_configuration_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let etc = [super::folder("etc"), file("etc/passwd", "web:x:33:34::/srv/web:/bin/sh\n")];
    let named = image_with(
        "linux/amd64",
        &json!({"User": "web", "Cmd": ["sh"]}),
        &json!({"created": "2020-01-02T03:04:05Z"}),
        &[plain(&etc)],
    );
    places(place, &named);
    let run = |flags: &[&str]| {
        hod(["unpack-image", "oci:layout:app"].into_iter().chain(flags.iter().copied())).in_folder(place)
    };
    run(&["bundle"]).ok();
    let whole = fs::read(place.join("bundle/config.json")).unwrap();
    run(&["--rootfs", "bundle/rootfs", "--config-only", "config.json"]).ok();
    assert_eq!(fs::read(place.join("config.json")).unwrap(), whole);
    if is_root_for("the comparison with umoci") {
        let flags = ["--uid-map", "0:1000:100", "--rootfs", "bundle/rootfs"];
        umoci(place, &[], &[&["raw", "runtime-config", "--image", "layout:app"], &flags[..], &["theirs"]].concat());
        let theirs: Value = serde_json::from_slice(&fs::read(place.join("theirs")).unwrap()).unwrap();
        assert_eq!(run(&[&flags[..], &["--config-only", "-"]].concat()).ok().json(), theirs);
    }
    let output = run(&["--config-only", "other.json"]).code(1);
    assert!(output.stderr.contains("\"web\"") && output.stderr.contains("--rootfs"), "{}", output.stderr);
    assert!(!place.join("other.json").exists());
    run(&["--rootfs", "nowhere", "--config-only", "-"]).code(1);
    run(&["bundle2", "--config-only", "-"]).code(2);
    let output = run(&["--rootfs", "bundle/rootfs", "--config-only", "no/such/folder"]).code(1);
    assert!(output.stderr.contains("no/such/folder"), "{}", output.stderr);
    // A number needs no files.
    let busybox = format!("store:{}:base/busybox:1.35", text(fixtures::root()));
    let config = hod(["unpack-image", &busybox, "--config-only", "-"]).ok().json();
    assert_eq!(config["root"]["path"], "rootfs");
}
