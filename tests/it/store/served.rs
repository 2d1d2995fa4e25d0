//! What sinks of a store have written, Debian's registry serves, and its garbage collection keeps.

use std::process::Command;

use hod_engine::endpoint::{Sink as _, Source as _, Verified};
use hod_oci::{Descriptor, Digest, Version};
use hod_store::{Entry, Store};

use super::{assert_sound, image, index, layer, noise, repository, tags, unfinished, write};
use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};

#[track_caller]
fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[track_caller]
fn manifest(image: &str) -> Vec<u8> {
    skopeo(&["inspect", "--tls-verify=false", "--raw", &format!("docker://{image}")])
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_registry_serves_every_manifest_and_blob() {
    let root = tempfile::tempdir().unwrap();
    let shared = layer(noise(1, 3_000_000));
    let single = image("amd64", &[shared.clone(), layer("small")]);
    let (amd64, arm64) = (image("amd64", std::slice::from_ref(&shared)), image("arm64", &[layer(noise(2, 70_000))]));
    let multi = index(&[("linux/amd64", amd64), ("linux/arm64", arm64)]);
    let nested = index(&[("linux/amd64", multi.clone())]);
    let images =
        [("alpine", &["3.14", "latest"][..], &single), ("library/multi", &["1"], &multi), ("a/b/c/d", &["1"], &nested)];

    let store = Store::create(root.path()).unwrap();
    for (name, names, image) in images {
        write(&store, name, names, image).await.unwrap();
    }
    drop(store);
    assert_sound(root.path());
    assert_eq!(unfinished(root.path()), Vec::<String>::new());
    assert_no_garbage(root.path());

    let registry = DockerRegistry::over(root.path());
    let host = registry.host();
    for (name, names, image) in images {
        for tag in names {
            assert_eq!(manifest(&format!("{host}/{name}:{tag}")), image.bytes);
        }
        for part in image.all().into_iter().filter(|part| part.is_manifest()) {
            assert_eq!(manifest(&format!("{host}/{name}@{}", part.digest())), part.bytes);
        }
    }
    // skopeo checks the digest of every blob that it copies; it refuses nested indexes.
    for (name, names, image) in &images[..2] {
        let copy = tempfile::tempdir().unwrap();
        let target = format!("dir:{}", copy.path().display());
        let source = format!("docker://{host}/{name}:{}", names[0]);
        skopeo(&["copy", "--quiet", "--all", "--src-tls-verify=false", &source, &target]);
        assert_eq!(fs_err::read(copy.path().join("manifest.json")).unwrap(), image.bytes);
    }
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_tag_added_to_a_running_registry_is_there_at_once() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create(root.path()).unwrap();
    let (first, second) = (image("amd64", &[layer("1")]), image("amd64", &[layer("2")]));
    write(&store, "app", &["1"], &first).await.unwrap();
    let registry = DockerRegistry::over(root.path());
    assert_eq!(manifest(&format!("{}/app:1", registry.host())), first.bytes);
    write(&store, "app", &["1", "2"], &second).await.unwrap();
    assert_eq!(manifest(&format!("{}/app:1", registry.host())), second.bytes);
    assert_eq!(manifest(&format!("{}/app:2", registry.host())), second.bytes);
    assert_eq!(manifest(&format!("{}/app@{}", registry.host(), first.digest())), first.bytes);
}

#[tokio::test]
async fn links_hold_the_digest_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create(root.path()).unwrap();
    let image = image("amd64", &[layer("1")]);
    write(&store, "app", &["1"], &image).await.unwrap();
    let links = store.walk().map(Result::unwrap).filter(|found| found.path.ends_with("link"));
    let sizes: Vec<u64> = links.map(|link| link.size).collect();
    // Config, layer, revision, tag index and current tag.
    assert_eq!(sizes, [71; 5]);
}

#[tokio::test]
async fn a_source_reads_what_a_sink_wrote() {
    let root = tempfile::tempdir().unwrap();
    let big = layer(noise(3, 2_000_000));
    let image = image("amd64", std::slice::from_ref(&big));
    write(&Store::create(root.path()).unwrap(), "a/b", &["1"], &image).await.unwrap();

    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.repositories().unwrap(), ["a/b".parse().unwrap()]);
    assert_eq!(store.tags(&"a/b".parse().unwrap()).unwrap(), tags(&["1"]));
    let source = repository(&store, "a/b");
    let (descriptor, bytes) = source.manifest(&Version::Tag(tags(&["1"]).remove(0))).await.unwrap();
    assert_eq!((descriptor, bytes), (image.descriptor.clone(), image.bytes.clone()));
    assert_eq!(source.resolve(&Version::Digest(image.digest())).await.unwrap(), image.descriptor);
    for absent in [Version::Tag(tags(&["2"]).remove(0)), Version::Digest(big.digest())] {
        let error = source.resolve(&absent).await.unwrap_err();
        assert_eq!(error.fault(), hod_engine::endpoint::Fault::Missing, "{error}");
    }
    for offset in [0, 1, 524_288, 1_999_999, 2_000_000] {
        let mut hasher = hod_oci::Hasher::new(hod_oci::Algorithm::Sha256);
        let start = usize::try_from(offset).unwrap();
        hasher.update(&big.bytes[..start]);
        let reader = source.open(&big.descriptor, offset).await.unwrap();
        let body = Verified::new(&big.descriptor, hod_engine::endpoint::Prefix::new(offset, hasher), reader);
        assert_eq!(body.collect().await.unwrap(), big.bytes[start..]);
    }
}

#[tokio::test]
async fn what_is_published_is_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create(root.path()).unwrap();
    let image = image("amd64", &[layer("1")]);
    write(&store, "app", &["1"], &image).await.unwrap();
    let times = || -> Vec<_> {
        let files = store.walk().map(Result::unwrap).filter(|found| found.path.is_relative());
        files.map(|found| fs_err::metadata(root.path().join(&found.path)).unwrap().modified().unwrap()).collect()
    };
    let before = times();
    write(&store, "app", &["1"], &image).await.unwrap();
    assert_eq!(times(), before);
}

#[tokio::test]
async fn a_manifest_must_be_one_and_have_its_parts() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create(root.path()).unwrap();
    let sink = repository(&store, "app");
    let image = image("amd64", &[layer("1")]);
    let error = sink.publish(&image.descriptor, image.bytes.clone(), &tags(&["1"])).await.unwrap_err();
    assert_eq!(error.fault(), hod_engine::endpoint::Fault::Incomplete, "{error}");

    let artifact = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#;
    let descriptor = Descriptor::of("application/json".into(), artifact);
    let error = sink.publish(&descriptor, artifact.as_slice().into(), &tags(&["1"])).await.unwrap_err();
    assert_eq!(error.fault(), hod_engine::endpoint::Fault::Rejected, "{error}");
    assert!(store.repositories().unwrap().is_empty());
    assert!(!Entry::Data(Digest::sha256(artifact)).under(root.path()).exists());
}
