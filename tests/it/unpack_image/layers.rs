//! What layers can say, each way compared with what umoci makes of it.

use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::Command;

use super::{Entry, assert_same, entry, file, folder, hardlink, listing, places, plain, symlink, tar_of, umoci};
use crate::support::hod::hod;
use crate::support::images::{Blob, docker_image, image};
use crate::support::job::pack;
use crate::support::skipped::is_root_for;

/// Unpacks layers by both tools and compares the trees.
#[track_caller]
fn compare(layers: &[Vec<Entry>]) -> tempfile::TempDir {
    compare_blobs(&layers.iter().map(|entries| plain(entries)).collect::<Vec<_>>())
}

#[track_caller]
fn compare_blobs(layers: &[Blob]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    places(folder.path(), &image("linux/amd64", layers));
    hod(["unpack-image", "store:store:app:1", "ours", "--platform", "linux/amd64"]).in_folder(folder.path()).ok();
    if is_root_for("the comparison with umoci") {
        umoci(folder.path(), "theirs");
        assert_same(&folder.path().join("ours/rootfs"), &folder.path().join("theirs/rootfs"));
    }
    folder
}

fn tree(folder: &tempfile::TempDir) -> Vec<String> {
    listing(&folder.path().join("ours/rootfs")).into_keys().filter(|path| !path.is_empty()).collect()
}

