//! Commands that are killed at every call that changes a name or makes changes durable.
//!
//! After each kill the place is one that `hod verify` accepts, and the same command, run again, brings about what it would
//! have done at once, and leaves nothing of its own. The places are small, so that a test comes to every call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_engine::observe::{SilentObserver, Stop};
use hod_oci::{Digest, referrers_tag};
use hod_steps::verify::verify_store;
use hod_store::Store;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::support::faulty::Faulty;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, artifact, image, index, layer, random};
use crate::support::job::{assert_clean, pack, pull, push, text, unpack};
use crate::support::killed::Traced;
use crate::support::tree;

/// A command on a place, which is below a folder of the test's own.
struct Job<'a> {
    /// Makes what the command finds.
    prepare: &'a dyn Fn(&Path),
    command: &'a dyn Fn(&Path) -> Hod,
    /// What is done while it runs.
    beside: &'a (dyn Fn(&Traced) + Sync),
    /// The command once more, to its end, with whatever is done while it runs.
    again: &'a dyn Fn(&Path),
}

/// Kills a command in place of each of its calls. Returns how many there were.
#[track_caller]
fn kill_everywhere(job: &Job<'_>) -> usize {
    let place = || {
        let folder = tempfile::tempdir().unwrap();
        (job.prepare)(folder.path());
        folder
    };
    let whole = place();
    (job.again)(whole.path());
    assert_whole(whole.path(), "never killed");
    let expected = content(whole.path());
    for number in 1.. {
        let folder = place();
        let ended = (job.command)(folder.path()).killed_at(number, job.beside);
        if let Some(code) = ended.code {
            assert_eq!(code, 0, "{}", ended.stderr);
            assert_whole(folder.path(), "the last run");
            return number - 1;
        }
        assert_sound(folder.path());
        (job.again)(folder.path());
        let when = format!("killed in place of call {number}");
        assert_whole(folder.path(), &when);
        assert_eq!(content(folder.path()), expected, "{when}");
    }
    unreachable!()
}

/// The same for a command that runs by itself, and is not told that it runs again.
#[track_caller]
fn kill_and_repeat(prepare: impl Fn(&Path), command: impl Fn(&Path) -> Hod) -> usize {
    let again = |folder: &Path| drop(command(folder).ok());
    kill_everywhere(&Job { prepare: &prepare, command: &command, beside: &|_| (), again: &again })
}

/// The place in a folder.
fn root(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// What is in the place, but for what hod has there of its own.
fn content(folder: &Path) -> BTreeMap<String, String> {
    let mut found = tree::listing(&root(folder));
    found.retain(|path, _| !path.starts_with(".hod"));
    found
}

/// Fails where `verify` finds anything. Before the first folders are made there is nothing to look at.
#[track_caller]
fn assert_sound(folder: &Path) {
    let root = root(folder);
    if root.join("oci-layout").exists() {
        assert_clean(Path::new(&format!("oci:{}", text(&root))));
    } else if root.join("docker/registry/v2").exists() {
        let found = verify_store(&Store::open(&root).unwrap(), &SilentObserver, &Stop::default()).unwrap();
        assert_eq!(found.findings, []);
    } else if root.exists() {
        let files: Vec<PathBuf> = below(&root).filter(|path| path.is_file() && !is_lasting(path)).collect();
        assert_eq!(files, Vec::<PathBuf>::new());
    }
}

/// Fails where anything is wrong, or left of a run.
#[track_caller]
fn assert_whole(folder: &Path, when: &str) {
    assert_sound(folder);
    let left: Vec<PathBuf> = below(&root(folder).join(".hod")).filter(|path| !is_lasting(path)).collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "{when}");
}

fn below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    WalkDir::new(folder).min_depth(1).into_iter().filter_map(Result::ok).map(walkdir::DirEntry::into_path)
}

/// Whether something is in `.hod` to stay.
fn is_lasting(path: &Path) -> bool {
    let names = ["lock", "referrers", "partial", "staged", &format!("hashed-{}", nix::unistd::geteuid())];
    names.iter().any(|name| path.ends_with(Path::new(".hod").join(name)))
}

/// A place as a command finds it, to be copied.
struct Base(TempDir);

impl Base {
    fn of(content: &Content) -> Self {
        let folder = tempfile::tempdir().unwrap();
        content.write_root(&root(folder.path()));
        Self(folder)
    }

