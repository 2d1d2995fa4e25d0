//! `hod sync` between registries, folders and YAML files, with `skopeo sync` as the judge in both directions.

mod image_syncer;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::faulty::Faulty;
use crate::support::hod::hod;
use crate::support::images::{Content, image, layer};
use crate::support::page::blocks;
use crate::support::skopeo::{self, skopeo};
use crate::support::tls::Certificates;
use crate::support::{fixtures, images, tree};

/// The arguments of a sync, without those for the transport of registries.
fn words<'a>(source: &'a str, destination: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let (from, to) = (source.split_once("://").unwrap(), destination.split_once("://").unwrap());
    ["sync", "--src", from.0, "--dest", to.0].into_iter().chain(more.iter().copied()).chain([from.1, to.1]).collect()
}

/// What skopeo says, which registries are asked over plain HTTP; each line without time and level.
fn skopeo_sync(source: &str, destination: &str, more: &[&str]) -> Vec<String> {
    let output = Command::new("skopeo")
        .env("HOME", "/nonexistent")
        .arg("--insecure-policy")
        .args(words(source, destination, more))
        .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let message = |line: &str| {
        let (quoted, rest) = line.split_once(" msg=\"")?.1.split_once('"')?;
        Some(format!("{quoted}{rest}"))
    };
    said.lines().filter_map(message).collect()
}

fn hod_sync(source: &str, destination: &str, more: &[&str]) -> crate::support::hod::Hod {
    hod(words(source, destination, more))
}

fn at(folder: &Path, name: &str) -> String {
    format!("dir://{}", folder.join(name).display())
}