fn d(path: &str) -> Entry {
    folder(path)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn modes_owners_times_and_attributes() {
    // A capability as setcap writes it, with a line feed in it.
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\n\0\0\0\0\0\0\0";
    compare(&[vec![
        d("./").mode(0o751).time(1_500_000_000),
        d("bin").mode(0o700).owner(1, 2),
        file("bin/su", "suid").mode(0o4755).owner(0, 0),
        file("bin/wall", "sgid").mode(0o2711).owner(0, 5),
        d("tmp").mode(0o1777),
        d("closed").mode(0o000),
        file("closed/in", "x").mode(0o000),
        file("ping", "x").mode(0o755).pax("SCHILY.xattr.security.capability", capability),
        file("big-owner", "x").pax("uid", b"3000000").pax("gid", b"70000"),
        file("moment", "x").pax("mtime", b"1600000000.123456789"),
        file("bytes", "x").pax("path", "dir with \u{e4}\n/name \u{1f9f1}".as_bytes()),
        d("attributes").pax("SCHILY.xattr.user.note", b"brick"),
        symlink("link", "/etc/nowhere").owner(7, 8).time(1_400_000_000),
        entry(tar::EntryType::Fifo, "pipe").mode(0o622).owner(3, 3),
        entry(tar::EntryType::Char, "null").device(1, 3).mode(0o666),
        entry(tar::EntryType::Block, "disk").device(8, 300).mode(0o640).owner(0, 6),
        file("empty", ""),
        file("old-folder/", "").mode(0o755).old(),
        file("old-file", "x").old(),
        file("no-folder/", "x"),
        file(&"x".repeat(99), "long"),
    ]]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn upper_layers_win() {
    compare(&[
        vec![
            d("a"),
            file("a/file", "1").mode(0o600),
            d("dir-to-file"),
            d("dir-to-file/sub"),
            file("dir-to-file/sub/x", "1"),
            file("file-to-dir", "1"),
            symlink("link-to-dir", "a"),
            symlink("link-to-file", "a/file"),
            d("same").mode(0o700).pax("SCHILY.xattr.user.old", b"1"),
            file("same/stays", "1"),
            file("one", "shared"),
            hardlink("two", "one"),
        ],
        vec![
            file("a/file", "2").mode(0o644),
            file("dir-to-file", "2"),
            d("file-to-dir"),
            file("file-to-dir/x", "2"),
            d("link-to-dir"),
            file("link-to-file", "2"),
            d("same").mode(0o711).time(1_700_000_000).pax("SCHILY.xattr.user.new", b"2"),
            file("one", "alone"),
            hardlink("three", "two"),
            file("twice", "1"),
            file("twice", "2"),
        ],
    ]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn symbolic_links_lead_within_the_tree() {
    let folder = compare(&[
        vec![
            d("etc"),
            symlink("bin", "etc"),
            symlink("absolute", "/etc"),
            symlink("above", "../../../../etc"),
            symlink("chain", "absolute"),
            symlink("new", "usr/new"),
            d("usr"),
            d("usr/new"),
        ],
        vec![
            file("bin/z", "1"),
            file("absolute/y", "1"),
            file("above/x", "1"),
            file("chain/w", "1"),
            file("new/v", "1"),
            hardlink("hard", "bin/z"),
        ],
    ]);
    assert!(tree(&folder).contains(&"etc/x".to_owned()));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn whiteouts() {
    // The sequence of a file that comes and goes, and one that stays.
    let folder = compare(&[
        vec![d("keep"), file("foo", "1"), file("keep/x", "1"), d("opaque"), file("opaque/low", "1"), d("opaque/deep")],
        vec![file(".wh.foo", ""), file("keep/.wh.x", ""), file("opaque/up", "2"), file("opaque/.wh..wh..opq", "")],
        vec![file("foo", "3"), d("tree"), d("tree/a"), file("tree/a/b", "3")],
        vec![file(".wh.foo", ""), file(".wh.tree", ""), file(".wh.never-there", ""), file("no/.wh.where", "")],
    ]);
    let left = tree(&folder);
    assert!(left.starts_with(&["keep".to_owned()]) && left.contains(&"opaque/up".to_owned()), "{left:?}");
    assert!(!left.contains(&"opaque/low".to_owned()) && !left.iter().any(|path| path.contains(".wh.")), "{left:?}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_whiteout_concerns_lower_layers_alone() {
    let folder = compare(&[
        vec![d("d"), file("d/low", "1"), file("file", "1"), d("e"), file("e/low", "1"), symlink("s", "d")],
        vec![
            d("d"),
            file("d/up", "2"),
            file(".wh.d", ""),
            file("file", "2"),
            file(".wh.file", ""),
            d("e/new"),
            file("e/new/up", "2"),
            file("e/.wh..wh..opq", ""),
            file(".wh..wh.plnk", ""),
            file(".wh.s", ""),
        ],
    ]);
    assert_eq!(tree(&folder), ["d", "d/up", "e", "e/new", "e/new/up", "file"]);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn every_compression_and_docker_too() {
    let entries = [d("d"), file("d/file", &"brick ".repeat(50_000))];
    let tar = tar_of(&entries);
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 3).unwrap();
    let (first, second) = tar.split_at(100_000);
    let oci = "application/vnd.oci.image.layer.v1.tar";
    let docker = "application/vnd.docker.image.rootfs.diff.tar";
    let expected = compare(&[entries.to_vec()]);
    for (media_type, bytes) in [
        (format!("{oci}+gzip"), gzip(&tar)),
        (format!("{oci}+gzip"), [gzip(first), gzip(second)].concat()),
        (format!("{oci}+zstd"), zstd(&tar)),
        (format!("{oci}+zstd"), [zstd(first), zstd(second)].concat()),
        (format!("{docker}.gzip"), gzip(&tar)),
        (docker.to_owned(), tar.clone()),
        (format!("{docker}.zstd"), zstd(&tar)),
    ] {
        let layer = Blob::compressed(&media_type, bytes, &tar);
        let all = if media_type.starts_with(docker) { docker_image } else { image };
        let folder = tempfile::tempdir().unwrap();
        places(folder.path(), &all("linux/amd64", &[layer]));
        hod(["unpack-image", "store:store:app:1", "--rootfs", "tree"]).in_folder(folder.path()).ok();
        let expected = expected.path().join("ours/rootfs");
        assert_eq!(listing(&folder.path().join("tree")), listing(&expected), "{media_type}");
        // A bundle of hod is a place, too.
        pack(&folder.path().join("store"), &folder.path().join("x.tar"), []).ok();
        hod(["unpack-image", "bundle:x.tar:app:1", "--rootfs", "other"]).in_folder(folder.path()).ok();
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn sparse_files_as_gnu_tar_writes_them() {
    let made = tempfile::tempdir().unwrap();
    for (name, length, pieces) in [
        ("middle", 3_000_000, &[(500_000, "bricks"), (1_500_000, "mortar")][..]),
        ("end", 1_000_000, &[(999_990, "last bytes")]),
        ("none", 700_000, &[]),
    ] {
        let file = fs_err::File::create(made.path().join(name)).unwrap();
        file.set_len(length).unwrap();
        for (offset, text) in pieces {
            file.file().write_all_at(text.as_bytes(), *offset).unwrap();
        }
    }
    for version in ["0.0", "0.1", "1.0"] {
        let words =
            ["--format=pax", "--sparse", &format!("--sparse-version={version}"), "--mtime=@1700000000", "-cf", "-"];
        let tar =
            Command::new("tar").args(words).args(["middle", "end", "none"]).current_dir(made.path()).output().unwrap();
        assert!(tar.status.success() && tar.stdout.len() < 100_000);
        let folder = compare_blobs(&[Blob::new("application/vnd.oci.image.layer.v1.tar", tar.stdout)]);
        for name in ["middle", "end", "none"] {
            let (ours, theirs) = (folder.path().join("ours/rootfs").join(name), made.path().join(name));
            assert!(fs_err::read(&ours).unwrap() == fs_err::read(theirs).unwrap(), "{version} {name}");
            assert!(fs_err::metadata(&ours).unwrap().blocks() < 200, "{version} {name}: holes take room");
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_last_padding_may_be_missing_and_frames_may_be_skippable() {
    let tar = tar_of(&[d("d"), file("d/file", &"brick ".repeat(100))]);
    let without_padding = tar[..512 * 2 + 600].to_vec();
    compare_blobs(&[Blob::new("application/vnd.oci.image.layer.v1.tar", without_padding)]);
    // umoci takes no such frame for zstd, and RFC 8878 has it at any place.
    let frame = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    let zstd = [frame, zstd::stream::encode_all(&*tar, 3).unwrap()].concat();
    let folder = tempfile::tempdir().unwrap();
    let layer = Blob::compressed("application/vnd.oci.image.layer.v1.tar+zstd", zstd, &tar);
    places(folder.path(), &image("linux/amd64", &[layer]));
    hod(["unpack-image", "store:store:app:1", "--rootfs", "tree"]).in_folder(folder.path()).ok();
    assert_eq!(listing(&folder.path().join("tree")).len(), 3);
}
