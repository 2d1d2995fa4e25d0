//! `hod copy --file`: what the options of a line say holds there as it does for a pull.

use std::path::Path;

use fs_err as fs;
use serde_json::{Value, json};

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Content, Image, artifact, attestation, image, index, layer};
use crate::support::job::{assert_clean, ls};
use crate::support::skopeo::skopeo;

fn children() -> [Image; 3] {
    [("linux/amd64", 2), ("linux/arm64", 3), ("linux/arm/v7", 4)]
        .map(|(platform, seed)| image(platform, &[layer(1, 5000), layer(seed, 3000)]))
}

/// The index `app:1` of three platforms, with an attestation of one.
fn app() -> Image {
    let [amd, arm, v7] = children();
    let attested = attestation(&arm);
    index(&[amd, arm, v7, attested])
}

fn tool() -> Image {
    image("linux/amd64", &[layer(1, 5000), layer(7, 100)])
}

fn content() -> Content {
    Content::default().with("app:1", &app()).with("tool:1", &tool())
}

fn run(folder: &Path, words: &[&str]) -> Hod {
    hod(words).in_folder(folder)
}

fn list(folder: &Path, text: &str) {
    fs::write(folder.join("list"), text).unwrap();
}

fn platforms(store: &Path, name: &str) -> Value {
    let held = ls(store);
    let image = held["images"].as_array().unwrap().iter().find(|image| image["name"] == name);
    image.unwrap_or_else(|| panic!("no {name}: {held}"))["platforms"].clone()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_platforms_of_a_line_are_copied_below_the_index() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let (here, from) = (folder.path(), format!("docker://{}", registry.host()));
    let [amd, arm, _] = children();
    list(here, "app:1 platform=linux/arm64\ntool:1\n");
    run(here, &["pull", "-f", "list", "--from", registry.host(), "--no-referrers", "--store", "pulled"]).ok();
    // What is asked of all is for the lines that do not say it themselves.
    for (number, more) in [&[][..], &["--all"], &["--platform", "linux/amd64"]].into_iter().enumerate() {
        let store = format!("store{number}");
        run(here, &[&["copy", "--file", "list", &from, &format!("store:{store}")], more].concat()).ok();
        assert_eq!(ls(&here.join(&store)), ls(&here.join("pulled")), "{more:?}");
        assert_clean(&here.join(&store));
    }
    assert_eq!(platforms(&here.join("store1"), "app:1"), json!(["linux/arm64"]));

    run(here, &["copy", "--file", "list", &from, "oci:layout"]).ok();
    run(here, &["copy", "--file", "list", &from, "dir:folder"]).ok();
    assert_eq!(skopeo(["inspect", "--raw", &format!("oci:{}:app:1", here.join("layout").display())]), app().bytes);
    assert_eq!(fs::read(here.join("folder/app:1/manifest.json")).unwrap(), app().bytes);
    for (child, is_there) in [(&arm, true), (&amd, false)] {
        let digest = child.digest();
        assert_eq!(here.join("layout/blobs/sha256").join(digest.hex()).exists(), is_there, "{digest}");
        let manifest = here.join("folder/app:1").join(format!("{}.manifest.json", digest.hex()));
        assert_eq!(manifest.exists(), is_there, "{digest}");
    }
    // A store has no more of it to give than that.
    list(here, "app:1 platform=linux/arm64\n");
    run(here, &["copy", "--file", "list", "store:pulled", "oci:again"]).ok();
    for asked in ["all", "linux/arm64,linux/amd64"] {
        list(here, &format!("app:1 platform={asked}\n"));
        let said = run(here, &["copy", "--file", "list", "store:pulled", "oci:more"]).code(1).stderr;
        assert!(said.contains(&format!("{} (linux/amd64) of the image is missing", amd.digest())), "{asked}: {said}");
    }
}

