//! Over the gap: `pack` and `unpack`, in every form, into roots that are empty, full or in use.

mod damage;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_bundle::BundleReader;
use hod_engine::observe::{Event, Observer, Stop};
use hod_oci::Digest;
use hod_steps::incoming::{ExistingTags, IncomingError, TagChange};
use hod_steps::unpack::UnpackError;
use hod_store::Store;
use walkdir::WalkDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, Image, image, index, layer};
use crate::support::job::{
    assert_clean, assert_registry_has, assert_serves, assert_sound, ls, manifest, names, pack, pull, reach, text,
    unpack,
};
use crate::support::{fixtures, tree};

fn app(seed: u64) -> Image {
    image("linux/amd64", &[layer(1, 1_500_000), layer(seed, 40_000)])
}

/// A root with this content, written by other hands than hod's.
fn root_of(content: &Content) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    content.write_root(folder.path());
    folder
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn every_form_carries_the_fixtures_whole() {
    let folder = tempfile::tempdir().unwrap();
    let listed = ls(fixtures::root());
    for (name, standard_output) in [("a.tar", false), ("b.tar.zst", false), ("c.tar", true)] {
        let bundle = folder.path().join(name);
        if standard_output {
            let output = pack(fixtures::root(), Path::new("-"), []).ok();
            assert!(output.stderr.contains("16 images"), "{}", output.stderr);
            fs::write(&bundle, output.stdout).unwrap();
            assert_eq!(fs::read(&bundle).unwrap(), fs::read(folder.path().join("a.tar")).unwrap());
        } else {
            pack(fixtures::root(), &bundle, []).ok();
        }
        assert_clean(&bundle);
        let of_bundle = ls(&bundle);
        for field in ["bytesUnique", "bytesOfImages"] {
            assert_eq!(of_bundle[field], listed[field]);
        }
        assert_eq!(names(&bundle), names(fixtures::root()));
        for standard_input in [false, true] {
            let root = folder.path().join(format!("{name}-{standard_input}"));
            let input = if standard_input { Path::new("-") } else { &bundle };
            let bytes = if standard_input { fs::read(&bundle).unwrap() } else { Vec::new() };
            let output = unpack(input, &root, []).input(bytes).ok();
            // The list of referrers of one of them is no image.
            assert_eq!(output.text().lines().filter(|line| line.ends_with("  new")).count(), 16, "{}", output.text());
            assert!(output.stderr.contains("16 images unpacked"), "{}", output.stderr);
            tree::assert_same(&fixtures::root().join("docker"), &root.join("docker"));
        }
    }
    assert_sound(&folder.path().join("b.tar.zst-true"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_manifest_may_be_a_layer_too() {
    let folder = tempfile::tempdir().unwrap();
    let child = app(2);
    let brought_along = Blob::new("application/octet-stream", child.bytes.clone());
    let content = Content::default().with("app:1", &index(&[child, image("linux/arm64", &[brought_along])]));
    let root = root_of(&content);
    let bundle = folder.path().join("x.tar");
    pack(root.path(), &bundle, []).ok();
    unpack(&bundle, &folder.path().join("root"), []).ok();
    assert_serves(&folder.path().join("root"), &content);
}

#[test]
fn standard_input_can_be_listed_and_verified_too() {
    for output in ["x.tar", "x.tar.zst"] {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join(output);
        pack(fixtures::root(), &bundle, []).ok();
        let bytes = fs::read(&bundle).unwrap();
        assert_eq!(hod(["ls", "-", "--json"]).input(&*bytes).ok().json(), ls(&bundle));
        assert_eq!(hod(["verify", "-", "--json"]).input(&*bytes).ok().json()["findings"], serde_json::json!([]));
    }
}

#[test]
fn the_same_list_and_content_give_the_same_bytes() {
    let images =
        [("b/app:1", app(2)), ("a:2", app(3)), ("a:1", index(&[app(2), image("linux/arm64", &[layer(5, 99)])]))];
    let content = images.iter().fold(Content::default(), |content, (name, image)| content.with(name, image));
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "##x\na:1\nb/app:1\n##y\na:2\n").unwrap();
    let stores = ["one", "two"].map(|name| folder.path().join(name));
    for (store, order) in stores.iter().zip([["b/app:1", "a:2", "a:1"], ["a:1", "a:2", "b/app:1"]]) {
        for name in order {
            pull(registry.host(), store, [name, "--all-platforms"]).ok();
        }
    }
    let packed = |store: &Path, name: &str, words: &[&str], epoch: Option<&str>| {
        let bundle = folder.path().join(name);
        let run = pack(store, &bundle, words.iter().copied());
        epoch
            .map_or_else(|| pack(store, &bundle, words.iter().copied()), |epoch| run.env("SOURCE_DATE_EPOCH", epoch))
            .ok();
        fs::read(bundle).unwrap()
    };
    for name in ["x.tar", "x.tar.zst"] {
        for words in [&["-f", text(&list)][..], &[]] {
            for epoch in [None, Some("1700000000")] {
                let [one, two] = stores.each_ref().map(|store| packed(store, name, words, epoch));
                assert!(one == two, "{name} {words:?} {epoch:?}");
                assert!(one == packed(&stores[0], name, &[words, &["--jobs", "1"]].concat(), epoch));
                assert_eq!(epoch.is_some(), one != packed(&stores[0], name, words, None));
            }
        }
    }
    pack(&stores[0], &folder.path().join("x.tar"), []).env("SOURCE_DATE_EPOCH", "yesterday").code(2);
    let group = folder.path().join("group.tar");
    pack(&stores[0], &group, ["-f", text(&list), "--group", "y"]).ok();
    assert_eq!(names(&group), ["a:2"]);
    assert_eq!(ls(&group)["images"][0]["group"], "y");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn tar_alone_makes_a_root_that_serves() {
    let content =
        Content::default().with("app:1", &app(2)).with("long/".repeat(20).as_str().trim_end_matches('/'), &app(3));
    let store = root_of(&content);
    for (name, command) in [("x.tar", "tar -xf \"$0\" -C \"$1\""), ("x.tar.zst", "zstd -dc \"$0\" | tar -x -C \"$1\"")]
    {
        let folder = tempfile::tempdir().unwrap();
        let (bundle, root) = (folder.path().join(name), folder.path().join("root"));
        fs::create_dir(&root).unwrap();
        pack(store.path(), &bundle, []).ok();
        let status = Command::new("sh").args(["-c", command, text(&bundle), text(&root)]).status().unwrap();
        assert!(status.success());
        assert_serves(&root, &content);
        // A root from tar is a store like any other.
        unpack(&bundle, &root, []).ok();
        assert_serves(&root, &content);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_in_use_serves_what_is_new_at_once() {
    let (before, after) = (app(2), app(3));
    let old = Content::default().with("app:1", &before).with("app:stays", &before).with("other:1", &app(9));
    let new = Content::default().with("app:1", &after).with("app:2", &app(4)).with("fresh/thing:1", &app(5));
    let (root, source) = (root_of(&old), root_of(&new));
    let bundle = source.path().join("x.tar");
    pack(source.path(), &bundle, []).ok();
    let registry = DockerRegistry::options().cache().root(root.path()).start();
    assert_registry_has(registry.host(), &old);
    // The registry remembers what it did not find, too.
    assert_eq!(manifest(registry.host(), "app", "2").status, 404);
    assert_eq!(manifest(registry.host(), "app", &after.digest().to_string()).status, 404);
    assert_eq!(manifest(registry.host(), "fresh/thing", "1").status, 404);
    unpack(&bundle, root.path(), []).ok();
    assert_registry_has(registry.host(), &new);
    reach(registry.host(), "app", &before.digest().to_string());
    assert_registry_has(registry.host(), &Content::default().with("app:stays", &before).with("other:1", &app(9)));
    drop(registry);
    assert_clean(root.path());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn tags_that_point_elsewhere_are_moved_kept_or_a_reason_to_stop() {
    let (before, after) = (app(2), app(3));
    let new = Content::default().with("app:1", &after).with("app:2", &app(4));
    let source = root_of(&new);
    let bundle = source.path().join("x.tar");
    pack(source.path(), &bundle, []).ok();
    let cases = [
        (&[][..], 0, after.digest(), "moved"),
        (&["--on-existing-tag", "overwrite"], 0, after.digest(), "moved"),
        (&["--on-existing-tag", "skip"], 0, before.digest(), "skipped"),
        (&["--on-existing-tag", "error"], 1, before.digest(), ""),
    ];
    for (words, code, expected, change) in cases {
        let root = root_of(&Content::default().with("app:1", &before));
        let untouched = root_of(&Content::default().with("app:1", &before));
        let output = unpack(&bundle, root.path(), words.iter().copied()).code(code);
        let served = DockerRegistry::over(root.path());
        assert_eq!(Digest::sha256(&manifest(served.host(), "app", "1").body), expected, "{words:?}");
        if code == 0 {
            let line = format!("app:1  {}  {change}\n", after.digest().short());
            assert!(output.text().contains(&line), "{}", output.text());
            assert!(output.text().contains("app:2  ") && output.text().contains("  new\n"), "{}", output.text());
            assert_eq!(reach(served.host(), "app", &after.digest().to_string()).absent.len(), 0);
        } else {
            assert!(output.stderr.contains("app:1"), "{}", output.stderr);
            tree::assert_same(&untouched.path().join("docker"), &root.path().join("docker"));
        }
        assert_clean(root.path());
    }
}

/// Gives a root some content when the first event comes: after the first look at its tags, and before all blobs.
struct Meanwhile<'a>(&'a Content, &'a Path, std::sync::Once);

impl Observer for Meanwhile<'_> {
    fn on(&self, _: &Event<'_>) {
        self.2.call_once(|| self.0.write_root(self.1));
    }
}

#[test]
fn a_tag_that_somebody_sets_in_the_meantime_is_one_that_was_there() {
    let (before, after) = (app(2), app(3));
    let source = root_of(&Content::default().with("app:1", &after));
    let bundle = source.path().join("x.tar");
    pack(source.path(), &bundle, []).ok();
    let theirs = Content::default().with("app:1", &before);
    for existing in [ExistingTags::Overwrite, ExistingTags::Skip, ExistingTags::Refuse] {
        let root = tempfile::tempdir().unwrap();
        let store = Store::create(root.path()).unwrap();
        let reader = BundleReader::new(fs::File::open(&bundle).unwrap()).unwrap();
        let meanwhile = Meanwhile(&theirs, root.path(), std::sync::Once::new());
        let done = hod_steps::unpack::unpack(reader, &store, existing, &meanwhile, &Stop::default());
        let found = store.tag(&"app".parse().unwrap(), &"1".parse().unwrap()).unwrap().unwrap();
        match (existing, done) {
            (ExistingTags::Overwrite, Ok(done)) => {
                assert_eq!((found, done.tags[0].3), (after.digest(), TagChange::Moved));
            }
            (ExistingTags::Skip, Ok(done)) => {
                assert_eq!((found, done.tags[0].3), (before.digest(), TagChange::Skipped));
            }
            (_, done) => {
                let error = done.unwrap_err();
                assert!(matches!(error, UnpackError::Incoming(IncomingError::Tags { .. })), "{error}");
                assert_eq!(found, before.digest());
                assert!(!store.has_revision(&"app".parse().unwrap(), &after.digest()).unwrap());
            }
        }
    }
}

/// Every file below a root, with what changes when it is written.
fn files(root: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let entries = WalkDir::new(root.join("docker")).into_iter().map(Result::unwrap);
    let times = |entry: walkdir::DirEntry| {
        let metadata = entry.metadata().unwrap();
        (entry.path().display().to_string(), (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    };
    entries.map(times).collect()
}

#[test]
fn a_second_unpack_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (bundle, root) = (folder.path().join("x.tar.zst"), folder.path().join("root"));
    pack(fixtures::root(), &bundle, []).ok();
    unpack(&bundle, &root, []).ok();
    let before = files(&root);
    let document = unpack(&bundle, &root, ["--json"]).ok().json();
    assert_eq!(document["written"]["count"], 0);
    assert!(document["tags"].as_array().unwrap().iter().all(|tag| tag["change"] == "unchanged"));
    unpack(&bundle, &root, ["--on-existing-tag", "error"]).ok();
    assert!(before == files(&root));
}

#[test]
fn pack_takes_what_a_list_names_and_says_what_is_not_there() {
    let content = Content::default().with("app:1", &app(2)).with("app:2", &app(3)).with("other:1", &app(4));
    let store = root_of(&content);
    let bundle = store.path().join("x.tar");
    pack(store.path(), &bundle, ["app:2", "other:1"]).ok();
    assert_eq!(names(&bundle), ["app:2", "other:1"]);
    let digest = app(2).digest();
    pack(store.path(), &bundle, [&*format!("app@{digest}")]).ok();
    assert_eq!(names(&bundle), [format!("app@{digest}")]);
    fs::remove_file(&bundle).unwrap();
    let output = pack(store.path(), &bundle, ["app:1", "app:9", "gone:1"]).code(1);
    assert!(output.stderr.contains("app:9") && output.stderr.contains("gone:1"), "{}", output.stderr);
    assert!(!bundle.exists());
    let empty = tempfile::tempdir().unwrap();
    assert!(pack(empty.path(), &bundle, []).run().code.is_some_and(|code| code == 1));
    pack(store.path(), &store.path().join("x.zip"), []).code(2);
    pack(store.path(), Path::new("/nowhere/x.tar"), []).code(1);
    pack(Path::new("/nowhere"), &bundle, []).code(1);
}
