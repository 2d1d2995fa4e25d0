//! `hod push`, judged by the registry that it pushes to and by the requests that it makes.

mod dialects;
mod digests;
mod forced;
mod index;

use std::path::Path;

use fs_err as fs;
use hyper::Method;
use tempfile::TempDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On, Route, Running, Seen};
use crate::support::images::{Content, Image, image, index, layer};
use crate::support::job::{assert_registry_has, manifest, pack, pull, push, reach, text, whole};
use crate::support::tls::Certificates;
use crate::support::{fixtures, skopeo};

fn app(platform: &str, seed: u64) -> Image {
    image(platform, &[layer(1, 200_000), layer(seed, 3000)])
}

/// Images in several repositories that share layers, one of them for two platforms.
fn content() -> Content {
    Content::default()
        .with("app:1", &app("linux/amd64", 2))
        .with("app:2", &app("linux/amd64", 3))
        .with("team/other:1", &app("linux/amd64", 4))
        .with("many:1", &index(&[app("linux/amd64", 5), app("linux/arm64", 6)]))
}

fn store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    content().write_root(folder.path());
    folder
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn from_a_store_a_bundle_and_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, compressed) = (folder.path().join("x.tar"), folder.path().join("x.tar.zst"));
    pack(fixtures::root(), &plain, []).ok();
    pack(fixtures::root(), &compressed, []).ok();
    let sources = [
        (fixtures::root(), None),
        (&*plain, None),
        (&*compressed, None),
        (Path::new("-"), Some(&plain)),
        (Path::new("-"), Some(&compressed)),
    ];
    let source_registry = DockerRegistry::over(fixtures::root());
    for (source, input) in sources {
        let registry = DockerRegistry::empty();
        let stdin = input.map_or_else(Vec::new, |path| fs::read(path).unwrap());
        let output = push(source, registry.host(), []).input(&*stdin).ok();
        assert!(output.stderr.contains("16 images pushed, 0 unchanged"), "{}", output.stderr);
        for (name, digest) in fixtures::names() {
            let (repository, tag) = name.rsplit_once(':').unwrap();
            // The tag that lists what refers to an image is the registry's, which has perhaps been told of it before.
            if tag.starts_with("sha256-") {
                let listed = |host: &str| manifest(host, repository, tag).json()["manifests"].clone();
                assert_eq!(listed(registry.host()), listed(source_registry.host()));
                continue;
            }
            assert_eq!(skopeo::digest(&format!("{}/{name}", registry.host())), digest);
            assert_eq!(reach(registry.host(), repository, tag), reach(source_registry.host(), repository, tag));
        }
        let output = push(source, registry.host(), []).input(stdin).ok();
        assert!(output.stderr.contains("0 images pushed, 16 unchanged · 0 B sent"), "{}", output.stderr);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_damaged_bundle_on_standard_input_is_named_as_such() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let path = folder.path().join("x.tar");
    pack(store.path(), &path, []).ok();
    let whole = fs::read(&path).unwrap();
    let shared = layer(1, 200_000);
    let position = whole.windows(100).position(|bytes| bytes == &shared.bytes[..100]).unwrap();
    let flipped = [&whole[..position], &[whole[position] ^ 1], &whole[position + 1..]].concat();
    let digest = shared.digest().to_string();
    let wrong = format!("the bytes of {digest} have the digest ");
    for (bytes, says) in [(flipped.as_slice(), wrong.as_str()), (&whole[..position + 100_000], "ends at byte ")] {
        let registry = DockerRegistry::empty();
        let output = push(Path::new("-"), registry.host(), []).input(bytes).code(4);
        assert!(output.stderr.contains(says), "{says}: {}", output.stderr);
        assert!(output.stderr.contains("hint: "), "{}", output.stderr);
    }
}

fn writes(registry: &Running) -> Vec<String> {
    let writes = registry.requests().into_iter().filter(Seen::is_write);
    writes.map(|seen| format!("{} {}?{}", seen.method, seen.path, seen.query)).collect()
}

