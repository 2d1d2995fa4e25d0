//! Plans: the numbers are those that the work has in the end, and nothing moves.

use std::path::Path;

use fs_err as fs;
use serde_json::Value;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On, Route, Seen};
use crate::support::hod::hod;
use crate::support::images::{Content, image, index, layer};
use crate::support::job::pull;
use crate::support::{fixtures, tree};

fn files(folder: &Path) -> Vec<String> {
    tree::listing(folder).into_iter().map(|(path, entry)| format!("{path} {entry}")).collect()
}

fn image_of<'a>(plan: &'a Value, name: &str) -> &'a Value {
    plan["images"].as_array().unwrap().iter().find(|image| image["name"] == name).unwrap()
}

/// A plan without the room that is free, which others use up at the same time.
fn without_free(mut plan: Value) -> Value {
    plan["space"].as_array_mut().unwrap().iter_mut().for_each(|space| space["free"] = Value::Null);
    plan
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_plan_of_a_pull_is_what_the_pull_does() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::over(fixtures::root());
    let list = fixtures::list();
    let words = ["-f", list.to_str().unwrap(), "--from", registry.host(), "--platform", "linux/amd64,linux/arm64"];
    let run = |command: &[&str], more: &[&str]| hod([command, &words, more].concat()).in_folder(folder.path()).run();
    let log = registry.log().len();
    let planned = run(&["plan"], &["--store", "store", "--json"]);
    let dry = run(&["pull", "--dry-run"], &["--store", "store", "--json"]);
    assert_eq!(without_free(planned.json()), without_free(dry.json()));
    // Nothing was made, and no layer was asked for.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let layers = layers();
    let asked = registry.log()[log..].to_owned();
    assert!(!layers.is_empty() && !layers.iter().any(|digest| asked.contains(digest.as_str())));
    let plan = planned.json();
    // A list with images of one platform that is not asked for says so, in plan and pull alike.
    let pulled = run(&["pull"], &["--store", "store", "--json"]);
    assert_eq!(planned.code, pulled.code, "{}", pulled.stderr);
    let done = pulled.json();
    // Into an empty store everything is fetched; the pull counts an image's root again for a second tag.
    assert_eq!(plan["toFetch"]["bytes"], done["bytesUnique"]);
    let more = done["bytesFetched"].as_u64().unwrap() - plan["toFetch"]["bytes"].as_u64().unwrap();
    assert!(more < 2000, "{more}");
    assert_eq!(plan["bytesUnique"], done["bytesUnique"]);
    assert_eq!(plan["bytesOfImages"], done["bytesOfImages"]);
    assert_eq!(plan["failed"].as_array().unwrap().len(), done["failed"].as_array().unwrap().len());
    let again = run(&["plan"], &["--store", "store", "--json"]).json();
    assert_eq!((again["toFetch"]["count"].clone(), again["alreadyThere"].clone()), (0.into(), plan["toFetch"].clone()));
}

