//! Plans: the numbers are those that the work has in the end, and nothing moves.

use std::path::Path;

use fs_err as fs;
use serde_json::Value;

use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::hod;
use crate::support::images::{Content, image, index, layer};
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

#[test]
fn a_missing_platform_is_in_the_plan() {
    let registry = DockerRegistry::over(fixtures::root());
    let words = ["plan", "base/busybox:1.35", "--platform", "linux/s390x", "--from", registry.host(), "--json"];
    let output = hod(words).code(1);
    let failed = output.json()["failed"].to_string();
    assert!(failed.contains("s390x") && failed.contains("base/busybox"), "{failed}");
}
