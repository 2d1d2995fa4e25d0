//! Media that somebody has changed: where keys are wanted, nothing of such a medium is run or believed.
//!
//! The script runs on this machine, which has minisign, and says what it would do. In the place of hod is a program that
//! leaves a trace.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use tempfile::TempDir;

use crate::support::fixtures;
use crate::support::hod::hod;

struct Medium {
    folder: TempDir,
}

impl Medium {
    /// A signed medium, with keys beside it.
    fn new() -> Self {
        let medium = Self { folder: tempfile::tempdir().unwrap() };
        let keys = medium.folder.path();
        for key in ["ours", "theirs"] {
            hod(["keygen", key, "--no-passphrase"]).in_folder(keys).ok();
        }
        fs::create_dir_all(medium.path("")).unwrap();
        let store = fixtures::root().to_str().unwrap();
        let words = ["pack", "web:1.0", "--store", store, "--with-installer", "-o", "r.tar"];
        let busybox = ["--installer-binary", "/bin/busybox", "--sign"];
        hod(words.iter().chain(&busybox)).arg(keys.join("ours.key")).in_folder(&medium.path("")).ok();
        medium.replace_hod("right");
        medium.sum();
        medium.sign("ours");
        medium
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("medium").join(name)
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    fn replace_hod(&self, which: &str) {
        let script = format!("#!/bin/sh\necho {which} >>'{}'\n", self.trace().display());
        fs::write(self.path("hod"), script).unwrap();
        fs::set_permissions(self.path("hod"), PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Writes sums that fit.
    fn sum(&self) {
        let words = ["-c", "sha256sum r.tar hod install.sh README.txt >SHA256SUMS"];
        assert!(Command::new("sh").args(words).current_dir(self.path("")).status().unwrap().success());
    }

    fn sign(&self, key: &str) {
        let key = self.folder.path().join(format!("{key}.key"));
        let mut command = Command::new("minisign");
        command.args(["-S", "-W", "-m", "SHA256SUMS", "-s"]).arg(key).current_dir(self.path(""));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, words: &[&str], home: Option<&Path>) -> (Option<i32>, String) {
        let _ = fs::remove_file(self.trace());
        let mut command = Command::new("sh");
        command.arg(self.path("install.sh")).args(words).arg("--dry-run").env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).current_dir(self.folder.path());
        command.envs(home.map(|home| ("HOME", home)));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn goes_on(&self, words: &[&str], home: Option<&Path>) -> String {
        let (code, text) = self.run(words, home);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("unpack its images to"), "{text}");
        // It is asked for its version, and checks what the plan says.
        assert_eq!(fs::read_to_string(self.trace()).unwrap(), "right\nright\n");
        text
    }

    #[track_caller]
    fn refused(&self, words: &[&str], says: &str) {
        let (code, text) = self.run(words, None);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(says), "{text}");
        assert!(!self.trace().exists(), "the program of the medium was run: {text}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn with_a_key_the_medium_must_be_signed_before_anything_of_it_runs() {
    let medium = Medium::new();
    let key = ["--key", "ours.pub"];
    let said = medium.goes_on(&key, None);
    assert!(said.contains("the sums are signed with ours.pub"), "{said}");
    assert!(said.contains("\n  signature: checked with minisign and ours.pub\n"), "{said}");
    // The key itself, as hod takes it.
    let text = fs::read_to_string(medium.folder.path().join("ours.pub")).unwrap();
    medium.goes_on(&["--key", text.lines().nth(1).unwrap()], None);
    medium.refused(&["--key", "theirs.pub"], "not signed with a trusted key");
    // Another program, with sums that fit: under the old signature, under that of a stranger, and without any.
    medium.replace_hod("wrong");
    medium.sum();
    medium.refused(&key, "not signed with a trusted key");
    medium.sign("theirs");
    medium.refused(&key, "not signed with a trusted key");
    fs::remove_file(medium.path("SHA256SUMS.minisig")).unwrap();
    medium.refused(&key, "SHA256SUMS.minisig is missing");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn trusted_keys_of_the_machine_count_as_if_they_were_named() {
    let medium = Medium::new();
    let home = medium.folder.path().join("home");
    let trusted = home.join(".config/hod/trusted");
    fs::create_dir_all(&home).unwrap();
    let note = "note: no key is trusted by default, and no signature is checked: ";
    let said = medium.goes_on(&[], Some(&home));
    let text = fs::read_to_string(medium.folder.path().join("ours.pub")).unwrap();
    let id = text.lines().next().unwrap().rsplit(' ').next().unwrap();
    let there = format!("\n  signature: present (key {id}), and NOT CHECKED: ");
    let advice = "get the public key of the maker by another way, and name it with --key\n";
    assert!(said.contains(&format!("{there}{advice}")), "{said}");
    assert!(said.contains(&format!("{note}{} and /etc/hod/trusted: not found", trusted.display())), "{said}");
    let said = medium.goes_on(&[], None);
    assert!(said.contains(&format!("{note}/etc/hod/trusted: not found")), "{said}");
    fs::create_dir_all(&trusted).unwrap();
    assert!(medium.run(&[], Some(&home)).1.contains("no trusted key"));
    fs::copy(medium.folder.path().join("ours.pub"), trusted.join("ours.pub")).unwrap();
    assert!(medium.goes_on(&[], Some(&home)).contains("the sums are signed with"));
    fs::remove_file(medium.path("SHA256SUMS.minisig")).unwrap();
    let (code, text) = medium.run(&[], Some(&home));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is missing") && !medium.trace().exists(), "{text}");
    let said = medium.goes_on(&["--no-key"], Some(&home));
    assert!(said.contains(&format!("{there}--no-key was given\n")), "{said}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn sums_name_the_files_of_the_medium_and_nothing_else() {
    let medium = Medium::new();
    let sums = fs::read_to_string(medium.path("SHA256SUMS")).unwrap();
    let hash = "0".repeat(64);
    let without = |name: &str| {
        sums.lines()
            .filter(|line| !line.ends_with(&format!("  {name}")))
            .map(|line| format!("{line}\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    for (text, says) in [
        (without("hod"), "does not name hod"),
        (without("install.sh"), "does not name install.sh"),
        (without("r.tar"), "does not name r.tar"),
        (format!("{sums}{hash}  /dev/zero\n"), "a line that hod does not write"),
        (format!("{sums}{hash}  ../trace\n"), "a line that hod does not write"),
        (format!("{sums}\\{hash}  a\\nb\n"), "a line that hod does not write"),
        (format!("{sums}{hash}  \x1b[2J\n"), "a line that hod does not write"),
        (String::new(), "does not name hod"),
    ] {
        fs::write(medium.path("SHA256SUMS"), text).unwrap();
        medium.refused(&[], says);
        medium.refused(&["--skip-sums"], says);
    }
    fs::write(medium.path("SHA256SUMS"), &sums).unwrap();
    medium.goes_on(&[], None);
    // What leads elsewhere, or makes whoever reads it wait.
    let elsewhere = medium.folder.path().join("elsewhere");
    for name in ["hod", "r.tar", "README.txt", "SHA256SUMS", "SHA256SUMS.minisig"] {
        fs::rename(medium.path(name), &elsewhere).unwrap();
        symlink(&elsewhere, medium.path(name)).unwrap();
        medium.refused(&[], "is not a plain file");
        fs::remove_file(medium.path(name)).unwrap();
        assert!(Command::new("mkfifo").arg(medium.path(name)).status().unwrap().success());
        medium.refused(&[], "is not a plain file");
        fs::remove_file(medium.path(name)).unwrap();
        fs::rename(&elsewhere, medium.path(name)).unwrap();
    }
    medium.goes_on(&[], None);
}
