//! What the job costs, in things that can be counted: bytes, syncs, requests, memory. Never time. How many requests a
//! pull needs is counted in `pull/requests.rs`, and what a large blob needs of memory in `limits.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use hyper::Method;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Faulty, Route, Running, Seen};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, image, index, layer, random};
use crate::support::job::{assert_registry_has, assert_serves, pack, pull, push, text, unpack};

/// Runs to a good end by way of a command that reports.
#[track_caller]
fn report(run: Hod, words: &[&str]) -> String {
    let (output, report) = run.by_way_of(words);
    assert_eq!(output.code, Some(0), "{words:?}: {}", output.stderr);
    report
}

/// Bytes that a run got from files and gave to files by calls, whatever cache is between. Sockets have calls of their
/// own, which are not counted.
#[track_caller]
fn moved(run: Hod) -> (u64, u64) {
    // The shell has waited for the command, so that the command's counts are in its own.
    let script = "report=$1; shift; \"$@\"; code=$?; cat /proc/$$/io > \"$report\"; exit $code";
    let report = report(run, &["sh", "-c", script, "sh"]);
    let field = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap();
    (field("rchar:"), field("wchar:"))
}

/// How often a run asks for durability (`strace`, which `scripts/test` installs).
#[track_caller]
fn syncs(run: Hod) -> usize {
    let calls = "trace=fsync,fdatasync,syncfs,sync,msync,sync_file_range";
    let report = report(run, &["strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o"]);
    // A call that another thread's call interrupts is on two lines.
    report.lines().filter(|line| line.contains('(')).count()
}

/// Fails unless bytes were moved about so often as these, with a margin for links, headers and the start of a run.
#[track_caller]
fn assert_moved(what: &str, moved: u64, content: u64) {
    assert!(moved >= content, "{what}: {moved} bytes, and {content} of content");
    assert!(moved <= content + content / 20 + 512 * 1024, "{what}: {moved} bytes, and {content} of content");
}

/// Some images in two repositories that share a large layer.
fn large() -> Content {
    let base = layer(1, 6_000_000);
    (0..4).fold(Content::default(), |content, number| {
        let own = layer(10 + number, 3_000_000);
        content.with(&format!("team{}/app:{number}", number % 2), &image("linux/amd64", &[base.clone(), own]))
    })
}

/// The bytes of everything in it, each content once.
fn size(content: &Content) -> u64 {
    let mut seen = BTreeSet::new();
    let repositories = content.repositories.values();
    let all = repositories.flat_map(|repository| {
        let manifests = repository.manifests.iter().map(|(digest, (_, bytes))| (digest, bytes));
        manifests.chain(&repository.blobs)
    });
    all.filter(|(digest, _)| seen.insert(**digest)).map(|(_, bytes)| bytes.len() as u64).sum()
}

/// Every name in the content.
fn names(content: &Content) -> Vec<String> {
    let repositories = content.repositories.iter();
    repositories.flat_map(|(name, held)| held.tags.keys().map(move |tag| format!("{name}:{tag}"))).collect()
}

