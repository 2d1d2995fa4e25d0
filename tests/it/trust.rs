//! Signed bundles: Debian's minisign as the judge, and bundles that somebody has tampered with.

mod taking;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use tempfile::TempDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::{Output, hod};
use crate::support::tree;

/// A folder with two keys and a bundle of a few images, signed with the first key.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["ours", "theirs"] {
            hod(["keygen", name, "--no-passphrase"]).in_folder(bench.path("")).ok();
        }
        bench.pack("signed.tar", &["--sign", "ours.key"]);
        bench.pack("plain.tar", &[]);
        bench
    }

    fn path(&self, name: &str) -> &Path {
        Box::leak(self.folder.path().join(name).into_boxed_path())
    }

    fn pack(&self, name: &str, more: &[&str]) {
        let store = fixtures::root().to_str().unwrap();
        let words = ["pack", "web:1.0", "--store", store, "--all-platforms", "-o", name];
        hod(words.iter().chain(more)).in_folder(self.path("")).ok();
    }

    fn hod(&self, words: &[&str]) -> Output {
        hod(words).in_folder(self.path("")).run()
    }

    /// Unpacks with the first key to a root that must not come to be; returns what was said.
    #[track_caller]
    fn refused(&self, bundle: &str, more: &[&str]) -> String {
        let words = ["unpack", bundle, "--root", "nowhere", "--key", "ours.pub"];
        let output = self.hod(&[&words, more].concat());
        assert_eq!(output.code, Some(4), "{}", output.stderr);
        assert!(!self.path("nowhere").exists(), "something was written");
        output.stderr
    }

    /// The header of a bundle as a file, as a person would take it out.
    fn header(&self, bundle: &str) -> PathBuf {
        let out = Command::new("tar").arg("-xOf").arg(self.path(bundle)).arg("hod/bundle.json").output().unwrap();
        let path = self.path("bundle.json").to_owned();
        fs::write(&path, out.stdout).unwrap();
        path
    }
}

