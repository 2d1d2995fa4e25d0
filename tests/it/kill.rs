//! Killed in every phase, and run again: nothing is lost, nothing half is visible, nothing is left over.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;
use walkdir::WalkDir;

use crate::support::faulty::{Effect, Faulty, On, Running as Registry};
use crate::support::hod::{Running, hod};
use crate::support::images::{Blob, Content, Image, image, index, layer, random, write_big_root};
use crate::support::job::{assert_clean, assert_serves, blob_path, names, pack, pull, text, unpack, visible};
use crate::support::pipe::Pipe;

fn large(seed: u64) -> Blob {
    Blob::new("application/vnd.oci.image.layer.v1.tar", random(seed, 2_000_000))
}

struct Scene {
    content: Content,
    first: Blob,
    second: Blob,
}

/// Two large blobs, small ones, an index, and several tags.
fn scene() -> Scene {
    let (first, second) = (large(1), large(2));
    let child = |platform: &str, seed| image(platform, &[layer(seed, 500), layer(9, 2000)]);
    let mut content = Content::default()
        .with("first:1", &image("linux/amd64", &[first.clone(), layer(3, 100)]))
        .with("second:1", &image("linux/amd64", &[second.clone(), layer(3, 100)]))
        .with("many:1", &index(&[child("linux/amd64", 4), child("linux/arm64", 5)]));
    for seed in 20..40 {
        content = content.with(&format!("small:{seed}"), &image("linux/amd64", &[layer(seed, 300)]));
    }
    Scene { content, first, second }
}

fn all(content: &Content) -> Vec<String> {
    let tags =
        content.repositories.iter().flat_map(|(name, held)| held.tags.keys().map(move |tag| format!("{name}:{tag}")));
    tags.collect()
}

fn pull_all(registry: &Registry, store: &Path, content: &Content) -> crate::support::hod::Hod {
    let names = all(content);
    pull(registry.host(), store, names.iter().map(String::as_str).chain(["--all-platforms"]))
}

/// What hod has of its own in a root, but for the lock: nothing once everything is done.
fn unfinished(root: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(root.join(".hod")).min_depth(2).into_iter().map(Result::unwrap);
    entries.map(walkdir::DirEntry::into_path).collect()
}

