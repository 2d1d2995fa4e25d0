//! Commands that are killed at every call that changes a name or makes changes durable.
//!
//! After each kill the place is one that `hod verify` accepts, and the same command, run again, brings about what it would
//! have done at once, and leaves nothing of its own. The places are small, so that a test comes to every call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::support::faulty::Faulty;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, image, index, layer, random};
use crate::support::job::{assert_clean, pack, pull, push, text, unpack};
use crate::support::killed::Traced;
use crate::support::tree;

/// A command on a place, which is a folder of the test's own.
struct Job<'a> {
    /// Makes what the command finds.
    prepare: &'a dyn Fn(&Path),
    command: &'a dyn Fn(&Path) -> Hod,
    /// What is done while it runs.
    beside: &'a (dyn Fn(&Path, &Traced) + Sync),
    /// The command once more, and whatever is done while it runs, to its end.
    again: &'a dyn Fn(&Path),
}

/// Kills a command in place of each of its calls. Returns how many there were.
#[track_caller]
fn kill_everywhere(job: &Job<'_>) -> usize {
    let whole = tempfile::tempdir().unwrap();
    (job.prepare)(whole.path());
    (job.again)(whole.path());
    assert_whole(whole.path(), "at once");
    let expected = content(whole.path());
    for number in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        (job.prepare)(place);
        let ended = (job.command)(place).killed_at(number, |traced| (job.beside)(place, traced));
        if let Some(code) = ended.code {
            assert_eq!(code, 0, "after {number} calls: {}", ended.stderr);
            assert_whole(place, "the last run");
            return number - 1;
        }
        assert_sound(place);
        (job.again)(place);
        assert_whole(place, &format!("killed in place of call {number}"));
        assert_eq!(content(place), expected, "killed in place of call {number}");
    }
    unreachable!()
}

/// The same for a command that runs by itself, and is not told that it runs again.
#[track_caller]
fn kill_and_repeat(prepare: impl Fn(&Path), command: impl Fn(&Path) -> Hod) -> usize {
    let again = |place: &Path| drop(command(place).ok());
    kill_everywhere(&Job { prepare: &prepare, command: &command, beside: &|_, _| (), again: &again })
}

/// The place of these tests in a folder.
fn root(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// What is in the place, but for what hod has there of its own.
fn content(folder: &Path) -> BTreeMap<String, String> {
    let mut found = tree::listing(&root(folder));
    found.retain(|path, _| !path.starts_with(".hod"));
    found
}

/// Fails where `verify` finds anything. Where the first folders were not made yet there is nothing to look at.
#[track_caller]
fn assert_sound(folder: &Path) {
    let root = root(folder);
    let is_place = [root.join("docker/registry/v2"), root.join("index.json")].iter().any(|path| path.exists());
    let is_empty = !root.exists() || tree::listing(&root).values().all(|found| found.ends_with("folder"));
    assert!(is_place || is_empty, "{:#?}", tree::listing(&root));
    if is_place {
        assert_clean(&root);
    }
}

/// Fails where anything is wrong, or left of a run.
#[track_caller]
fn assert_whole(folder: &Path, when: &str) {
    assert_clean(&root(folder));
    let own = WalkDir::new(root(folder).join(".hod")).min_depth(1).into_iter().filter_map(Result::ok);
    let left: Vec<PathBuf> = own.map(walkdir::DirEntry::into_path).filter(|path| !is_lasting(path)).collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "{when}");
}

/// Whether something in `.hod` stays there.
fn is_lasting(path: &Path) -> bool {
    ["lock", "referrers", "partial", "staged"].iter().any(|name| path.ends_with(Path::new(".hod").join(name)))
}

/// An index with one child, and an image that shares a layer with it; one layer is large.
fn small() -> Content {
    let large = Blob::new("application/vnd.oci.image.layer.v1.tar", random(1, 1_100_000));
    Content::default()
        .with("app:1", &index(&[image("linux/amd64", std::slice::from_ref(&large))]))
        .with("app:2", &image("linux/amd64", &[layer(2, 100)]))
}

/// A store that has another image already, and one of the tags that come.
fn used(folder: &Path) {
    Content::default().with("app:1", &image("linux/amd64", &[layer(7, 100)])).write_root(&root(folder));
}

#[test]
fn a_pull_is_killed() {
    let registry = Faulty::new(small()).start();
    let command = |folder: &Path| pull(registry.host(), &root(folder), ["app:1", "app:2"]);
    let first = kill_and_repeat(|_| (), command);
    let more = kill_and_repeat(used, command);
    assert!(first > 40 && more > 30, "{first} and {more} kills");
}

#[test]
fn an_unpack_is_killed() {
    let source = tempfile::tempdir().unwrap();
    small().write_root(source.path());
    let bundle = source.path().join("x.tar");
    pack(source.path(), &bundle, []).ok();
    let kills = kill_and_repeat(used, |folder| unpack(&bundle, &root(folder), []));
    assert!(kills > 30, "{kills} kills");
}

#[test]
fn a_select_is_killed() {
    let source = tempfile::tempdir().unwrap();
    small().write_root(source.path());
    let kills =
        kill_and_repeat(used, |folder| hod(["select", "--store", text(source.path()), "--to", text(&root(folder))]));
    assert!(kills > 30, "{kills} kills");
}

#[test]
fn a_tag_is_killed() {
    let prepare = |folder: &Path| small().write_root(&root(folder));
    let command = |folder: &Path| hod(["tag", "--store", text(&root(folder)), "app:2", "1", "new", "mirror/app:2"]);
    let kills = kill_and_repeat(prepare, command);
    assert!(kills > 20, "{kills} kills");
}

#[test]
fn a_server_is_killed_while_somebody_pushes() {
    let source = tempfile::tempdir().unwrap();
    small().write_root(source.path());
    let serve = |folder: &Path| hod(["serve", text(&root(folder)), "--writable", "--listen", "127.0.0.1:0"]);
    let host = |printed: &str| printed.trim().rsplit('/').next().unwrap().to_owned();
    let beside = |_: &Path, server: &Traced| {
        let Some(printed) = server.until_printed("listening on http://") else { return };
        push(source.path(), &host(&printed), []).run();
        server.interrupt();
    };
    let again = |folder: &Path| {
        let mut server = serve(folder).spawn();
        server.until_printed("listening on http://");
        push(source.path(), &host(&server.printed()), []).ok();
        server.interrupt();
        server.wait();
    };
    let kills = kill_everywhere(&Job { prepare: &used, command: &serve, beside: &beside, again: &again });
    assert!(kills > 30, "{kills} kills");
}