#[test]
fn a_second_push_uploads_nothing() {
    let store = store();
    let registry = Faulty::new(Content::default()).start();
    push(store.path(), registry.host(), []).ok();
    assert_registry_has(registry.host(), &content());
    let before = writes(&registry).len();
    let document = push(store.path(), registry.host(), ["--json"]).ok().json();
    assert_eq!(writes(&registry).split_off(before), Vec::<String>::new());
    assert_eq!(document["bytesSent"], 0);
    assert!(document["images"].as_array().unwrap().iter().all(|image| image["unchanged"] == true));
    // One image is new: what it shares is not sent again.
    let new = app("linux/amd64", 7);
    content().with("app:3", &new).write_root(store.path());
    push(store.path(), registry.host(), []).ok();
    let again = writes(&registry).split_off(before);
    assert_eq!(again.iter().filter(|write| write.starts_with("PUT") && write.contains("/manifests/")).count(), 1);
    assert!(again.iter().all(|write| !write.contains(&layer(1, 200_000).digest().to_string())), "{again:#?}");
}

#[test]
fn shared_layers_are_sent_once_and_mounted() {
    let store = store();
    let registry = Faulty::new(Content::default()).start();
    let document = push(store.path(), registry.host(), ["--json"]).ok().json();
    let shared = layer(1, 200_000).digest().to_string();
    let of_shared = |seen: &Seen| seen.parameter("digest").as_deref() == Some(&shared);
    assert_eq!(registry.count(|seen| seen.method == Method::PUT && of_shared(seen)), 1, "{:#?}", writes(&registry));
    let mounts = registry.count(|seen| seen.parameter("mount").as_deref() == Some(&shared) && seen.status == Some(201));
    assert_eq!(mounts, 2, "{:#?}", writes(&registry));
    assert!(document["bytesMounted"].as_u64().unwrap() >= 400_000, "{document:#}");
    assert_registry_has(registry.host(), &content());
}