    fn copy(&self, to: &Path) {
        tree::copy(self.0.path(), to);
    }

    fn source(&self) -> PathBuf {
        root(self.0.path())
    }
}

/// An index with one child, and an image; one layer is large enough to be made durable by itself.
fn small() -> Content {
    let large = Blob::new("application/vnd.oci.image.layer.v1.tar", random(1, 1_100_000));
    Content::default()
        .with("app:1", &index(&[image("linux/amd64", std::slice::from_ref(&large))]))
        .with("app:2", &image("linux/amd64", &[layer(2, 100)]))
}

/// What a store has already that `small` comes to: one of the tags, on another image.
fn used() -> Base {
    Base::of(&Content::default().with("app:1", &image("linux/amd64", &[layer(7, 100)])))
}

#[test]
#[ignore = "takes long"]
fn a_pull_is_killed() {
    let (registry, used) = (Faulty::new(small()).start(), used());
    let command = |folder: &Path| pull(registry.host(), &root(folder), ["app:1", "app:2"]);
    let first = kill_and_repeat(|_| (), command);
    let more = kill_and_repeat(|folder| used.copy(folder), command);
    assert!(first > 40 && more > 30, "{first} and {more} kills");
}

#[test]
#[ignore = "takes long"]
fn an_unpack_is_killed() {
    let (source, used) = (Base::of(&small()), used());
    let bundle = source.0.path().join("x.tar");
    pack(&source.source(), &bundle, []).ok();
    let kills = kill_and_repeat(|folder| used.copy(folder), |folder| unpack(&bundle, &root(folder), []));
    assert!(kills > 30, "{kills} kills");
}

#[test]
#[ignore = "takes long"]
fn a_select_is_killed() {
    let (source, used) = (Base::of(&small()), used());
    let select = |folder: &Path| hod(["select", "--store", text(&source.source()), "--to", text(&root(folder))]);
    let kills = kill_and_repeat(|folder| used.copy(folder), select);
    assert!(kills > 30, "{kills} kills");
}

#[test]
#[ignore = "takes long"]
fn a_server_is_killed_while_somebody_pushes() {
    // What is about another manifest comes into an index, too.
    let app = image("linux/amd64", &[layer(2, 100)]);
    let content = small().with("app:about", &artifact("application/x.report", &[layer(3, 10)], Some(&app)));
    let (source, used) = (Base::of(&content), used());
    let serve = |folder: &Path| hod(["serve", text(&root(folder)), "--writable", "--listen", "127.0.0.1:0"]);
    let host = |printed: &str| printed.trim().rsplit('/').next().unwrap().to_owned();
    let beside = |server: &Traced| {
        let Some(printed) = server.until_printed("listening on http://") else { return };
        push(&source.source(), &host(&printed), []).run();
        server.interrupt();
    };
    let again = |folder: &Path| {
        let mut server = serve(folder).spawn();
        server.until_printed("listening on http://");
        push(&source.source(), &host(&server.printed()), []).ok();
        server.interrupt();
        server.wait();
    };
    let prepare = |folder: &Path| used.copy(folder);
    let kills = kill_everywhere(&Job { prepare: &prepare, command: &serve, beside: &beside, again: &again });
    assert!(kills > 30, "{kills} kills");
}

/// An image with two platforms, one that is in two repositories, and one that stays.
fn named() -> Base {
    let one = |seed: u64| image("linux/amd64", &[layer(seed, 10)]);
    let two = index(&[one(1), image("linux/arm64", &[layer(2, 10)])]);
    let content = Content::default().with("app:1", &two).with("app:2", &one(3)).with("app:3", &one(4));
    Base::of(&content.with("other/app:2", &one(3)))
}

fn rm(folder: &Path, words: &[&str]) -> Hod {
    hod(["rm", "--store", text(&root(folder))].iter().chain(words))
}

fn tag(folder: &Path) -> Hod {
    hod(["tag", "--store", text(&root(folder)), "app:2", "3", "new", "mirror/app:2"])
}

#[test]
#[ignore = "takes long"]
fn a_tag_is_killed() {
    let named = named();
    let kills = kill_and_repeat(|folder| named.copy(folder), tag);
    assert!(kills > 20, "{kills} kills");
}

