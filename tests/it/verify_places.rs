//! `hod verify` of image directories, layouts and archives as skopeo and umoci write them: sound ones, and each kind of
//! damage alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::{Value, json};

use crate::support::engine::run;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::job::{flip, text};
use crate::support::skopeo::{self, skopeo};
use crate::support::tree;

/// An image of two platforms.
const IMAGE: &str = "web:1.0";

fn fixture(name: &str) -> String {
    format!("oci:{}:{name}", fixtures::folder().join("images").display())
}

/// What `hod verify` says of a place, which fails if there are findings and only then.
#[track_caller]
fn verify(place: &str) -> Value {
    let output = hod(["verify", place, "--json"]).run();
    let report = output.json();
    let is_sound = report["findings"].as_array().unwrap().is_empty();
    assert_eq!(output.code, Some(if is_sound { 0 } else { 4 }), "{report:#} {}", output.stderr);
    report
}

#[track_caller]
fn assert_sound(place: &str, images: usize) {
    let report = verify(place);
    assert_eq!(report["findings"], json!([]), "{place}");
    assert_eq!(report["images"], images, "{place}");
    assert!(report["blobs"].as_u64().unwrap() >= 1 && report["bytes"].as_u64().unwrap() > 0, "{report:#}");
}

/// Fails unless exactly this is found, and nothing else.
#[track_caller]
fn assert_finds(place: &str, code: &str, path: &str, images: &[&str]) {
    let report = verify(place);
    let found = report["findings"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{place}: {report:#}");
    let told = json!([found[0]["code"], found[0]["path"], found[0]["images"]]);
    assert_eq!(told, json!([code, path, images]), "{report:#}");
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn hex(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned()
}

/// A layout that skopeo has written, with an image under two names and another one.
struct Layout {
    folder: tempfile::TempDir,
    root: String,
    child: String,
    config: String,
    layer: String,
}

impl Layout {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| format!("oci:{}:{name}", folder.path().join("images").display());
        for (image, name) in [(IMAGE, "web"), (IMAGE, "again"), ("base/busybox:1.35", "busybox")] {
            skopeo::copy_all(&fixture(image), &place(name));
        }
        let blobs = folder.path().join("images/blobs/sha256");
        let listed = json_of(&folder.path().join("images/index.json"));
        let is_web = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"].as_str() == Some("web");
        let root = hex(listed["manifests"].as_array().unwrap().iter().find(is_web).unwrap());
        let child = hex(&json_of(&blobs.join(&root))["manifests"][0]);
        let manifest = json_of(&blobs.join(&child));
        let (config, layer) = (hex(&manifest["config"]), hex(manifest["layers"].as_array().unwrap().last().unwrap()));
        Self { folder, root, child, config, layer }
    }

    fn place(&self) -> String {
        format!("oci:{}", self.folder.path().join("images").display())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("images").join(name)
    }

    fn blob(&self, hex: &str) -> PathBuf {
        self.file("blobs/sha256").join(hex)
    }
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_skopeo_writes_is_sound() {
    let layout = Layout::new();
    let folder = layout.folder.path();
    assert_sound(&layout.place(), 3);
    assert_sound(&format!("{}:web", layout.place()), 1);
    assert_sound(&format!("{}:@1", layout.place()), 1);
    let archive = format!("oci-archive:{}/x.tar", folder.display());
    skopeo(["copy", "--quiet", &fixture("base/busybox:1.35"), &format!("{archive}:busybox")]);
    assert_sound(&archive, 1);
    fs::create_dir_all(folder.join("tree/base")).unwrap();
    for name in [IMAGE, "base/busybox:1.35"] {
        skopeo::copy_all(&fixture(name), &format!("dir:{}/tree/{name}", folder.display()));
    }
    assert_sound(&format!("dir:{}/tree/{IMAGE}", folder.display()), 1);
    assert_sound(&format!("dir:{}/tree", folder.display()), 2);
    assert_sound(&format!("oci:{}", fixtures::folder().join("images").display()), fixtures::names().len());
    // As the page of the documentation has it.
    hod(["verify", "oci:images"]).in_folder(folder).ok();
    hod(["verify", "dir:tree", "--json"]).in_folder(folder).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_umoci_writes_is_sound_and_what_it_leaves_behind_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    let umoci = |words: &[&str]| run(Command::new("umoci").args(words));
    umoci(&["init", "--layout", text(&layout)]);
    let empty = verify(&format!("oci:{}", layout.display()));
    assert_eq!((&empty["findings"], &empty["images"]), (&json!([]), &json!(0)));
    let image = format!("{}:made", layout.display());
    umoci(&["new", "--image", &image]);
    fs::write(folder.path().join("hello"), "hello").unwrap();
    let tar = folder.path().join("x.tar");
    run(Command::new("tar").args(["-C", text(folder.path()), "-cf", text(&tar), "hello"]));
    umoci(&["raw", "add-layer", "--image", &image, text(&tar)]);
    let count = || fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
    let before = count();
    assert_sound(&format!("oci:{}", layout.display()), 1);
    let report = verify(&format!("oci:{}", layout.display()));
    assert_eq!(report["blobs"], 3);
    assert!(before > 3, "umoci leaves the image without the layer");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn each_kind_of_damage_to_a_layout_is_found_alone() {
    type Case = (&'static str, fn(&Layout) -> String, &'static [&'static str]);
    let below = |path: PathBuf, layout: &Layout| path.strip_prefix(layout.file("")).unwrap().display().to_string();
    let cases: [Case; 11] = [
        ("blob-digest-mismatch", |it| (flip(&it.blob(&it.layer), 20), it.layer.clone()).1, &["again", "web"]),
        ("blob-digest-mismatch", |it| (flip(&it.blob(&it.config), 5), it.config.clone()).1, &["again", "web"]),
        ("blob-digest-mismatch", |it| (flip(&it.blob(&it.child), 30), it.child.clone()).1, &["again", "web"]),
        ("blob-digest-mismatch", |it| (flip(&it.blob(&it.root), 30), it.root.clone()).1, &["again", "web"]),
        ("blob-size-mismatch", |it| (truncate(&it.blob(&it.layer)), it.layer.clone()).1, &["again", "web"]),
        ("blob-missing", |it| (fs::remove_file(it.blob(&it.config)).unwrap(), it.config.clone()).1, &["again", "web"]),
        ("blob-missing", |it| (fs::remove_file(it.blob(&it.root)).unwrap(), it.root.clone()).1, &["again", "web"]),
        ("place-invalid", |it| (truncate(&it.file("index.json")), "index.json".to_owned()).1, &[]),
        ("place-invalid", |it| (fs::remove_file(it.file("index.json")).unwrap(), "index.json".to_owned()).1, &[]),
        ("place-invalid", |it| (fs::remove_file(it.file("oci-layout")).unwrap(), "oci-layout".to_owned()).1, &[]),
        ("place-invalid", |it| (fs::write(it.file("oci-layout"), "{}").unwrap(), "oci-layout".to_owned()).1, &[]),
    ];
    for (code, damage, images) in cases {
        let layout = Layout::new();
        let name = damage(&layout);
        let path = if code == "place-invalid" { layout.file(&name) } else { layout.blob(&name) };
        assert_finds(&layout.place(), code, &below(path, &layout), images);
        // An image that does not need it is as sound as before.
        if code != "place-invalid" {
            assert_sound(&format!("{}:busybox", layout.place()), 1);
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_layout_is_judged_by_what_its_index_and_manifests_say() {
    let layout = Layout::new();
    // Nobody chose that platform.
    fs::remove_file(layout.blob(&layout.child)).unwrap();
    assert_sound(&layout.place(), 3);
    // What the index says of an image is not what there is.
    let mut index = json_of(&layout.file("index.json"));
    for entry in index["manifests"].as_array_mut().unwrap() {
        let size = entry["size"].as_u64().unwrap();
        let is_root = hex(entry) == layout.root;
        entry["size"] = json!(size + u64::from(is_root));
    }
    fs::write(layout.file("index.json"), index.to_string()).unwrap();
    let warned = hod(["verify", &layout.place()]).ok().text();
    let warning = format!("warning: declared-size-wrong: blobs/sha256/{}: ", layout.root);
    assert!(warned.starts_with(&warning) && warned.contains("(concerns again, web)"), "{warned}");
    // An image whose manifest is none.
    let digest = hod_oci::Digest::sha256(b"<html>");
    fs::write(layout.blob(&digest.hex()), "<html>").unwrap();
    let entry = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(), "size": 6
    });
    fs::write(layout.file("index.json"), json!({ "schemaVersion": 2, "manifests": [entry] }).to_string()).unwrap();
    assert_finds(&layout.place(), "manifest-invalid", &format!("blobs/sha256/{}", digest.hex()), &["@0"]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_deleted_and_copied_again_is_sound() {
    let layout = Layout::new();
    flip(&layout.blob(&layout.layer), 20);
    let output = hod(["verify", &layout.place()]).code(4);
    assert!(output.stderr.contains("delete the files named above and copy the images again"), "{}", output.stderr);
    assert!(output.text().starts_with("blob-digest-mismatch: blobs/sha256/"), "{}", output.text());
    fs::remove_file(layout.blob(&layout.layer)).unwrap();
    hod(["copy", "--all", &fixture(IMAGE), &format!("{}:web", layout.place())]).ok();
    assert_sound(&layout.place(), 3);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn each_kind_of_damage_to_image_directories_is_found_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    fs::create_dir_all(sound.join("base")).unwrap();
    for name in [IMAGE, "base/busybox:1.35"] {
        skopeo::copy_all(&fixture(name), &format!("dir:{}/{name}", sound.display()));
    }
    let image = sound.join(IMAGE);
    let child = format!("{}.manifest.json", hex(&json_of(&image.join("manifest.json"))["manifests"][0]));
    let layer = hex(&json_of(&image.join(&child))["layers"][0]);
    let cases: [(&str, &str, fn(&Path)); 7] = [
        ("blob-digest-mismatch", &layer, |file| flip(file, 20)),
        ("blob-digest-mismatch", &child, |file| flip(file, 30)),
        ("blob-size-mismatch", &layer, truncate),
        ("blob-missing", &layer, |file| fs::remove_file(file).unwrap()),
        ("manifest-invalid", "manifest.json", truncate),
        ("place-invalid", "manifest.json", |file| fs::remove_file(file).unwrap()),
        ("place-invalid", "version", |file| fs::write(file, "Directory Transport Version: 9.0\n").unwrap()),
    ];
    for (number, (code, file, damage)) in cases.into_iter().enumerate() {
        let root = folder.path().join(number.to_string());
        tree::copy(&sound, &root);
        damage(&root.join(IMAGE).join(file));
        let images = |name| if code == "place-invalid" { Vec::new() } else { vec![name] };
        assert_finds(&format!("dir:{}", root.display()), code, &format!("{IMAGE}/{file}"), &images(IMAGE));
        assert_finds(&format!("dir:{}/{IMAGE}", root.display()), code, file, &images(IMAGE));
        assert_sound(&format!("dir:{}/base/busybox:1.35", root.display()), 1);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_archive_is_judged_by_its_members() {
    let layout = Layout::new();
    flip(&layout.blob(&layout.layer), 20);
    let archive = layout.folder.path().join("x.tar");
    run(Command::new("tar").args(["-C", text(&layout.file("")), "-cf", text(&archive), "."]));
    let path = format!("blobs/sha256/{}", layout.layer);
    assert_finds(&format!("oci-archive:{}", archive.display()), "blob-digest-mismatch", &path, &["again", "web"]);
    assert_sound(&format!("oci-archive:{}:busybox", archive.display()), 1);
    fs::write(&archive, "no tar").unwrap();
    assert_finds(&format!("oci-archive:{}", archive.display()), "place-invalid", "x.tar", &[]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_s_first_format_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("dir:{}", folder.path().join("old").display());
    skopeo(["copy", "--quiet", "--format", "v2s1", &fixture("base/busybox:1.35"), &place]);
    let layer = json_of(&folder.path().join("old/manifest.json"))["fsLayers"][0]["blobSum"].clone();
    assert_sound(&place, 1);
    let layer = layer.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    flip(&folder.path().join("old").join(&layer), 20);
    assert_finds(&place, "blob-digest-mismatch", &layer, &["old"]);
    fs::remove_file(folder.path().join("old").join(&layer)).unwrap();
    assert_finds(&place, "blob-missing", "manifest.json", &["old"]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_no_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let codes = |place: &str| {
        let place = place.replace("HERE", text(folder.path()));
        let output = hod(["verify", &place]).run();
        assert!(output.text().is_empty(), "{place}: {}", output.text());
        (output.code.unwrap(), output.stderr)
    };
    fs::write(folder.path().join("file"), "").unwrap();
    for (place, code, said) in [
        ("dir:HERE", 1, "not an image directory"),
        ("dir:HERE/nowhere", 1, "nowhere"),
        ("dir:HERE/file", 1, "not an image directory"),
        ("oci:HERE", 1, "not an OCI image layout"),
        ("oci-archive:HERE/nowhere", 1, "nowhere"),
        ("docker-archive:HERE/file", 2, "cannot be verified: verify takes"),
        ("oci:", 2, "no path"),
    ] {
        let (found, stderr) = codes(place);
        assert_eq!(found, code, "{place}: {stderr}");
        assert!(stderr.contains(said), "{place}: {stderr}");
    }
    let layout = Layout::new();
    let output = hod(["verify", &format!("{}:nothing", layout.place())]).code(1);
    assert!(output.stderr.contains("contains no image nothing"), "{}", output.stderr);
}
