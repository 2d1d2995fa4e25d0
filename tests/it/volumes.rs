//! Bundles on media: cut up as they are written, read from several folders, checked by others and by hod.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use tempfile::TempDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::{Hod, hod};
use crate::support::images::write_big_root;
use crate::support::{fixtures, skopeo, tree};

/// The length of volumes: most blobs of the fixtures fit, and the largest span several.
const SIZE: &str = "300000";

fn arguments<const N: usize>(words: [&str; N], paths: &[(&str, &Path)]) -> Hod {
    let mut all: Vec<String> = words.map(str::to_owned).to_vec();
    for (flag, path) in paths {
        if !flag.is_empty() {
            all.push((*flag).to_owned());
        }
        all.push(path.to_str().unwrap().to_owned());
    }
    hod(all)
}

/// The fixtures as volumes.
fn packed(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    arguments(["pack", "--volume-size", SIZE], &[("--store", fixtures::root()), ("-o", &folder.path().join(name))])
        .ok();
    folder
}

fn volumes(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end != "sha256"));
    found.sort();
    found
}

fn unpacked(bundle: &Path, from: &[&Path]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let folders = from.iter().map(|folder| ("--from-dir", *folder));
    let paths: Vec<(&str, &Path)> = [("", bundle), ("--root", root.path())].into_iter().chain(folders).collect();
    arguments(["unpack"], &paths).ok();
    root
}

fn assert_unpacked(root: &TempDir) {
    tree::assert_same(&fixtures::root().join("docker"), &root.path().join("docker"));
}

fn assert_nothing_visible(root: &TempDir) {
    let repositories = root.path().join("docker/registry/v2/repositories");
    assert!(fs::read_dir(repositories).map_or(true, |mut found| found.next().is_none()));
}

