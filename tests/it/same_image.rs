//! Lists in which several lines mean one image: every command has it once, with what all of its lines chose.

use std::path::Path;

use fs_err as fs;
use hod_oci::cosign_tags;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Content, Image, artifact, attestation, image, index, layer};
use crate::support::job::{assert_sound, ls, names, pack, pull, push, reach, text};

const TWO: &str = "##a\napp:1 platform=linux/amd64\ntool:1\n##b\napp:1 platform=linux/arm64\n";
const ONE: &str = "##a\napp:1 platform=linux/amd64,linux/arm64\ntool:1\n";

fn children() -> [Image; 3] {
    [("linux/amd64", 2), ("linux/arm64", 3), ("linux/arm/v7", 4)]
        .map(|(platform, seed)| image(platform, &[layer(1, 5000), layer(seed, 3000)]))
}

/// An index of which each child has an attestation and a signature, and an image for one platform.
fn content() -> Content {
    let [amd, arm, v7] = children();
    let app = index(&[amd.clone(), arm.clone(), v7.clone(), attestation(&arm), attestation(&amd)]);
    let tool = image("linux/amd64", &[layer(1, 5000), layer(7, 100)]);
    let mut content = Content::default().with("app:1", &app).with("tool:1", &tool).with("tool:latest", &tool);
    for (seed, signed) in (10..).zip([app, amd, arm, v7]) {
        let tag = cosign_tags(&signed.digest()).next().unwrap();
        content = content.with(&format!("app:{tag}"), &artifact("text/x", &[layer(seed, 10)], None));
    }
    content
}

/// A folder with the list of two lines, and the one that says the same in one.
fn lists() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("two"), TWO).unwrap();
    fs::write(folder.path().join("one"), ONE).unwrap();
    folder
}

fn run(folder: &Path, words: &[&str]) -> Hod {
    hod(words).in_folder(folder)
}

