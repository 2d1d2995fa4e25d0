//! Other programs read what hod writes: the disaster path needs no hod.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;
use hod_bundle::{Compression, HEADER_NAME, MemberContent};

use super::sample::Sample;

/// Path, mode and content of every file and of every folder that is not merely on the way.
type Tree = BTreeMap<String, (u32, Vec<u8>)>;

fn expected(sample: &Sample) -> Tree {
    let header = sample.header();
    let mut tree = Tree::new();
    tree.insert(HEADER_NAME.to_owned(), (0o644, header.to_json()));
    for member in header.members() {
        let content = match member.holds {
            MemberContent::Blob(index) => sample.bytes[&header.blobs()[index].digest].clone(),
            holds => holds.text().into_bytes(),
        };
        let mode = if member.entry.is_folder() { 0o755 } else { 0o644 };
        tree.insert(member.entry.to_string(), (mode, content));
    }
    tree
}

fn found(root: &Path, expected: &Tree) -> Tree {
    let mut tree = Tree::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        if entry.file_type().is_file() {
            tree.insert(path, (mode, fs::read(entry.path()).unwrap()));
        } else if expected.contains_key(&path) {
            tree.insert(path, (mode, Vec::new()));
        }
    }
    tree
}

/// Runs a command of the shell in a new folder that has the bundle beside it, and compares what it leaves.
fn extracts(command: &str, sample: &Sample, compression: Compression) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bundle"), sample.write(compression)).unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let script = format!("set -e -o pipefail; umask 022; cd root; {command}");
    let output =
        Command::new("bash").args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    assert!(output.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let expected = expected(sample);
    let found = found(&root, &expected);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{command}");
    assert!(found == expected, "{command}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn tar_and_busybox_extract_a_bundle() {
    for sample in [Sample::default(), Sample::small(), Sample::large()] {
        extracts("tar -xf ../bundle", &sample, Compression::None);
        extracts("cat ../bundle | tar -x", &sample, Compression::None);
        extracts("busybox tar -xf ../bundle", &sample, Compression::None);
        extracts("cat ../bundle | busybox tar -x", &sample, Compression::None);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn zstd_and_tar_extract_a_compressed_bundle() {
    for sample in [Sample::default(), Sample::small(), Sample::large()] {
        let form = Compression::Zstd { threads: 2 };
        extracts("zstd -q -dc ../bundle | tar -x", &sample, form);
        extracts("tar --zstd -xf ../bundle", &sample, form);
        extracts("zstd -q -dc ../bundle | busybox tar -x", &sample, form);
    }
}

/// How many frames of at most 1 MiB there are, when a member that does not fit into the rest of a frame begins another.
fn frames(sample: &Sample) -> u64 {
    const FRAME: u64 = 1 << 20;
    let header = sample.header();
    let members = header.members().map(|member| member.end() - member.start);
    let (mut count, mut used) = (0, 0);
    for length in [header.data_area(None)].into_iter().chain(members).chain([1024]) {
        if used + length > FRAME && used > 0 {
            (count, used) = (count + 1, 0);
        }
        (count, used) = (count + (used + length) / FRAME, (used + length) % FRAME);
    }
    count + u64::from(used > 0)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn zstd_lists_frames_and_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar.zst");
    let sample = Sample::large();
    fs::write(&path, sample.write(Compression::Zstd { threads: 2 })).unwrap();
    let output = Command::new("zstd").args(["-lv"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let size = sample.header().tar_size(None);
    let frames = format!("# Zstandard Frames: {}", frames(&sample));
    assert!(text.contains(&frames) && text.contains("# Skippable Frames: 1"), "{text}");
    assert!(text.contains(&format!("({size} B)")) && text.contains("XXH64"), "{text}");
    assert!(Command::new("zstd").args(["-q", "-t"]).arg(&path).status().unwrap().success());
}

#[test]
fn tar_lists_the_members_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar");
    let sample = Sample::small();
    fs::write(&path, sample.write(Compression::None)).unwrap();
    let output = Command::new("tar").args(["--utc", "--numeric-owner", "-tvf"]).arg(&path).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let header = sample.header();
    let mut expected = vec![vec![
        "-rw-r--r--".to_owned(),
        "0/0".to_owned(),
        header.to_json().len().to_string(),
        "1970-01-01".to_owned(),
        "00:00".to_owned(),
        HEADER_NAME.to_owned(),
    ]];
    for member in header.members() {
        let (mode, slash) = if member.entry.is_folder() { ("drwxr-xr-x", "/") } else { ("-rw-r--r--", "") };
        let path = format!("{}{slash}", member.entry);
        let words = [mode, "0/0", &member.size.to_string(), "1970-01-01", "00:00", &path];
        expected.push(words.map(str::to_owned).to_vec());
    }
    assert_eq!(lines, expected);
}

/// Sizes from 8 GiB on: a file of zeros that takes no space on disk.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn tar_and_busybox_know_where_a_large_blob_ends() {
    use hod_bundle::{Content, Contents, Header};
    use hod_oci::Digest;
    use hod_store::Links;

    let digest = Digest::sha256(b"not the content, which nobody reads here");
    let name = "large".parse().unwrap();
    let links = Links { layers: vec![digest], ..Links::none(name) };
    let size = (8 << 30) + 5;
    let contents = Contents { blobs: vec![Content { digest, size }], repositories: vec![links], ..Contents::default() };
    let header = Header::new(contents).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar");
    let file = fs::File::create(&path).unwrap();
    file.set_len(header.tar_size(None)).unwrap();
    let write = |bytes: &[u8], offset| fs_err::os::unix::fs::FileExt::write_at(&file, bytes, offset).unwrap();
    let area = header.data_area(None);
    let mut head = tar::Header::new_ustar();
    head.set_path(HEADER_NAME).unwrap();
    head.set_size(header.to_json().len() as u64);
    head.set_mode(0o644);
    head.set_cksum();
    write(head.as_bytes(), 0);
    write(&header.to_json(), 512);
    for member in header.members() {
        write(&member.head(0), area + member.start);
        if let MemberContent::Link(digest) = member.holds {
            write(digest.to_string().as_bytes(), area + member.offset);
        }
    }
    for program in [&["tar", "-tvf"][..], &["busybox", "tar", "-tvf"]] {
        let output = Command::new(program[0]).args(&program[1..]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.contains(" 8589934597 "), "{text}");
    }
}