#[test]
fn cat_and_sha256sum_do_without_hod() {
    for name in ["release.tar", "release.tar.zst"] {
        let (cut, whole) = (packed(name), tempfile::tempdir().unwrap());
        arguments(["pack"], &[("--store", fixtures::root()), ("-o", &whole.path().join(name))]).ok();
        assert!(volumes(cut.path()).len() > 5);
        let shell = format!("sha256sum --check --strict --quiet {name}.sha256 && cat {name}.??? | cmp - \"$1\"");
        let status = Command::new("sh")
            .args(["-ec", &shell, "sh"])
            .arg(whole.path().join(name))
            .current_dir(cut.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

#[test]
#[ignore = "takes long"]
fn every_name_of_a_set_will_do() {
    for name in ["release.tar", "release.tar.zst"] {
        let folder = packed(name);
        let names = [format!("{name}.001"), name.to_owned(), format!("{name}.sha256"), String::new()];
        for name in names {
            let bundle = if name.is_empty() { folder.path().to_owned() } else { folder.path().join(name) };
            assert_unpacked(&unpacked(&bundle, &[]));
            let listed = arguments(["ls", "--json"], &[("", &bundle)]).ok().json();
            assert_eq!(listed["images"].as_array().unwrap().len(), fixtures::names().len());
            arguments(["verify"], &[("", &bundle)]).ok();
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn volumes_in_several_folders() {
    let media = packed("release.tar");
    let other = tempfile::tempdir().unwrap();
    for path in volumes(media.path()).iter().skip(1).step_by(2) {
        fs::rename(path, other.path().join(path.file_name().unwrap())).unwrap();
    }
    assert_unpacked(&unpacked(&media.path().join("release.tar"), &[other.path()]));
    assert_unpacked(&unpacked(other.path(), &[media.path()]));
    arguments(["verify"], &[("", media.path()), ("--from-dir", other.path())]).ok();
    let registry = DockerRegistry::empty();
    let destination = format!("docker://{}", registry.host());
    let words = ["push", media.path().to_str().unwrap(), &destination, "--index", "sparse"];
    arguments(words, &[("--from-dir", other.path())]).ok();
    let image = format!("{}/web:1.1", registry.host());
    assert_eq!(skopeo::digest(&image), fixtures::digest("web:1.1"));
}

#[test]
fn without_a_terminal_the_missing_volume_is_named() {
    let media = packed("release.tar");
    fs::remove_file(media.path().join("release.tar.003")).unwrap();
    let root = tempfile::tempdir().unwrap();
    let output = arguments(["unpack"], &[("", media.path()), ("--root", root.path())]).code(1);
    assert!(output.stderr.contains("release.tar.003 is missing"), "{}", output.stderr);
    assert!(output.stderr.contains("--from-dir"), "{}", output.stderr);
    assert_nothing_visible(&root);
    let words = ["push", media.path().to_str().unwrap(), "docker://127.0.0.1:1"];
    let output = arguments(words, &[]).code(1);
    assert!(output.stderr.contains("release.tar.003 is missing"), "{}", output.stderr);
    // The list needs the first volume alone.
    arguments(["ls"], &[("", media.path())]).ok();
}

#[test]
fn on_a_terminal_hod_asks_for_the_next_medium() {
    let (media, other) = (packed("release.tar"), tempfile::tempdir().unwrap());
    for path in volumes(media.path()).iter().skip(2) {
        fs::rename(path, other.path().join(path.file_name().unwrap())).unwrap();
    }
    let root = tempfile::tempdir().unwrap();
    let hod = env!("CARGO_BIN_EXE_hod");
    let line = format!("{hod} unpack {} --root {}", media.path().display(), root.path().display());
    let mut process = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    // An empty answer looks again where nothing has changed; the second one is a folder.
    std::io::Write::write_all(&mut input, format!("\n{}\n", other.path().display()).as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("release.tar.003, is not in").count(), 2, "{said}");
    assert_unpacked(&root);
}

/// Runs hod on a terminal with the first of some volumes on the medium that is in, and puts in each that it asks for.
/// Returns the exit code, what it said, and the volumes in the order in which they were asked for.
fn with_one_drive(words: &str, shelf: &Path) -> (Option<i32>, String, Vec<String>) {
    let drive = tempfile::tempdir().unwrap();
    let put_in = |name: &str| {
        for path in volumes(drive.path()) {
            fs::remove_file(path).unwrap();
        }
        fs::copy(shelf.join(name), drive.path().join(name)).unwrap();
    };
    let first = volumes(shelf).swap_remove(0);
    let base = first.file_stem().unwrap().to_str().unwrap();
    fs::copy(shelf.join(format!("{base}.sha256")), drive.path().join(format!("{base}.sha256"))).unwrap();
    put_in(&format!("{base}.001"));
    let line = format!("{} {}", env!("CARGO_BIN_EXE_hod"), words.replace("DRIVE", drive.path().to_str().unwrap()));
    let mut process = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let (mut said, mut asked, mut bytes) = (String::new(), Vec::new(), [0; 4096]);
    while let count @ 1.. = output.read(&mut bytes).unwrap() {
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        let questions = said.split(", is not in ");
        let names: Vec<&str> = questions.filter_map(|text| text.rsplit(' ').next()).collect();
        let count = said.matches(", is not in ").count();
        for name in names.into_iter().take(count).skip(asked.len()) {
            put_in(name);
            asked.push(name.to_owned());
            input.write_all(b"\n").unwrap();
        }
    }
    (process.wait().unwrap().code(), said, asked)
}

#[test]
fn media_may_follow_one_another_in_one_place() {
    for name in ["release.tar", "release.tar.zst"] {
        let shelf = packed(name);
        let count = volumes(shelf.path()).len();
        assert!(count > 4, "{count}");
        let number = |number: usize| format!("{name}.{number:03}");
        let in_order: Vec<String> = (2..=count).map(number).collect();
        let root = tempfile::tempdir().unwrap();
        let unpack = format!("unpack DRIVE --root {}", root.path().display());
        let (code, said, asked) = with_one_drive(&unpack, shelf.path());
        assert_eq!((code, &asked), (Some(0), &in_order), "{said}");
        assert_unpacked(&root);
        // Of a compressed bundle the table at its end is read first.
        let first: Vec<String> = if name.ends_with("zst") { vec![number(count), number(1)] } else { Vec::new() };
        let expected = [first, in_order].concat();
        let (code, said, asked) = with_one_drive("verify DRIVE", shelf.path());
        assert_eq!((code, &asked), (Some(0), &expected), "{said}");
        // Damage is found as if all were there at once.
        let path = shelf.path().join(number(3));
        let mut bytes = fs::read(&path).unwrap();
        bytes[1000] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (code, said, asked) = with_one_drive("verify DRIVE", shelf.path());
        assert_eq!((code, &asked), (Some(4), &expected), "{said}");
        assert!(said.contains("volume-damaged: ") && said.contains("blob-digest-mismatch: "), "{said}");
        assert!(said.contains(&format!("{}; the other volumes are intact", number(3))), "{said}");
    }
}

#[test]
fn verify_names_what_to_copy_again() {
    let media = packed("release.tar");
    let path = media.path().join("release.tar.004");
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = arguments(["verify", "--json"], &[("", media.path())]).code(4);
    let findings = output.json()["findings"].as_array().unwrap().clone();
    let volume = findings.iter().find(|finding| finding["code"] == "volume-damaged").unwrap();
    assert_eq!(volume["path"], path.to_str().unwrap());
    assert!(volume["ranges"][0][0].as_u64().unwrap() <= 1000 && volume["ranges"][0][1].as_u64().unwrap() >= 1000);
    assert!(!volume["images"].as_array().unwrap().is_empty());
    assert_eq!(findings.iter().filter(|finding| finding["code"] == "blob-digest-mismatch").count(), 1);
    assert!(output.stderr.contains(&format!("copy again: {};", path.display())), "{}", output.stderr);
    // What the bundle is unpacked to has no trace of the damage.
    let root = tempfile::tempdir().unwrap();
    arguments(["unpack"], &[("", media.path()), ("--root", root.path())]).code(4);
    assert_nothing_visible(&root);
}

#[test]
fn a_killed_pack_leaves_no_volumes_that_look_whole_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("release.tar");
    let store = tempfile::tempdir().unwrap();
    write_big_root(store.path(), "big:1", 20_000_000);
    let pack =
        || arguments(["pack", "--json", "--volume-size", "100000"], &[("--store", store.path()), ("-o", &output)]);
    for ending in ["kill", "interrupt"] {
        let mut running = pack().spawn();
        running.until("some volumes", || fs::read_dir(folder.path()).unwrap().count() > 5);
        if ending == "kill" {
            running.kill();
        } else {
            running.interrupt();
            running.wait();
        }
        let done = folder.path().join("release.tar.001").exists();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name.ends_with(".partial") || done, "{name}");
        }
        // What lies there is taken over, or goes: also where the next run has fewer volumes.
        fs::write(folder.path().join(".release.tar.998.partial"), "of a killed run").unwrap();
        let again = pack().ok().json();
        assert!(done || again["bytesKept"].as_u64().unwrap() >= 300_000, "{again}");
        let left: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.iter().all(|path| path.extension().unwrap() != "partial"), "{left:?}");
        arguments(["verify"], &[("", &output)]).ok();
        for path in left {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_cut_up_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (output, size, words) in [
        ("a:b.tar", "1G", "vfat"),
        ("-", "1G", "standard output"),
        ("release.tar", "12", "too small"),
        ("release.tar", "floppy", "fat32"),
    ] {
        let output = if output == "-" { output.into() } else { folder.path().join(output) };
        let run = arguments(["pack", "--volume-size", size], &[("--store", fixtures::root()), ("-o", &output)]).code(2);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[track_caller]
fn assert_ok(output: &std::process::Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A stick with vfat: mounted where that is allowed, else read and written by mtools.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_stick_with_vfat() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("stick.img");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let run = |program: &str, words: &[&std::ffi::OsStr]| {
        Command::new(program)
            .args(words)
            .output()
            .unwrap_or_else(|error| panic!("{program} does not start: scripts/test installs it: {error}"))
    };
    let image = image.as_os_str();
    assert_ok(&run("mkfs.vfat", &[image]));
    let stick = folder.path().join("stick");
    fs::create_dir(&stick).unwrap();
    if run("mount", &["-o".as_ref(), "loop".as_ref(), image, stick.as_os_str()]).status.success() {
        arguments(
            ["pack", "--volume-size", SIZE],
            &[("--store", fixtures::root()), ("-o", &stick.join("release.tar"))],
        )
        .ok();
        let found = arguments(["verify"], &[("", &stick)]).run();
        let root = unpacked(&stick, &[]);
        assert_ok(&run("umount", &[stick.as_os_str()]));
        assert_eq!(found.code, Some(0), "{}", found.stderr);
        assert_unpacked(&root);
        return;
    }
    println!("a vfat filesystem cannot be mounted here; mtools takes its place");
    let packed = packed("release.tar");
    let mut words = vec!["-i".as_ref(), image];
    let files: Vec<PathBuf> = fs::read_dir(packed.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    words.extend(files.iter().map(|file| file.as_os_str()));
    words.push("::".as_ref());
    assert_ok(&run("mcopy", &words));
    assert_ok(&run("mcopy", &["-s".as_ref(), "-i".as_ref(), image, "::".as_ref(), stick.as_os_str()]));
    arguments(["verify"], &[("", &stick)]).ok();
    assert_unpacked(&unpacked(&stick, &[]));
}