/// Runs minisign with some text on its standard input.
fn minisign(folder: &Path, words: &[&str], input: &str) -> (bool, String) {
    use std::io::Write as _;
    let mut command = Command::new("minisign");
    command.args(words).current_dir(folder).env("HOME", folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("minisign does not start: scripts/test installs it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn minisign_accepts_what_hod_signs() {
    let bench = Bench::new();
    let folder = bench.path("");
    bench.header("signed.tar");
    let tar = Command::new("tar").arg("-xf").arg(bench.path("signed.tar")).arg("-C").arg(folder).status().unwrap();
    assert!(tar.success());
    let verify = ["-V", "-p", "ours.pub", "-m", "hod/bundle.json"];
    let (accepted, said) = minisign(folder, &verify, "");
    assert!(accepted && said.contains("Trusted comment: hod bundle sha256:"), "{said}");
    assert!(!minisign(folder, &["-V", "-p", "theirs.pub", "-m", "hod/bundle.json"], "").0);
    // The secret key works there as well.
    let (signed, said) = minisign(folder, &["-S", "-s", "ours.key", "-m", "signed.tar"], "");
    assert!(signed, "{said}");
    assert!(minisign(folder, &["-V", "-p", "ours.pub", "-m", "signed.tar"], "").0);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn hod_accepts_what_minisign_signs() {
    let bench = Bench::new();
    let folder = bench.path("");
    let (made, said) = minisign(folder, &["-G", "-p", "m.pub", "-s", "m.key", "-W"], "");
    assert!(made, "{said}");
    bench.pack("by-m.tar", &["--sign", "m.key"]);
    hod(["verify", "by-m.tar", "--key", "m.pub"]).in_folder(folder).ok();
    // Beside a bundle, hashed first or, as older versions did, not.
    for legacy in [&["-H"][..], &["-l"]] {
        bench.header("plain.tar");
        let sign = ["-S", "-s", "m.key", "-m", "bundle.json", "-x", "plain.tar.header.minisig"];
        let (signed, said) = minisign(folder, &[&sign, legacy].concat(), "");
        assert!(signed, "{said}");
        let found = hod(["verify", "plain.tar", "--key", "m.pub", "--json"]).in_folder(folder).ok().json();
        assert_eq!(found["findings"].as_array().unwrap().len(), 0);
        assert_eq!(found["signed"]["key"].as_str().unwrap().len(), 16);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn encrypted_keys_work_in_both_programs() {
    let bench = Bench::new();
    let folder = bench.path("");
    fs::write(folder.join("word"), "open sesame\nignored").unwrap();
    hod(["keygen", "locked", "--passphrase-file", "word"]).in_folder(folder).ok();
    let (signed, said) = minisign(folder, &["-S", "-s", "locked.key", "-m", "plain.tar"], "open sesame\n");
    assert!(signed, "{said}");
    let (made, said) = minisign(folder, &["-G", "-p", "m.pub", "-s", "m.key"], "open sesame\nopen sesame\n");
    assert!(made, "{said}");
    for key in ["locked", "m"] {
        let (secret, public) = (format!("{key}.key"), format!("{key}.pub"));
        bench.pack("locked.tar", &["--sign", &secret, "--passphrase-file", "word"]);
        hod(["verify", "locked.tar", "--key", &public]).in_folder(folder).ok();
        let sign = ["sign", "plain.tar", "--sign", &secret];
        hod(sign).in_folder(folder).env("HOD_PASSPHRASE", "open sesame").ok();
        hod(["verify", "plain.tar", "--key", &public]).in_folder(folder).ok();
        let wrong = hod(sign).in_folder(folder).env("HOD_PASSPHRASE", "open barley").code(2);
        assert!(wrong.stderr.contains("wrong passphrase for the secret key"), "{}", wrong.stderr);
        assert!(!wrong.stderr.contains("barley"), "{}", wrong.stderr);
        let none = hod(sign).in_folder(folder).code(2);
        assert!(none.stderr.contains("--passphrase-file"), "{}", none.stderr);
    }
}

#[test]
fn keys_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let mode = |name: &str| fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("ours.key"), 0o600);
    let before = fs::read(bench.path("ours.key")).unwrap();
    assert_eq!(bench.hod(&["keygen", "ours", "--no-passphrase"]).code, Some(2));
    assert_eq!(fs::read(bench.path("ours.key")).unwrap(), before);
}

#[test]
fn a_bundle_of_somebody_else_is_refused_before_the_first_write() {
    let bench = Bench::new();
    bench.pack("resigned.tar", &["--sign", "theirs.key"]);
    assert!(bench.refused("resigned.tar", &[]).contains("which is not trusted"));
    assert!(bench.refused("plain.tar", &[]).contains("the bundle is not signed"));
    // The signature of one bundle in another with other contents.
    let store = fixtures::root().to_str().unwrap();
    hod(["pack", "base/busybox:1.35", "--store", store, "-o", "other.tar"]).in_folder(bench.path("")).ok();
    hod(["sign", "signed.tar", "--sign", "ours.key", "-o", "other.tar.header.minisig"]).in_folder(bench.path("")).ok();
    assert!(bench.refused("other.tar", &[]).contains("does not belong to this bundle"));
    // Several keys, of which one is right.
    let words = ["unpack", "resigned.tar", "--root", "root", "--key", "ours.pub", "--key", "theirs.pub"];
    hod(words).in_folder(bench.path("")).ok();
}

#[test]
fn a_bundle_with_anything_changed_is_refused() {
    let bench = Bench::new();
    let bytes = fs::read(bench.path("signed.tar")).unwrap();
    let change = |what: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        what(&mut changed);
        assert_ne!(changed, bytes);
        fs::write(bench.path("changed.tar"), changed).unwrap();
        let output = bench.hod(&["unpack", "changed.tar", "--root", "root", "--key", "ours.pub"]);
        assert_eq!(output.code, Some(4), "{}", output.stderr);
        let visible = || tree::listing(bench.path("root")).into_keys().find(|path| path.ends_with("/link"));
        assert!(!bench.path("root").exists() || visible().is_none(), "something became visible: {:?}", visible());
        assert_eq!(bench.hod(&["verify", "changed.tar", "--key", "ours.pub"]).code, Some(4));
    };
    change(&|bytes| bytes.truncate(bytes.len() - 512));
    change(&|bytes| bytes.truncate(bytes.len() / 2));
    let header = u64::from_str_radix(std::str::from_utf8(&bytes[124..135]).unwrap(), 8).unwrap();
    let signature = usize::try_from(512 + header.div_ceil(512) * 512).unwrap();
    assert!(bytes[signature..].starts_with(b"hod/bundle.json.minisig"));
    let area = signature + 1024;
    // Stripped: the bundle is right without it, and not signed.
    change(&|bytes| drop(bytes.drain(signature..area)));
    assert!(bench.refused("changed.tar", &[]).contains("the bundle is not signed"));
    // One member with other bytes of the same length, as if it were a different layer.
    change(&|bytes| bytes[area + 512] ^= 1);
    // The header says another thing.
    let at = bytes.windows(3).position(|window| window == b"1.0").unwrap();
    change(&|bytes| bytes[at] = b'2');
    change(&|bytes| bytes[signature + 600] ^= 1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn push_and_streams_check_before_the_first_request() {
    let bench = Bench::new();
    let registry = DockerRegistry::empty();
    let to = format!("docker://{}", registry.host());
    for bundle in ["plain.tar", "-"] {
        let input = fs::read(bench.path("plain.tar")).unwrap();
        let words = ["push", bundle, &to, "--key", "ours.pub"];
        let output = hod(words).in_folder(bench.path("")).input(input).code(4);
        assert!(output.stderr.contains("the bundle is not signed"), "{}", output.stderr);
    }
    assert!(!registry.log().contains("/v2/web/"), "{}", registry.log());
    let input = fs::read(bench.path("signed.tar")).unwrap();
    hod(["push", "-", &to, "--key", "ours.pub"]).in_folder(bench.path("")).input(input).ok();
    let piped = hod(["unpack", "-", "--root", "nowhere", "--key", "theirs.pub"]).in_folder(bench.path(""));
    piped.input(fs::read(bench.path("signed.tar")).unwrap()).code(4);
    assert!(!bench.path("nowhere").exists());
}

#[test]
fn who_signed_is_asked_before_the_header_is_looked_into() {
    let bench = Bench::new();
    let broken = |name: &str| {
        let mut bytes = fs::read(bench.path(name)).unwrap();
        // The first brace of the header.
        bytes[512] = b'[';
        fs::write(bench.path("broken.tar"), &bytes).unwrap();
        bytes
    };
    let key = ["--key", "ours.pub"];
    for (name, says) in [("plain.tar", "the bundle is not signed"), ("signed.tar", "the signature")] {
        let bytes = broken(name);
        let to = ["--root", "nowhere"];
        for words in
            [&["unpack", "broken.tar"][..], &["unpack", "-"], &["push", "broken.tar"], &["serve", "broken.tar"]]
        {
            let more: &[&str] = match words[0] {
                "unpack" => &to,
                "push" => &["docker://127.0.0.1:1"],
                _ => &[],
            };
            let output = hod([words, more, &key].concat()).in_folder(bench.path("")).input(&*bytes).code(4);
            assert!(output.stderr.contains(says), "{words:?}: {}", output.stderr);
            assert!(!output.stderr.contains("bundle.json is invalid"), "{words:?}: {}", output.stderr);
        }
        let without = hod(["unpack", "broken.tar", "--root", "nowhere"]).in_folder(bench.path("")).code(4);
        assert!(without.stderr.contains("bundle.json is invalid"), "{}", without.stderr);
    }
}

#[test]
fn that_nothing_is_trusted_is_said_with_the_names_that_were_looked_for() {
    let bench = Bench::new();
    let unpack =
        |more: &[&str]| hod([&["unpack", "plain.tar", "--root", "root"], more].concat()).in_folder(bench.path(""));
    let says = "note: no key is trusted by default, and no signature is checked: ";
    let run = unpack(&[]).env("SUDO_USER", "somebody");
    let own = run.home().join(".config/hod/trusted").display().to_string();
    let said = run.ok().stderr;
    assert_eq!(said.matches(says).count(), 1, "{said}");
    assert!(said.contains(&format!("{says}{own} and /etc/hod/trusted: not found")), "{said}");
    let said = unpack(&[]).env("HOME", "").ok().stderr;
    assert!(said.contains(&format!("{says}/etc/hod/trusted: not found")), "{said}");
    for more in [&["--no-key"][..], &["--quiet"]] {
        assert!(!unpack(more).env("SUDO_USER", "somebody").ok().stderr.contains(says));
    }
    assert!(!unpack(&[]).ok().stderr.contains(says), "nobody has trusted a key, at home");
}

#[test]
fn a_folder_of_trusted_keys_is_read_by_default() {
    let bench = Bench::new();
    let config = bench.path("config");
    let folder = config.join("hod/trusted");
    let unpack = |bundle: &str, more: &[&str]| {
        let words = ["unpack", bundle, "--root", "root"];
        hod(words.iter().chain(more)).in_folder(bench.path("")).env("XDG_CONFIG_HOME", config).run()
    };
    fs::create_dir_all(&folder).unwrap();
    let empty = unpack("signed.tar", &[]);
    assert_eq!(empty.code, Some(2), "a folder without keys trusts nobody: {}", empty.stderr);
    fs::copy(bench.path("theirs.pub"), folder.join("a.pub")).unwrap();
    assert_eq!(unpack("signed.tar", &[]).code, Some(4));
    fs::copy(bench.path("ours.pub"), folder.join("b.pub")).unwrap();
    assert_eq!(unpack("signed.tar", &[]).code, Some(0));
    assert_eq!(unpack("plain.tar", &[]).code, Some(4));
    assert_eq!(unpack("plain.tar", &["--no-key"]).code, Some(0));
    assert_eq!(unpack("plain.tar", &["--key", "ours.pub"]).code, Some(4));
    fs::write(folder.join("c.pub"), "not a key").unwrap();
    assert_eq!(unpack("signed.tar", &[]).code, Some(2), "a damaged key is not passed over");
    // What is there and cannot be read is not the same as none.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    let file = unpack("plain.tar", &[]);
    assert_eq!(file.code, Some(1), "a file in place of the folder trusts nobody: {}", file.stderr);
    assert!(file.stderr.contains("--no-key"), "{}", file.stderr);
    fs::remove_file(&folder).unwrap();
    std::os::unix::fs::symlink("nowhere", &folder).unwrap();
    assert_eq!(unpack("plain.tar", &[]).code, Some(1), "a link that leads nowhere trusts nobody");
    fs::remove_file(&folder).unwrap();
    fs::remove_dir(folder.parent().unwrap()).unwrap();
    fs::write(folder.parent().unwrap(), "").unwrap();
    assert_eq!(unpack("plain.tar", &[]).code, Some(0));
}

#[test]
fn a_signature_changes_nothing_that_is_unpacked() {
    let bench = Bench::new();
    for (bundle, root) in [("signed.tar", "a"), ("plain.tar", "b")] {
        hod(["unpack", bundle, "--root", root, "--no-key"]).in_folder(bench.path("")).ok();
    }
    tree::assert_same(&bench.path("a").join("docker"), &bench.path("b").join("docker"));
}
