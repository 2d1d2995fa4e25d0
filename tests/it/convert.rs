//! What `hod copy` changes of an image where it is asked to, with skopeo, gzip and zstd as judges.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;

use crate::support::docker_registry::DockerRegistry;
use crate::support::engine::run;
use crate::support::hod::{Output, hod};
use crate::support::skopeo::{self, skopeo};
use crate::support::{fixtures, tree};

fn fixture(name: &str) -> String {
    format!("oci:{}:{name}", fixtures::folder().join("images").display())
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn copy(options: &[&str], from: &str, to: &str) -> Output {
    hod(["--override-arch", "amd64", "copy"]).args(options).args([from, to]).ok()
}

/// The manifest of an image directory.
fn manifest(folder: &Path) -> Value {
    json(&fs::read(folder.join("manifest.json")).unwrap())
}

/// Expands each layer of an image directory with the tool for it, and returns the digests of what comes out.
fn diffs(folder: &Path, tool: &str) -> Vec<String> {
    let manifest = manifest(folder);
    let layers = manifest["layers"].as_array().unwrap();
    let expanded = layers.iter().map(|layer| {
        let name = layer["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let output = Command::new(tool)
            .arg("-dc")
            .stdin(fs::File::open(folder.join(name)).unwrap().into_parts().0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        Digest::sha256(&output.stdout).to_string()
    });
    expanded.collect()
}

fn diff_ids(place: &str) -> Vec<String> {
    let config = hod(["--override-arch", "amd64", "inspect", "--raw", "--config", place]).ok().json();
    config["rootfs"]["diff_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn layers_are_compressed_as_asked_and_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("dir:{}", folder.path().join(name).display());
    let oci = |name: &str| format!("oci:{}:x", folder.path().join(name).display());
    let wanted = diff_ids(&fixture("web:1.0"));
    for (name, format, tool, suffix) in [
        ("zstd", "zstd", "zstd", "tar+zstd"),
        ("chunked", "zstd:chunked", "zstd", "tar+zstd"),
        ("gzip", "gzip", "gzip", "tar+gzip"),
    ] {
        let output =
            copy(&["--dest-compress-format", format, "--dest-compress-level", "3"], &fixture("web:1.0"), &oci(name));
        assert_eq!(output.stderr.contains("as requested"), name != "gzip", "gzip it is already: {}", output.stderr);
        assert_eq!(output.stderr.contains("no table of contents"), name == "chunked");
        let back = folder.path().join(format!("{name}-back"));
        // skopeo checks every digest on its way.
        skopeo(["copy", &oci(name), &at(&format!("{name}-back"))]);
        assert!(manifest(&back)["layers"][0]["mediaType"].as_str().unwrap().ends_with(suffix));
        assert_eq!(diffs(&back, tool), wanted, "{name}");
    }
    copy(&["--dest-compress-format", "zstd", "--dest-compress-level", "3"], &fixture("web:1.0"), &oci("again"));
    let raw = |place: &str| skopeo(["inspect", "--raw", place]);
    assert_eq!(raw(&oci("again")), raw(&oci("zstd")));

    // An index with all its images: each manifest names the new layers, and the index the new manifests.
    let all = hod(["copy", "--all", "--dest-compress-format", "zstd", &fixture("web:1.0"), &oci("all")]).ok();
    assert!(all.stderr.contains("has a new digest"), "{}", all.stderr);
    skopeo::copy_all(&oci("all"), &at("all-back"));
    let sparse =
        hod(["copy", "--platform", "linux/arm64", "--dest-compress-format", "zstd", &fixture("web:1.0"), &oci("s")]);
    assert!(sparse.code(1).stderr.contains("use --all"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_directory_is_compressed_and_expanded_as_skopeo_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let at = |name: &str| format!("dir:{}", path(name).display());
    let wanted = diff_ids(&fixture("legacy/shell:2.0"));
    copy(&["--dest-decompress"], &fixture("legacy/shell:2.0"), &at("plain"));
    let layers = manifest(&path("plain"))["layers"].clone();
    assert_eq!(layers[0]["digest"], wanted[0].as_str(), "an expanded layer is its own diff id");
    assert_eq!(layers[0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar");
    skopeo(["copy", &at("plain"), &at("checked")]);
    copy(&["--dest-compress"], &at("plain"), &at("gzip"));
    assert_eq!(diffs(&path("gzip"), "gzip"), wanted);
    assert_eq!(manifest(&path("gzip"))["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
    // What is compressed stays so unless it is forced, and then Docker's format has no zstd.
    copy(&["--dest-compress-format", "zstd"], &fixture("legacy/shell:2.0"), &at("kept"));
    copy(&[], &fixture("legacy/shell:2.0"), &at("same"));
    tree::assert_same(&path("same"), &path("kept"));
    let forced = ["--dest-compress-format", "zstd", "--dest-force-compress-format"];
    let refused = hod(["copy"]).args(forced).args([&fixture("legacy/shell:2.0"), &at("docker")]).code(1);
    assert!(refused.stderr.contains("use --format oci"), "{}", refused.stderr);
    copy(&[&forced[..], &["--format", "oci"]].concat(), &fixture("legacy/shell:2.0"), &at("oci"));
    assert_eq!(diffs(&path("oci"), "zstd"), wanted);
    // And back to what Docker takes.
    copy(
        &["--format", "v2s2", "--dest-compress-format", "gzip", "--dest-force-compress-format"],
        &at("oci"),
        &at("back"),
    );
    assert_eq!(diffs(&path("back"), "gzip"), wanted);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_gets_compressed_layers_from_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::empty();
    let archive = format!("docker-archive:{}:shell:2", folder.path().join("a.tar").display());
    copy(&[], &fixture("legacy/shell:2.0"), &archive);
    let to = |tag: &str| format!("docker://{}/shell:{tag}", registry.host());
    let output = copy(&[], &archive, &to("1"));
    assert!(
        output.stderr.contains("1 layer of ") && output.stderr.contains("they were uncompressed"),
        "{}",
        output.stderr
    );
    let manifest = |tag: &str| json(&skopeo::manifest(&format!("{}/shell:{tag}", registry.host())));
    assert_eq!(manifest("1")["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
    let back = folder.path().join("back");
    skopeo(["copy", "--src-tls-verify=false", &to("1"), &format!("dir:{}", back.display())]);
    assert_eq!(diffs(&back, "gzip"), diff_ids(&fixture("legacy/shell:2.0")));
    let kept = copy(&["--preserve-digests"], &archive, &to("2"));
    assert!(!kept.stderr.contains("compressed"), "{}", kept.stderr);
    assert_eq!(manifest("2")["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar");
    // The same layer is compressed to the same bytes, so the second time nothing has to be sent.
    let again = hod(["copy", "--json", &archive, &to("1")]).ok().json();
    assert_eq!(
        (&again["images"][0]["unchanged"], &again["images"][0]["layersRecompressed"]),
        (&true.into(), &1.into())
    );
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn layouts_can_share_their_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let at = |name: &str| format!("oci:{}:x", folder.path().join(name).display());
    let shared = ["--dest-shared-blob-dir", ours.to_str().unwrap()];
    for name in ["one", "two"] {
        hod(["copy", "--all"]).args(shared).args([&fixture("web:1.0"), &at(name)]).ok();
    }
    assert_eq!(fs::read_dir(folder.path().join("one/blobs/sha256")).unwrap().count(), 0);
    skopeo([
        "copy",
        "--all",
        "--src-shared-blob-dir",
        ours.to_str().unwrap(),
        &at("two"),
        &format!("dir:{}", folder.path().join("d").display()),
    ]);
    skopeo(["copy", "--all", "--dest-shared-blob-dir", theirs.to_str().unwrap(), &fixture("certs:2023"), &at("three")]);
    let back = format!("dir:{}", folder.path().join("back").display());
    hod(["copy", "--all", "--src-shared-blob-dir", theirs.to_str().unwrap(), &at("three"), &back]).ok();
    run(Command::new("skopeo").args(["--insecure-policy", "inspect", "--raw", &back]));
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let to = |transport: &str| format!("{transport}:{}", folder.path().join("x").display());
    for (flags, place, code, says) in [
        (&["--dest-compress"][..], to("oci"), 1, "require a dir: destination"),
        (&["--dest-decompress"], to("oci"), 1, "require a dir: destination"),
        (&["--dest-compress-format", "gzip"], to("docker-archive"), 1, "in its own format"),
        (&["--dest-compress-format", "gzip", "--dest-compress-level", "10"], to("oci"), 2, "it has 1 to 9"),
        (&["--dest-force-compress-format"], to("dir"), 2, "--dest-compress-format"),
        (&["--preserve-digests", "--dest-compress-format", "gzip"], to("oci"), 2, "cannot be used with"),
    ] {
        let refused = hod(["copy"]).args(flags).args([&fixture("legacy/shell:2.0"), &place]).code(code);
        assert!(refused.stderr.contains(says), "{flags:?}: {}", refused.stderr);
    }
    assert!(!folder.path().join("x").exists());
    let taken = ["--remove-signatures", "--dest-oci-accept-uncompressed-layers"];
    hod(["copy"]).args(taken).args([&fixture("legacy/shell:2.0"), &to("oci")]).ok();
}
