//! How many requests pull needs, and how few where nothing is new. What referrers cost is counted with them.

use std::collections::BTreeMap;

use hyper::Method;

use crate::support::faulty::{Faulty, Route, Running, Seen};
use crate::support::hod::Hod;
use crate::support::images::{Content, image, index, layer};
use crate::support::job::{self, assert_serves};

/// A pull of images alone: what refers to them is asked for in requests of its own.
fn pull<'a>(from: &'a str, store: &'a std::path::Path, words: impl IntoIterator<Item = &'a str>) -> Hod {
    job::pull(from, store, words.into_iter().chain(["--no-referrers"]))
}

/// Ten images in four repositories that share layers, an index among them, each with its own last layer.
fn shared() -> Content {
    let bases = [layer(1, 300_000), layer(2, 100_000)];
    let mut content = Content::default();
    for number in 0..10 {
        let name = format!("team{}/app:{number}", number % 4);
        let build = |platform: &str, seed| image(platform, &[bases[0].clone(), bases[1].clone(), layer(seed, 500)]);
        let image = build("linux/amd64", 10 + number);
        content = if number == 3 {
            content.with(&name, &index(&[image, build("linux/arm64", 30)]))
        } else {
            content.with(&name, &image)
        };
    }
    // The same image under two tags, and in two repositories.
    let twin = image("linux/amd64", &[bases[0].clone(), layer(40, 50)]);
    content.with("team0/app:twin", &twin).with("team1/app:twin", &twin).with("team1/app:again", &twin)
}

/// Every name in the content.
fn all(content: &Content) -> Vec<String> {
    let names = |(name, repository): (&String, &crate::support::images::Repository)| {
        repository.tags.keys().map(|tag| format!("{name}:{tag}")).collect::<Vec<_>>()
    };
    content.repositories.iter().flat_map(names).collect()
}

fn counts(registry: &Running, such: impl Fn(&Seen) -> bool) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for seen in registry.requests().into_iter().filter(|seen| such(seen)) {
        *counts.entry(format!("{} {}", seen.method, seen.path)).or_default() += 1;
    }
    counts
}

fn is_manifest(seen: &Seen) -> bool {
    matches!(seen.route, Route::Manifest(..))
}

fn is_blob(seen: &Seen) -> bool {
    matches!(seen.route, Route::Blob(..))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn one_request_for_each_manifest_and_each_unique_blob() {
    let content = shared();
    let names = all(&content);
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let words = ["--all-platforms"].into_iter().chain(names.iter().map(String::as_str));
    pull(registry.host(), folder.path(), words.clone()).ok();

    let manifests = counts(&registry, is_manifest);
    // One by each name, and the two children of the index by their digests.
    assert_eq!(manifests.len(), names.len() + 2, "{manifests:#?}");
    assert!(manifests.values().all(|count| *count == 1), "{manifests:#?}");
    let mut blobs = BTreeMap::new();
    for seen in registry.requests().into_iter().filter(is_blob) {
        *blobs.entry(seen.path.rsplit('/').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    let unique: std::collections::BTreeSet<String> =
        content.repositories.values().flat_map(|repository| repository.blobs.keys().map(ToString::to_string)).collect();
    assert_eq!(blobs.keys().cloned().collect::<std::collections::BTreeSet<_>>(), unique);
    assert!(blobs.values().all(|count| *count == 1), "{blobs:#?}");
    let others = registry.count(|seen| !is_manifest(seen) && !is_blob(seen));
    assert!(others <= 1, "{:#?}", counts(&registry, |seen| !is_manifest(seen) && !is_blob(seen)));
    assert_serves(folder.path(), &content);

    // Nothing is new: one HEAD an image, and not a byte more.
    let before = registry.requests().len();
    let output = pull(registry.host(), folder.path(), words).ok();
    let again: Vec<Seen> = registry.requests().split_off(before);
    let heads = again.iter().filter(|seen| is_manifest(seen)).count();
    assert_eq!(heads, names.len(), "{again:#?}");
    assert!(again.iter().all(|seen| seen.method == Method::HEAD || seen.route == Route::Ping), "{again:#?}");
    assert!(again.len() <= names.len() + 1);
    assert!(output.stderr.starts_with(&format!("{} images, nothing new", names.len())), "{}", output.stderr);
    assert_eq!((output.stderr.lines().count(), output.text()), (1, String::new()), "{}", output.stderr);
}

#[test]
fn what_a_lock_pins_and_the_store_has_needs_no_request() {
    let content = shared();
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let (store, lock) = (folder.path().join("store"), folder.path().join("lock"));
    let lock = lock.to_str().unwrap();
    pull(registry.host(), &store, ["team0/app:0", "team3/app:3", "--lock", lock, "--platform", "linux/amd64"]).ok();
    let before = registry.requests().len();
    pull(registry.host(), &store, ["-f", lock]).ok();
    assert_eq!(registry.requests().len(), before, "{:#?}", registry.requests().split_off(before));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn only_what_is_new_is_fetched() {
    let content = shared();
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["team0/app:0"]).ok();
    let before = registry.requests().len();
    pull(registry.host(), folder.path(), ["team1/app:1"]).ok();
    let again = registry.requests().split_off(before);
    // Another repository with two layers in common: its manifest, its config and its own layer.
    assert_eq!(again.iter().filter(|seen| is_blob(seen)).count(), 2, "{again:#?}");
    assert_eq!(again.iter().filter(|seen| is_manifest(seen)).count(), 1);

    // The tag moves to an image of which most is there.
    let moved = image("linux/amd64", &[layer(1, 300_000), layer(90, 10)]);
    let content = registry.content().with("team0/app:0", &moved);
    registry.change(|held| *held = content);
    let before = registry.requests().len();
    pull(registry.host(), folder.path(), ["team0/app:0"]).ok();
    let again = registry.requests().split_off(before);
    let gets = again.iter().filter(|seen| seen.method == Method::GET && seen.route != Route::Ping);
    let gets: Vec<_> = gets.map(|seen| &seen.path).collect();
    assert_eq!(gets.len(), 3, "{gets:#?}");
    assert_serves(folder.path(), &Content::default().with("team0/app:0", &moved));
}
