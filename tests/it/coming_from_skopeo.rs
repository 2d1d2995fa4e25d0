//! `docs/coming-from-skopeo.md`, line by line: the left command by skopeo, the right one by hod.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use tempfile::TempDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::engine::Engine;
use crate::support::{fixtures, tree};

/// The registry of the examples.
const EXAMPLE: &str = "registry.site:5000";
/// The engine of the examples.
const ENGINE: &str = "unix:///run/podman/podman.sock";

/// A folder, a registry, an engine and a home for one of the two tools.
struct Side {
    folder: TempDir,
    registry: DockerRegistry,
    /// The fingerprint of a key in gpg's keyring.
    key: String,
    engine: Engine,
    _root: TempDir,
}

impl Side {
    fn new() -> Self {
        let root = fixtures::copy();
        let registry = DockerRegistry::options().root(root.path()).deletes().start();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        fs::write(folder.path().join("work/images-list.txt"), "web:1.0\nweb:1.1\n").unwrap();
        let images =
            format!("{}:\n  images:\n    web: [\"1.0\"]\n    certs: []\n  tls-verify: false\n", registry.host());
        fs::write(folder.path().join("work/images.yaml"), images).unwrap();
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(folder.path().join("work/policy.json"), policy).unwrap();
        let key = signing_key(folder.path());
        let insecure = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host());
        let settings = folder.path().join(".config/containers");
        fs::create_dir_all(&settings).unwrap();
        fs::write(settings.join("registries.conf"), insecure).unwrap();
        Self { folder, registry, key, engine: Engine::podman(), _root: root }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Runs a command as a shell would, and returns what it printed.
    #[track_caller]
    fn run(&self, command: &str) -> String {
        let line = command.replace(EXAMPLE, self.registry.host()).replace(ENGINE, &self.engine.host());
        let line = line.replace("skopeo ", "skopeo --insecure-policy ");
        let binaries = Path::new(env!("CARGO_BIN_EXE_hod")).parent().unwrap();
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-ec", &line])
            .current_dir(self.work())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("KEY", &self.key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().replace(self.registry.host(), EXAMPLE)
    }
}

/// Makes a key in the keyring of a home, and returns its fingerprint.
fn signing_key(home: &Path) -> String {
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        let output =
            command.args(["--batch", "--quiet"]).args(arguments).env("HOME", home).env_remove("GNUPGHOME").output();
        let output = output.expect("gpg does not start: scripts/test installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    gpg(&["--passphrase", "", "--quick-generate-key", "release@site.example", "ed25519", "sign", "never"]);
    let listed = gpg(&["--list-keys", "--with-colons"]);
    let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
    line.trim_end_matches(':').rsplit(':').next().unwrap().to_owned()
}

impl Drop for Side {
    fn drop(&mut self) {
        // The agent that gpg has started for this home.
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--kill", "all"]).env("HOME", self.folder.path()).env_remove("GNUPGHOME").status();
    }
}

/// The rows of the table: two commands and what the third column says.
fn rows(text: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        // A bar within a command is escaped.
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
        let [left, right, differs] = cells.try_into().unwrap_or_else(|cells| panic!("{cells:?}"));
        let code = |cell: String| cell.trim_matches('`').to_owned();
        found.push((code(left), code(right), differs));
    }
    found
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn every_line_does_what_it_says() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/coming-from-skopeo.md")).unwrap();
    let rows = rows(&text);
    assert!(rows.len() > 20, "only {} rows", rows.len());
    let (theirs, ours) = (Side::new(), Side::new());
    for (left, right, differs) in &rows {
        assert!(right.contains("hod ") && !left.contains("hod "), "{left} | {right}");
        let (left_output, right_output) = (theirs.run(left), ours.run(right));
        if differs.starts_with("the same output") {
            assert_eq!(right_output, left_output, "{right}");
        }
        if differs.starts_with("the same files") {
            let folder = right.rsplit_once("dir:").or_else(|| right.rsplit_once(' ')).unwrap().1;
            tree::assert_same(&theirs.work().join(folder), &ours.work().join(folder));
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_not_there_is_refused() {
    let side = Side::new();
    for (command, says) in [
        ("hod copy sif:a.sif dir:x", "is not supported"),
        ("hod copy ostree:a dir:x", "is not supported"),
        ("hod copy atomic:a dir:x", "is not supported"),
        ("hod copy --sign-by-sigstore a.yaml dir:a dir:b", "creates sigstore signatures, which hod does not support"),
        ("hod copy --sign-by me dir:a dir:b", "no secret key that can sign matches"),
        ("hod copy --encrypt-layer 0 dir:a dir:b", "encrypts layers"),
        ("hod copy --format v2s1 dir:a dir:b", "invalid value"),
    ] {
        let refused = side.run(&format!("{command} 2>&1 || true"));
        assert!(refused.contains(says), "{command}: {refused}");
    }
}
