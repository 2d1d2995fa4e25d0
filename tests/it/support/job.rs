//! What tests of the whole job have in common: commands as they are mostly given, and what must be true after them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;

use super::docker_registry::{DockerRegistry, assert_no_garbage};
use super::hod::{Hod, hod};
use super::images::{Content, Image};
use super::raw::{Request, Response};

/// `hod pull` from a registry into a store, with pauses that a test can afford.
pub fn pull<'a>(from: &'a str, store: &'a Path, words: impl IntoIterator<Item = &'a str>) -> Hod {
    let fixed = ["pull", "--retry-delay", "1ms", "--from", from, "--store", text(store)];
    hod(fixed.into_iter().chain(words))
}

/// `hod pack` of a store.
pub fn pack<'a>(store: &'a Path, output: &'a Path, words: impl IntoIterator<Item = &'a str>) -> Hod {
    hod(["pack", "--store", text(store), "--output", text(output)].into_iter().chain(words))
}

/// `hod unpack` into a root.
pub fn unpack<'a>(bundle: &'a Path, root: &'a Path, words: impl IntoIterator<Item = &'a str>) -> Hod {
    hod(["unpack", text(bundle), "--root", text(root)].into_iter().chain(words))
}

/// `hod push` to a registry, which may have a path.
pub fn push<'a>(source: &Path, to: &str, words: impl IntoIterator<Item = &'a str>) -> Hod {
    let fixed = ["push", text(source), &format!("docker://{to}"), "--retry-delay", "1ms"].map(str::to_owned);
    hod(fixed.into_iter().chain(words.into_iter().map(str::to_owned)))
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What `hod ls` says of a store or bundle.
#[track_caller]
pub fn ls(target: &Path) -> Value {
    hod(["ls", text(target), "--json"]).ok().json()
}

/// The names of the images in a store or bundle.
#[track_caller]
pub fn names(target: &Path) -> Vec<String> {
    ls(target)["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

/// The codes of what `hod verify` finds, each once.
#[track_caller]
pub fn findings(target: &Path) -> BTreeSet<String> {
    let output = hod(["verify", text(target), "--json"]).run();
    let report = output.json();
    let found = report["findings"].as_array().unwrap();
    assert_eq!(output.code, Some(if found.is_empty() { 0 } else { 4 }), "{report:#} {}", output.stderr);
    found.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// Fails where `hod verify` finds anything.
#[track_caller]
pub fn assert_clean(target: &Path) {
    let output = hod(["verify", text(target), "--json"]).run();
    assert_eq!(output.code, Some(0), "{} {}", output.text(), output.stderr);
}

/// Fails where `hod verify` finds anything, or the garbage collection would delete anything: blobs of images that
/// did not come to be, too.
#[track_caller]
pub fn assert_sound(root: &Path) {
    assert_clean(root);
    assert_no_garbage(root);
}

/// Everything that can be pulled when one starts at a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Manifests and indexes.
    pub manifests: BTreeSet<Digest>,
    /// Configs and layers.
    pub blobs: BTreeSet<Digest>,
    /// Children that an index names and the registry does not have.
    pub absent: BTreeSet<Digest>,
}

/// Pulls an image by tag or digest with everything below it, checking each digest, by a client that is not hod's.
#[track_caller]
pub fn reach(host: &str, name: &str, version: &str) -> Reached {
    let mut reached = Reached::default();
    let response = manifest(host, name, version);
    assert_eq!(response.status, 200, "{name} {version}: {}", String::from_utf8_lossy(&response.body));
    follow(host, name, &response, &mut reached);
    reached
}

/// Asks a registry for a manifest.
pub fn manifest(host: &str, name: &str, version: &str) -> Response {
    let types = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
        application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
    Request::get(&format!("/v2/{name}/manifests/{version}")).header("Accept", types).send(host)
}

#[track_caller]
fn follow(host: &str, name: &str, response: &Response, reached: &mut Reached) {
    reached.manifests.insert(Digest::sha256(&response.body));
    let document = response.json();
    let entries = |field: &str| document[field].as_array().cloned().unwrap_or_default();
    for child in entries("manifests") {
        let digest = child["digest"].as_str().unwrap();
        let response = manifest(host, name, digest);
        if response.status == 404 {
            reached.absent.insert(digest.parse().unwrap());
        } else {
            assert_eq!(response.status, 200, "{name}@{digest}");
            assert_eq!(Digest::sha256(&response.body).to_string(), digest);
            follow(host, name, &response, reached);
        }
    }
    let blobs = entries("layers").into_iter().chain(document.get("config").cloned());
    for blob in blobs.filter(|blob| blob["urls"].as_array().is_none_or(Vec::is_empty)) {
        let digest: Digest = blob["digest"].as_str().unwrap().parse().unwrap();
        if reached.blobs.insert(digest) {
            let response = Request::get(&format!("/v2/{name}/blobs/{digest}")).send(host);
            assert_eq!(response.status, 200, "{name}: {digest}");
            assert_eq!(Digest::of(digest.algorithm(), &response.body), digest, "{name}");
        }
    }
}

/// Everything below an image, as it should be reached.
pub fn whole(image: &Image) -> Reached {
    let mut reached = Reached::default();
    add(image, &mut reached);
    reached
}

fn add(image: &Image, reached: &mut Reached) {
    reached.manifests.insert(image.digest());
    let blobs = image.blobs.iter().filter(|blob| !blob.descriptor.media_type.is_foreign_layer());
    reached.blobs.extend(blobs.map(|blob| blob.descriptor.digest));
    image.children.iter().for_each(|child| add(child, reached));
}

/// Fails unless a root is sound, and Debian's registry serves from it all that `content` has.
#[track_caller]
pub fn assert_serves(root: &Path, content: &Content) {
    assert_sound(root);
    assert_registry_has(DockerRegistry::over(root).host(), content);
}

/// Fails unless a registry has every tag of `content`, whole.
#[track_caller]
pub fn assert_registry_has(host: &str, content: &Content) {
    for (name, repository) in &content.repositories {
        for (tag, digest) in &repository.tags {
            let reached = reach(host, name, tag);
            assert_eq!(Digest::sha256(&manifest(host, name, tag).body), *digest, "{name}:{tag}");
            assert!(reached.absent.is_empty(), "{name}:{tag} lacks {:?}", reached.absent);
        }
    }
}

/// What a root holds that a reader of it could see: the repositories; empty where there is no image.
pub fn visible(root: &Path) -> BTreeSet<String> {
    let repositories = root.join("docker/registry/v2/repositories");
    let files = walkdir::WalkDir::new(repositories).into_iter().filter_map(Result::ok);
    files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().display().to_string()).collect()
}

/// Where a blob's bytes are in a root.
pub fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join("docker/registry/v2/blobs").join(digest.algorithm().name()).join(&hex[..2]).join(&hex).join("data")
}

/// Changes one byte of a file.
#[track_caller]
pub fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position] ^= 0x20;
    fs::write(path, bytes).unwrap();
}