#[test]
#[ignore = "takes long"]
fn an_rm_is_killed() {
    let named = named();
    for words in [&["app:1", "other/app:2"][..], &["app:1", "app:2", "--tag-only"]] {
        let kills = kill_and_repeat(|folder| named.copy(folder), |folder| rm(folder, words));
        assert!(kills > 20, "{words:?}: {kills} kills");
    }
    // A name is taken for removed only where a removal was killed.
    let folder = tempfile::tempdir().unwrap();
    named.copy(folder.path());
    rm(folder.path(), &["app:1"]).ok();
    rm(folder.path(), &["app:1"]).code(1);
}

/// Whoever comes after an `rm` that was killed brings back what it has kept aside, and may be killed as well.
#[test]
#[ignore = "takes long"]
fn what_follows_a_killed_rm_is_killed() {
    let (named, mut killed) = (named(), None);
    let is_aside = |folder: &Path| {
        let own = root(folder).join(".hod");
        let all = if own.exists() { tree::listing(&own) } else { BTreeMap::new() };
        all.keys().filter(|path| path.contains("/withdrawn/") && path.ends_with("/link")).count() == 5
    };
    for number in 1.. {
        let folder = tempfile::tempdir().unwrap();
        named.copy(folder.path());
        assert_eq!(
            rm(folder.path(), &["app:1"]).killed_at(number, |_| ()).code,
            None,
            "all of it is aside at some time"
        );
        if is_aside(folder.path()) {
            killed = Some(folder);
            break;
        }
    }
    let killed = Base(killed.unwrap());
    let kills = kill_and_repeat(|folder| killed.copy(folder), |folder| rm(folder, &["app:1"]));
    assert!(kills > 30, "{kills} kills");
    // Whoever does something else leaves the note of names to those who remove.
    fs::remove_file(killed.source().join(".hod/removed")).unwrap();
    let kills = kill_and_repeat(|folder| killed.copy(folder), tag);
    assert!(kills > 30, "{kills} kills");
}

#[test]
#[ignore = "takes long"]
fn a_gc_is_killed() {
    let app = image("linux/amd64", &[layer(3, 10)]);
    let bill = artifact("text/bill", &[Blob::new("text/plain", "bill")], Some(&app));
    let tag = referrers_tag(&app.digest()).unwrap();
    let content = Content::default()
        .with("app:1", &index(&[image("linux/amd64", &[layer(1, 10)])]))
        .with("app:2", &image("linux/amd64", &[layer(2, 10)]))
        .with("old/app:1", &app)
        .with("old/app", &bill)
        .with(&format!("old/app:{tag}"), &index(&[bill]));
    let base = Base::of(&content);
    rm(base.0.path(), &["old/app:1", "app:1"]).ok();
    let gc = |folder: &Path| hod(["gc", "--store", text(&root(folder))]);
    let kills = kill_and_repeat(|folder| base.copy(folder), gc);
    assert!(kills > 30, "{kills} kills");
}

#[test]
#[ignore = "takes long"]
fn changes_of_a_layout_are_killed() {
    let base = Base(tempfile::tempdir().unwrap());
    index(&[image("linux/amd64", &[layer(1, 100)])]).write_layout(&base.source());
    let place = |folder: &Path| format!("oci:{}", text(&root(folder)));
    for name in ["a", "b", "c"] {
        hod(["tag", &format!("{}:@0", place(base.0.path())), name]).ok();
    }
    for blob in ["x", "y"] {
        fs::write(base.source().join("blobs/sha256").join(Digest::sha256(blob.as_bytes()).hex()), blob).unwrap();
    }
    let run = |what: &[&str], words: &[&str]| {
        let words = |folder: &Path| {
            let images = words.iter().map(|image| format!("{}{image}", place(folder)));
            what.iter().map(|word| (*word).to_owned()).chain(images).collect::<Vec<_>>()
        };
        let kills = kill_and_repeat(|folder| base.copy(folder), |folder| hod(words(folder)));
        assert!(kills > 1, "{what:?}: {kills} kills");
    };
    run(&["rm"], &[":a", ":b"]);
    run(&["rm"], &[":@0"]);
    run(&["delete"], &[":a"]);
    run(&["gc"], &[""]);
    let kills =
        kill_and_repeat(|folder| base.copy(folder), |folder| hod(["tag", &format!("{}:a", place(folder)), "d", "e"]));
    assert!(kills > 3, "tag: {kills} kills");
}
