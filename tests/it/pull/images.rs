//! Every kind of image, and which of its platforms are taken.

use hod_oci::Digest;
use serde_json::json;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::hod::hod;
use crate::support::images::{
    Blob, Content, Image, artifact, attestation, docker_image, docker_list, foreign_layer, image, index, layer, random,
};
use crate::support::job::{assert_serves, assert_sound, names, pull, push, reach, visible, whole};

/// An image for a platform; the seed makes it another.
fn on(platform: &str, seed: u64) -> Image {
    image(platform, &[layer(1, 2000), layer(seed, 100)])
}

struct Shapes {
    amd64: Image,
    arm64: Image,
    v6: Image,
    v7: Image,
}

fn shapes() -> Shapes {
    Shapes {
        amd64: on("linux/amd64", 2),
        arm64: on("linux/arm64", 3),
        v6: on("linux/arm/v6", 4),
        v7: on("linux/arm/v7", 5),
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn platforms_that_are_chosen_come_and_the_index_stays() {
    let Shapes { amd64, arm64, v6, v7 } = shapes();
    let (about_amd64, about_arm64) = (attestation(&amd64), attestation(&arm64));
    let root = index(&[amd64.clone(), arm64.clone(), v6.clone(), v7.clone(), about_amd64.clone(), about_arm64.clone()]);
    let list =
        docker_list(&[docker_image("linux/amd64", &[layer(9, 10)]), docker_image("linux/arm64", &[layer(9, 10)])]);
    let registry = Faulty::new(Content::default().with("app:1", &root).with("docker:1", &list)).start();
    let every = [&amd64, &arm64, &v6, &v7, &about_amd64, &about_arm64];
    let cases: &[(&[&str], &[&Image])] = &[
        (&["--platform", "linux/amd64"], &[&amd64, &about_amd64]),
        (&["--platform", "linux/amd64,linux/arm64"], &[&amd64, &about_amd64, &arm64, &about_arm64]),
        (&["--platform", "linux/arm64/v8", "--platform", "linux/arm/v6"], &[&arm64, &about_arm64, &v6]),
        (&["--platform", "linux/arm"], &[&v7]),
        (&["--platform", "linux/arm/v8"], &[&v7]),
        (&["--platform", "linux/x86_64"], &[&amd64, &about_amd64]),
        (&["--platform", "all"], &every),
        (&["--all-platforms"], &every),
        (&[], if cfg!(target_arch = "aarch64") { &[&arm64, &about_arm64] } else { &[&amd64, &about_amd64] }),
    ];
    for (words, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        pull(registry.host(), folder.path(), ["app:1"].into_iter().chain(words.iter().copied())).ok();
        assert_sound(folder.path());
        let served = DockerRegistry::over(folder.path());
        let reached = reach(served.host(), "app", "1");
        let mut children = reached.manifests.clone();
        assert!(children.remove(&root.digest()));
        assert_eq!(children, expected.iter().map(|image| image.digest()).collect(), "{words:?}");
        assert_eq!(reached.absent.len(), every.len() - expected.len());
    }
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["docker:1", "--all-platforms"]).ok();
    assert_serves(folder.path(), &Content::default().with("docker:1", &list));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn more_platforms_come_on_top_of_those_that_are_there() {
    let Shapes { amd64, arm64, .. } = shapes();
    let root = index(&[amd64, arm64]);
    let content = Content::default().with("app:1", &root);
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    for platform in ["linux/amd64", "linux/arm64", "linux/amd64"] {
        pull(registry.host(), folder.path(), ["app:1", "--platform", platform]).ok();
        assert_sound(folder.path());
    }
    assert_serves(folder.path(), &content);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_platform_that_is_not_there_fails_that_image_alone() {
    let Shapes { amd64, arm64, .. } = shapes();
    let content = Content::default()
        .with("both:1", &index(&[amd64.clone(), arm64]))
        .with("one:1", &index(std::slice::from_ref(&amd64)))
        .with("plain:1", &amd64);
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let words = ["both:1", "one:1", "plain:1", "--platform", "linux/arm64"];
    let output = pull(registry.host(), folder.path(), words).code(3);
    let said = "no linux/arm64 in the image: it has linux/amd64";
    // Both fail for one reason, which is told once.
    assert_eq!(output.stderr.matches("\nerror: argument ").count(), 2, "{}", output.stderr);
    assert_eq!(output.stderr.matches(&format!("caused by: {said}")).count(), 1, "{}", output.stderr);
    assert_eq!(names(folder.path()), ["both:1"]);
    assert_sound(folder.path());
    // Nobody asked for a platform: an image that has only one is taken as it is.
    pull(registry.host(), folder.path(), ["plain:1"]).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn indexes_within_indexes() {
    let Shapes { amd64, arm64, v7, .. } = shapes();
    let inner = [
        index(std::slice::from_ref(&amd64)),
        index(&[arm64.clone(), amd64.clone()]),
        index(std::slice::from_ref(&arm64)),
    ];
    let root = index(&[inner[0].clone(), inner[1].clone(), inner[2].clone(), v7]);
    let content = Content::default().with("nested:1", &root);
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["nested:1", "--platform", "linux/amd64"]).ok();
    assert_sound(folder.path());
    let reached = reach(DockerRegistry::over(folder.path()).host(), "nested", "1");
    assert!([&root, &inner[0], &inner[1], &amd64].iter().all(|image| reached.manifests.contains(&image.digest())));
    assert!(!reached.manifests.contains(&arm64.digest()));
    pull(registry.host(), folder.path(), ["nested:1", "--all-platforms"]).ok();
    assert_serves(folder.path(), &content);
    let output = pull(registry.host(), folder.path(), ["nested:1", "--platform", "linux/s390x"]).code(1);
    assert!(output.stderr.contains("linux/s390x"), "{}", output.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn artifacts_charts_and_empty_blobs() {
    let chart = |seed| {
        let mut chart =
            artifact("", &[Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", random(seed, 900))], None);
        let mut document: serde_json::Value = serde_json::from_slice(&chart.bytes).unwrap();
        let config = Blob::new("application/vnd.cncf.helm.config.v1+json", "{\"name\":\"web\"}");
        document["config"] = json!(config.descriptor);
        document.as_object_mut().unwrap().remove("artifactType");
        let blobs = vec![config, chart.blobs.remove(1)];
        Image { blobs, ..Image::of_bytes("application/vnd.oci.image.manifest.v1+json", document.to_string()) }
    };
    let amd64 = shapes().amd64;
    let content = Content::default()
        .with("charts/web:1.2.3_build.4", &chart(1))
        .with("thing:1", &artifact("text/x", &[Blob::new("text/plain", "hello")], None))
        .with("empty:1", &artifact("text/x", &[Blob::new("text/plain", "")], Some(&amd64)))
        .with("bare:1", &artifact("text/x", &[], None));
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    // A platform is asked for: none of these has one, so all are taken.
    let names = ["charts/web:1.2.3_build.4", "thing:1", "empty:1", "bare:1", "--platform", "linux/arm64"];
    pull(registry.host(), folder.path(), names).ok();
    assert_serves(folder.path(), &content);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn foreign_layers_stay_descriptors() {
    let foreign = foreign_layer(7, "https://nowhere.invalid/layer");
    let windows = docker_image("windows/amd64", &[foreign.clone(), layer(8, 50)]);
    let content = Content::default().with("windows:1", &windows);
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let said = pull(registry.host(), folder.path(), ["windows:1"]).ok().stderr;
    let note = "note: 1 layer of windows:1 is not copied: runtimes fetch such layers from nowhere.invalid";
    assert_eq!(said.matches(note).count(), 1, "{said}");
    assert_serves(folder.path(), &content);
    assert_eq!(registry.count(|seen| seen.path.contains(&foreign.digest().to_string())), 0);
    let reached = reach(DockerRegistry::over(folder.path()).host(), "windows", "1");
    assert_eq!(reached, whole(&windows));
    // Whatever carries it on says so, too, and what cannot do without says what can.
    let (to, bundle) = (DockerRegistry::empty(), folder.path().join("b.tar"));
    let pushed = push(folder.path(), to.host(), ["windows:1"]);
    assert!(pushed.ok().stderr.contains(note));
    let bundled = hod(["bundle", "windows:1", "--from", registry.host(), "--platform", "windows/amd64", "-o"]);
    assert!(bundled.args([bundle.as_os_str()]).ok().stderr.contains(note));
    let image = format!("docker://{}/windows:1", registry.host());
    let layout = hod(["copy", &image, "oci:layout:1"]).in_folder(folder.path()).ok().stderr;
    assert!(layout.contains("is not copied: runtimes fetch such layers from nowhere.invalid"), "{layout}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn images_by_digest_with_and_without_a_tag() {
    let Shapes { amd64, arm64, .. } = shapes();
    let (old, new) = (on("linux/amd64", 20), amd64);
    let content = Content::default().with("app:1", &old).with("app:1", &new).with("other:1", &arm64);
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let (pinned, tagged) = (format!("app@{}", new.digest()), format!("app:1@{}", old.digest()));
    pull(registry.host(), folder.path(), [&*pinned, &tagged]).ok();
    assert_sound(folder.path());
    assert_eq!(names(folder.path()), ["app:1".to_owned(), pinned.clone()]);
    let served = DockerRegistry::over(folder.path());
    assert_eq!(reach(served.host(), "app", "1"), whole(&old));
    assert_eq!(reach(served.host(), "app", &new.digest().to_string()), whole(&new));
    let absent = format!("app@{}", Digest::sha256(b"nothing"));
    let output = pull(registry.host(), folder.path(), [&*absent]).code(1);
    assert!(output.stderr.contains("404") || output.stderr.contains("unknown"), "{}", output.stderr);
}

/// A manifest of a type that may exist one day.
const UNKNOWN: &str = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.example.future.v9+json\"}";

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_no_image_is_refused_with_a_reason() {
    let big = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "y".repeat(4 * 1024 * 1024));
    let schema1 = json!({"schemaVersion": 1, "name": "old", "tag": "1", "fsLayers": [], "history": []}).to_string();
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let cases: &[(Image, &str)] = &[
        (Image::of_bytes("application/vnd.docker.distribution.manifest.v1+prettyjws", schema1.clone()), "schema 1"),
        (Image::of_bytes("application/vnd.docker.distribution.manifest.v1+json", schema1), "schema 1"),
        (Image::of_bytes(oci, big), "4194304"),
        (Image::of_bytes(oci, "<html>please log in</html>"), "JSON"),
        (Image::of_bytes("application/vnd.example.future.v9+json", "{\"schemaVersion\":9}"), "schemaVersion 9"),
        (Image::of_bytes("application/vnd.example.future.v9+json", UNKNOWN), "application/vnd.example.future.v9+json"),
        (Image::of_bytes(oci, "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:../..\"}}"), "cannot use manifest"),
        (Image::of_bytes(oci, "[]"), "cannot use manifest"),
    ];
    for (image, expected) in cases {
        let good = shapes().amd64;
        let registry = Faulty::new(Content::default().with("bad:1", image).with("good:1", &good)).start();
        let folder = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), folder.path(), ["bad:1", "good:1"]).code(3);
        assert!(output.stderr.contains(expected), "{expected} is not in {}", output.stderr);
        assert!(output.stderr.contains("bad:1"), "{}", output.stderr);
        assert_eq!(names(folder.path()), ["good:1"]);
        assert!(visible(folder.path()).iter().all(|path| !path.contains("/bad/")));
        assert_sound(folder.path());
        // It is refused at once: nothing about it gets better by asking again.
        assert!(registry.count(|seen| seen.route.repository() == Some("bad")) <= 2);
    }
}
