//! What is wrong with a store does not get into a bundle, and what is wrong with a bundle not into a root.

use std::path::Path;

use fs_err as fs;
use tar::EntryType;

use super::{app, root_of};
use crate::bundle::hostile::member;
use crate::bundle::sample::compressed;
use crate::support::hod::hod;
use crate::support::images::Content;
use crate::support::job::{assert_clean, assert_serves, blob_path, flip, pack, text, unpack, visible};
use crate::support::tree;

/// What is in the root before a damaged bundle comes.
fn before() -> Content {
    Content::default().with("app:1", &app(2)).with("keep:1", &app(3))
}

/// What the bundle would bring: a tag that moves, and another repository.
fn bundled() -> Content {
    Content::default().with("app:1", &app(4)).with("new:1", &app(5))
}

fn bundle(name: &str) -> Vec<u8> {
    let store = root_of(&bundled());
    let path = store.path().join(name);
    pack(store.path(), &path, []).ok();
    fs::read(path).unwrap()
}

/// Unpacks a bad bundle into a root that has images; nothing of them may change, and nothing come.
#[track_caller]
fn assert_refused(bytes: &[u8], code: i32, what: &str) {
    static BEFORE: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| root_of(&before()));
    let root = tempfile::tempdir().unwrap();
    tree::copy(BEFORE.path(), root.path());
    let seen = tree::listing(&root.path().join("docker/registry/v2/repositories"));
    let file = root.path().join("bad-bundle");
    fs::write(&file, bytes).unwrap();
    let standard_input = bytes.len().is_multiple_of(2);
    let (input, stdin) = if standard_input { (Path::new("-"), bytes.to_vec()) } else { (&*file, Vec::new()) };
    let output = unpack(input, root.path(), []).input(stdin).run();
    assert_eq!(output.code, Some(code), "{what}: {}", output.stderr);
    assert!(output.stderr.starts_with("error: ") || output.stderr.contains("\nerror: "), "{what}: {}", output.stderr);
    assert!(!output.stderr.contains("panicked"), "{what}: {}", output.stderr);
    assert_eq!(output.text(), "", "{what}");
    assert_eq!(tree::listing(&root.path().join("docker/registry/v2/repositories")), seen, "{what}");
    if code == 4 {
        let found = hod(["verify", text(&file), "--json"]).code(4).json();
        assert_ne!(found["findings"], serde_json::json!([]), "{what}");
    }
}

#[test]
fn cut_bundles() {
    for name in ["x.tar", "x.tar.zst"] {
        let whole = bundle(name);
        let ends = [5, 300, 700, 5000, whole.len() / 3, whole.len() / 2, whole.len() * 9 / 10];
        let tail =
            if name == "x.tar" { [whole.len() - 1, whole.len() - 600] } else { [whole.len() - 1, whole.len() - 12] };
        for end in ends.into_iter().chain(tail) {
            assert_refused(&whole[..end], 4, &format!("{name} cut at {end} of {}", whole.len()));
        }
        assert_refused(&[], 1, "nothing");
        assert_refused(&[&whole[..], b"more"].concat(), 4, "data after the end");
    }
}

#[test]
fn changed_bytes() {
    let plain = bundle("x.tar");
    let find = |needle: &[u8]| plain.windows(needle.len()).position(|window| window == needle).unwrap();
    let data = find(b"docker/registry/v2/blobs/");
    let link = find(b"docker/registry/v2/repositories/app/_manifests/tags/1/current/link");
    for (what, position) in [
        ("the magic number", 257),
        ("the header's JSON", 520),
        ("a digest in the header", find(b"sha256:") + 9),
        ("a member's name", data + 30),
        ("a member's checksum", data + 150),
        ("a manifest", data + 520),
        ("a layer", find(&app(4).blobs[2].bytes[..2000]) + 3000),
        ("a link", link + 512 + 20),
        ("the padding of a link", link + 512 + 300),
    ] {
        let mut bytes = plain.clone();
        bytes[position] ^= 1;
        let code = if what == "the magic number" { 1 } else { 4 };
        let output = {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("bad");
            fs::write(&file, &bytes).unwrap();
            unpack(&file, &folder.path().join("root"), []).run()
        };
        // What is no bundle at all is a mistake rather than damage.
        let code = if output.code == Some(1) && code == 1 { 1 } else { 4 };
        assert_refused(&bytes, code, what);
    }
    let compressed = bundle("x.tar.zst");
    for position in [40, compressed.len() / 4, compressed.len() / 2, compressed.len() - 30] {
        let mut bytes = compressed.clone();
        bytes[position] ^= 0x10;
        assert_refused(&bytes, 4, &format!("compressed, byte {position}"));
    }
}

