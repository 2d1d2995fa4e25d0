//! Everything that follows an image from its root to its children, held to one set of rules: how deep indexes may nest,
//! what a child is, and what is said where one cannot be followed.
//!
//! How many children indexes may name is in `limits.rs`.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;
use hod_engine::copy::{Engine, Limits, LoadFilter, RetryPolicy};
use hod_engine::endpoint::{self, BlobReader, EndpointError, Fault, Place, Source};
use hod_image::contents::{ContentsReader, Holdings};
use hod_oci::{Descriptor, Digest, MediaType, Platforms, RepositoryName, Tag, Version};
use serde_json::json;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, Image, artifact, image, index, layer};
use crate::support::job::{assert_clean, assert_sound, names, pull, text, whole};
use crate::support::tree;

/// What is said of an index in too many others.
const TOO_DEEP: &str = "it is an index nested in 8 others";

/// The manifests that were found, or what was said instead.
type Walked = Result<BTreeSet<Digest>, String>;

/// Follows `a:1` in each kind of place that has a walk of its own; `beside` is in the same repository, without a tag or
/// with one.
#[track_caller]
fn walk(root: &Image, beside: &[(&str, &Image)]) -> [(&'static str, Walked); 4] {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let content = Content::default().with("a:1", root);
    let content = beside.iter().fold(content, |content, (name, image)| content.with(name, image));
    content.write_root(&path("root"));
    root.write_layout(&path("layout"));
    let manifests = content.repositories["a"].manifests.keys().copied().collect();

    let registry = Faulty::new(content).start();
    let of_registry = pulled(pull(registry.host(), &path("1"), ["a:1", "--all-platforms"]), &path("1"));
    let layout = format!("oci:{} as=a:1", path("layout").display());
    let of_layout = pulled(pull(registry.host(), &path("2"), [layout.as_str(), "--all-platforms"]), &path("2"));
    let of_store = listed(text(&path("root")), &manifests);
    let lists = DockerRegistry::over(&path("root"));
    let of_lists = listed(&format!("docker://{}", lists.host()), &manifests);
    [("registry", of_registry), ("store", of_store), ("layout", of_layout), ("registry that lists", of_lists)]
}

fn pulled(run: Hod, store: &Path) -> Walked {
    let output = run.run();
    if output.code != Some(0) {
        return Err(output.stderr);
    }
    let revisions = fs::read_dir(store.join("docker/registry/v2/repositories/a/_manifests/revisions/sha256")).unwrap();
    let digest = |entry: fs::DirEntry| format!("sha256:{}", entry.file_name().to_str().unwrap()).parse().unwrap();
    Ok(revisions.map(|entry| digest(entry.unwrap())).collect())
}

/// What an inventory has of the image, without its blobs.
fn listed(place: &str, manifests: &BTreeSet<Digest>) -> Walked {
    let output = hod(["inventory", place]).run();
    if output.code != Some(0) {
        return Err(output.stderr);
    }
    let inventory = output.json();
    let images = inventory["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["tag"] == "1").unwrap();
    let position = |position: &serde_json::Value| usize::try_from(position.as_u64().unwrap()).unwrap();
    let contents = image["contents"].as_array().unwrap().iter().map(position);
    let digests = contents.map(|position| inventory["contents"][position][0].as_str().unwrap().parse().unwrap());
    Ok(digests.filter(|digest| manifests.contains(digest)).collect())
}

/// Fails unless every walk has found exactly this.
#[track_caller]
fn assert_found(walked: &[(&str, Walked)], expected: &BTreeSet<Digest>) {
    for (place, walked) in walked {
        assert_eq!(walked.as_ref(), Ok(expected), "{place}");
    }
}

/// Fails unless every walk has been refused with these words.
#[track_caller]
fn assert_refused(walked: &[(&str, Walked)], words: &[&str]) {
    for (place, walked) in walked {
        let said = walked.as_ref().unwrap_err();
        assert!(words.iter().all(|word| said.contains(word)), "{place}: {said}");
    }
}

fn plain() -> Image {
    image("linux/amd64", &[layer(1, 100)])
}

/// An image with so many indexes around it.
fn nested(indexes: usize) -> Image {
    (0..indexes).fold(plain(), |inner, _| index(&[inner]))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn how_deep_indexes_may_nest() {
    assert_found(&walk(&nested(8), &[]), &whole(&nested(8)).manifests);
    assert_refused(&walk(&nested(9), &[]), &["a:1", &nested(1).digest().to_string(), TOO_DEEP]);
    // What is not there is not too deep.
    let mut sparse = index(&[nested(9), plain()]);
    sparse.children[0].children.clear();
    let [_, store, layout, lists] = walk(&sparse, &[]);
    assert_found(&[store, layout, lists], &whole(&sparse).manifests);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_nests_too_deeply_can_be_verified_kept_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, layout) = (folder.path().join("store"), folder.path().join("layout"));
    let deep = nested(30);
    Content::default().with("a:1", &deep).with("b:1", &plain()).write_root(&store);
    deep.write_layout(&layout);
    assert_sound(&store);
    let place = format!("oci:{}", layout.display());
    hod(["verify", &place]).ok();
    let blobs = || [store.join("docker"), layout.join("blobs")].map(|folder| tree::listing(&folder));
    let before = blobs();
    hod(["gc", "--store", text(&store)]).ok();
    hod(["gc", &place]).ok();
    assert_eq!(blobs(), before);
    hod(["rm", "--store", text(&store), "a:1"]).ok();
    hod(["gc", "--store", text(&store)]).ok();
    assert_clean(&store);
    assert_eq!(names(&store), ["b:1"]);
    assert!(!store.join("docker/registry/v2/repositories/a/_manifests/tags/1").exists());
}

#[test]
#[ignore = "takes long"]
fn a_layout_is_swept_however_deep_it_is() {
    let layout = tempfile::tempdir().unwrap();
    let mut inner = plain();
    for _ in 0..4_000 {
        // In files alone: in memory, so many could not even be dropped.
        inner.write_layout(layout.path());
        inner = index(&[inner]);
        inner.children.clear();
    }
    inner.write_layout(layout.path());
    let place = format!("oci:{}", layout.path().display());
    assert_eq!(hod(["gc", &place, "--json"]).ok().json()["blobs"], json!([]));
    hod(["verify", &place]).ok();
}

#[test]
fn an_index_that_is_a_layer_too_keeps_its_children() {
    let layout = tempfile::tempdir().unwrap();
    let root = nested(1);
    let wrapped = Blob::new("application/vnd.oci.image.index.v1+json", root.bytes.clone());
    index(&[artifact("text/x", &[wrapped], None), root]).write_layout(layout.path());
    let place = format!("oci:{}", layout.path().display());
    assert_eq!(hod(["gc", &place, "--json"]).ok().json()["blobs"], json!([]));
}

#[test]
fn a_minimal_inventory_stands_for_what_is_nested() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    Content::default().with("a:1", &nested(8)).write_root(&path("store"));
    hod(["inventory", text(&path("store")), "--minimal", "-o", text(&path("minimal.json"))]).ok();
    let (store, output, have) = (path("store"), path("b.tar"), path("minimal.json"));
    hod(["pack", "--store", text(&store), "-o", text(&output), "--have", text(&have)]).ok();
    // The config and the layer of the image.
    assert_eq!(hod(["ls", text(&output), "--json"]).ok().json()["required"], 2);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_index_may_call_a_child_dockers_but_no_image_an_index() {
    let own = plain();
    let announced = |media_type| {
        let mut child = plain();
        child.descriptor.media_type = media_type;
        index(&[child])
    };
    // Whoever has met it under a tag before says the same.
    for tag in ["a", "a:0"] {
        let root = announced(MediaType::DockerManifest);
        assert_found(&walk(&root, &[(tag, &own)]), &whole(&root).manifests);
        let walked = walk(&announced(MediaType::DockerList), &[(tag, &own)]);
        let said = "application/vnd.oci.image.manifest.v1+json, but was announced as application/vnd.docker";
        assert_refused(&walked, &["a:1", &own.digest().to_string(), said]);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_child_without_a_manifests_type_is_what_its_bytes_say() {
    let mut child = plain();
    child.descriptor.media_type = "application/octet-stream".into();
    let root = index(&[child]);
    assert_found(&walk(&root, &[("a", &plain())]), &whole(&root).manifests);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_child_that_is_no_manifest_cannot_be_followed() {
    let blob = b"no manifest";
    let root = index(&[Image::of_bytes("application/octet-stream", &blob[..])]);
    let walked = walk(&root, &[]);
    assert_refused(&walked[..2], &["a:1", &Digest::sha256(blob).to_string(), "is not valid JSON, or not a manifest"]);
    assert_refused(&walked[2..3], &["a:1", "is not valid JSON, or not a manifest"]);
    // A registry that has it does not serve it.
    assert_refused(&walked[3..], &["a:1", &Digest::sha256(blob).to_string()]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn sparse_indexes() {
    let arm64 = image("linux/arm64", &[layer(2, 100)]);
    let mut root = index(&[plain(), index(std::slice::from_ref(&arm64)), arm64.clone()]);
    root.children[1].children.clear();
    root.children.pop();
    let walked = walk(&root, &[]);
    // From a registry, what was asked for has to be there.
    assert_refused(&walked[..1], &["a:1", "cannot get the manifest of", &arm64.digest().to_string()]);
    assert_found(&walked[1..], &whole(&root).manifests);
}

/// Manifests under digests that are not theirs, so that indexes can name each other in a circle.
struct Circle {
    place: Place,
    manifests: HashMap<Digest, Bytes>,
}

impl Circle {
    /// So many indexes, each of which names the next, and the last the first.
    fn of(count: u8) -> Self {
        let digest = |number: u8| Digest::sha256(&[number % count]);
        let names = |number| json!([Descriptor::new(MediaType::OciIndex, digest(number), 1)]);
        let index = |number| json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": names(number)});
        let manifests = (0..count).map(|number| (digest(number), index(number + 1).to_string().into()));
        Self { place: Place::local("the circle", None), manifests: manifests.collect() }
    }

    /// What is said by whoever asks it as a source: the engine, and who takes all that is there.
    fn said_of_source(&self) -> [String; 2] {
        let engine =
            Engine::new(Limits::for_jobs(1), RetryPolicy::default(), Arc::new(hod_engine::observe::SilentObserver));
        let version = Version::Digest(Digest::sha256(&[0]));
        let wanted = LoadFilter { version: version.clone(), platforms: Platforms::All, asked: true };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let loaded = runtime.block_on(engine.load(self, None, &wanted)).unwrap_err();
        let all = runtime.block_on(hod_image::whole::whole(self, &version)).unwrap_err();
        [report(&loaded), report(&all)]
    }
}

fn report(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[async_trait]
impl Source for Circle {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> endpoint::Result<(Descriptor, Bytes)> {
        let Version::Digest(digest) = version else { unreachable!() };
        let bytes = &self.manifests[digest];
        Ok((Descriptor::new(MediaType::OciIndex, *digest, bytes.len() as u64), bytes.clone()))
    }

    async fn open(&self, _: &Descriptor, _: u64) -> endpoint::Result<BlobReader> {
        Err(EndpointError::new(Fault::Missing, "there are no blobs"))
    }
}

impl Holdings for Circle {
    type Error = Infallible;

    fn repositories(&self) -> Result<Vec<RepositoryName>, Infallible> {
        Ok(vec!["a".parse().unwrap()])
    }

    fn tags(&self, _: &RepositoryName) -> Result<Vec<(Tag, Digest)>, Infallible> {
        Ok(vec![("1".parse().unwrap(), Digest::sha256(&[0]))])
    }

    fn revisions(&self, _: &RepositoryName) -> Result<Vec<Digest>, Infallible> {
        Ok(self.manifests.keys().copied().collect())
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, Infallible> {
        Ok(self.manifests.get(digest).cloned())
    }

    fn config(&self, _: &Descriptor) -> Result<Option<Bytes>, Infallible> {
        Ok(None)
    }

    fn size(&self, _: &Descriptor) -> Result<Option<u64>, Infallible> {
        Ok(None)
    }
}

#[test]
fn circles_are_not_followed_for_ever() {
    for count in [1, 2, 3] {
        let circle = Circle::of(count);
        let last = Digest::sha256(&[8 % count]).to_string();
        for said in circle.said_of_source() {
            assert!(said.contains(&last) && said.contains(TOO_DEEP), "{said}");
        }
        let refused = report(&ContentsReader::new(&circle).images().unwrap_err());
        assert!(["a:1", &last, TOO_DEEP].iter().all(|word| refused.contains(word)), "{refused}");
    }
}
