//! `hod copy` between all places, with skopeo and umoci as judges in both directions.

mod docker_archive;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;
use hod_transport::{ArchiveImage, DockerArchive};
use serde_json::Value;

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::hod::hod;
use crate::support::skopeo::{self, skopeo};
use crate::support::{fixtures, images, tree};

/// `oci:` of the fixtures, with a name.
fn fixture(name: &str) -> String {
    format!("oci:{}:{name}", fixtures::folder().join("images").display())
}

fn at(transport: &str, folder: &Path, rest: &str) -> String {
    format!("{transport}:{}/{rest}", folder.display())
}

fn raw_digest(place: &str) -> Digest {
    Digest::sha256(&skopeo(["inspect", "--raw", place]))
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path.as_ref()).unwrap()).unwrap()
}

const WEB: &str = "web:1.0";

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (transport, rest) in [("dir", "d"), ("oci", "l:a/b:1"), ("oci-archive", "o.tar:x")] {
        let place = at(transport, root, rest);
        hod(["copy", "--all", &fixture(WEB), &place]).ok();
        assert_eq!(raw_digest(&place), fixtures::digest(WEB), "{place}");
        let back = root.join(format!("back-{transport}"));
        skopeo::copy_all(&place, &format!("dir:{}", back.display()));
        tree::assert_same(&back, &root.join("d"));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn reads_what_skopeo_writes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (transport, rest) in [("dir", "d"), ("oci", "l:1"), ("oci-archive", "o.tar:1")] {
        let place = at(transport, root, rest);
        skopeo::copy_all(&fixture(WEB), &place);
        let store = root.join(format!("store-{transport}"));
        hod(["copy", "--all", &place, &format!("store:{}:web:1.0", store.display())]).ok();
        assert_no_garbage(&store);
        let registry = DockerRegistry::over(&store);
        assert_eq!(skopeo::digest(&format!("{}/web:1.0", registry.host())), raw_digest(&place), "{place}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_directory_is_written_byte_for_byte_as_skopeo_does() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::over(fixtures::root());
    for (number, (name, all)) in [(WEB, true), (WEB, false), ("legacy/shell:2.0", false)].into_iter().enumerate() {
        let from = format!("docker://{}/{name}", registry.host());
        let (ours, theirs) = (folder.path().join(format!("o{number}")), folder.path().join(format!("t{number}")));
        let (to_ours, to_theirs) = (format!("dir:{}", ours.display()), format!("dir:{}", theirs.display()));
        let option = if all { "--all" } else { "--multi-arch=system" };
        hod(["copy", option, "--override-arch", "arm64", &from, &to_ours]).ok();
        skopeo(["--override-arch", "arm64", "copy", option, "--src-tls-verify=false", &from, &to_theirs]);
        tree::assert_same(&theirs, &ours);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn registries_at_both_ends() {
    let (from, to) = (DockerRegistry::over(fixtures::root()), DockerRegistry::empty());
    let image = |registry: &DockerRegistry| format!("docker://{}/web:1.0", registry.host());
    let output = hod(["copy", "-a", "--json", &image(&from), &image(&to)]).ok().json();
    assert_eq!(output["images"][0]["digest"], fixtures::digest(WEB).to_string());
    assert_eq!(skopeo::digest(&format!("{}/web:1.0", to.host())), fixtures::digest(WEB));
    let again = hod(["copy", "-a", "--json", &image(&from), &image(&to)]).ok().json();
    assert_eq!((&again["images"][0]["unchanged"], &again["bytesWritten"]), (&Value::Bool(true), &0.into()));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_platform_is_chosen_as_skopeo_chooses() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in ["amd64", "arm64"] {
        let ours = at("dir", folder.path(), architecture);
        let digestfile = folder.path().join("digest");
        hod(["copy", "--override-arch", architecture, "--digestfile"])
            .args([digestfile.as_os_str()])
            .args([&fixture(WEB), &ours])
            .ok();
        let theirs = at("dir", folder.path(), &format!("their-{architecture}"));
        skopeo(["--override-arch", architecture, "copy", &fixture(WEB), &theirs]);
        assert_eq!(raw_digest(&ours), raw_digest(&theirs));
        assert_eq!(fs::read_to_string(digestfile).unwrap(), raw_digest(&ours).to_string());
    }
    let missing = hod(["--override-arch", "s390x", "copy", &fixture(WEB), &at("dir", folder.path(), "x")]).code(1);
    assert!(
        missing.stderr.contains("no linux/s390x in the image: it has linux/amd64, linux/arm64"),
        "{}",
        missing.stderr
    );
}

#[test]
fn only_the_index_or_some_platforms() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index");
    hod(["copy", "--multi-arch", "index-only", &fixture(WEB), &at("dir", &index, "")]).ok();
    let files: Vec<String> = tree::listing(&index).into_keys().collect();
    assert_eq!(files, ["manifest.json", "version"]);
    let some = folder.path().join("some");
    hod(["copy", "--platform", "linux/arm64", &fixture(WEB), &at("dir", &some, "")]).ok();
    assert_eq!(Digest::sha256(&fs::read(some.join("manifest.json")).unwrap()), fixtures::digest(WEB));
    let children = tree::listing(&some).into_keys().filter(|name| name.ends_with(".manifest.json")).count();
    assert_eq!(children, 1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn local_copies_share_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = fixtures::copy();
    let (store, layout) = (format!("store:{}:web:1.0", root.path().display()), folder.path().join("l"));
    let output = hod(["copy", "--all", "--json", &store, &at("oci", &layout, ":1").replace("/:", ":")]).ok().json();
    assert!(output["bytesLinked"].as_u64().unwrap() > 1_000_000, "{output}");
    let largest = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    let largest = largest.max_by_key(std::fs::Metadata::len).unwrap();
    assert_eq!(largest.nlink(), 2, "the blob is one file with two names");
    // And into a store, where a link must not be trusted before it was read.
    let second = folder.path().join("second");
    let to = format!("store:{}:web:1.0", second.display());
    let from = format!("oci:{}:1", layout.display());
    hod(["copy", "--all", &from, &to]).ok();
    assert_no_garbage(&second);
    hod(["verify".as_ref(), second.as_os_str()]).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_damaged_source_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    skopeo::copy_all(&fixture(WEB), &format!("dir:{}", source.display()));
    let largest = fs::read_dir(&source).unwrap().map(|entry| entry.unwrap());
    let largest = largest.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path();
    let mut bytes = fs::read(&largest).unwrap();
    bytes[1000] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let from = format!("dir:{}", source.display());
    for (transport, rest) in
        [("oci", "l"), ("oci-archive", "o.tar"), ("dir", "d"), ("docker-archive", "a.tar"), ("store", "s:x")]
    {
        let to = at(transport, folder.path(), rest);
        let failed = hod(["copy", "--override-arch", "amd64", &from, &to]).run();
        let failed =
            if failed.code == Some(0) { hod(["copy", "--override-arch", "arm64", &from, &to]).run() } else { failed };
        assert_eq!(failed.code, Some(4), "{to}: {}", failed.stderr);
        assert!(failed.stderr.contains(largest.file_name().unwrap().to_str().unwrap()), "{}", failed.stderr);
    }
    assert!(!folder.path().join("o.tar").exists() && !folder.path().join("d/manifest.json").exists());
    let found = tree::listing(folder.path());
    assert!(!found.keys().any(|path| path.contains(".tmp") || path.contains("tar.partial")), "{found:#?}");
    let name = largest.file_name().unwrap().to_str().unwrap();
    assert!(!folder.path().join("l/blobs/sha256").join(name).exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn manifests_are_converted_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for (format, name, media_type) in [
        ("v2s2", WEB, "application/vnd.docker.distribution.manifest.list.v2+json"),
        ("oci", "pause:3.9", "application/vnd.oci.image.index.v1+json"),
    ] {
        let place = at("dir", folder.path(), format);
        let output = hod(["copy", "--all", "--format", format, &fixture(name), &place]).ok();
        assert!(output.stderr.contains("has a new digest"), "{}", output.stderr);
        assert_eq!(json(folder.path().join(format).join("manifest.json"))["mediaType"], media_type);
        // skopeo follows every digest and checks every size.
        skopeo::copy_all(&place, &at("dir", folder.path(), &format!("{format}-read")));
        let (there, back) = (at("dir", folder.path(), &format!("{format}-b")), fixtures::digest(name));
        let other = if format == "oci" { "v2s2" } else { "oci" };
        hod(["copy", "--all", "--format", other, &place, &there]).ok();
        let unchanged = hod([
            "copy",
            "--all",
            "--format",
            other,
            "--json",
            &fixture(name),
            &at("dir", folder.path(), &format!("{format}-c")),
        ])
        .ok()
        .json();
        assert_eq!(unchanged["images"][0]["digest"], back.to_string(), "what has the format keeps its digest");
    }
    let chart =
        hod(["copy", "--format", "v2s2", &fixture("charts/web:0.1.0"), &at("dir", folder.path(), "chart")]).code(1);
    assert!(chart.stderr.contains("cannot convert"), "{}", chart.stderr);
    hod(["copy", "--format", "oci", "--preserve-digests", "dir:a", "dir:b"]).code(2);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_list_goes_from_place_to_place() {
    let folder = tempfile::tempdir().unwrap();
    let root = fixtures::copy();
    let list = fixtures::list();
    let store = format!("store:{}", root.path().display());
    let layout = format!("oci:{}", folder.path().join("layout").display());
    let output = hod(["copy", "--all", "--json", &store, &layout, "--file"]).args([list.as_os_str()]).ok().json();
    assert_eq!(output["images"].as_array().unwrap().len(), 16, "{output}");
    // Debian's skopeo finds no Docker manifests in a layout.
    let docker = ["pause:3.9", "legacy/shell:2.0"];
    for (name, digest) in fixtures::names().iter().filter(|(name, _)| !name.contains("sha256-")) {
        if !docker.contains(&name.as_str()) {
            assert_eq!(raw_digest(&format!("{layout}:{name}")), *digest, "{name}");
        }
    }
    // umoci sees the names too.
    let layout_path = folder.path().join("layout");
    let tags = Command::new("umoci").args(["list", "--layout"]).arg(&layout_path).output().unwrap();
    assert!(String::from_utf8_lossy(&tags.stdout).lines().any(|line| line == "web:1.1"));
    let registry = DockerRegistry::empty();
    let to = format!("docker://{}/site", registry.host());
    hod(["copy", "--all", &layout, &to, "--group", "web", "--file"]).args([list.as_os_str()]).ok();
    assert_eq!(skopeo::digest(&format!("{}/site/web:1.1", registry.host())), fixtures::digest("web:1.1"));
    let bad = hod(["copy", "--file", "-", &store, &layout]).input("web:1.0\nnowhere:1\n").code(3);
    assert!(bad.stderr.contains("nowhere:1") && bad.stderr.contains("1 of 2 images not copied"), "{}", bad.stderr);
    let clash = hod(["copy", "--file", "-", "docker://", &layout]).input("a.io/x:1\nb.io/x:1\n").code(2);
    assert!(clash.stderr.contains("would both become"), "{}", clash.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn other_peoples_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.json"), "mine").unwrap();
    for transport in ["dir", "oci"] {
        let output = hod(["copy", &fixture(WEB), &format!("{transport}:{}", folder.path().display())]).code(1);
        assert!(output.stderr.contains("contains other files"), "{}", output.stderr);
    }
    assert_eq!(tree::listing(folder.path()).len(), 1);
    fs::rename(folder.path().join("index.json"), folder.path().join("notes.txt")).unwrap();
    hod(["copy", &fixture(WEB), &at("oci", folder.path(), "")]).ok();
    assert_eq!(fs::read(folder.path().join("notes.txt")).unwrap(), b"mine");
    // A directory with another image is used again, and what only that one needed goes.
    let place = at("dir", folder.path(), "image");
    skopeo::copy_all(&fixture("base/klibc:2.0"), &place);
    hod(["copy", "--all", &fixture(WEB), &place]).ok();
    let fresh = at("dir", folder.path(), "fresh");
    hod(["copy", "--all", &fixture(WEB), &fresh]).ok();
    tree::assert_same(&folder.path().join("fresh"), &folder.path().join("image"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_layout_keeps_what_a_name_meant_before() {
    let folder = tempfile::tempdir().unwrap();
    let place = at("oci", folder.path(), "l:v");
    hod(["copy", "--all", &fixture("web:1.0"), &place]).ok();
    hod(["copy", "--all", &fixture("web:1.1"), &place]).ok();
    assert_eq!(raw_digest(&place), fixtures::digest("web:1.1"));
    let index = json(folder.path().join("l/index.json"));
    assert_eq!(index["manifests"][0]["digest"], fixtures::digest("web:1.0").to_string());
    assert_eq!(index["manifests"][0].get("annotations"), None);
    let several = hod(["copy", &at("oci", folder.path(), "l"), &at("dir", folder.path(), "d")]).code(1);
    assert!(several.stderr.contains("contains 2 images: name one of @0, v"), "{}", several.stderr);
    let first = at("dir", folder.path(), "first");
    hod(["copy", "--all", &at("oci", folder.path(), "l:@0"), &first]).ok();
    assert_eq!(raw_digest(&first), fixtures::digest("web:1.0"));
}

#[test]
fn nonsense_is_refused_before_anything_is_done() {
    for (source, destination, says) in [
        ("alpine", "dir:x", "has no transport"),
        ("docker:alpine", "dir:x", "docker://NAME"),
        ("dir:a", "sif:x", "is not supported"),
        ("dir:a", "flatpak:x", "hod supports bundle, containers-storage, dir"),
        ("dir:a", "bundle:x.tar:a:1", "use hod pack to write a bundle"),
        ("store:a", "dir:x", "name one of them"),
    ] {
        let output = hod(["copy", source, destination]).run();
        assert!(matches!(output.code, Some(1 | 2)), "{source} {destination}: {}", output.stderr);
        if destination != "bundle:x.tar:a:1" {
            assert!(output.stderr.contains(says), "{source} {destination}: {}", output.stderr);
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_killed_copy_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let image = images::write_big_root(root.path(), "big:1", 300_000_000);
    let registry = DockerRegistry::over(root.path());
    let from = format!("docker://{}/big:1", registry.host());
    let folder = tempfile::tempdir().unwrap();
    for (transport, rest, named_by) in [("dir", "d", "manifest.json"), ("oci", "l", "index.json")] {
        let place = folder.path().join(rest);
        let to = format!("{transport}:{}", place.display());
        let blobs = if transport == "oci" { place.join("blobs") } else { place.clone() };
        let partial = blobs.join(format!(".sha256-{}.partial", image.blobs[1].digest().hex()));
        let mut running = hod(["copy", &from, &to]).spawn();
        running.until("a part of the layer", || fs::metadata(&partial).is_ok_and(|it| it.len() > 20_000_000));
        running.kill();
        let kept = fs::metadata(&partial).unwrap().len();
        let listed = fs::read_to_string(place.join(named_by)).unwrap_or_default();
        assert!(!listed.contains("sha256:"), "{listed}");
        let output = hod(["copy", "--json", &from, &to]).ok().json();
        assert_eq!(output["images"][0]["digest"], image.digest().to_string());
        assert_eq!(raw_digest(&to), image.digest());
        assert!(!partial.exists() && kept >= 20_000_000);
        skopeo(["copy", "--quiet", &to, &at("dir", folder.path(), &format!("read-{transport}"))]);
    }
    // An archive is begun anew; what the killed run has left is not in its way.
    let archive = folder.path().join("o.tar");
    let to = format!("oci-archive:{}", archive.display());
    let mut running = hod(["copy", &from, &to]).spawn();
    let temporary = || {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.to_string_lossy().ends_with("o.tar.partial"))
    };
    running.until("a part of the archive", || temporary().is_some());
    let second = hod(["copy", &from, &to]).code(1);
    assert!(second.stderr.contains("another process is writing it"), "{}", second.stderr);
    running.kill();
    assert!(!archive.exists());
    hod(["copy", &from, &to]).ok();
    assert_eq!(raw_digest(&to), image.digest());
    assert_eq!(temporary(), None);
}