fn images(folder: &Path, words: &[&str]) -> usize {
    run(folder, words).ok().json()["images"].as_array().unwrap().len()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn two_lines_give_what_one_line_gives() {
    let registry = Faulty::new(content()).start();
    let (folder, host) = (lists(), registry.host());
    let here = folder.path();
    let read = |name: &str| fs::read(here.join(name)).unwrap();
    for list in ["one", "two"] {
        let name = |end: &str| format!("{list}.{end}");
        let (store, lock, packed, bundled) = (name("store"), name("lock"), name("tar"), name("bundle.tar"));
        let common = ["-f", list, "--from", host, "--platform", "linux/amd64"];
        let said = run(here, &[&["pull", "--store", &store, "--lock", &lock], &common[..]].concat()).ok().stderr;
        assert!(said.contains("2 images (2 new"), "{list}: {said}");
        assert_sound(&here.join(&store));
        run(here, &[&["bundle", "-o", &bundled, "--lock", &name("bundle.lock")], &common[..]].concat()).ok();
        assert_eq!(images(here, &[&["plan", "--json", "--no-referrers"], &common[..]].concat()), 2, "{list}");
        // What is in the store already is chosen by the same rule.
        let listed = ["-f", list, "--from", host, "--store", &store];
        run(here, &[&["pack", "-o", &packed], &listed[..]].concat()).ok();
        let bundle = ["-o", "x.tar", "--no-referrers", "--json"];
        assert_eq!(images(here, &[&["plan"], &listed[..], &bundle].concat()), 2, "{list}");
        let done = run(here, &[&["pack"], &listed[..], &bundle].concat()).ok().json();
        assert_eq!(done["images"], 2, "{list}");
        let to = ["select", "--to", &name("selected"), "--no-referrers", "--json"];
        assert_eq!(run(here, &[&to, &listed[..]].concat()).ok().json()["images"], 2, "{list}");
        assert!(read(&packed) == read(&bundled), "{list}: pack and bundle differ");
        assert_eq!(read(&lock), read(&name("bundle.lock")));
    }
    assert!(read("one.tar") == read("two.tar"), "the bundles differ");
    assert_eq!(String::from_utf8(read("two.lock")), String::from_utf8(read("one.lock")));
    let held = ls(&here.join("two.tar"));
    assert_eq!(held["images"][0]["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(ls(&here.join("two.store")), ls(&here.join("one.store")));
}

#[test]
fn the_lock_has_one_line_and_gives_the_same_again() {
    let registry = Faulty::new(content()).start();
    let (folder, host) = (lists(), registry.host());
    let here = folder.path();
    let read = |name: &str| fs::read_to_string(here.join(name)).unwrap();
    let made = run(here, &["lock", "-f", "two", "--from", host, "-o", "a.lock", "--json"]).ok().json();
    assert_eq!(made["images"], 2);
    assert_eq!(read("a.lock").matches(" platform=linux/amd64,linux/arm64 as=app:1 ").count(), 1);
    let pulled = run(here, &["pull", "-f", "a.lock", "--store", "s", "--lock", "b.lock"]).ok();
    assert!(!pulled.stderr.contains("already"), "{}", pulled.stderr);
    assert_eq!(read("a.lock"), read("b.lock"));
    run(here, &["pack", "-f", "a.lock", "--store", "s", "-o", "s.tar"]).ok();
    run(here, &["bundle", "-f", "a.lock", "-o", "b.tar"]).ok();
    assert!(fs::read(here.join("s.tar")).unwrap() == fs::read(here.join("b.tar")).unwrap());

    // Locks that have a line for each platform, each with what belongs to it, come to the same.
    for (name, platform) in [("amd.lock", "linux/amd64"), ("arm.lock", "linux/arm64")] {
        run(here, &["lock", "app:1", "--platform", platform, "--from", host, "-o", name]).ok();
    }
    let both = ["-f", "amd.lock", "-f", "arm.lock"];
    let words = [&["pull", "--store", "t", "--lock", "c.lock"], &both[..]].concat();
    run(here, &words).ok();
    let of_app = |name: &str| read(name).lines().find(|line| line.contains("as=app:1")).map(str::to_owned);
    assert_eq!(of_app("c.lock"), of_app("a.lock"));
    run(here, &[&["pack", "--store", "t", "-o", "t.tar"], &both[..]].concat()).ok();
    run(here, &[&["bundle", "-o", "c.tar"], &both[..]].concat()).ok();
    assert!(fs::read(here.join("t.tar")).unwrap() == fs::read(here.join("c.tar")).unwrap());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_push_brings_the_platforms_of_both_lines() {
    let upstream = Faulty::new(content()).start();
    let folder = lists();
    let (here, [amd, arm, v7]) = (folder.path(), children());
    let (store, bundle, list) = (here.join("store"), here.join("x.tar"), here.join("two"));
    pull(upstream.host(), &store, ["-f", text(&list), "--platform", "linux/amd64"]).ok();
    pack(&store, &bundle, ["-f", text(&list)]).ok();
    for source in [&*store, &*bundle, Path::new("-")] {
        // Debian's registry refuses an index that lacks one of its children.
        let registry = DockerRegistry::empty();
        let stdin = if source == Path::new("-") { fs::read(&bundle).unwrap() } else { Vec::new() };
        let said = push(source, registry.host(), ["-f", text(&list), "--no-referrers"]).input(stdin).ok().stderr;
        assert!(said.contains("2 images pushed"), "{said}");
        assert_eq!(said.matches("app:1 has a new digest").count(), 1, "{said}");
        let reached = reach(registry.host(), "app", "1");
        assert!(reached.absent.is_empty() && !reached.manifests.contains(&v7.digest()), "{reached:?}");
        for child in [&amd, &arm] {
            assert!(reached.manifests.contains(&child.digest()), "{}: {reached:?}", source.display());
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn two_spellings_of_a_name_are_one_image() {
    let registry = Faulty::new(content()).start();
    let port = registry.host().rsplit_once(':').unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (number, list) in
        ["tool\ntool:latest\n".to_owned(), format!("localhost:{port}/tool:1\n127.0.0.1:{port}/tool:1\n")]
            .iter()
            .enumerate()
    {
        let (store, lock) = (format!("{number}"), format!("{number}.lock"));
        fs::write(here.join("list"), list).unwrap();
        let common = ["-f", "list", "--from", registry.host()];
        let said = run(here, &[&["pull", "--store", &store, "--lock", &lock], &common[..]].concat()).ok().stderr;
        assert!(said.contains("1 image (1 new"), "{list}: {said}");
        assert_eq!(fs::read_to_string(here.join(&lock)).unwrap().matches("as=tool").count(), 1, "{list}");
        let other = DockerRegistry::empty();
        let said = run(here, &["push", &store, &format!("docker://{}", other.host()), "-f", "list"]).ok().stderr;
        assert!(said.contains("1 image pushed"), "{list}: {said}");
        let select = ["select", "--store", &store, "--to", &format!("{number}.to"), "-f", "list", "--json"];
        assert_eq!(run(here, &select).ok().json()["images"], 1, "{list}");
    }
}

/// Each registry has a platform that the other lacks: a lock has to say which is where.
#[test]
fn what_two_registries_have_is_fetched_from_both() {
    let [amd, arm, _] = children();
    let app = index(&[amd.clone(), arm.clone()]);
    let without = |child: &Image| {
        let mut content = Content::default().with("app:1", &app);
        content.repositories.get_mut("app").unwrap().manifests.remove(&child.digest());
        Faulty::new(content).start()
    };
    let (of_amd, of_arm) = (without(&arm), without(&amd));
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let list = format!("{}/app:1 platform=linux/amd64\n{}/app:1 platform=linux/arm64\n", of_amd.host(), of_arm.host());
    fs::write(here.join("list"), list).unwrap();
    for (list, store) in [("list", "a"), ("a.lock", "b")] {
        let lock = format!("{store}.lock");
        run(here, &["pull", "--no-referrers", "-f", list, "--store", store, "--lock", &lock]).ok();
        assert_eq!(fs::read_to_string(here.join(lock)).unwrap().matches("as=app:1").count(), 2);
    }
    run(here, &["pack", "-f", "list", "--store", "b", "-o", "two.tar"]).ok();
    run(here, &["bundle", "--no-referrers", "-f", "list", "-o", "one.tar"]).ok();
    assert!(fs::read(here.join("one.tar")).unwrap() == fs::read(here.join("two.tar")).unwrap());
    let held = ls(&here.join("one.tar"));
    assert_eq!(held["images"].as_array().unwrap().len(), 1);
    assert_eq!(held["images"][0]["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_place_may_be_named_for_each_platform() {
    let [amd, arm, v7] = children();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir(here.join("l")).unwrap();
    // The first two are children of one index within the index.
    index(&[index(&[amd, arm]), v7]).write_layout(&here.join("l"));
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    let list = platforms.map(|platform| format!("oci:l as=x:1 platform={platform}\n")).concat();
    fs::write(here.join("list"), list).unwrap();
    let said = run(here, &["pull", "-f", "list", "--store", "s", "--lock", "x.lock"]).ok().stderr;
    assert!(said.contains("1 image (1 new"), "{said}");
    let lock = fs::read_to_string(here.join("x.lock")).unwrap();
    let line = format!(" platform={} as=x:1 digest=", platforms.join(","));
    assert_eq!(lock.matches(&line).count(), 1, "{lock}");
    assert_eq!(ls(&here.join("s"))["images"][0]["platforms"], serde_json::json!(platforms));
    let registry = DockerRegistry::empty();
    push(&here.join("s"), registry.host(), ["-f", text(&here.join("list"))]).ok();
    assert_eq!(reach(registry.host(), "x", "1").manifests.len(), 5, "the index is whole again, and goes as it is");
}

#[test]
fn one_name_for_two_images_is_an_error_of_every_command() {
    let [amd, arm, _] = children();
    let registry = Faulty::new(Content::default().with("app:1", &amd).with("app:2", &arm)).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let list = format!("app:1@{}\napp:1@{}\n", amd.digest(), arm.digest());
    fs::write(here.join("list"), list).unwrap();
    pull(registry.host(), &here.join("s"), ["app:1", "app:2", "--all-platforms"]).ok();
    let empty = Faulty::new(Content::default()).start();
    let destination = format!("docker://{}", empty.host());
    for words in [
        &["pull", "--store", "t", "--from", registry.host()][..],
        &["bundle", "-o", "x.tar", "--from", registry.host()],
        &["lock", "-o", "x.lock", "--from", registry.host()],
        &["pack", "--store", "s", "-o", "x.tar"],
        &["select", "--store", "s", "--to", "u"],
        &["push", "s", &destination],
    ] {
        let output = run(here, &[words, &["-f", "list"]].concat()).run();
        assert_eq!(output.code, Some(if words[0] == "pull" { 3 } else { 1 }), "{words:?}: {}", output.stderr);
        let said = output.stderr.lines().find(|line| line.contains("list:2")).unwrap_or_default();
        let taken = format!("app:1 is already the name of list:1 (app:1@{})", amd.digest());
        assert!(said.contains(&arm.digest().to_string()), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(&taken), "{words:?}: {}", output.stderr);
    }
    assert_eq!(names(&here.join("t")), ["app:1"]);
    assert!(!here.join("x.tar").exists() && !here.join("x.lock").exists() && empty.content().repositories.is_empty());
}

#[test]
fn lines_that_fail_together_are_tried_again_together() {
    let registry = Faulty::new(content()).fault(On::blob(&layer(3, 3000).digest()), Effect::Status(404)).start();
    let (folder, host) = (lists(), registry.host());
    let here = folder.path();
    let words = ["pull", "-f", "two", "--from", host, "--store", "s", "--failed", "again", "--platform", "linux/amd64"];
    let said = run(here, &words).code(3).stderr;
    assert!(said.contains("1 of 2 images failed"), "{said}");
    let again = fs::read_to_string(here.join("again")).unwrap();
    let lines: Vec<&str> = again.lines().filter(|line| !line.starts_with("# ")).collect();
    assert_eq!(lines, ["##a", "app:1 platform=linux/amd64", "##b", "app:1 platform=linux/arm64"]);
}
