//! Copies that fail: what was made for them is gone, what was there before stays, and so does what was fetched.

use std::path::Path;

use fs_err as fs;
use hod_oci::Digest;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::fixtures;
use crate::support::hod::{Output, hod};
use crate::support::images::{Content, image, layer};
use crate::support::job::text;
use crate::support::tree;

/// Copies in a folder and fails.
#[track_caller]
fn fails(folder: &Path, words: &[&str]) -> Output {
    let output = hod(words).in_folder(folder).args(["--retry-times", "0"]).run();
    assert!(matches!(output.code, Some(1 | 3 | 4)), "{words:?}: {:?} {}", output.code, output.stderr);
    output
}

/// Folders and files below a folder, those that are empty as well.
fn everything(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter();
    entries.map(|entry| entry.unwrap().path().strip_prefix(folder).unwrap().display().to_string()).collect()
}

#[test]
fn what_was_made_for_a_copy_that_failed_is_gone() {
    let app = image("linux/amd64", &[layer(1, 5000)]);
    let content = Content::default().with("app:1", &app);
    let registry = Faulty::new(content).fault(On::blob(&app.blobs[0].digest()), Effect::Status(404));
    let registry = registry.fault(On::blob(&app.blobs[1].digest()), Effect::Status(404)).start();
    let host = registry.host();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("list"), "missing/one:1\napp:1\nmissing/two:2\n").unwrap();
    let before = everything(folder.path());
    // Without the image at all, and without its content.
    for source in [format!("docker://{host}/missing:1"), format!("docker://{host}/app:1")] {
        for to in [
            "dir:new",
            "dir:a/b/c",
            "dir:empty",
            "oci:new:x",
            "oci:a/b/c",
            "oci:empty:x",
            "oci-archive:new.tar:x",
            "oci-archive:empty/new.tar",
            "docker-archive:new.tar:x:1",
        ] {
            fails(folder.path(), &["copy", &source, to]);
            assert_eq!(everything(folder.path()), before, "{source} {to}");
        }
        fails(folder.path(), &["copy", &source, "oci:new:x", "--dest-shared-blob-dir", "shared/blobs"]);
        fails(folder.path(), &["index", "create", "oci:new:x", &source]);
        fails(folder.path(), &["sync", "--src", "docker", "--dest", "dir", &source[9..], "new"]);
        assert_eq!(everything(folder.path()), before, "{source}");
    }
    for more in [&[][..], &["--fail-fast"]] {
        for to in ["dir:new", "oci:new", "oci-archive:new.tar", "docker-archive:new.tar"] {
            let source = format!("docker://{host}");
            fails(folder.path(), &[&["copy", &source, to, "--file", "list"], more].concat());
            assert_eq!(everything(folder.path()), before, "{to}");
        }
    }
}

#[test]
fn what_was_there_before_a_copy_that_failed_stays() {
    let registry = Faulty::new(Content::default()).start();
    let missing = format!("docker://{}/missing:1", registry.host());
    let folder = tempfile::tempdir().unwrap();
    let web = format!("store:{}:web:1.0", text(fixtures::root()));
    for to in ["dir:dir", "oci:layout:web", "oci-archive:oci.tar:web", "docker-archive:docker.tar:web:1"] {
        hod(["copy", &web, to]).in_folder(folder.path()).ok();
    }
    hod(["init", "oci:bare"]).in_folder(folder.path()).ok();
    fs::create_dir(folder.path().join("theirs")).unwrap();
    fs::write(folder.path().join("theirs/file"), "mine").unwrap();
    let before = (everything(folder.path()), tree::listing(folder.path()));
    for to in [
        "dir:dir",
        "dir:theirs",
        "dir:theirs/new",
        "oci:layout:web",
        "oci:layout:other",
        "oci:bare",
        "oci:theirs",
        "oci-archive:oci.tar:web",
        "docker-archive:docker.tar:web:1",
    ] {
        fails(folder.path(), &["copy", &missing, to]);
        assert_eq!((everything(folder.path()), tree::listing(folder.path())), before, "{to}");
    }
}

