//! Real clients push to a store, and Debian's registry beside hod on the same root sees the same.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;

use super::push::{image, push_image, registry};
use super::serving::Serving;
use super::stored;
use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::{fixtures, skopeo};

/// Copies every image of the fixtures that skopeo can copy into a registry.
fn push_all(host: &str) -> Vec<(String, Digest)> {
    let source = Serving::root(fixtures::root());
    let images: Vec<_> = fixtures::names().into_iter().filter(|(name, _)| name != "suite/complete:1").collect();
    for (name, _) in &images {
        skopeo::copy_all(&format!("docker://{}/{name}", source.address), &format!("docker://{host}/{name}"));
    }
    images
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_pushes_and_pulls_every_image() {
    let (serving, root) = registry();
    let host = serving.address.to_string();
    let pushed = push_all(&host);
    assert!(pushed.len() > 10);
    for (name, _) in &pushed {
        let folder = tempfile::tempdir().unwrap();
        skopeo::copy_all(&format!("docker://{host}/{name}"), &format!("dir:{}", folder.path().display()));
    }
    let catalog = serving.get("/v2/_catalog").json();
    let beside = DockerRegistry::over(root.path());
    for (name, _) in &pushed {
        assert_eq!(skopeo::manifest(&format!("{}/{name}", beside.host())), skopeo::manifest(&format!("{host}/{name}")));
        let folder = tempfile::tempdir().unwrap();
        skopeo::copy_all(&format!("docker://{}/{name}", beside.host()), &format!("dir:{}", folder.path().display()));
    }
    let seen = crate::support::raw::get(beside.host(), "/v2/_catalog").json();
    assert_eq!(seen, catalog);
    drop((serving, beside));
    assert_no_garbage(root.path());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn both_registries_write_to_one_root() {
    let (serving, root) = registry();
    let beside = DockerRegistry::options().root(root.path()).deletes().start();
    let host = serving.address.to_string();
    let source = Serving::root(fixtures::root());
    let image = |name: &str| format!("docker://{}/{name}", source.address);
    // The same layers from two sides, and each side sees what the other wrote.
    skopeo::copy_all(&image("base/busybox:1.35"), &format!("docker://{host}/x/one:1"));
    skopeo::copy_all(&image("base/busybox:1.35"), &format!("docker://{}/x/two:1", beside.host()));
    skopeo::copy_all(&image("jobs/backup:2.4"), &format!("docker://{}/x/one:2", beside.host()));
    for registry in [host.as_str(), beside.host()] {
        for name in ["x/one:1", "x/two:1", "x/one:2"] {
            let folder = tempfile::tempdir().unwrap();
            skopeo::copy_all(&format!("docker://{registry}/{name}"), &format!("dir:{}", folder.path().display()));
        }
    }
    let digest = skopeo::digest(&format!("{host}/x/one:2"));
    assert_eq!(serving.send("DELETE", &format!("/v2/x/one/manifests/{digest}"), &[], b"").status, 202);
    assert_eq!(crate::support::raw::get(beside.host(), "/v2/x/one/manifests/2").status, 404);
    let moved = push_image(&serving, "x/two", "1", b"{}", &serde_json::json!({}));
    assert_eq!(skopeo::digest(&format!("{}/x/two:1", beside.host())), moved);
    assert_eq!(image_bytes(&serving, "x/two", "1"), image_of(b"{}"));
}

fn image_of(config: &[u8]) -> Vec<u8> {
    image(config, &serde_json::json!({}))
}

fn image_bytes(serving: &Serving, repository: &str, tag: &str) -> Vec<u8> {
    serving.get(&format!("/v2/{repository}/manifests/{tag}")).body
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_sync_fills_a_registry() {
    let (serving, _root) = registry();
    let source = Serving::root(fixtures::root());
    let host = serving.address.to_string();
    skopeo::skopeo([
        "sync",
        "--all",
        "--src=docker",
        "--dest=docker",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("{}/base/busybox", source.address),
        &format!("{host}/mirror"),
    ]);
    let digest = fixtures::digest("base/busybox:1.35");
    assert_eq!(skopeo::manifest(&format!("{host}/mirror/busybox:1.35")), stored(&digest));
}

/// Runs a tool that keeps images in a folder of its own.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(tool: &str, folder: &Path, arguments: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new(tool);
    command.arg("--root").arg(folder.join("root")).arg("--runroot").arg(folder.join("run"));
    command.args(["--storage-driver", "vfs"]).args(arguments).env("HOME", folder);
    let output = command.output().unwrap_or_else(|error| panic!("{tool} does not start: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn podman_pushes_and_pulls() {
    let (serving, _root) = registry();
    let folder = tempfile::tempdir().unwrap();
    let source = Serving::root(fixtures::root());
    let (from, to) = (format!("{}/base/busybox:1.35", source.address), format!("{}/own/busybox:1", serving.address));
    let pulled = run("podman", folder.path(), ["pull", "--quiet", "--tls-verify=false", &from]);
    run("podman", folder.path(), ["push", "--quiet", "--tls-verify=false", &pulled, &to]);
    run("podman", folder.path(), ["rmi", "--all", "--force"]);
    let again = run("podman", folder.path(), ["pull", "--quiet", "--tls-verify=false", &to]);
    assert_eq!(again, pulled, "the image's identifier is that of its config");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn curl_pushes_a_blob_in_chunks() {
    let (serving, _root) = registry();
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_u32 << 20).map(|position| (position % 241) as u8).collect();
    let half = content.len() / 2;
    fs::write(folder.path().join("1"), &content[..half]).unwrap();
    fs::write(folder.path().join("2"), &content[half..]).unwrap();
    let digest = Digest::sha256(&content);
    let script = format!(
        "set -eu\n\
         place() {{ tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'; }}\n\
         at=$(curl -sSf -D - -o /dev/null -X POST $1/v2/a/blobs/uploads/ | place)\n\
         at=$(curl -sSf -D - -o /dev/null -X PATCH --data-binary @1 $1$at | place)\n\
         at=$(curl -sSf -D - -o /dev/null -T - -X PATCH $1$at < 2 | place)\n\
         curl -sSf -o /dev/null -X PUT \"$1$at?digest={digest}\"\n"
    );
    let status = Command::new("sh").args(["-c", &script, "sh", &serving.url("")]).current_dir(folder.path()).status();
    assert!(status.unwrap().success());
    assert!(serving.get(&format!("/v2/a/blobs/{digest}")).body == content);
}
