//! Layers that want out, lie, or never end: refused, or kept inside; nothing is left at the target.

use std::path::Path;

use fs_err as fs;
use hod_oci::Digest;

use super::{Entry, entry, file, folder, hardlink, places, plain, symlink, tar_of};
use crate::support::hod::{Output, hod};
use crate::support::images::{Blob, image};
use crate::support::job::{blob_path, flip};
use crate::support::tree;

/// Unpacks layers in a folder that has something to be lost.
fn unpack(folder: &Path, layers: &[Blob]) -> Output {
    places(folder, &image("linux/amd64", layers));
    fs::create_dir(folder.join("outside")).unwrap();
    fs::write(folder.join("outside/file"), "precious").unwrap();
    let before = tree::listing(&folder.join("outside"));
    let output = hod(["unpack-image", "oci:layout:app", "target"]).in_folder(folder).run();
    assert_eq!(tree::listing(&folder.join("outside")), before);
    assert!(!folder.join(".target.unpacking").exists());
    output
}

#[track_caller]
fn refused(entries: &[Entry], says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = unpack(folder.path(), &[plain(entries)]);
    assert_eq!(output.code, Some(4), "{says}: {}", output.stderr);
    assert!(output.stderr.contains(says), "{says}: {}", output.stderr);
    assert!(!folder.path().join("target").exists(), "{says}");
}

#[test]
fn paths_that_lead_out() {
    refused(&[file("../outside/file", "x")], "contains ..");
    refused(&[file("a/../../../outside/file", "x")], "contains ..");
    refused(&[file("x", "").pax("path", b"../outside/file")], "contains ..");
    refused(&[folder("a"), file("a/../.wh.b", "")], "contains ..");
    refused(&[hardlink("a", "../../outside/file")], "contains ..");
    refused(&[hardlink("a", "/outside/file")], "link target is missing");
    refused(&[symlink("s", "../../outside"), hardlink("a", "s/file")], "link target is missing");
    refused(&[file("./", "x").mode(0o644).pax("path", b".")], "root of an image");
    refused(&[file("x", "").pax("path", b"a\0b")], "NUL byte");
    refused(&[file("x", "").pax("path", &[b'x'; 300])], "too long");
    refused(&[file("x", "").pax("path", &b"x/".repeat(3000))], "too long");
    refused(&[symlink("a", "b"), symlink("b", "a"), file("a/x", "")], "a loop of symbolic links");
    refused(&[file("a", ""), file("a/x", "")], "not a directory");
    refused(&[folder("a"), hardlink("b", "a")], "hard link to a directory");
    refused(&[file(".wh...", "")], "a whiteout without a file name");
}

#[test]
fn symbolic_links_never_lead_out() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside").display().to_string();
    let output = unpack(
        folder.path(),
        &[
            plain(&[symlink("out", &outside), symlink("up", "../../outside"), symlink("file", "../../outside/file")]),
            plain(&[
                file("out/file", "x"),
                file("up/file", "x"),
                file("file", "x"),
                file("up/.wh..wh..opq", ""),
                file("out/.wh.file", ""),
            ]),
        ],
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let rootfs = folder.path().join("target/rootfs");
    assert_eq!(fs::read_to_string(rootfs.join("file")).unwrap(), "x");
    assert_eq!(fs::read_to_string(rootfs.join("outside/file")).unwrap(), "x");
    assert_eq!(fs::read_to_string(rootfs.join(outside.trim_start_matches('/')).join("file")).unwrap(), "x");
}

#[test]
fn depth_has_an_end_also_through_links() {
    let deep = "d/".repeat(40);
    let mut entries = vec![];
    for step in 0..8 {
        let above = if step == 0 { String::new() } else { format!("l{}/", step - 1) };
        entries.push(folder(&format!("{above}{deep}")));
        entries.push(symlink(&format!("l{step}"), &format!("{above}{deep}")));
    }
    refused(&entries, "nested too deeply");
}

#[test]
fn archives_that_are_none() {
    refused(&[entry(tar::EntryType::GNUSparse, "sparse")], "sparse");
    refused(&[file("x", "").pax("GNU.sparse.major", b"1")], "sparse");
    refused(&[entry(tar::EntryType::new(b'Q'), "odd")], "an unknown type");
    refused(&[Entry { body: vec![b'x'; 2 << 20], ..entry(tar::EntryType::XHeader, "x") }], "longer than a megabyte");
    refused(&[entry(tar::EntryType::XHeader, "x")], "last extended header has no entry");
    let whole = tar_of(&[file("a", &"x".repeat(5000))]);
    for (bytes, says) in [
        (whole[..3000].to_vec(), "in the middle of"),
        (b"this is no archive".repeat(100), "not a supported tar archive"),
        ([&[0x1f, 0x8b, 8, 0][..], &[7; 500]].concat(), "cannot be read"),
        ([&[0x28, 0xb5, 0x2f, 0xfd][..], &[7; 500]].concat(), "cannot be read"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = unpack(folder.path(), &[Blob::new("application/vnd.oci.image.layer.v1.tar", bytes)]);
        assert!(matches!(output.code, Some(1 | 4)), "{says}");
        assert!(output.stderr.contains(says), "{says}: {}", output.stderr);
        assert!(!folder.path().join("target").exists(), "{says}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = unpack(folder.path(), &[Blob::new("application/x-brick", "x")]);
    assert!(output.stderr.contains("not a layer type"), "{}", output.stderr);
}

#[test]
fn layers_that_are_not_what_the_config_says() {
    let folder = tempfile::tempdir().unwrap();
    let lie = plain(&[file("a", "1")]).with_diff(Digest::sha256(b"something else"));
    let output = unpack(folder.path(), &[plain(&[file("b", "1")]), lie]);
    assert_eq!(output.code, Some(4), "{}", output.stderr);
    assert!(output.stderr.contains(&Digest::sha256(b"something else").to_string()), "{}", output.stderr);
    assert!(!folder.path().join("target").exists());
    // Damaged in the store, where the place vouches for it, and in the layout, which is hashed first.
    let layer = plain(&[file("a", "1")]);
    for place in ["store:store:app:1", "oci:layout:app"] {
        let folder = tempfile::tempdir().unwrap();
        places(folder.path(), &image("linux/amd64", std::slice::from_ref(&layer)));
        flip(&blob_path(&folder.path().join("store"), &layer.digest()), 600);
        // The layout was made by hard links.
        let output = hod(["unpack-image", place, "target"]).in_folder(folder.path()).code(4);
        assert!(output.stderr.contains("sha256:"), "{}", output.stderr);
        assert!(!folder.path().join("target").exists());
    }
}