#[test]
fn two_lines_give_the_platforms_of_both() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let (here, from) = (folder.path(), format!("docker://{}", registry.host()));
    for (number, text, wanted) in [
        (0, "app:1 platform=linux/amd64\ntool:1\napp:1 platform=linux/arm64\n", json!(["linux/amd64", "linux/arm64"])),
        (1, "app:1 platform=linux/arm/v7\napp:1\n", json!(["linux/arm64", "linux/arm/v7"])),
        (2, "app:1\napp:1 platform=linux/arm/v7\n", json!(["linux/arm64", "linux/arm/v7"])),
        (3, "app:1 platform=linux/arm64\napp:1 platform=all\n", json!(["linux/amd64", "linux/arm64", "linux/arm/v7"])),
    ] {
        list(here, text);
        let store = format!("store{number}");
        let words = ["--override-arch", "arm64", "copy", "--file", "list", &from, &format!("store:{store}"), "--json"];
        let done = run(here, &words).ok().json();
        let copied: Vec<_> = done["images"].as_array().unwrap().iter().map(|image| &image["digest"]).collect();
        assert_eq!(copied[0], &json!(app().digest()), "{text}");
        assert_eq!(copied.len(), if number == 0 { 2 } else { 1 }, "{text}");
        assert_eq!(platforms(&here.join(&store), "app:1"), wanted, "{text}");
    }
}

#[test]
fn a_platform_that_is_absent_fails_that_image() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let (here, from) = (folder.path(), format!("docker://{}", registry.host()));
    list(here, "app:1 platform=linux/s390x\ntool:1\n");
    let said = run(here, &["copy", "--file", "list", &from, "oci:layout"]).code(3).stderr;
    assert!(said.contains("app:1") && said.contains("linux/s390x") && said.contains("linux/arm/v7"), "{said}");
    // An image that is no index is for one platform, and that was not the one that was asked for.
    list(here, "app:1\ntool:1 platform=linux/arm64\n");
    let said = run(here, &["copy", "--file", "list", &from, "oci:layout"]).code(3).stderr;
    assert!(said.contains("tool:1") && said.contains("linux/arm64") && said.contains("linux/amd64"), "{said}");
    let words = ["copy", "--platform", "linux/arm64", &format!("{from}/tool:1"), "dir:single"];
    let said = run(here, &words).code(1).stderr;
    assert!(said.contains("linux/arm64"), "{said}");
}

#[test]
fn places_for_one_platform_take_the_one_that_a_line_says() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let (here, from) = (folder.path(), format!("docker://{}", registry.host()));
    list(here, "app:1 platform=linux/arm/v7\ntool:1\n");
    run(here, &["copy", "--file", "list", &from, "docker-archive:one.tar"]).ok();
    run(here, &["copy", "--platform", "linux/arm/v7", &format!("{from}/app:1"), "docker-archive:alone.tar:app:1"]).ok();
    for archive in ["one.tar", "alone.tar"] {
        let place = format!("docker-archive:{archive}:app:1");
        let config = run(here, &["inspect", "--config", &place]).ok().json();
        assert_eq!(config["architecture"], "arm", "{config}");
    }
    list(here, "app:1 platform=linux/arm/v7,linux/amd64\ntool:1\n");
    let said = run(here, &["copy", "--file", "list", &from, "docker-archive:two.tar"]).code(1).stderr;
    assert!(said.contains("app:1") && said.contains("an image of several platforms: choose one"), "{said}");
    assert!(!said.contains("tool:1:"), "{said}");
    list(here, "tool:1 platform=linux/arm64\n");
    let said = run(here, &["copy", "--file", "list", &from, "docker-archive:three.tar"]).code(1).stderr;
    assert!(said.contains("linux/arm64"), "{said}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_wants_the_whole_index_says_so() {
    let upstream = Faulty::new(content()).start();
    let registry = DockerRegistry::empty();
    let folder = tempfile::tempdir().unwrap();
    let (here, from, to) =
        (folder.path(), format!("docker://{}", upstream.host()), format!("docker://{}", registry.host()));
    list(here, "app:1 platform=linux/arm64\ntool:1\n");
    let said = run(here, &["copy", "--file", "list", &from, &to]).code(3).stderr;
    assert!(said.contains("app:1") && said.contains("only with all of its images"), "{said}");
    list(here, "app:1 platform=all\ntool:1\n");
    let done = run(here, &["copy", "--file", "list", &from, &to, "--json"]).ok().json();
    assert_eq!(done["images"][0]["digest"], json!(app().digest()));
}

#[test]
fn an_index_alone_has_no_platforms() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let (here, from) = (folder.path(), format!("docker://{}", registry.host()));
    list(here, "tool:1\napp:1 platform=linux/arm64\n");
    let words = ["copy", "--multi-arch", "index-only", "--file", "list", &from, "oci:layout"];
    let said = run(here, &words).code(2).stderr;
    assert!(said.contains("list:2: app:1 platform=linux/arm64") && said.contains("index-only"), "{said}");
    assert!(!here.join("layout").exists() && registry.requests().is_empty());
}