/// Every tag of a registry with its digest, by skopeo.
fn tags(registry: &DockerRegistry) -> BTreeMap<String, Digest> {
    let repositories = registry.root().join("docker/registry/v2/repositories");
    let mut found = BTreeMap::new();
    for path in tree::listing(&repositories).keys() {
        if let Some((repository, rest)) = path.split_once("/_manifests/tags/")
            && let Some(tag) = rest.strip_suffix("/current/link")
        {
            let name = format!("{repository}:{tag}");
            let digest = skopeo::digest(&format!("{}/{name}", registry.host()));
            found.insert(name, digest);
        }
    }
    found
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn folders_are_those_of_skopeo_and_skopeo_syncs_them_back() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    for (number, (name, more)) in [
        ("web", &["--all"][..]),
        ("web", &[]),
        ("web:1.1", &["--all", "--scoped"]),
        ("base/busybox", &["--all", "--scoped"]),
        ("legacy/shell", &["--all", "--preserve-digests"]),
    ]
    .into_iter()
    .enumerate()
    {
        let source = format!("docker://{}/{name}", registry.host());
        let (theirs, ours) = (format!("theirs-{number}"), format!("ours-{number}"));
        let said = skopeo_sync(&source, &at(folder.path(), &theirs), more);
        let output = hod_sync(&source, &at(folder.path(), &ours), more).ok();
        tree::assert_same(&folder.path().join(&theirs), &folder.path().join(&ours));
        let summary = said.iter().find(|line| line.starts_with("Synced ")).unwrap();
        assert!(output.stderr.lines().any(|line| line == summary), "{summary}: {}", output.stderr);
    }
    // Back into registries, each tool from the other's folder.
    let (by_skopeo, by_hod) = (DockerRegistry::empty(), DockerRegistry::empty());
    let to = |registry: &DockerRegistry| format!("docker://{}/mirror", registry.host());
    skopeo_sync(&at(folder.path(), "ours-0"), &to(&by_skopeo), &["--all"]);
    hod_sync(&at(folder.path(), "theirs-0"), &to(&by_hod), &["--all"]).ok();
    let expected = ["1.0", "1.1"].map(|tag| (format!("mirror/web:{tag}"), fixtures::digest(&format!("web:{tag}"))));
    assert_eq!(tags(&by_skopeo), BTreeMap::from(expected.clone()));
    assert_eq!(tags(&by_hod), BTreeMap::from(expected));
    assert_no_garbage(by_hod.root());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn registries_and_files_give_what_skopeo_gives() {
    let certificates = Certificates::new();
    let plain = DockerRegistry::over(fixtures::root());
    let guarded = DockerRegistry::options().root(fixtures::root()).tls(&certificates).user("me", "secret").start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("images.yaml");
    let text = format!(
        "{}:\n  tls-verify: false\n  images:\n    web: [\"1.1\"]\n    certs: []\n    legacy/shell:\n      - {}\n  \
         images-by-tag-regex:\n    base/busybox: ^1\\.3[0-9]$\n\
         {}:\n  credentials: {{ username: me, password: secret }}\n  cert-dir: {}\n  tls-verify: true\n  \
         images: {{ edge/sensor: [\"1.0\"] }}\n",
        plain.host(),
        fixtures::digest("legacy/shell:2.0"),
        guarded.host(),
        certificates.folder().display()
    );
    fs::write(&file, text).unwrap();
    let source = format!("yaml://{}", file.display());
    for more in [&["--all"][..], &["--scoped", "--all"]] {
        let name = |side: &str| format!("{side}-{}", more.len());
        skopeo_sync(&source, &at(folder.path(), &name("theirs")), more);
        hod_sync(&source, &at(folder.path(), &name("ours")), more).ok();
        tree::assert_same(&folder.path().join(name("theirs")), &folder.path().join(name("ours")));
    }
    // The same file into a registry, and without the password.
    let target = DockerRegistry::empty();
    let to = format!("docker://{}/site", target.host());
    let output = hod_sync(&source, &to, &["--all", "--json"]).ok().json();
    let order: Vec<&str> =
        output["images"].as_array().unwrap().iter().map(|it| it["source"].as_str().unwrap()).collect();
    let names: Vec<&str> = order.iter().map(|name| name.splitn(4, '/').nth(3).unwrap()).collect();
    assert_eq!(names[..2], ["web:1.1", "certs:2023"]);
    assert_eq!(names[3..], ["base/busybox:1.35", "edge/sensor:1.0"]);
    let found = tags(&target);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["site/busybox:1.35", "site/certs:2023", "site/sensor:1.0", "site/web:1.1"]
    );
    let shell = format!("{}/site/shell@{}", target.host(), fixtures::digest("legacy/shell:2.0"));
    assert_eq!(skopeo::digest(&shell), fixtures::digest("legacy/shell:2.0"));
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("secret", "wrong")).unwrap();
    let denied = hod_sync(&source, &at(folder.path(), "denied"), &["--all", "--keep-going"]).code(3);
    assert!(
        denied.stderr.contains("edge/sensor:1.0") && denied.stderr.contains("1 of 5 images not copied"),
        "{}",
        denied.stderr
    );
    assert!(!denied.stderr.contains("wrong") && denied.stderr.contains("check the credentials"), "{}", denied.stderr);
    let origin = format!("access denied with the credentials from {}", file.display());
    assert!(denied.stderr.contains(&origin), "{}", denied.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn versions_are_chosen_by_constraints() {
    let one = image("linux/amd64", &[layer(1, 100)]);
    let names = ["v1.2.3", "1.2.4", "1.3", "2.0.0-rc1", "2.0.0", "latest"];
    let content = names.into_iter().fold(Content::default(), |all, tag| all.with(&format!("app:{tag}"), &one));
    let root = tempfile::tempdir().unwrap();
    content.write_root(root.path());
    let registry = DockerRegistry::over(root.path());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    let planned = |constraint: &str| {
        let text = format!("{}:\n  images-by-semver:\n    app: \"{constraint}\"\n", registry.host());
        fs::write(&file, text).unwrap();
        let to = at(folder.path(), "none");
        let output = hod_sync(&format!("yaml://{}", file.display()), &to, &["--dry-run", "--json"]).ok().json();
        let tag = |it: &Value| it["source"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
        let mut tags: Vec<String> = output["planned"].as_array().unwrap().iter().map(tag).collect();
        tags.sort();
        tags.join(" ")
    };
    assert_eq!(planned(">= 1.2.4"), "1.2.4 1.3 2.0.0");
    assert_eq!(planned("~1.2"), "1.2.4 v1.2.3");
    assert_eq!(planned(">=2.0.0-0"), "2.0.0 2.0.0-rc1");
    assert_eq!(planned("^1.3 || ^2"), "1.3 2.0.0");
    assert!(!folder.path().join("none").exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_dry_run_says_what_skopeo_says_and_writes_nothing() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let source = format!("docker://{}/web", registry.host());
    for (to, more) in [("docker://site.invalid:5000/x/", &["--all"][..]), ("dir:///nowhere/usb", &["--scoped"])] {
        let more = [more, &["--dry-run"]].concat();
        let theirs = if to.starts_with("dir") {
            // skopeo makes the folders even so.
            let other = at(folder.path(), "theirs");
            let said = skopeo_sync(&source, &other, &more);
            said.iter()
                .map(|line| line.replace(folder.path().join("theirs").to_str().unwrap(), "/nowhere/usb"))
                .collect()
        } else {
            skopeo_sync(&source, to, &more)
        };
        let ours = hod_sync(&source, to, &more).ok().stderr;
        let said: Vec<&str> = theirs.iter().map(String::as_str).filter(|line| line.starts_with("Would have")).collect();
        assert_eq!(said.len(), 3, "{theirs:?}");
        for line in said {
            assert!(ours.lines().any(|own| own == line), "{line}\n{ours}");
        }
    }
    assert!(!Path::new("/nowhere").exists());
    let suffixed = hod_sync(&source, "docker://site.invalid/x", &["--append-suffix=-a", "--dry-run"]).ok().stderr;
    assert!(suffixed.contains("to=\"docker://site.invalid/x/web:1.1-a\""), "{suffixed}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_there_is_skipped_and_what_is_different_stays() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let source = format!("docker://{}/web", registry.host());
    let tree_path = folder.path().join("usb");
    let usb = at(folder.path(), "usb");
    let digests = folder.path().join("digests");
    let more = ["--all", "--digestfile", digests.to_str().unwrap()];
    let first = hod_sync(&source, &usb, &more).ok();
    assert!(first.stderr.contains("2 images copied, 0 already there"), "{}", first.stderr);
    let written = fs::read_to_string(&digests).unwrap();
    let lines = ["1.0", "1.1"].map(|tag| {
        let name = format!("web:{tag}");
        format!("{} dir:{}\n", fixtures::digest(&name), tree_path.join(&name).display())
    });
    // The registry lists tags in an order of its own.
    let mut found: Vec<&str> = written.split_inclusive('\n').collect();
    found.sort_by_key(|line| line.rsplit_once(':').map(|(_, tag)| tag.to_owned()));
    assert_eq!(found, lines);
    let whole = tree::listing(&tree_path);
    let again = hod_sync(&source, &usb, &more).ok();
    assert!(again.stderr.contains("Synced 2 images from 1 sources"), "{}", again.stderr);
    assert!(again.stderr.contains("0 images copied, 2 already there"), "{}", again.stderr);
    assert_eq!(again.text(), "");
    assert_eq!(fs::read_to_string(&digests).unwrap(), written);
    // The beginning of an image is taken up again.
    let image = tree_path.join("web:1.0");
    fs::remove_file(image.join("manifest.json")).unwrap();
    let blob = fs::read_dir(&image)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().is_some_and(|name| name.len() == 64) && fs::metadata(path).unwrap().len() > 1000);
    fs::remove_file(blob.unwrap()).unwrap();
    hod_sync(&source, &usb, &["--all"]).ok();
    assert_eq!(tree::listing(&tree_path), whole);
    // Another image in its place is not touched.
    let ended = hod_sync(&source, &usb, &[]).code(1);
    assert!(ended.stderr.contains("2 of 2 images not copied"), "{}", ended.stderr);
    let other = hod_sync(&source, &usb, &["--keep-going"]).code(1);
    assert!(other.stderr.contains("web:1.0 contains another image"), "{}", other.stderr);
    assert_eq!(tree::listing(&tree_path), whole);
    // Registries are compared by digest.
    let target = DockerRegistry::empty();
    let to = format!("docker://{}", target.host());
    hod_sync(&usb, &to, &["--all"]).ok();
    let again = hod_sync(&source, &to, &["--all", "--json"]).ok().json();
    assert_eq!(again["bytesWritten"], 0);
    assert!(again["images"].as_array().unwrap().iter().all(|image| image["unchanged"] == true), "{again}");
    assert!(target.log().lines().filter(|line| line.contains("PUT") && line.contains("/manifests/1.0")).count() <= 1);
    let forced = hod_sync(&source, &to, &["--all", "--force", "--json"]).ok().json();
    assert!(forced["images"].as_array().unwrap().iter().all(|image| image["unchanged"] == false), "{forced}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_blob_of_several_images_is_fetched_once() {
    let shared = layer(1, 2_000_000);
    let content = (0..6).fold(Content::default(), |all, number| {
        let one = image("linux/amd64", &[shared.clone(), layer(100 + number, 1000)]);
        all.with(&format!("app:{number}"), &one)
    });
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let source = format!("docker://{}/app", registry.host());
    hod_sync(&source, &at(folder.path(), "usb"), &[]).ok();
    assert_eq!(registry.count(|seen| seen.is_blob(&shared.digest())), 1);
    for number in 0..6 {
        let file = folder.path().join(format!("usb/app:{number}")).join(shared.digest().hex());
        assert_eq!(fs::metadata(&file).unwrap().nlink(), 6, "{}", file.display());
        skopeo(["inspect", &format!("dir:{}", file.parent().unwrap().display())]);
    }
    let target = DockerRegistry::empty();
    hod_sync(&source, &format!("docker://{}/site", target.host()), &[]).ok();
    assert_eq!(registry.count(|seen| seen.is_blob(&shared.digest())), 2);
    assert_eq!(tags(&target).len(), 6);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn names_that_clash_are_found_before_anything_is_copied() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    let host = registry.host();
    fs::write(
        &file,
        format!(
            "{host}:\n  images:\n    web: [\"1.0\"]\nlocalhost:{}:\n  images:\n    web: [\"1.0\"]\n",
            host.rsplit_once(':').unwrap().1
        ),
    )
    .unwrap();
    let source = format!("yaml://{}", file.display());
    let clash = hod_sync(&source, &at(folder.path(), "usb"), &["--all", "--keep-going"]).code(2);
    let (one, other) = (
        format!("docker://{host}/web:1.0"),
        format!("docker://localhost:{}/web:1.0", host.rsplit_once(':').unwrap().1),
    );
    assert!(clash.stderr.contains(&format!("{one} and {other} would both become dir:")), "{}", clash.stderr);
    assert!(clash.stderr.contains("--scoped") && !folder.path().join("usb").exists(), "{}", clash.stderr);
    // Kept apart, they go into folders and from there into a registry, where a port is no part of a name.
    hod_sync(&source, &at(folder.path(), "usb"), &["--all", "--scoped"]).ok();
    let target = DockerRegistry::empty();
    hod_sync(&at(folder.path(), "usb"), &format!("docker://{}/site", target.host()), &["--all", "--scoped"]).ok();
    let port = host.rsplit_once(':').unwrap().1;
    let names: Vec<String> = tags(&target).into_keys().collect();
    assert_eq!(names, [format!("site/127.0.0.1-{port}/web:1.0"), format!("site/localhost-{port}/web:1.0")]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn failures_end_a_run_or_are_told_in_the_end() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    let source = format!("yaml://{}", file.display());
    let usb = at(folder.path(), "usb");
    let run = |text: &str, more: &[&str]| {
        fs::write(&file, text.replace("HOST", registry.host())).unwrap();
        hod_sync(&source, &usb, more)
    };
    let bad = "HOST:\n  images:\n    UPPER: []\n    web: [\"sha256:111111\"]\n    certs: []\n  extra: 1\n";
    let said = run(bad, &["--all"]).code(2).stderr;
    assert!(said.contains("UPPER") && said.contains("\"sha256:111111\" is neither a tag nor a digest"), "{said}");
    assert!(said.contains("\"extra\" has no effect") && said.contains("2 parts of"), "{said}");
    assert!(!folder.path().join("usb").exists() && !registry.log().contains("certs"));
    let said = run(bad, &["--all", "--keep-going"]).code(3).stderr;
    assert!(
        said.contains("Synced 1 images from 1 sources") && said.contains("2 parts of the source left out"),
        "{said}"
    );
    let absent = "HOST:\n  images:\n    certs: [\"1\", \"2023\"]\n    nothing: []\n";
    let said = run(absent, &["--all", "--keep-going"]).code(3).stderr;
    assert!(said.contains("cannot list the tags of") && said.contains("certs:1"), "{said}");
    let said = run(absent, &["--all"]).code(1).stderr;
    assert!(said.contains("cannot list the tags of") && said.contains("nothing"), "{said}");
    let said = run("HOST:\n  images:\n    certs: [\"1\"]\n", &["--all", "--json"]).code(1);
    assert_eq!(said.json()["failed"].as_array().unwrap().len(), 1);
    assert!(run("HOST:\n", &[]).code(2).stderr.contains("no images are named"));
    assert!(run("- x\n", &[]).code(2).stderr.contains("line 1, column"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, path) = (tempfile::tempdir().unwrap(), folder.path().display().to_string());
    let at_empty = empty.path().display().to_string();
    for (arguments, code, says) in [
        (["--src=dir", "--dest=dir", &path, "x"], 2, "from a directory to a directory"),
        (["--src=docker", "--dest=dir", "docker://web", "x"], 2, "transport"),
        (["--src=docker", "--dest=docker", "web", "docker://site"], 2, "has a transport prefix"),
        (["--src=gcr", "--dest=dir", "a", "b"], 2, "invalid value 'gcr'"),
        (["--src=dir", "--dest=docker", &at_empty, "site:5000"], 1, "contains no images"),
        (["--src=dir", "--dest=docker", "/nowhere/at/all", "site:5000"], 1, "/nowhere/at/all"),
        (["--src=yaml", "--dest=docker", "/nowhere.yaml", "site:5000"], 2, "cannot read /nowhere.yaml"),
        (["--src=docker", "--dest=docker", "UPPER", ""], 2, "empty"),
    ] {
        let output = hod(["sync"]).args(arguments).code(code);
        assert!(output.stderr.contains(says), "{arguments:?}: {}", output.stderr);
    }
    hod(["sync", "--src", "docker", "a", "b"]).code(2);
    hod(["sync", "--src=dir", "--dest=docker", "a"]).code(2);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_page_does_what_it_says() {
    let (upstream, site) = (DockerRegistry::over(fixtures::root()), DockerRegistry::empty());
    let folder = tempfile::tempdir().unwrap();
    let here =
        |text: &str| text.replace("registry.example:5000", upstream.host()).replace("registry.site:5000", site.host());
    let files = [
        ("images.yaml", &blocks("docs/sync.md", "yaml")[0]),
        ("rules.yaml", &blocks("docs/sync.md", "yaml")[1]),
        ("auth.json", &blocks("docs/sync.md", "json")[0]),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), here(text)).unwrap();
    }
    let commands: Vec<String> = blocks("docs/sync.md", "sh").iter().flat_map(|block| block.lines()).map(here).collect();
    assert_eq!(commands.len(), 9);
    for line in &commands {
        let words = line.split_whitespace().skip(1);
        let run = hod(words).in_folder(folder.path()).env("READER_PASSWORD", "x").env("WRITER_PASSWORD", "y");
        let output = run.ok();
        assert!(output.stderr.contains("ynced ") && !output.stderr.contains("Synced 0"), "{line}: {}", output.stderr);
    }
    let found = tags(&site);
    for name in [
        "mirror/web:1.0",
        "mirror/busybox:latest",
        "product/klibc:2.0",
        "rules/certs:2023",
        "rules/site:new",
        "rules/busybox:1.35",
    ] {
        assert!(found.contains_key(name), "{name} of {found:?}");
    }
    assert_eq!(found["product/web:1.1"], fixtures::digest("web:1.1"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_killed_run_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let image = images::write_big_root(root.path(), "big:1", 200_000_000);
    let registry = DockerRegistry::over(root.path());
    let source = format!("docker://{}/big", registry.host());
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("usb/big:1");
    let partial = directory.join(format!(".sha256-{}.partial", image.blobs[1].digest().hex()));
    let mut running = hod_sync(&source, &at(folder.path(), "usb"), &[]).spawn();
    running.until("a part of the layer", || fs::metadata(&partial).is_ok_and(|it| it.len() > 20_000_000));
    running.kill();
    assert!(!directory.join("manifest.json").exists());
    hod_sync(&source, &at(folder.path(), "usb"), &[]).ok();
    let ranges = registry.log().lines().filter(|line| line.contains("206")).count();
    assert!(ranges > 0 && !partial.exists(), "{}", registry.log());
    skopeo_sync(&source, &at(folder.path(), "theirs"), &[]);
    tree::assert_same(&folder.path().join("theirs"), &folder.path().join("usb"));
}
