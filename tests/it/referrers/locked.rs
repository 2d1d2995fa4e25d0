//! Locks say what belongs to images, and `hod bundle` carries it: the same bytes as pull and pack, whenever.

use std::path::Path;

use fs_err as fs;
use hod_oci::{Digest, referrers_tag};

use super::{Sample, assert_complete, pull, thing};
use crate::support::faulty::{Effect, Faulty, On, Running};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, artifact, image, index, layer};

/// Runs in the folder, with these words.
fn run(folder: &Path, words: &str) -> Hod {
    hod(words.split_whitespace()).in_folder(folder)
}

/// The three kinds of registries that referrers come from.
fn registries(sample: &Sample) -> [Running; 3] {
    [
        Faulty::new(sample.listed()).lists_referrers(1).start(),
        Faulty::new(sample.tagged()).start(),
        Faulty::new(sample.tagged()).lists_referrers(10).start(),
    ]
}

/// Somebody signs again, adds a note to the image, and takes one out of the list.
fn change(registry: &Running, sample: &Sample) {
    let added = thing("text/note", "added later", &sample.image);
    let signed_again = artifact("", &[Blob::new("text/plain", "another signature")], None);
    let list = index(&[sample.bill.clone(), added.clone()]);
    registry.change(|content| {
        let list_tag = referrers_tag(&sample.image.digest()).unwrap();
        let has_list = content.repositories["app"].tags.contains_key(list_tag.as_str());
        *content = content.clone().with("app", &added).with(&format!("app:{}", sample.cosign_tag()), &signed_again);
        if has_list {
            *content = content.clone().with(&format!("app:{list_tag}"), &list);
        }
    });
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_lock_gives_the_same_bytes_whatever_is_added_at_the_registry() {
    let sample = Sample::new();
    for registry in registries(&sample) {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let bytes = |name: &str| fs::read(here.join(name)).unwrap();
        pull(registry.host(), &here.join("a")).args(["--lock", "release.lock"]).in_folder(here).ok();
        run(here, "pack -q -f release.lock --store a -o a.tar").ok();
        let lock = fs::read_to_string(here.join("release.lock")).unwrap();
        for (subject, referrers) in sample.subjects() {
            let tag = referrers_tag(&subject).unwrap();
            assert!(referrers.iter().all(|it| lock.contains(&format!("{tag}@{}", it.digest()))), "{lock}");
        }
        assert!(lock.contains(&format!("{}@{}", sample.cosign_tag(), sample.cosign.digest())), "{lock}");

        change(&registry, &sample);
        run(here, "pull -q -f release.lock --store b").ok();
        run(here, "pack -q -f release.lock --store b -o b.tar").ok();
        assert!(bytes("a.tar") == bytes("b.tar"), "another machine, later");
        pull(registry.host(), &here.join("a")).ok();
        run(here, "pack -q -f release.lock --store a -o again.tar").ok();
        assert!(bytes("a.tar") == bytes("again.tar"), "the same store with more in it");
        run(here, "bundle -q -f release.lock -o one.tar").ok();
        assert!(bytes("a.tar") == bytes("one.tar"), "without a store");
        run(here, "unpack -q a.tar --root root").ok();
        assert_complete(&here.join("root"), &sample);
    }
}

#[test]
fn what_a_lock_names_must_be_there() {
    let sample = Sample::new();
    let registry = Faulty::new(sample.listed()).lists_referrers(10).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let words = ["lock", "app:1", "--platform", "linux/amd64", "--from", registry.host(), "-o", "release.lock"];
    hod(words).in_folder(here).ok();
    // A store that has the image alone.
    run(here, "pull -q -f release.lock --store bare --no-referrers").ok();
    let packed = run(here, "pack -f release.lock --store bare -o a.tar").code(1);
    assert!(packed.stderr.contains("of app:1, which the lock names, is missing"), "{}", packed.stderr);
    run(here, "pack -q -f release.lock --store bare -o bare.tar --no-referrers").ok();
    // A registry that has lost one.
    registry.fault(On::manifest(&sample.scan.digest().to_string()), Effect::Status(404));
    let pulled = run(here, "pull -f release.lock --store b").code(1);
    assert!(pulled.stderr.contains("cannot fetch the referrers of"), "{}", pulled.stderr);
    assert!(pulled.stderr.contains(&sample.scan.digest().to_string()), "{}", pulled.stderr);
}

#[test]
fn a_lock_without_referrers_says_so() {
    let sample = Sample::new();
    let registry = Faulty::new(sample.tagged()).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let lock = |more: &[&str]| {
        let words = ["lock", "app:1", "--platform", "linux/amd64", "--from", registry.host(), "-o", "release.lock"];
        hod(words.iter().chain(more)).in_folder(here).ok();
        fs::read_to_string(here.join("release.lock")).unwrap()
    };
    assert!(!lock(&[]).contains("referrers=none"));
    assert!(lock(&["--no-referrers"]).contains("referrers=none"));
    run(here, "pull -q -f release.lock --store a").ok();
    run(here, "pack -q -f release.lock --store a -o a.tar").ok();
    let listed = run(here, "ls a.tar --json").ok().json();
    assert_eq!(listed["images"].as_array().unwrap().len(), 1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn bundle_carries_what_pull_and_pack_carry() {
    let sample = Sample::new();
    for registry in registries(&sample) {
        // Another line, of another name, shares the repository, the layers and the list of referrers.
        registry.change(|content| *content = content.clone().with("app:2", &image("linux/amd64", &[layer(1, 5000)])));
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        for platforms in ["--all-platforms", "--platform linux/amd64"] {
            let images = format!("app:1 app:2 app:1 --from {} {platforms}", registry.host());
            run(here, &format!("bundle -q {images} -o one.tar")).ok();
            run(here, &format!("pull -q {images} --store store")).ok();
            run(here, &format!("pack -q {images} --store store -o two.tar")).ok();
            assert!(fs::read(here.join("one.tar")).unwrap() == fs::read(here.join("two.tar")).unwrap(), "{platforms}");
            run(here, "unpack -q one.tar --root root").ok();
            assert_complete(&here.join("root"), &sample);
            for made in ["store", "root"] {
                fs::remove_dir_all(here.join(made)).unwrap();
            }
        }
        let planned = run(here, &format!("plan app:1 app:2 --from {} --json", registry.host())).ok().json();
        run(here, &format!("bundle -q app:1 app:2 --from {} -o planned.tar", registry.host())).ok();
        assert_eq!(planned["bundle"]["bytes"], fs::metadata(here.join("planned.tar")).unwrap().len());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn lists_from_two_registries_are_merged_in_a_bundle_too() {
    let sample = Sample::new();
    let without = |referrer: &Digest| -> Content {
        let mut content = sample.listed();
        content.repositories.get_mut("app").unwrap().manifests.remove(referrer);
        content
    };
    let one = Faulty::new(without(&sample.note.digest())).lists_referrers(10).start();
    let two = Faulty::new(without(&sample.bill.digest())).lists_referrers(10).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let list = format!("{}/app:1 as=app:1\n{}/app:1 as=app:2\n", one.host(), two.host());
    fs::write(here.join("list"), list).unwrap();
    run(here, "bundle -q -f list -o one.tar --platform linux/amd64").ok();
    run(here, "pull -q -f list --store store --platform linux/amd64 --lock release.lock").ok();
    run(here, "pack -q -f list --store store -o two.tar --platform linux/amd64").ok();
    assert!(fs::read(here.join("one.tar")).unwrap() == fs::read(here.join("two.tar")).unwrap());
    run(here, "unpack -q one.tar --root root").ok();
    assert_complete(&here.join("root"), &sample);
    // A lock of both lines says the same of the list that they share.
    run(here, "pack -q -f release.lock --store store -o three.tar").ok();
    run(here, "bundle -q -f release.lock -o four.tar").ok();
    assert!(fs::read(here.join("three.tar")).unwrap() == fs::read(here.join("four.tar")).unwrap());
}