#[test]
fn what_is_kept_under_another_name_is_found_there() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    list(here, "app:1 as=x/other:7 platform=all\n");
    run(here, &["pull", "-f", "list", "--from", registry.host(), "--store", "store", "--lock", "lock"]).ok();
    let lock = fs::read_to_string(here.join("lock")).unwrap();
    assert!(lock.contains("/app:1@") && lock.contains("as=x/other:7"), "{lock}");
    for (number, list) in ["list", "lock"].into_iter().enumerate() {
        for (place, back) in [("oci", "oci:back"), ("dir", "dir:back"), ("oci-archive", "oci-archive:back.tar")] {
            let to = format!("{back}{number}");
            run(here, &["copy", "--file", list, "store:store", &to]).ok();
            let there = format!("store:{place}{number}");
            run(here, &["copy", "--file", list, &to, &there]).ok();
            assert_eq!(ls(&here.join(format!("{place}{number}")))["images"], ls(&here.join("store"))["images"]);
        }
    }
    // A registry that the list does not name has what it names, and gets what it says.
    let to = Faulty::new(Content::default()).start();
    let (from, to) = (format!("docker://{}", registry.host()), format!("docker://{}", to.host()));
    run(here, &["copy", "--file", "list", &from, &to]).ok();
    run(here, &["inspect", "--raw", &format!("{to}/x/other:7")]).ok();
    let said = run(here, &["copy", "--file", "list", &from, "docker://"]).code(2).stderr;
    assert!(said.contains("list:1: app:1 as=x/other:7") && said.contains("as="), "{said}");
}

#[test]
fn a_digest_in_the_list_holds_for_every_source() {
    let registry = Faulty::new(content().with("app:2", &tool())).start();
    let folder = tempfile::tempdir().unwrap();
    let (here, from) = (folder.path(), format!("docker://{}", registry.host()));
    run(here, &["copy", "--all", &format!("{from}/app:2"), "oci:layout:app:1"]).ok();
    run(here, &["copy", "--all", &format!("{from}/app:2"), "dir:folder/app:1"]).ok();
    list(here, &format!("app:1@{} platform=all\n", app().digest()));
    for source in ["oci:layout", "dir:folder"] {
        let said = run(here, &["copy", "--file", "list", source, "oci:out"]).code(1).stderr;
        let says = format!("app:1 contains {}, but the list requires {}", tool().digest(), app().digest());
        assert!(said.contains(&says), "{source}: {said}");
        assert!(!here.join("out").exists());
    }
    run(here, &["copy", "--file", "list", &from, "oci:out"]).ok();
    run(here, &["copy", "--file", "list", "oci:out", "store:store"]).ok();
    assert_eq!(ls(&here.join("store"))["images"][0]["digest"], json!(app().digest()));
}

#[test]
fn what_belongs_to_an_image_is_not_left_behind_unsaid() {
    let [amd, ..] = children();
    let signature = artifact("text/x", &[layer(30, 10)], None);
    let tag = hod_oci::cosign_tags(&amd.digest()).next().unwrap();
    let registry = Faulty::new(
        Content::default().with("app:1", &amd).with(&format!("app:{tag}"), &signature).with("b:1", &tool()),
    )
    .start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let all = ["b:1", "app:1", "--from", registry.host(), "--all-platforms"];
    run(here, &[&["pull", "--store", "store", "--lock", "lock"], &all[..]].concat()).ok();
    let said = run(here, &["copy", "--file", "lock", "store:store", "oci:layout"]).code(2).stderr;
    assert!(said.contains("lock:3: ") && said.contains("app:1") && !said.contains("lock:2"), "{said}");
    assert!(said.contains("--no-referrers") && !here.join("layout").exists(), "{said}");
    run(here, &["copy", "--no-referrers", "--file", "lock", "store:store", "oci:layout"]).ok();
    // A lock of images alone says so, and is taken as it is.
    run(here, &[&["lock", "-o", "alone", "--no-referrers"], &all[..]].concat()).ok();
    run(here, &["copy", "--file", "alone", "store:store", "oci:images"]).ok();
    assert!(!here.join("images/blobs/sha256").join(signature.digest().hex()).exists());
}

