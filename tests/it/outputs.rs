//! Small files that the user names: what is no file there stays what it is, and `-` is standard output.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use fs_err as fs;
use nix::sys::stat::Mode;

use crate::support::faulty::Faulty;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Content, image, layer};
use crate::support::job::text;
use crate::support::pipe::Pipe;
use crate::support::skipped::skipped;

fn content() -> Content {
    Content::default().with("app:1", &image("linux/amd64", &[layer(1, 500)]))
}

#[test]
fn pipes_and_links_are_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let registry = Faulty::new(content()).start();
    let wanted = hod(["inventory", text(fixtures::root())]).ok().stdout;

    let pipe = Pipe::at(&at("pipe"));
    let commands: [&[&str]; 3] = [
        &["inventory", text(fixtures::root()), "-o", "pipe"],
        &["lock", "app:1", "--from", registry.host(), "-o", "pipe"],
        &["pull", "app:1", "--from", registry.host(), "--store", "store", "--lock", "pipe"],
    ];
    for words in commands {
        let reading = pipe.read();
        hod(words).in_folder(folder.path()).ok();
        let read = reading.wait();
        assert!(read == wanted || String::from_utf8_lossy(&read).contains("app:1@sha256:"), "{words:?}");
        assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo(), "{words:?}");
    }

    fs::write(at("file"), "old").unwrap();
    fs_err::os::unix::fs::symlink("file", at("link")).unwrap();
    hod(["inventory", text(fixtures::root()), "-o", "link"]).in_folder(folder.path()).ok();
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert!(fs::read(at("file")).unwrap() == wanted);

    let null = at("null");
    let device = nix::sys::stat::makedev(1, 3);
    if nix::sys::stat::mknod(&null, nix::sys::stat::SFlag::S_IFCHR, Mode::S_IRWXU, device).is_ok() {
        hod(["lock", "app:1", "--from", registry.host(), "-o", text(&null)]).ok();
        assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
    } else {
        skipped("a device", "only root can make one");
    }
}

#[test]
fn the_configuration_of_a_runtime_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let image = format!("store:{}:pause:3.9", text(fixtures::root()));
    let made = |file: &str| hod(["unpack-image", &image, "--config-only", file]).in_folder(folder.path()).ok();
    let wanted = made("-").stdout;

    let reading = Pipe::at(&at("pipe")).read();
    made("pipe");
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    assert!(reading.wait() == wanted);

    fs::write(at("file"), "old").unwrap();
    fs_err::os::unix::fs::symlink("file", at("link")).unwrap();
    made("link");
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert!(fs::read(at("file")).unwrap() == wanted);
}

#[test]
fn nobody_who_reads_does_not_keep_hod_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    Pipe::at(&pipe);
    let registry = Faulty::new(content()).start();
    let mut running = hod(["lock", "app:1", "--from", registry.host(), "-o", text(&pipe)]).spawn();
    running.until("the registry is asked", || registry.count(|_| true) > 0);
    running.interrupt();
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn a_dash_is_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Faulty::new(content()).start();
    let inventory = hod(["inventory", text(fixtures::root()), "-o", "-"]).in_folder(folder.path()).ok();
    assert!(inventory.stdout == hod(["inventory", text(fixtures::root())]).ok().stdout);
    let lock = hod(["lock", "app:1", "--from", registry.host(), "-o", "-"]).in_folder(folder.path()).ok();
    let lines: Vec<_> = lock.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert!(matches!(&*lines, [line] if line.contains("app:1@sha256:")), "{lines:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn paths_that_are_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    let registry = Faulty::new(content()).start();
    let run = |words: &[&OsStr]| hod(words.iter().copied()).in_folder(folder.path()).ok();
    let word = |text: &'static str| OsStr::new(text);
    let from = ["app:1", "--from", registry.host()].map(OsStr::new);
    let (store, bundle, key) = (path(b"s\xff"), path(b"b\xff.tar"), path(b"k\xff"));
    let [image, flag, host] = from;
    run(&[word("pull"), image, flag, host, word("--store"), store.as_os_str()]);
    for json in [&[][..], &[word("--json")]] {
        let all = |words: &[&OsStr]| run(&[words, json].concat());
        all(&[word("pack"), word("--store"), store.as_os_str(), word("-o"), bundle.as_os_str()]);
        all(&[word("plan"), word("--store"), store.as_os_str(), word("-o"), bundle.as_os_str()]);
        all(&[word("bundle"), image, flag, host, word("-o"), path(b"c\xff.tar").as_os_str()]);
        all(&[word("lock"), image, flag, host, word("-o"), path(b"l\xff").as_os_str()]);
    }
    run(&[word("keygen"), key.as_os_str(), word("--no-passphrase")]);
    run(&[word("sign"), bundle.as_os_str(), word("--sign"), path(b"k\xff.key").as_os_str()]);
    run(&[word("rm"), word("--store"), store.as_os_str(), word("app:1")]);
    assert_eq!(run(&[word("ls"), word("-q"), store.as_os_str()]).text().matches("app:1").count(), 0);
}

