//! `hod select`: some images of a store as a store of their own, with the same files and other links.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_oci::referrers_tag;
use walkdir::WalkDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Content, Image, artifact, attestation, image, index, layer};
use crate::support::job::{assert_clean, assert_serves, assert_sound, blob_path, flip, names, reach, text, whole};
use crate::support::skipped::is_root_for;
use crate::support::{fixtures, skopeo};

fn select<'a>(from: &'a Path, to: &'a Path, words: impl IntoIterator<Item = &'a str>) -> Hod {
    hod(["select", "--store", text(from), "--to", text(to)].into_iter().chain(words))
}

/// The files below a root with their inodes.
fn inodes(root: &Path, folder: &str) -> BTreeMap<PathBuf, u64> {
    let files = WalkDir::new(root.join(folder)).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.path().strip_prefix(root).unwrap().to_owned();
            (path, entry.metadata().unwrap().ino())
        })
        .collect()
}

const BLOBS: &str = "docker/registry/v2/blobs";
const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// An index with an attestation and a referrer, an image that is called by its digest alone, and one more.
struct Sample {
    app: Image,
    arm: Image,
    bill: Image,
    content: Content,
}

fn sample() -> Sample {
    let (base, amd) = (layer(1, 5000), layer(2, 3_000_000));
    let [amd, arm] = [("linux/amd64", amd), ("linux/arm64", layer(3, 700))]
        .map(|(platform, top)| image(platform, &[base.clone(), top]));
    let app = index(&[amd.clone(), arm.clone(), attestation(&amd)]);
    let bill = artifact("text/x", &[layer(5, 10)], Some(&app));
    let tag = referrers_tag(&app.digest()).unwrap();
    let content = Content::default()
        .with("a/b/app:1", &app)
        .with("a/b/app", &bill)
        .with(&format!("a/b/app:{tag}"), &index(std::slice::from_ref(&bill)))
        .with("tool:2", &image("linux/amd64", &[base, layer(4, 100)]))
        .with("tool", &image("linux/amd64", &[layer(6, 100)]))
        .with("other:1", &image("linux/amd64", &[layer(7, 100)]));
    Sample { app, arm, bill, content }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_list_of_a_root_in_use_becomes_a_root_of_its_own() {
    let source = fixtures::copy();
    let before = (inodes(source.path(), ""), crate::support::tree::listing(source.path()));
    let serving = DockerRegistry::over(source.path());
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    let list = fixtures::list();
    let report = select(source.path(), &to, ["-f", text(&list), "--group", "web", "--json"]).ok().json();
    assert_sound(&to);
    assert_eq!(names(&to), ["certs:2023", "charts/web:0.1.0", "web:1.0", "web:1.1"]);

    let (from, blobs) = (inodes(source.path(), BLOBS), inodes(&to, BLOBS));
    assert!(!blobs.is_empty() && blobs.iter().all(|(path, inode)| from[path] == *inode), "blobs are hard links");
    assert_eq!(report["linked"]["count"], blobs.len());
    assert_eq!((&report["copied"]["count"], &report["alreadyThere"]["count"]), (&0.into(), &0.into()));
    let (from, links) = (inodes(source.path(), REPOSITORIES), inodes(&to, REPOSITORIES));
    assert!(links.iter().all(|(path, inode)| from[path] != *inode), "link files are never shared");
    assert_eq!((inodes(source.path(), ""), crate::support::tree::listing(source.path())), before);

    // What a registry of version 2 writes in one root it writes in place; nobody sees it in the other.
    let site = DockerRegistry::over(&to);
    for name in ["web:1.0", "certs:2023"] {
        assert_eq!(skopeo::digest(&format!("{}/{name}", site.host())), fixtures::digest(name));
    }
    skopeo::copy_all(&format!("docker://{}/web:1.1", site.host()), &format!("docker://{}/web:1.0", site.host()));
    assert_eq!(skopeo::digest(&format!("{}/web:1.0", site.host())), fixtures::digest("web:1.1"));
    assert_eq!(skopeo::digest(&format!("{}/web:1.0", serving.host())), fixtures::digest("web:1.0"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_whole_store_and_again() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    sample.content.write_root(&from);
    let output = select(&from, &to, []).ok();
    assert!(output.stderr.contains("hard linked") && !output.stderr.contains("copied"), "{}", output.stderr);
    assert_serves(&to, &sample.content);
    assert_eq!(names(&to), names(&from), "images without a tag too");
    let mut same = inodes(&to, BLOBS);
    same.retain(|path, inode| inodes(&from, BLOBS).get(path) != Some(inode));
    assert!(same.is_empty(), "{same:?}");

    let before = inodes(&to, "docker");
    let report = select(&from, &to, ["--json"]).ok().json();
    assert_eq!(report["linked"]["count"], 0, "{report}");
    assert!(report["tags"].as_array().unwrap().iter().all(|tag| tag["change"] != "new" && tag["change"] != "moved"));
    assert_eq!(inodes(&to, "docker"), before);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn referrers_and_sparse_indexes_stay_what_they_are() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let (from, sparse, bare) = (folder.path().join("from"), folder.path().join("sparse"), folder.path().join("bare"));
    sample.content.write_root(&from);
    select(&from, &sparse, ["a/b/app:1", "--platform", "linux/arm64"]).ok();
    assert_sound(&sparse);
    // Of a store that has one child alone, that child is selected and nothing is missed.
    let again = folder.path().join("again");
    select(&sparse, &again, ["a/b/app:1"]).ok();
    for root in [&sparse, &again] {
        let registry = DockerRegistry::over(root);
        let reached = reach(registry.host(), "a/b/app", "1");
        assert_eq!(reached.blobs, whole(&sample.arm).blobs);
        assert!(reached.manifests.contains(&sample.app.digest()) && reached.manifests.contains(&sample.arm.digest()));
        assert_eq!(reached.absent.len(), 2);
        reach(registry.host(), "a/b/app", &sample.bill.digest().to_string());
        reach(registry.host(), "a/b/app", referrers_tag(&sample.app.digest()).unwrap().as_str());
    }
    let missing = select(&sparse, &folder.path().join("none"), ["a/b/app:1", "--platform", "linux/amd64"]).code(1);
    assert!(missing.stderr.contains("linux/amd64"), "{}", missing.stderr);

    select(&from, &bare, ["a/b/app:1", "--no-referrers"]).ok();
    assert_eq!(names(&bare), ["a/b/app:1"]);
    assert!(!blob_path(&bare, &sample.bill.digest()).exists());
}

#[test]
fn an_image_by_its_digest() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    sample.content.write_root(&from);
    select(&from, &to, [&*format!("a/b/app@{}", sample.arm.digest())]).ok();
    assert_clean(&to);
    assert_eq!(names(&to), [format!("a/b/app@{}", sample.arm.digest())]);
}

#[test]
fn every_name_that_is_not_there_is_said_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    let list = folder.path().join("list");
    fs::write(&list, "web:1.0\nweb:9.9\nnothing\n").unwrap();
    let output = select(fixtures::root(), &to, ["-f", text(&list), "no/such:1", "certs:2023"]).code(1);
    for name in ["web:9.9", "nothing", "no/such:1"] {
        assert!(output.stderr.contains(name), "{name}: {}", output.stderr);
    }
    assert!(!output.stderr.contains("web:1.0") && !to.exists(), "{}", output.stderr);
    select(fixtures::root(), fixtures::root(), []).code(2);
    select(folder.path(), &to, []).code(1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_existing_store_is_added_to() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    sample.content.write_root(&from);
    let mine = image("linux/amd64", &[layer(1, 5000), layer(90, 50)]);
    Content::default().with("tool:2", &mine).with("mine:1", &mine).write_root(&to);
    let refused = select(&from, &to, ["tool:2", "other:1", "--on-existing-tag", "error"]).code(1);
    assert!(refused.stderr.contains("tool:2") && !names(&to).contains(&"other:1".to_owned()), "{}", refused.stderr);

    let skipped = select(&from, &to, ["tool:2", "other:1", "--on-existing-tag", "skip"]).ok();
    assert!(skipped.text().contains("skipped") && skipped.stderr.contains("1 blob there before"), "{skipped:?}");
    let registry = DockerRegistry::over(&to);
    assert!(reach(registry.host(), "tool", "2").manifests.contains(&mine.digest()));
    assert!(select(&from, &to, ["tool:2"]).ok().text().contains("moved"));
    assert!(!reach(registry.host(), "tool", "2").manifests.contains(&mine.digest()));
    assert!(reach(registry.host(), "mine", "1").manifests.contains(&mine.digest()));
    drop(registry);
    assert_sound(&to);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn another_filesystem_gets_copies_that_were_checked() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let from = folder.path().join("from");
    sample.content.write_root(&from);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(folder.path()), device(memory.path()), "the test needs two filesystems");
    let to = memory.path().join("to");
    let output = select(&from, &to, []).ok();
    assert!(output.stderr.contains(" copied (") && !output.stderr.contains("linked"), "{}", output.stderr);
    assert_serves(&to, &sample.content);

    flip(&blob_path(&from, &sample.arm.blobs[2].digest()), 60);
    let other = memory.path().join("other");
    let damaged = select(&from, &other, ["a/b/app:1", "tool:2"]).code(4);
    assert!(damaged.stderr.contains(&sample.arm.blobs[2].digest().to_string()), "{}", damaged.stderr);
    assert!(damaged.stderr.contains("is needed by a/b/app:1"), "{}", damaged.stderr);
    assert_eq!(inodes(&other, REPOSITORIES), BTreeMap::new(), "nothing is visible");
    fs::remove_file(blob_path(&from, &sample.arm.blobs[2].digest())).unwrap();
    select(&from, &folder.path().join("gone"), ["a/b/app:1"]).code(4);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn others_files_are_copied_and_get_the_owner_of_the_root() {
    if !is_root_for("a root of others") {
        return;
    }
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    sample.content.write_root(&from);
    fs::create_dir(&to).unwrap();
    fs_err::os::unix::fs::chown(&to, Some(1234), Some(1235)).unwrap();
    let report = select(&from, &to, ["--json"]).ok().json();
    assert_eq!(report["linked"]["count"], 0);
    assert_serves(&to, &sample.content);
    for entry in WalkDir::new(to.join("docker")) {
        let metadata = entry.unwrap().metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn killed_and_run_again() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let from = folder.path().join("from");
    let mut content = sample.content;
    for seed in 100..150 {
        content = content.with(&format!("many:{seed}"), &image("linux/amd64", &[layer(seed, 300)]));
    }
    content.write_root(&from);
    // Folders come and go while one looks.
    let staged = |to: &Path| WalkDir::new(to.join(".hod/staged")).into_iter().filter_map(Result::ok).count();
    let moments: [&dyn Fn(&Path) -> bool; 3] =
        [&|to| staged(to) > 2, &|to| staged(to) > 100, &|to| to.join(REPOSITORIES).join("many").exists()];
    for (number, is_so) in moments.iter().enumerate() {
        let to = folder.path().join(number.to_string());
        let mut running = select(&from, &to, []).spawn();
        running.until("the moment", || to.exists() && (is_so(&to) || to.join(REPOSITORIES).join("tool").exists()));
        running.kill();
        assert_clean(&to);
        select(&from, &to, []).ok();
        assert_serves(&to, &content);
    }
}
