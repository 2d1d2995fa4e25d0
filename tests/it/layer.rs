//! `hod layer extract`, compared with tar, and `hod init` and `hod new`, compared with umoci.

use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;
use hod_oci::Digest;
use serde_json::{Value, json};

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, image};
use crate::support::job::text;
use crate::support::skipped::is_root_for;

/// A layer as people make them, with a whiteout, compressed by gzip; and what it is without.
fn layer(place: &Path) -> (Blob, Vec<u8>) {
    let script = "mkdir -p tree/d && echo one > tree/d/one && : > tree/d/.wh.gone && : > tree/.wh..wh..opq && \
                  ln -s d tree/link && ln tree/d/one tree/d/two && chmod 600 tree/d/one && \
                  tar --format=posix --owner=7 --group=8 --mtime=@1600000000 --sort=name -C tree -cf layer.tar . && \
                  gzip -nk layer.tar";
    let made = Command::new("sh").args(["-ec", script]).current_dir(place).status().unwrap();
    assert!(made.success());
    let tar = fs::read(place.join("layer.tar")).unwrap();
    let gzip = fs::read(place.join("layer.tar.gz")).unwrap();
    (Blob::compressed("application/vnd.oci.image.layer.v1.tar+gzip", gzip, &tar), tar)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_layer_is_extracted_as_tar_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let (upper, tar) = layer(place);
    let lower = Blob::new("application/vnd.oci.image.layer.v1.tar", vec![0; 10240]);
    let digest = Digest::sha256(&fs::read(place.join("layer.tar.gz")).unwrap());
    Content::default().with("app:1", &image("linux/amd64", &[lower, upper])).write_root(&place.join("store"));
    let registry = DockerRegistry::over(&place.join("store"));
    let remote = format!("docker://{}/app:1", registry.host());
    let run = |words: &[&str]| {
        hod(["layer", "extract"].into_iter().chain(words.iter().copied()))
            .in_folder(place)
            .env("HOD_PLATFORM", "linux/amd64")
    };
    for image in ["store:store:app:1", &remote] {
        for name in ["2", &digest.to_string(), &Digest::sha256(&tar).to_string()] {
            assert_eq!(run(&[image, name]).ok().stdout, tar, "{image} {name}");
        }
    }
    fs::create_dir(place.join("theirs")).unwrap();
    let untar = Command::new("tar").args(["-xpf", "layer.tar", "-C", "theirs"]).current_dir(place).status();
    assert!(untar.unwrap().success());
    run(&["store:store:app:1", "2", "ours"]).ok();
    let listing = |folder: &str| {
        let format = "%P %y %s %m %T@ %n %l %U:%G\n";
        let find = Command::new("find").args([folder, "-printf", format]).current_dir(place).output().unwrap();
        let mut lines: Vec<_> = String::from_utf8(find.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    if is_root_for("owners as tar gives them") {
        assert_eq!(listing("ours"), listing("theirs"));
    }
    assert!(place.join("ours/d/.wh.gone").exists() && place.join("ours/.wh..wh..opq").exists());
    let output = run(&["store:store:app:1", "2", "ours"]).code(1);
    assert!(output.stderr.contains("ours already exists"), "{}", output.stderr);
    for none in ["0", "3", "x", "sha256:abc", &Digest::sha256(b"none").to_string()] {
        let output = run(&["store:store:app:1", none]).code(1);
        assert!(output.stderr.contains("has no layer") && output.stderr.contains("2 layers"), "{}", output.stderr);
    }
}

#[test]
fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let (_, tar) = layer(place);
    let gzip = fs::read(place.join("layer.tar.gz")).unwrap();
    let lying = Blob::compressed("application/vnd.oci.image.layer.v1.tar+gzip", gzip, b"something else");
    Content::default().with("app:1", &image("linux/amd64", &[lying])).write_root(&place.join("store"));
    let image = ["layer", "extract", "store:store:app:1", "1", "--platform", "linux/amd64"];
    let output = hod(image).in_folder(place).code(4);
    assert!(output.stderr.contains("unpacks to"), "{}", output.stderr);
    assert_eq!(output.stdout, tar, "it is written as it comes");
    hod(image.into_iter().chain(["other"])).in_folder(place).code(4);
    assert!(!place.join("other").exists());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let large = Blob::new("application/vnd.oci.image.layer.v1.tar", vec![0; 8 << 20]);
    Content::default().with("app:1", &image("linux/amd64", &[large])).write_root(&place.join("store"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_hod"))
        .args(["layer", "extract", "store:store:app:1", "1", "--platform", "linux/amd64"])
        .current_dir(place)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn umoci(place: &Path, arguments: &[&str]) {
    let output = Command::new("umoci").args(arguments).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn empty_places_and_images_are_those_of_umoci() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let run = |words: &[&str]| hod(words.iter().copied()).in_folder(place);
    run(&["init", "oci:ours"]).ok();
    umoci(place, &["init", "--layout", "theirs"]);
    let read = |path: &str| -> Value { serde_json::from_slice(&fs::read(place.join(path)).unwrap()).unwrap() };
    assert_eq!(read("ours/oci-layout"), read("theirs/oci-layout"));
    assert_eq!(read("ours/index.json")["manifests"], json!([]));
    // What was interrupted can be run again.
    run(&["init", "oci:ours"]).ok();

    let digest = run(&["new", "oci:ours:empty", "--platform", "linux/arm64"]).ok().text();
    assert_eq!(run(&["inspect", "oci:ours:empty", "--format", "{{.Digest}} {{.Architecture}}"]).ok().text(), {
        format!("{} arm64\n", digest.trim())
    });
    assert_eq!(run(&["new", "oci:ours:empty", "--platform", "linux/arm64"]).ok().text(), digest);
    for words in [&["new", "oci:ours:empty", "--platform", "linux/s390x"][..], &["init", "oci:ours"]] {
        let output = run(words).code(1);
        assert!(output.stderr.contains("already exists"), "{}", output.stderr);
    }
    // umoci makes something of it.
    if is_root_for("what umoci makes of it") {
        umoci(place, &["unpack", "--image", "ours:empty", "bundle"]);
        fs::write(place.join("bundle/rootfs/file"), "x").unwrap();
        umoci(place, &["repack", "--image", "ours:full", "bundle"]);
        run(&["unpack-image", "oci:ours:full", "--rootfs", "tree", "--platform", "linux/arm64"]).ok();
        assert_eq!(fs::read_to_string(place.join("tree/file")).unwrap(), "x");
    }

    run(&["init", "store:store"]).ok();
    run(&["init", "store:store"]).ok();
    let web = format!("store:{}:web:1.0", text(fixtures::root()));
    run(&["copy", &web, "store:store:web:1.0"]).ok();
    run(&["init", "store:store"]).code(1);
    fs::create_dir(place.join("mine")).unwrap();
    fs::write(place.join("mine/index.json"), "x").unwrap();
    let output = run(&["init", "oci:mine"]).code(1);
    assert!(output.stderr.contains("mine"), "{}", output.stderr);
    for (words, says) in [
        (&["init", "docker://a/b"][..], "neither a layout nor a store"),
        (&["init", "nowhere"], ""),
        (&["new", "oci:ours"], "not a name in a layout"),
        (&["new", "store:store:web:1.0"], "not a name in a layout"),
    ] {
        let output = run(words).code(2);
        assert!(output.stderr.contains(says), "{words:?}: {}", output.stderr);
    }
    let output = run(&["new", "oci:nowhere:a"]).code(1);
    assert!(output.stderr.contains("hod init oci:nowhere"), "{}", output.stderr);
}