#[test]
fn what_killed_copies_have_left_in_an_image_directory_goes_with_the_next_copy() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let from = format!("store:{}:{name}", text(fixtures::root()));
        hod(["copy", &from, "dir:d"]).in_folder(folder.path()).ok();
    };
    copy("web:1.0");
    let path = |name: &str| folder.path().join("d").join(name);
    let hex = "0".repeat(64);
    let names = [
        format!(".sha256-{hex}.partial"),
        format!(".sha256-{hex}.1.partial"),
        format!(".sha256-{hex}.4711-0.partial"),
        format!(".{hex}.manifest.json.tmp"),
        format!(".{hex}.manifest.json.4711-0.tmp"),
        ".manifest.json.tmp".to_owned(),
        ".version.4711-0.tmp".to_owned(),
        ".mine.tmp".to_owned(),
    ];
    let written = format!(".sha256-{}.partial", "1".repeat(64));
    let other = fs::File::create(path(&written)).unwrap();
    other.lock().unwrap();
    // The image that is there already, and another.
    for image in ["web:1.0", "pause:3.9"] {
        for left in &names {
            fs::write(path(left), "half").unwrap();
        }
        copy(image);
        let hidden: Vec<_> = tree::listing(&path("")).into_keys().filter(|name| name.starts_with('.')).collect();
        assert_eq!(hidden, [".mine.tmp", &written], "{image}: what others have, and what somebody is writing, stays");
    }
}

#[test]
fn what_was_fetched_stays_for_the_next_run() {
    let app = image("linux/amd64", &[layer(1, 300_000), layer(2, 5000)]);
    let other = image("linux/amd64", &[layer(3, 5000)]);
    let (config, large) = (app.blobs[0].digest(), app.blobs[1].digest());
    let content = Content::default().with("app:1", &app).with("other:1", &other);
    for (to, blobs) in [("dir:new", "new"), ("oci:layout:x", "layout/blobs")] {
        let folder = tempfile::tempdir().unwrap();
        let registry = Faulty::new(content.clone()).fault(On::blob(&large).once(), Effect::Cut { after: 200_000 });
        let registry = registry.start();
        let from = |name: &str| format!("docker://{}/{name}:1", registry.host());
        fails(folder.path(), &["copy", &from("app"), to]);
        let partial = format!("{blobs}/.sha256-{}.partial", large.hex());
        assert_eq!(fs::metadata(folder.path().join(&partial)).unwrap().len(), 200_000, "{to}");
        // Nor does somebody else who fails take it away.
        fails(folder.path(), &["copy", &from("missing"), to]);
        assert!(folder.path().join(&partial).exists(), "{to}");
        hod(["copy", &from("app"), to]).in_folder(folder.path()).ok();
        assert_eq!(registry.count(|seen| seen.is_blob(&config)), 1, "{to}: fetched again");
        assert!(!folder.path().join(&partial).exists(), "{to}");
    }
    // Of several images, one that is whole is there.
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("list"), "other:1\nmissing:1\n").unwrap();
    let source = format!("docker://{}", registry.host());
    for to in ["dir:tree", "oci:all"] {
        fails(folder.path(), &["copy", "--file", "list", &source, to]);
    }
    hod(["copy", "oci:all:other:1", "dir:back"]).in_folder(folder.path()).ok();
    assert_eq!(everything(&folder.path().join("tree")).iter().filter(|path| !path.contains('/')).count(), 1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_destination_with_a_digest_takes_no_other_image() {
    let registry = DockerRegistry::empty();
    let folder = tempfile::tempdir().unwrap();
    let fixture = |name: &str| format!("oci:{}:{name}", fixtures::folder().join("images").display());
    let (web, all) = (fixture("web:1.0"), fixture("base/klibc:2.0"));
    let digest = hod(["inspect", "--format", "{{.Digest}}", &web]).ok().text().trim().to_owned();
    let other = Digest::sha256(b"another");
    let store = format!("store:{}:web", folder.path().join("store").display());
    for to in [format!("docker://{}/web", registry.host()), format!("docker://{}/web:1", registry.host()), store] {
        let refused = hod(["copy", "--all", &web, &format!("{to}@{other}")]).code(1).stderr;
        assert!(refused.contains(&format!("the destination names {other}")) && refused.contains(&digest), "{refused}");
        let converted = hod(["copy", "--all", "--format", "v2s2", &web, &format!("{to}@{digest}")]).code(1).stderr;
        assert!(converted.contains("names sha256:"), "{converted}");
        // A part of an index has another digest.
        hod(["copy", &all, &format!("{to}@{}", Digest::sha256(b"x"))]).code(1);
        hod(["copy", "--all", &web, &format!("{to}@{digest}")]).ok();
        hod(["inspect", &format!("{to}@{digest}")]).ok();
    }
}