/// `hod bundle` of images.
fn bundle<'a>(from: &'a str, output: &'a Path, names: &'a [String]) -> Hod {
    hod(["bundle", "--from", from, "--output", text(output)]).args(names)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn each_byte_is_read_once_and_written_once() {
    let content = large();
    let (bytes, names) = (size(&content), names(&content));
    let words = || names.iter().map(String::as_str);
    let registry = DockerRegistry::empty();
    content.write_root(registry.root());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    let (read, written) = moved(pull(registry.host(), &path("store"), words()));
    assert_moved("pull writes", written, bytes);
    assert_moved("pull reads", read, 0);
    let (read, written) = moved(pull(registry.host(), &path("store"), words()));
    assert_moved("pull again writes", written, 0);
    assert_moved("pull again reads", read, 0);
    let (read, written) = moved(bundle(registry.host(), &path("bundle.tar"), &names));
    assert_moved("bundle writes", written, bytes);
    assert_moved("bundle reads", read, 0);

    let (read, written) = moved(pack(&path("store"), &path("x.tar"), []));
    assert_moved("pack writes", written, bytes);
    assert_moved("pack reads", read, bytes);
    // Compressed twice, these bytes stay as many.
    let (read, written) = moved(pack(&path("store"), &path("x.tar.zst"), []));
    assert_moved("pack .tar.zst writes", written, bytes);
    assert_moved("pack .tar.zst reads", read, bytes);
    for bundle in ["x.tar", "x.tar.zst"] {
        let root = path(&format!("root of {bundle}"));
        let (read, written) = moved(unpack(&path(bundle), &root, []));
        assert_moved("unpack writes", written, bytes);
        assert_moved("unpack reads", read, bytes);
        assert_serves(&root, &content);
    }
    let (read, written) = moved(hod(["verify", text(&path("store"))]));
    assert_moved("verify writes", written, 0);
    assert_moved("verify reads", read, bytes);
    for source in ["store", "x.tar"] {
        let target = DockerRegistry::empty();
        let (read, _) = moved(push(&path(source), target.host(), []));
        assert_moved("push reads", read, bytes);
        assert_registry_has(target.host(), &content);
        let (read, _) = moved(push(&path(source), target.host(), []));
        assert_moved("push again reads", read, 0);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn durability_is_asked_for_by_image_and_not_by_file() {
    const IMAGES: usize = 10;
    const LAYERS: usize = 30;
    let blob = |seed: usize| layer(seed as u64, 1000);
    let base = layer(1, 1_500_000);
    let content = (0..IMAGES).fold(Content::default(), |content, number| {
        let own = (0..LAYERS).map(|layer| blob(100 + number * LAYERS + layer));
        let layers: Vec<Blob> = std::iter::once(base.clone()).chain(own).collect();
        content.with(&format!("app{number}:1"), &image("linux/amd64", &layers))
    });
    let names = names(&content);
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // The most is three for each image, where none waits for another, and one for the large blob; 600 files are written.
    let first = syncs(pull(registry.host(), &path("store"), names.iter().map(String::as_str)));
    assert!((3..=3 * IMAGES + 1).contains(&first), "pull: {first} syncs");
    let again = syncs(pull(registry.host(), &path("store"), names.iter().map(String::as_str)));
    assert_eq!(again, 0, "pull again");
    let packed = syncs(pack(&path("store"), &path("x.tar"), []));
    assert!((1..=2).contains(&packed), "pack: {packed} syncs");
    let bundled = syncs(bundle(registry.host(), &path("y.tar"), &names));
    assert!((1..=2).contains(&bundled), "bundle: {bundled} syncs");
    // All images of a bundle are committed at once.
    let unpacked = syncs(unpack(&path("x.tar"), &path("root"), []));
    assert!((3..=4).contains(&unpacked), "unpack: {unpacked} syncs");
    assert_eq!(syncs(unpack(&path("x.tar"), &path("root"), [])), 0, "unpack again");
}

/// How many requests were such, from a moment on.
fn count(registry: &Running, from: usize, such: impl Fn(&Seen) -> bool) -> usize {
    registry.requests().into_iter().skip(from).filter(|seen| such(seen)).count()
}

#[test]
fn push_sends_each_blob_once_mounts_it_elsewhere_and_asks_for_little() {
    let bases = [layer(1, 50_000), layer(2, 20_000)];
    let build = |platform: &str, seed| image(platform, &[bases[0].clone(), bases[1].clone(), layer(seed, 500)]);
    let mut content = Content::default();
    for number in 0..12 {
        let plain = build("linux/amd64", 10 + number);
        let made = if number == 5 { index(&[plain, build("linux/arm64", 40)]) } else { plain };
        content = content.with(&format!("team{}/app:{number}", number % 4), &made);
    }
    let held = || content.repositories.values();
    let places: usize = held().map(|repository| repository.blobs.len()).sum();
    let unique = held().flat_map(|repository| repository.blobs.keys()).collect::<BTreeSet<_>>().len();
    let manifests: usize = held().map(|repository| repository.manifests.len()).sum();
    let folder = tempfile::tempdir().unwrap();
    let (store, packed) = (folder.path().join("store"), folder.path().join("x.tar"));
    content.write_root(&store);
    pack(&store, &packed, []).ok();

    for source in [&store, &packed] {
        let registry = Faulty::new(Content::default()).start();
        push(source, registry.host(), []).ok();
        let is_upload = |seen: &Seen| matches!(seen.route, Route::Upload(..));
        let sent = count(&registry, 0, |seen| seen.method == Method::PUT && is_upload(seen));
        assert_eq!(sent, unique, "each blob is sent once");
        let mounted = |seen: &Seen| seen.parameter("mount").is_some() && seen.status == Some(201);
        assert_eq!(count(&registry, 0, mounted), places - unique, "and mounted everywhere else");
        let put = count(&registry, 0, |seen| seen.method == Method::PUT && matches!(seen.route, Route::Manifest(..)));
        assert_eq!(put, manifests);
        let asked = count(&registry, 0, |seen| !seen.is_write() && seen.route != Route::Ping);
        assert!(asked <= places + manifests, "{asked} questions, about {places} blobs and {manifests} manifests");
        assert_registry_has(registry.host(), &content);

        let requests = registry.requests().len();
        push(source, registry.host(), []).ok();
        let heads = count(&registry, requests, |seen| seen.method == Method::HEAD);
        let others = count(&registry, requests, |seen| seen.method != Method::HEAD && seen.route != Route::Ping);
        assert_eq!((heads, others), (manifests, 0), "again: one HEAD a manifest");
    }
}

#[test]
#[ignore = "takes long"]
fn many_small_blobs_go_through_every_command_in_little_memory() {
    const MEMORY: u64 = 64 * 1024 * 1024;
    let small = |seed| Blob::new("application/octet-stream", random(seed, 700));
    let content = (0..150).fold(Content::default(), |content, number| {
        let layers: Vec<Blob> = (number * 10..number * 10 + 10).map(small).collect();
        let image = image("linux/amd64", &layers);
        content.with(&format!("team{}/app{}:{}", number / 100, number / 10, number % 10), &image)
    });
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (list, names) = (path("list.txt"), names(&content));
    fs::write(&list, names.join("\n")).unwrap();
    let lean = |what: &str, run: Hod| {
        let (output, peak) = run.measured();
        assert_eq!(output.code, Some(0), "{what}: {}", output.stderr);
        assert!(peak < MEMORY, "{what}: {peak} bytes of memory");
    };
    lean("pull", pull(registry.host(), &path("store"), ["-f", text(&list)]));
    lean("pull again", pull(registry.host(), &path("store"), ["-f", text(&list)]));
    lean("bundle", bundle(registry.host(), &path("y.tar"), &["-f".into(), text(&list).into()]));
    lean("pack", pack(&path("store"), &path("x.tar"), []));
    lean("pack .tar.zst", pack(&path("store"), &path("x.tar.zst"), []));
    lean("unpack", unpack(&path("x.tar"), &path("root"), []));
    lean("verify", hod(["verify", text(&path("root"))]));
    lean("ls", hod(["ls", text(&path("root"))]));
    let target = Faulty::new(Content::default()).start();
    lean("push", push(&path("x.tar"), target.host(), []));
    lean("push again", push(&path("x.tar"), target.host(), []));
}