#[test]
fn archives_made_to_harm() {
    let plain = bundle("x.tar");
    let blobs = plain.windows(25).position(|window| window == b"docker/registry/v2/blobs/").unwrap();
    let link = b"docker/registry/v2/repositories/keep/_manifests/tags/1/current/link";
    let foreign = [
        ("an absolute path", member(EntryType::Regular, b"/etc/hod-was-here", b"", b"x")),
        ("a path out of the root", member(EntryType::Regular, b"../../hod-was-here", b"", b"x")),
        ("a symbolic link", member(EntryType::Symlink, b"docker/registry/v2/repositories/keep", b"/etc", b"")),
        ("a hard link", member(EntryType::Link, b"docker/x", b"/etc/passwd", b"")),
        ("a device", member(EntryType::Char, b"docker/x", b"", b"")),
        ("a pipe", member(EntryType::Fifo, b"docker/x", b"", b"")),
        ("a tag that is not listed", member(EntryType::Regular, link, b"", &[b'0'; 71])),
        ("a name that stops a registry", member(EntryType::Regular, b"docker/registry/v2/repositories/_x", b"", b"{}")),
    ];
    for (what, member) in foreign {
        for position in [blobs, plain.len() - 1024] {
            let mut tar = plain.clone();
            tar.splice(position..position, member.iter().copied());
            assert_refused(&tar, 4, what);
            if position == blobs {
                assert_refused(&compressed(&tar), 4, what);
            }
        }
    }
    assert!(!Path::new("/etc/hod-was-here").exists());
    // A size that lies: more than what follows.
    let mut lies = plain.clone();
    lies[124..135].copy_from_slice(b"77777777777");
    assert_refused(&lies, 4, "a header of 8 GiB");
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert_refused(&bomb, 1, "a bomb");
}

#[test]
fn other_files_are_no_bundles() {
    for (bytes, said) in [
        (&b"{\"hello\":1}"[..], "JSON"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
        (&[0; 2048], ""),
        (b"hello world, this is text", ""),
    ] {
        assert_refused(bytes, 1, said);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.tar");
        fs::write(&file, bytes).unwrap();
        let output = hod(["ls", text(&file)]).code(1);
        assert!(output.stderr.contains(said) && output.stderr.contains("x.tar"), "{}", output.stderr);
    }
    let folder = tempfile::tempdir().unwrap();
    let output = unpack(Path::new("/nowhere/x.tar"), folder.path(), []).code(1);
    assert!(output.stderr.contains("/nowhere/x.tar"), "{}", output.stderr);
    assert!(visible(folder.path()).is_empty());
}

#[test]
fn pack_ships_nothing_that_is_wrong() {
    let content = bundled();
    let image = app(4);
    for (what, digest) in [("layer", image.blobs[1].digest()), ("config", image.blobs[0].digest())] {
        for name in ["x.tar", "x.tar.zst"] {
            let store = root_of(&content);
            let output = store.path().join(name);
            fs::write(&output, "an older bundle").unwrap();
            flip(&blob_path(store.path(), &digest), 20);
            let said = pack(store.path(), &output, []).code(4).stderr;
            for part in [&*digest.hex(), "app:1", "hod verify"] {
                assert!(said.contains(part), "{what}: {part} is not in {said}");
            }
            assert_eq!(fs::read_to_string(&output).unwrap(), "an older bundle");
            let left: Vec<_> = fs::read_dir(store.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left.len(), 2, "{left:?}");
        }
        let store = root_of(&content);
        fs::remove_file(blob_path(store.path(), &digest)).unwrap();
        let output = pack(store.path(), &store.path().join("x.tar"), []).code(4);
        assert!(output.stderr.contains(&digest.hex()), "{}", output.stderr);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_a_broken_unpack_has_left_is_of_use_to_the_next() {
    let whole = bundle("x.tar");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    unpack(Path::new("-"), &root, []).input(&whole[..whole.len() * 97 / 100]).code(4);
    assert!(visible(&root).is_empty());
    let document = unpack(Path::new("-"), &root, ["--json"]).input(whole).ok().json();
    assert!(document["alreadyThere"]["count"].as_u64().unwrap() > 0, "{document}");
    assert_serves(&root, &bundled());
}

#[test]
fn a_damaged_bundle_is_refused_even_where_the_root_has_the_blob() {
    for name in ["x.tar", "x.tar.zst"] {
        let whole = bundle(name);
        let root = tempfile::tempdir().unwrap();
        unpack(Path::new("-"), root.path(), []).input(&whole[..]).ok();
        // The largest blob takes more than half of the bundle.
        let mut damaged = whole;
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        let output = unpack(Path::new("-"), root.path(), []).input(damaged).code(4);
        assert!(output.stderr.contains("copy it again"), "{}", output.stderr);
        assert_clean(root.path());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_there_stays_whole() {
    let root = root_of(&before());
    for (name, cut) in [("x.tar", 3), ("x.tar.zst", 2)] {
        let whole = bundle(name);
        unpack(Path::new("-"), root.path(), []).input(&whole[..whole.len() * (cut - 1) / cut]).code(4);
        assert_clean(root.path());
        crate::support::job::assert_registry_has(
            crate::support::docker_registry::DockerRegistry::over(root.path()).host(),
            &before(),
        );
    }
}