fn partial(root: &Path, blob: &Blob) -> u64 {
    let path = root.join(".hod/partial").join(blob.digest().to_string().replace(':', "-"));
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// A moment at which to kill: a fault that makes the pull stay there, and how to see that it has come so far.
type Moment = (&'static str, fn(&Scene) -> (On, Effect), fn(&Scene, &Registry, &Path) -> bool);

const MOMENTS: [Moment; 5] = [
    (
        "while manifests are asked for",
        |_| (On::manifest("30").once(), Effect::Stall { after: 0 }),
        |_, registry, _| registry.count(|seen| seen.is_manifest("30")) > 0,
    ),
    (
        "while a blob grows",
        |scene| (On::blob(&scene.second.digest()).once(), Effect::Stall { after: 1_500_000 }),
        |scene, _, root| partial(root, &scene.second) > 900_000,
    ),
    (
        "when the first blob is in its place",
        |scene| (On::blob(&scene.second.digest()).once(), Effect::Stall { after: 1_500_000 }),
        |scene, _, root| blob_path(root, &scene.first.digest()).exists(),
    ),
    (
        "when the first tag is there",
        |scene| (On::blob(&scene.second.digest()).once(), Effect::Stall { after: 10 }),
        |_, _, root| visible(root).iter().any(|path| path.ends_with("current/link")),
    ),
    (
        "when all but one image are there",
        |scene| (On::blob(&scene.second.digest()).once(), Effect::Stall { after: 10 }),
        |scene, _, root| {
            let tags = visible(root).iter().filter(|path| path.ends_with("current/link")).count();
            tags == all(&scene.content).len() - 1
        },
    ),
];

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pull_is_killed_at_known_moments() {
    for (moment, fault, is_so) in MOMENTS {
        for ending in ["kill", "interrupt"] {
            let scene = scene();
            let (on, effect) = fault(&scene);
            let registry = Faulty::new(scene.content.clone()).fault(on, effect).start();
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            let mut running = pull_all(&registry, root, &scene.content).spawn();
            running.until(moment, || is_so(&scene, &registry, root));
            end(running, ending);
            assert_clean(root);
            pull_all(&registry, root, &scene.content).ok();
            assert_serves(root, &scene.content);
            assert_eq!(unfinished(root), Vec::<PathBuf>::new(), "{moment}");
            if moment != "while a blob grows" && partial(root, &scene.second) == 0 {
                assert!(registry.count(|seen| seen.is_blob(&scene.first.digest())) <= 2);
            }
        }
    }
}

/// Ends a run by SIGKILL, or as Ctrl-C does.
fn end(running: Running, how: &str) {
    if how == "kill" {
        assert_eq!(running.kill().code, None);
        return;
    }
    running.interrupt();
    let output = running.wait();
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    assert!(output.stderr.contains("error: interrupted"), "{}", output.stderr);
    assert!(
        output.stderr.contains("hint: run the same command again: it resumes where it stopped"),
        "{}",
        output.stderr
    );
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pull_is_killed_at_every_few_requests() {
    let scene = scene();
    let registry = Faulty::new(scene.content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for step in [1, 5, 20, 26, 30, 36, 44, 60] {
        let before = registry.requests().len();
        let running = pull_all(&registry, root, &scene.content).spawn();
        // A run that finds more in place makes fewer requests.
        let mut running = running;
        let mut ended = false;
        running.until("enough requests", || {
            ended = registry.requests().len() >= before + step.min(23);
            ended
        });
        drop(running);
        assert_clean(root);
    }
    pull_all(&registry, root, &scene.content).ok();
    assert_serves(root, &scene.content);
    assert_eq!(unfinished(root), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn two_pulls_at_once_share_the_work() {
    let scene = scene();
    let registry = Faulty::new(scene.content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let runs = [(); 3].map(|()| pull_all(&registry, folder.path(), &scene.content).spawn());
    for running in runs {
        let output = running.wait();
        assert_eq!(output.code, Some(0), "{}", output.stderr);
    }
    for blob in [&scene.first, &scene.second] {
        assert_eq!(registry.count(|seen| seen.is_blob(&blob.digest())), 1);
    }
    assert_serves(folder.path(), &scene.content);
    assert_eq!(unfinished(folder.path()), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pack_is_killed_and_goes_on_where_it_stopped() {
    /// Bytes that are compared with what is there, and written, at a time.
    const BLOCK: u64 = 1024 * 1024;
    let store = tempfile::tempdir().unwrap();
    let image = write_big_root(store.path(), "big:1", 200_000_000);
    let folder = tempfile::tempdir().unwrap();
    let left = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    for name in ["x.tar", "x.tar.zst"] {
        let (bundle, partial) = (folder.path().join(name), folder.path().join(format!(".{name}.partial")));
        for (ending, size, is_damaged) in
            [("kill", 0, false), ("interrupt", 3_000_000, false), ("kill", 3_000_000, true)]
        {
            let mut running = pack(store.path(), &bundle, []).spawn();
            running.until("a part of the bundle is there", || {
                partial.metadata().is_ok_and(|metadata| metadata.len() >= size)
            });
            end(running, ending);
            assert_eq!(left(), std::slice::from_ref(&partial), "{name}: what is not whole has not its name");
            if is_damaged {
                let file = fs::OpenOptions::new().write(true).open(&partial).unwrap();
                file.write_all_at(&[7; 100], BLOCK + 1000).unwrap();
            }
            let there = partial.metadata().unwrap().len();
            let done = pack(store.path(), &bundle, ["--json"]).ok().json();
            let kept = done["bytesKept"].as_u64().unwrap();
            let expected = if is_damaged { BLOCK } else { there / BLOCK * BLOCK };
            assert_eq!(kept, expected, "{name}: {there} bytes were there");
            assert_clean(&bundle);
            assert_eq!(left(), std::slice::from_ref(&bundle), "{name}");
            fs::remove_file(&bundle).unwrap();
        }
    }
    assert_serves(store.path(), &Content::default().with("big:1", &Image { blobs: Vec::new(), ..image }));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn unpack_is_killed_while_the_bundle_comes() {
    let scene = scene();
    let source = tempfile::tempdir().unwrap();
    scene.content.write_root(source.path());
    for name in ["x.tar", "x.tar.zst"] {
        let bundle = source.path().join(name);
        pack(source.path(), &bundle, []).ok();
        let bytes = fs::read(&bundle).unwrap();
        let before = Content::default().with("first:1", &image("linux/amd64", &[layer(80, 10)]));
        let root = tempfile::tempdir().unwrap();
        before.write_root(root.path());
        let seen = visible(root.path());
        let ends = [100, bytes.len() / 8, bytes.len() / 2, bytes.len() * 9 / 10, bytes.len() - 1];
        for (end_at, ending) in ends.into_iter().zip(["kill", "kill", "interrupt", "kill", "kill"]) {
            let pipe = root.path().join("pipe");
            let there = Pipe::at(&pipe);
            let mut running = unpack(&pipe, root.path(), []).spawn();
            let mut writer = there.writer();
            // Returns when all but what a pipe holds has been read.
            writer.write_all(&bytes[..end_at]).unwrap();
            if end_at > bytes.len() * 3 / 4 {
                running.until("a blob is in its place", || blob_path(root.path(), &scene.first.digest()).exists());
            }
            if ending == "interrupt" {
                running.interrupt();
                // The end of the bundle would be an error of its own, and might be noticed first.
                let code = running.wait().code;
                drop(writer);
                assert!(matches!(code, Some(130)), "{code:?}");
            } else {
                running.kill();
            }
            assert_eq!(visible(root.path()), seen, "{name} killed at {end_at}");
            assert_clean(root.path());
            fs::remove_file(pipe).unwrap();
        }
        unpack(&bundle, root.path(), []).ok();
        assert_serves(root.path(), &scene.content);
        assert_eq!(unfinished(root.path()), Vec::<PathBuf>::new());
    }
}

/// Of a bundle at rest only what the interrupted run has not read is read: damage in front of that is not even seen.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn unpack_goes_on_where_it_stopped() {
    let source = tempfile::tempdir().unwrap();
    let first = Blob::new("application/vnd.oci.image.layer.v1.tar", random(1, 70_000_000));
    let content = Content::default().with("app:1", &image("linux/amd64", &[first.clone(), large(2)]));
    content.write_root(source.path());
    for name in ["x.tar", "x.tar.zst"] {
        let bundle = source.path().join(name);
        pack(source.path(), &bundle, []).ok();
        let mut bytes = fs::read(&bundle).unwrap();
        let begin = bytes.windows(64).position(|window| first.bytes.starts_with(window)).unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = source.path().join("pipe");
        let pipe = Pipe::at(&path);
        let mut running = unpack(&path, root.path(), []).spawn();
        let mut writer = pipe.writer();
        writer.write_all(&bytes[..bytes.len() - 1_000_000]).unwrap();
        running.until("a blob is in its place", || blob_path(root.path(), &first.digest()).exists());
        running.until("that is noted", || unfinished(root.path()).iter().any(|path| text(path).contains("/bundle-")));
        running.kill();
        drop(writer);
        fs::remove_file(path).unwrap();

        // Read again it would fail.
        bytes[begin + 10_000_000] ^= 1;
        fs::write(&bundle, &bytes).unwrap();
        let other = tempfile::tempdir().unwrap();
        unpack(&bundle, other.path(), []).code(4);
        // And so it does where the root has lost the blob meanwhile.
        let place = blob_path(root.path(), &first.digest());
        let aside = source.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        unpack(&bundle, root.path(), []).code(4);
        fs::rename(&aside, &place).unwrap();
        let done = unpack(&bundle, root.path(), ["--json"]).ok().json();
        assert_eq!(done["alreadyThere"]["bytes"].as_u64().unwrap() / 70_000_000, 1, "{done}");
        assert_serves(root.path(), &content);
        assert_eq!(unfinished(root.path()), Vec::<PathBuf>::new(), "{name}");
        // A run that is not the rest of another looks at everything.
        unpack(&bundle, root.path(), []).code(4);
        fs::remove_file(&bundle).unwrap();
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn unpack_is_killed_while_links_come_to_be() {
    let mut content = Content::default();
    for seed in 0..150 {
        content = content.with(&format!("small{}:{seed}", seed % 10), &image("linux/amd64", &[layer(seed, 20)]));
    }
    let source = tempfile::tempdir().unwrap();
    content.write_root(source.path());
    let bundle = source.path().join("x.tar");
    pack(source.path(), &bundle, []).ok();
    let root = tempfile::tempdir().unwrap();
    let links = root.path().join("docker/registry/v2/repositories/small9");
    for condition in [".hod/staged", "docker/registry/v2/repositories/small0", text(&links)] {
        let path = root.path().join(condition);
        let mut running = unpack(&bundle, root.path(), []).spawn();
        running.until(condition, || path.exists());
        running.kill();
        assert_clean(root.path());
        let tags = visible(root.path()).iter().filter(|path| path.ends_with("current/link")).count();
        assert!(tags == 0 || names(root.path()).len() == tags);
    }
    unpack(&bundle, root.path(), []).ok();
    assert_serves(root.path(), &content);
    assert_eq!(unfinished(root.path()), Vec::<PathBuf>::new());
}

/// An archive is written anew, and `verify` begins again.
#[test]
fn who_begins_again_does_not_say_that_it_goes_on() {
    let scene = scene();
    let stall = || Effect::Stall { after: 1_500_000 };
    let registry = Faulty::new(scene.content.clone()).fault(On::blob(&scene.first.digest()), stall()).start();
    let folder = tempfile::tempdir().unwrap();
    let source = format!("docker://{}/first:1", registry.host());
    for (destination, goes_on) in [("docker-archive:x.tar:a:1", false), ("dir:x", true)] {
        let before = registry.requests().len();
        let mut running = hod(["copy", &source, destination]).in_folder(folder.path()).spawn();
        running.until("the layer is asked for", || {
            registry.requests()[before..].iter().any(|seen| seen.is_blob(&scene.first.digest()))
        });
        running.interrupt();
        let output = running.wait();
        assert_eq!(output.code, Some(130), "{}", output.stderr);
        assert!(output.stderr.contains("hint: run the same command again"), "{}", output.stderr);
        assert_eq!(output.stderr.contains("it resumes where it stopped"), goes_on, "{destination}: {}", output.stderr);
    }
}