#[test]
fn blobs_come_before_manifests_children_before_indexes_and_tags_last() {
    let store = store();
    let registry = Faulty::new(Content::default()).start();
    push(store.path(), registry.host(), []).ok();
    let requests = registry.requests();
    for (name, held) in &content().repositories {
        let mut blobs_done = false;
        let mut tagged = Vec::new();
        for seen in requests.iter().filter(|seen| seen.is_write() && seen.route.repository() == Some(name)) {
            match &seen.route {
                Route::Manifest(_, version) if version.parse::<hod_oci::Digest>().is_err() => {
                    tagged.push(version.clone());
                }
                Route::Manifest(..) => assert!(tagged.is_empty(), "{name}: a child after its index"),
                _ => {}
            }
            blobs_done |= matches!(seen.route, Route::Manifest(..));
        }
        assert!(blobs_done && tagged.len() == held.tags.len(), "{name}: {tagged:?}");
        let last_tag =
            requests.iter().rposition(|seen| seen.is_write() && seen.route.repository() == Some(name)).unwrap();
        assert!(matches!(&requests[last_tag].route, Route::Manifest(_, version) if held.tags.contains_key(version)));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn below_a_path_with_tls_and_a_password() {
    let certificates = Certificates::new();
    let registry = DockerRegistry::options().tls(&certificates).user("me", "s3cr3t").start();
    let store = store();
    let target = format!("{}/team/mirror", registry.host());
    let certs = ["--cert-dir", text(certificates.folder())];
    let words = certs.into_iter().chain(["--creds", "me:s3cr3t", "--debug"]);
    let output = push(store.path(), &target, words).ok();
    assert!(!output.stderr.contains("s3cr3t"), "{}", output.stderr);
    let found = skopeo::skopeo([
        "inspect",
        "--raw",
        "--creds",
        "me:s3cr3t",
        "--cert-dir",
        text(certificates.folder()),
        &format!("docker://{target}/team/other:1"),
    ]);
    assert_eq!(found, app("linux/amd64", 4).bytes);
    let output = push(store.path(), &target, certs.into_iter().chain(["--creds", "me:wrong"])).code(1);
    assert!(
        output.stderr.contains("401") && output.stderr.contains("hint: check the credentials"),
        "{}",
        output.stderr
    );
    push(store.path(), &target, ["--tls-verify=false", "--creds", "me:s3cr3t"]).ok();
    let plain = DockerRegistry::options().user("me", "s3cr3t").start();
    push(store.path(), plain.host(), ["--creds", "me:s3cr3t"]).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_list_narrows_what_is_pushed() {
    let store = store();
    let registry = DockerRegistry::empty();
    push(store.path(), registry.host(), ["-f", "-"]).input("app:2\nmany:1 platform=linux/amd64\n").run();
    assert_eq!(manifest(registry.host(), "app", "2").status, 200);
    assert_eq!(manifest(registry.host(), "app", "1").status, 404);
    assert_eq!(manifest(registry.host(), "team/other", "1").status, 404);
    let output = push(store.path(), registry.host(), ["-f", "-"]).input("app:2\ngone:1\n").code(1);
    assert!(output.stderr.contains("-:2") && output.stderr.contains("gone:1"), "{}", output.stderr);
}

#[test]
fn one_image_that_fails_does_not_stop_the_others() {
    let store = store();
    let refuse =
        |seen: &Seen| seen.method == Method::PUT && matches!(&seen.route, Route::Manifest(name, _) if name == "app");
    let registry = Faulty::new(Content::default()).fault(On::matching(refuse), Effect::Status(403)).start();
    let output = push(store.path(), registry.host(), []).code(3);
    assert!(output.stderr.contains("2 of 4 images not pushed"), "{}", output.stderr);
    assert!(output.stderr.contains("error: app:1") && output.stderr.contains("error: app:2"), "{}", output.stderr);
    let rest = Content::default().with("team/other:1", &app("linux/amd64", 4));
    assert_registry_has(registry.host(), &rest);
    let failed = push(store.path(), registry.host(), ["--json"]).code(3).json();
    assert_eq!(failed["failed"].as_array().unwrap().len(), 2);
    let refuse = |seen: &Seen| seen.is_write();
    let registry = Faulty::new(Content::default()).fault(On::matching(refuse), Effect::Status(403)).start();
    push(store.path(), registry.host(), []).code(1);
}

#[test]
fn uploads_that_break_are_tried_again() {
    let store = store();
    for (method, effect) in [
        (Method::POST, Effect::Status(503)),
        (Method::POST, Effect::Reset),
        (Method::PUT, Effect::Status(500)),
        (Method::PUT, Effect::Reset),
        (Method::PATCH, Effect::Reset),
        (Method::POST, Effect::Later { status: 429, after: "0".into() }),
    ] {
        let registry = Faulty::new(Content::default())
            .fault(On::upload(method.clone()).times(2), effect.clone())
            .fault(On::put_manifest().once(), Effect::Status(502))
            .start();
        push(store.path(), registry.host(), []).ok();
        assert_registry_has(registry.host(), &content());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn damage_is_not_pushed() {
    let store = store();
    let image = app("linux/amd64", 4);
    let blob = crate::support::job::blob_path(store.path(), &image.blobs[2].digest());
    crate::support::job::flip(&blob, 30);
    let registry = DockerRegistry::empty();
    let output = push(store.path(), registry.host(), []).code(4);
    assert!(output.stderr.contains(&image.blobs[2].digest().to_string()), "{}", output.stderr);
    assert!(output.stderr.contains("1 of 4 images not pushed"), "{}", output.stderr);
    assert_eq!(manifest(registry.host(), "team/other", "1").status, 404);
    assert_eq!(reach(registry.host(), "app", "1"), whole(&app("linux/amd64", 2)));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn of_an_image_that_is_there_only_manifests_are_read() {
    let store = store();
    let registry = DockerRegistry::empty();
    push(store.path(), registry.host(), []).ok();
    let config = app("linux/amd64", 4).blobs[0].digest();
    crate::support::job::flip(&crate::support::job::blob_path(store.path(), &config), 30);
    let output = push(store.path(), registry.host(), []).ok();
    assert!(output.stderr.contains("0 images pushed, 4 unchanged"), "{}", output.stderr);
    // Where it is not, it is read, and found out.
    let output = push(store.path(), DockerRegistry::empty().host(), []).code(4);
    assert!(output.stderr.contains(&config.to_string()), "{}", output.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_was_pushed_can_be_pulled_again() {
    let store = store();
    let registry = DockerRegistry::empty();
    push(store.path(), &format!("{}/mirror", registry.host()), []).ok();
    let folder = tempfile::tempdir().unwrap();
    let from = format!("{}/mirror", registry.host());
    pull(&from, folder.path(), ["app:1", "app:2", "team/other:1", "many:1", "--all-platforms"]).ok();
    crate::support::tree::assert_same(&store.path().join("docker"), &folder.path().join("docker"));
}