/// `docker load` gives images the names of the archive, and pods ask for the names of the list: the registry is a part of
/// them, also where the store has names without.
#[test]
fn archives_have_the_complete_names_of_the_list() {
    let folder = tempfile::tempdir().unwrap();
    content().write_root(&folder.path().join("store"));
    let registry = Faulty::new(content()).start();
    for (source, name) in [("store:store", "a.tar"), ("bundle:all.tar", "b.tar")] {
        if source.starts_with("bundle") {
            run(folder.path(), &["pack", "--store", "store", "-o", "all.tar"]).ok();
        }
        let list = format!("quay.io/app:1 platform=linux/amd64\n{}/tool:1\n", registry.host());
        fs::write(folder.path().join("list"), list).unwrap();
        run(folder.path(), &["copy", "--file", "list", source, &format!("docker-archive:{name}")]).ok();
        let listed = run(folder.path(), &["list-tags", &format!("docker-archive:{name}")]).ok().json();
        let names: std::collections::BTreeSet<_> =
            listed["Tags"].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect();
        assert_eq!(names, ["quay.io/app:1".to_owned(), format!("{}/tool:1", registry.host())].into());
        // The archive answers to the list, too.
        run(folder.path(), &["copy", "--file", "list", &format!("docker-archive:{name}"), "oci:layout"]).ok();
        fs::remove_dir_all(folder.path().join("layout")).unwrap();
    }
}

#[test]
fn a_store_with_hosts_in_its_names_answers_to_its_list() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Faulty::new(content()).start();
    let line = format!("{}/app:1 platform=linux/amd64\n", registry.host());
    fs::write(folder.path().join("list"), &line).unwrap();
    run(folder.path(), &["pull", "-f", "list", "--store", "store", "--names", "with-host"]).ok();
    // Whoever reads the store need not know how it was pulled.
    run(folder.path(), &["pack", "-f", "list", "--store", "store", "-o", "all.tar"]).ok();
    run(folder.path(), &["select", "-f", "list", "--store", "store", "--to", "other"]).ok();
    let far = Faulty::new(Content::default()).start();
    run(folder.path(), &["push", "-f", "list", "all.tar", &format!("docker://{}", far.host())]).ok();
    let words = ["copy", "--file", "list", "--names", "with-host", "store:store", "docker-archive:a.tar"];
    run(folder.path(), &words).ok();
    let names = run(folder.path(), &["list-tags", "docker-archive:a.tar"]).ok().json()["Tags"].clone();
    assert_eq!(names, serde_json::json!([format!("{}/app:1", registry.host())]));
    let names = run(folder.path(), &["ls", "other", "--json"]).ok().json()["images"][0]["name"].clone();
    assert_eq!(names, format!("{}/app:1", registry.host().replace(':', "-")));
}

/// An image has the same name, whether the whole file is named or the image in it.
#[test]
fn an_image_of_an_archive_has_the_name_that_it_has_there() {
    let folder = tempfile::tempdir().unwrap();
    content().write_root(&folder.path().join("store"));
    run(folder.path(), &["copy", "--platform", "linux/amd64", "store:store:tool:1", "docker-archive:a.tar:tool:1"])
        .ok();
    // As docker writes it.
    let plain = |text: &[u8]| String::from_utf8_lossy(text).contains("docker.io/library/tool:1");
    assert!(plain(&fs::read(folder.path().join("a.tar")).unwrap()));
    let script = "mkdir x && tar -xf a.tar -C x && sed -i s,docker.io/library/tool:1,tool:1, x/manifest.json && \
                  tar -cf b.tar -C x .";
    let made = std::process::Command::new("sh").args(["-ec", script]).current_dir(folder.path()).status().unwrap();
    assert!(made.success());
    for (number, place) in
        ["b.tar", "b.tar:tool:1", "b.tar:docker.io/library/tool:1", "b.tar:@0"].into_iter().enumerate()
    {
        let store = format!("s{number}");
        run(folder.path(), &["pull", &format!("docker-archive:{place}"), "--store", &store]).ok();
        let name = run(folder.path(), &["ls", &store, "--json"]).ok().json()["images"][0]["name"].clone();
        assert_eq!(name, "tool:1", "{place}");
    }
}