/// The digests of all layers of the fixtures, without those that are as small as a config.
fn layers() -> Vec<String> {
    let blobs = fixtures::root().join("docker/registry/v2/blobs/sha256");
    let found = walkdir::WalkDir::new(blobs).into_iter().map(Result::unwrap);
    let large = found.filter(|entry| entry.file_type().is_file() && entry.metadata().unwrap().len() > 50_000);
    large.map(|entry| entry.path().parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_size_of_a_bundle_is_known_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let store = fixtures::root().to_str().unwrap();
    let run = |words: &[&str]| hod(words).in_folder(folder.path()).ok();
    let before = files(fixtures::root());
    let plan = run(&["plan", "--store", store, "-o", "all.tar", "--volume-size", "300000", "--json"]).json();
    let dry = ["pack", "--dry-run", "--store", store, "-o", "all.tar", "--volume-size", "300000", "--json"];
    assert_eq!(without_free(run(&dry).json()), without_free(plan.clone()));
    assert_eq!(files(fixtures::root()), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let done = run(&["pack", "--store", store, "-o", "all.tar", "--volume-size", "300000", "--json"]).json();
    assert_eq!(
        (plan["bundle"]["exact"].clone(), plan["bundle"]["bytes"].clone()),
        (true.into(), done["bytes"].clone())
    );
    assert_eq!(plan["bundle"]["volumes"], done["volumes"].as_array().unwrap().len());
    run(&["pack", "--store", store, "web:1.0", "-o", "base.tar"]);
    let plan = run(&["plan", "--store", store, "-o", "delta.tar", "--have", "base.tar", "--json"]).json();
    let done = run(&["pack", "--store", store, "-o", "delta.tar", "--have", "base.tar", "--json"]).json();
    assert_eq!(plan["bundle"]["bytes"], done["bytes"]);
    assert_eq!(plan["leftOut"]["bytes"], done["bytesLeftOut"]);
    let space = plan["space"].as_array().unwrap();
    assert!(space.iter().any(|space| space["what"] == "bundle" && space["free"].as_u64().unwrap() > 0), "{space:?}");
    run(&["keygen", "ours", "--no-passphrase"]);
    let sign = ["pack", "--store", store, "-o", "signed.tar", "--sign", "ours.key", "--json"];
    let plan = run(&[&sign[..], &["--dry-run"]].concat()).json();
    let done = run(&sign).json();
    assert_eq!(
        (plan["bundle"]["exact"].clone(), plan["bundle"]["bytes"].clone()),
        (true.into(), done["bytes"].clone())
    );
    let zstd = run(&["plan", "--store", store, "-o", "all.tar.zst", "--json"]).json();
    assert_eq!(zstd["bundle"]["exact"], false);
}

#[test]
fn without_an_image_the_bundle_is_that_much_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let base = layer(1, 300_000);
    let app = |seed| image("linux/amd64", &[base.clone(), layer(seed, 50_000)]);
    let content = Content::default().with("a:1", &app(2)).with("b:1", &app(3)).with("c:1", &index(&[app(4)]));
    content.write_root(&folder.path().join("store"));
    let run = |words: &[&str]| hod(words).in_folder(folder.path()).ok();
    let plan = run(&["plan", "--store", "store", "--json"]).json();
    let less = run(&["plan", "--store", "store", "b:1", "c:1", "-o", "x.tar", "--json"]).json();
    let unpacked = |plan: &Value| plan["bundle"]["bytesUnpacked"].as_u64().unwrap();
    let a = image_of(&plan, "a:1");
    assert_eq!(unpacked(&plan) - unpacked(&less), a["marginal"].as_u64().unwrap());
    assert_eq!(a["size"].as_u64().unwrap(), a["marginal"].as_u64().unwrap() + a["shared"].as_u64().unwrap());
    assert!(a["shared"].as_u64().unwrap() > 300_000);
    let text = run(&["plan", "--store", "store"]).text();
    assert!(text.contains("a:1") && text.contains("less") && text.contains("bundle: "), "{text}");
}

/// What a killed pull has left is not fetched again, and needs no room.
#[test]
fn what_an_interrupted_pull_has_left_is_not_to_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let large = layer(1, 3_000_000);
    let content = Content::default()
        .with("app:1", &image("linux/amd64", &[large.clone(), layer(2, 40_000)]))
        .with("other:1", &image("linux/amd64", &[layer(3, 50_000)]));
    let stalled = On::blob(&large.digest()).once();
    let registry = Faulty::new(content.clone()).fault(stalled, Effect::Stall { after: 1_500_000 }).start();
    let store = folder.path().join("store");
    let partial = store.join(".hod/partial").join(large.digest().to_string().replace(':', "-"));
    let length = || partial.metadata().map_or(0, |metadata| metadata.len());
    let mut running = pull(registry.host(), &store, ["app:1"]).spawn();
    running.until("bytes from before the silence are there", || length() >= 900_000);
    running.kill();
    let run = |command: &[&str]| {
        let words = ["app:1", "other:1", "--from", registry.host(), "--store", "store"];
        hod([command, &words].concat()).in_folder(folder.path()).ok()
    };
    let plan = run(&["plan", "--json"]).json();
    let text = run(&["plan"]).text();
    let bytes = |of: &Value| of["bytes"].as_u64().unwrap();
    // What was complete is left as well, wherever it waited.
    let left = walkdir::WalkDir::new(store.join(".hod")).into_iter().map(Result::unwrap);
    let left = left.filter(|file| file.file_name().to_string_lossy().starts_with("sha256-"));
    let left: u64 = left.map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(bytes(&plan["kept"]), left, "{plan:#}");
    assert_eq!(plan["toFetch"]["bytes"], plan["bytesUnique"]);
    let (app, other) = (image_of(&plan, "app:1"), image_of(&plan, "other:1"));
    assert_eq!((&app["kept"], &other["kept"]), (&plan["kept"]["bytes"], &0.into()));
    assert_eq!(app["toFetch"], app["size"]);
    let to_fetch = bytes(&plan["toFetch"]) - bytes(&plan["kept"]);
    assert_eq!(plan["space"][0]["needed"], to_fetch);
    assert!(text.contains(" kept from an interrupted run · "), "{text}");
    // It comes to that: each manifest once, and of each blob what the header does not leave out.
    let before = registry.requests().len();
    run(&["pull"]);
    let served = registry.requests().split_off(before).iter().map(|seen| served(&content, seen)).sum::<u64>();
    assert_eq!(served, to_fetch);
    let done = run(&["plan", "--json"]).json();
    assert_eq!((bytes(&done["kept"]), bytes(&done["toFetch"])), (0, 0));
    assert!(!run(&["plan"]).text().contains("kept from"));
}

/// The bytes of content that the answer to a request had.
fn served(content: &Content, seen: &Seen) -> u64 {
    let (Route::Manifest(name, version) | Route::Blob(name, version)) = &seen.route else { return 0 };
    let repository = &content.repositories[name];
    let digest = repository.tags.get(version).copied().unwrap_or_else(|| version.parse().unwrap());
    let length = match &seen.route {
        _ if seen.method != hyper::Method::GET || seen.status != Some(200) && seen.status != Some(206) => 0,
        Route::Manifest(..) => repository.manifests[&digest].1.len(),
        _ => repository.blobs[&digest].len(),
    };
    let start = seen.header("range").trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
    (length as u64).saturating_sub(start)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_missing_platform_is_in_the_plan() {
    let registry = DockerRegistry::over(fixtures::root());
    let words = ["plan", "base/busybox:1.35", "--platform", "linux/s390x", "--from", registry.host(), "--json"];
    let output = hod(words).code(1);
    let failed = output.json()["failed"].to_string();
    assert!(failed.contains("s390x") && failed.contains("base/busybox"), "{failed}");
}