#[test]
fn a_key_that_could_not_be_written_is_not_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The public key has no place.
    fs::create_dir(at("k.pub")).unwrap();
    let keygen = || hod(["keygen", "k", "--no-passphrase"]).in_folder(folder.path());
    keygen().run();
    assert!(!at("k.key").exists());
    fs::remove_dir(at("k.pub")).unwrap();
    keygen().ok();
}

#[test]
fn what_pack_refuses_its_plan_refuses_too() {
    let large = tempfile::tempdir().unwrap();
    let store = large.path();
    Content::default().with("app:1", &image("linux/amd64", &[layer(1, 5_000_000)])).write_root(store);
    for words in [&["pack", "--dry-run"][..], &["plan"], &["pack"]] {
        let folder = tempfile::tempdir().unwrap();
        let output = Path::new("x.tar");
        let run = hod(words).args(["--store", text(store), "-o", text(output), "--volume-size", "4096"]);
        let refused = run.in_folder(folder.path()).code(2);
        assert!(refused.stderr.contains("999 volumes"), "{words:?}: {}", refused.stderr);
    }
    let refused = hod(["unpack", text(store), "--root", "nowhere"]).code(2);
    assert!(refused.stderr.contains("is a store, not a bundle"), "{}", refused.stderr);
}

#[test]
fn bundles_go_through_links_and_pipes_and_not_in_the_place_of_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = |words: &[&str]| hod(words).in_folder(folder.path());
    let pack = |output: &str| run(&["pack", "--store", text(fixtures::root()), "-o", output]);
    pack("wanted.tar").ok();
    let wanted = fs::read(at("wanted.tar")).unwrap();

    let reading = Pipe::at(&at("pipe.tar")).read();
    pack("pipe.tar").ok();
    assert!(fs::symlink_metadata(at("pipe.tar")).unwrap().file_type().is_fifo());
    assert!(reading.wait() == wanted);

    // One to a file that is there, and is no `.tar` by name, and one to a file that is not.
    fs::create_dir(at("stick")).unwrap();
    fs::write(at("stick/old"), "old").unwrap();
    let registry = Faulty::new(content()).start();
    for (link, target) in [("a.tar", "stick/old"), ("b.tar", "stick/new.tar")] {
        fs_err::os::unix::fs::symlink(target, at(link)).unwrap();
        pack(link).ok();
        assert!(fs::read(at(target)).unwrap() == wanted, "{link}");
        run(&["bundle", "app:1", "--from", registry.host(), "-o", link]).ok();
        run(&["verify", target]).ok();
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
        assert!(fs::read(at(target)).unwrap() != wanted, "{link}");
    }
    pack("b.tar").args(["--volume-size", "300000"]).ok();
    assert!(at("stick/new.tar.001").exists() && !at("b.tar.001").exists());

    fs::create_dir(at("folder.tar")).unwrap();
    let said = pack("folder.tar").code(2).stderr;
    assert!(said.contains("folder.tar is a directory"), "{said}");
    let said = run(&["bundle", "app:1", "--from", registry.host(), "-o", "folder.tar"]).code(2).stderr;
    assert!(said.contains("folder.tar is a directory"), "{said}");
    let said = run(&["bundle", "app:1", "--from", registry.host(), "-o", "pipe.tar"]).code(2).stderr;
    assert!(said.contains("pipe.tar is not a regular file"), "{said}");
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.tar", "b.tar", "folder.tar", "pipe.tar", "stick", "wanted.tar"]);
}
