//! The installer, where there is nothing else: in a root that holds only busybox, and in Debian's smallest.
//!
//! Roots are entered with `unshare --root` and `chroot`, which only root may; other users see the tests pass over.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fs_err as fs;
use tempfile::TempDir;

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::skipped::{may_change_root, skipped};
use crate::support::skopeo;
use crate::support::tls::Certificates;
use crate::support::tree;

mod delta;
mod medium;
mod podman;
mod systemd;
mod texts;

/// The static hod, built once a run.
fn static_hod() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-static");
        let output = Command::new(script).arg("--dev").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

/// What a command in a root has said, and its exit code.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    #[track_caller]
    fn ok(self) -> String {
        self.code(0)
    }

    #[track_caller]
    fn code(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self.text
    }
}

/// A folder to be made the root of the filesystem for a command.
struct Root {
    folder: TempDir,
    shell: &'static str,
}

impl Root {
    /// A root with busybox and nothing else: no libc, no /proc, no passwd, of /dev only null.
    fn busybox() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for applet in String::from_utf8(applets.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        for name in ["tmp", "dev"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        // Where this is not allowed, neither is chroot.
        let _ = Command::new("mknod").arg(folder.path().join("dev/null")).args(["c", "1", "3"]).status();
        Self { folder, shell: "/bin/sh" }
    }

    /// A copy of Debian's minbase, made by debootstrap once and kept in `target`; `None` where there is no mirror.
    fn debian() -> Option<Self> {
        let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minbase");
        if !cached.exists() {
            let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let root = fresh.path().join("root");
            let made = Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&root).output().ok()?;
            if !made.status.success() {
                return None;
            }
            let _ = fs::rename(&root, &cached);
        }
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(format!("{}/.", cached.display())).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        Some(Self { folder, shell: "/bin/sh" })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name.trim_start_matches('/'))
    }

    /// Runs a command in the root, without a terminal, and with a network that is only its own unless `shared`.
    fn run(&self, words: &[&str], shared: bool) -> Said {
        let mut command = Command::new("unshare");
        command.arg("--fork").arg("--kill-child");
        if !shared {
            command.arg("--net");
        }
        command.arg("chroot").arg(self.folder.path()).args(words).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(std::process::Stdio::null());
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    fn install(&self, words: &[&str]) -> Said {
        self.run(&[&[self.shell, "/media/install.sh"], words].concat(), false)
    }

    /// Everything in the root but the medium and what commands leave behind anyway.
    fn listing(&self) -> std::collections::BTreeMap<String, String> {
        let mut listing = tree::listing(self.folder.path());
        listing.retain(|path, _| !path.starts_with("media/") && !path.starts_with("bin/") && !path.starts_with("proc"));
        listing
    }
}

/// Packs an image with the installer to `media` of a root, signed, and returns the public key's name there.
fn pack(root: &Root, name: &str) {
    let media = root.path("media");
    fs::create_dir_all(&media).unwrap();
    fs::create_dir_all(root.path("etc")).unwrap();
    if !media.join("../etc/ours.pub").exists() {
        for key in ["ours", "theirs"] {
            hod(["keygen", key, "--no-passphrase"]).in_folder(&root.path("etc")).ok();
        }
    }
    let store = fixtures::root().to_str().unwrap();
    let words = ["pack", "web:1.0", "base/busybox:1.35", "--store", store, "--with-installer", "-o", name];
    let binary = static_hod().to_str().unwrap();
    let key = root.path("etc/ours.key");
    hod(words).arg("--installer-binary").arg(binary).arg("--sign").arg(key).in_folder(&media).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_static_hod_needs_nothing_but_itself() {
    if !may_change_root() {
        return;
    }
    let root = Root { folder: tempfile::tempdir().unwrap(), shell: "" };
    fs::copy(static_hod(), root.path("hod")).unwrap();
    assert!(root.run(&["/hod", "--version"], false).ok().starts_with("hod "));
    // TLS with an authority from a file, by address and by a name from the hosts file.
    let certificates = Certificates::new();
    let registry = DockerRegistry::options().tls(&certificates).root(fixtures::root()).start();
    fs::copy(certificates.authority(), root.path("ca.crt")).unwrap();
    fs::create_dir(root.path("etc")).unwrap();
    fs::write(root.path("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    let port = registry.host().rsplit(':').next().unwrap();
    for (number, host) in ["127.0.0.1", "localhost"].into_iter().enumerate() {
        let (from, store) = (format!("{host}:{port}"), format!("/store{number}"));
        let pull = ["/hod", "pull", "base/busybox:1.35", "--from", &from, "--store", &store, "--tls-verify=true"];
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(root.folder.path()).args(pull).env_clear();
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "an authority that nobody has named is not trusted");
        let output = command.env("SSL_CERT_FILE", "/ca.crt").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Everything that the script can do, in a root.
fn whole_life(root: &Root) {
    pack(root, "release's.tar");
    let before = root.listing();
    // Without a terminal and without --yes nothing happens.
    assert!(root.install(&["--key", "/etc/ours.pub"]).code(1).contains("give --yes"));
    assert!(
        root.install(&["--key", "/etc/ours.pub", "--dry-run"]).ok().contains("unpack its images to /var/lib/registry")
    );
    assert!(root.install(&["--key", "/etc/theirs.pub", "--yes"]).code(4).contains("is not trusted"));
    assert_eq!(root.listing(), before);
    fs::create_dir_all(root.path("etc/docker")).unwrap();
    fs::write(root.path("etc/docker/daemon.json"), "{\n  \"debug\": true\n}\n").unwrap();
    let before = root.listing();
    let words =
        ["--key", "/etc/ours.pub", "--serve", "127.0.0.1:5000", "--containerd", "docker.io", "--docker", "--yes"];
    root.install(&words).ok();
    let docker: serde_json::Value =
        serde_json::from_slice(&fs::read(root.path("etc/docker/daemon.json")).unwrap()).unwrap();
    assert_eq!(docker, serde_json::json!({"debug": true, "registry-mirrors": ["http://127.0.0.1:5000"]}));
    let hosts = fs::read_to_string(root.path("etc/containerd/certs.d/docker.io/hosts.toml")).unwrap();
    assert!(hosts.starts_with("[host.\"http://127.0.0.1:5000\"]\n"), "{hosts}");
    let unit = fs::read_to_string(root.path("etc/systemd/system/hod-serve.service")).unwrap();
    assert!(
        unit.contains("\nExecStart=/usr/local/bin/hod serve /var/lib/registry --listen 127.0.0.1:5000\n"),
        "{unit}"
    );
    assert!(root.run(&["/usr/local/bin/hod", "--version"], false).ok().starts_with("hod "));
    // What was unpacked is what Debian's registry serves.
    let registry = DockerRegistry::over(&root.path("var/lib/registry"));
    assert_eq!(skopeo::digest(&format!("{}/web:1.0", registry.host())), fixtures::digest("web:1.0"));
    drop(registry);
    assert_no_garbage(&root.path("var/lib/registry"));
    // Again: nothing changes. With another address: the files change, and still know what was there before.
    let after = root.listing();
    assert!(root.install(&words).ok().contains("is as it should be"));
    assert_eq!(changed(&after, &root.listing()), Vec::<String>::new());
    let other = words.map(|word| if word == "127.0.0.1:5000" { "127.0.0.1:5001" } else { word });
    root.install(&other).ok();
    // Undo: all that is left are the images.
    root.install(&["--undo"]).code(1);
    root.install(&["--undo", "--yes"]).ok();
    let left = changed(&before, &root.listing());
    let expected = |path: &String| {
        path.starts_with("var/lib/registry")
            || ["usr", "var", "etc/containerd", "etc/systemd"]
                .iter()
                .any(|folder| path.starts_with(folder) && root.path(path).is_dir())
    };
    assert!(left.iter().all(expected), "{left:#?}");
    assert_eq!(fs::read_to_string(root.path("etc/docker/daemon.json")).unwrap(), "{\n  \"debug\": true\n}\n");
    assert!(root.install(&["--undo", "--yes"]).ok().contains("nothing to undo"));
}

/// Paths that are not the same in two listings, without what hod keeps for itself.
fn changed(
    one: &std::collections::BTreeMap<String, String>,
    other: &std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|path| one.get(*path) != other.get(*path) && !path.contains("/.hod/")).cloned().collect()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn where_there_is_only_busybox() {
    if may_change_root() {
        whole_life(&Root::busybox());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn in_debian_minbase() {
    if !may_change_root() {
        return;
    }
    let Some(root) = Root::debian() else {
        skipped("all of it", "debootstrap does not work here");
        return;
    };
    whole_life(&root);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_medium_that_was_changed_is_refused() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    let before = root.listing();
    for name in ["release.tar", "hod", "README.txt", "install.sh"] {
        let path = root.path("media").join(name);
        let right = fs::read(&path).unwrap();
        let mut wrong = right.clone();
        wrong.push(b'\n');
        fs::write(&path, wrong).unwrap();
        let said = root.install(&["--key", "/etc/ours.pub", "--yes"]).code(1);
        assert!(said.contains(&format!("{name}: FAILED")), "{said}");
        fs::write(&path, right).unwrap();
    }
    // Sums that fit, over a bundle that does not: hod finds it. The second copy of a sum is that of the bundle.
    let bundle = root.path("media/release.tar");
    let mut bytes = fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    root.install(&["--key", "/etc/ours.pub", "--yes", "--skip-sums", "--root", "/r"]).code(4);
    assert_eq!(changed(&before, &root.listing()).into_iter().find(|path| path.contains("link")), None);
    // Words that could mean something in the files that are written.
    for words in [
        ["--root", "/a b"],
        ["--root", "relative"],
        ["--serve", "x;reboot"],
        ["--containerd", "../x"],
        ["--mirror", "http://x\"y"],
        ["--root", "/a\nb"],
        ["--containerd", "a b"],
    ] {
        root.install(&[&words[..], &["--yes"]].concat()).code(2);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn files_that_were_changed_since_survive_undo() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar.zst");
    root.install(&["--key", "/etc/ours.pub", "--containerd", "_default", "--mirror", "http://10.0.0.1:5000", "--yes"])
        .ok();
    let hosts = root.path("etc/containerd/certs.d/_default/hosts.toml");
    fs::write(&hosts, "# mine now\n").unwrap();
    assert!(root.install(&["--undo", "--yes"]).ok().contains("was changed since, and stays"));
    assert_eq!(fs::read_to_string(&hosts).unwrap(), "# mine now\n");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_script_pushes_to_a_registry() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    let registry = DockerRegistry::empty();
    let to = format!("docker://{}/team", registry.host());
    let words = ["/bin/sh", "/media/install.sh", "--push", &to, "--key", "/etc/ours.pub", "--yes"];
    root.run(&words, true).ok();
    assert_eq!(
        skopeo::digest(&format!("{}/team/base/busybox:1.35", registry.host())),
        fixtures::digest("base/busybox:1.35")
    );
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn volumes_are_installed_as_one_bundle() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    let media = root.path("media");
    fs::create_dir(&media).unwrap();
    let store = fixtures::root().to_str().unwrap();
    let words = ["pack", "web:1.0", "--store", store, "--with-installer", "-o", "v.tar", "--volume-size", "100000"];
    hod(words).arg("--installer-binary").arg(static_hod()).in_folder(&media).ok();
    assert!(media.join("v.tar.002").exists());
    root.install(&["--yes"]).ok();
    assert_no_garbage(&root.path("var/lib/registry"));
    let volume = media.join("v.tar.002");
    let mut bytes = fs::read(&volume).unwrap();
    bytes[0] ^= 1;
    fs::write(&volume, bytes).unwrap();
    assert!(root.install(&["--yes"]).code(1).contains("v.tar.002: FAILED"));
    root.install(&["--yes", "--skip-sums", "--root", "/other"]).code(4);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_page_says_how_to_do_without_hod() {
    let store = fixtures::root().to_str().unwrap();
    for (name, more) in [("r.tar", ""), ("r.tar.zst", ""), ("r.tar", "100000"), ("a b.tar.zst", "100000")] {
        let folder = tempfile::tempdir().unwrap();
        let mut words = vec!["pack", "web:1.0", "--store", store, "--with-installer", "-o", name];
        words.extend([("--volume-size"), more].into_iter().filter(|_| !more.is_empty()));
        hod(words).arg("--installer-binary").arg(static_hod()).in_folder(folder.path()).ok();
        let page = fs::read_to_string(folder.path().join("README.txt")).unwrap();
        let line = page.lines().find(|line| line.contains(" -C /var/lib/registry")).unwrap().trim();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let line = line.replace("/var/lib/registry", root.to_str().unwrap());
        let output = Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_no_garbage(&root);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_sums_are_those_of_sha256sum_and_signed_for_minisign() {
    let root = Root { folder: tempfile::tempdir().unwrap(), shell: "" };
    pack(&root, "release.tar");
    let media = root.path("media");
    let check = Command::new("sha256sum").args(["-c", "--strict", "SHA256SUMS"]).current_dir(&media).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let verify = Command::new("minisign")
        .args(["-V", "-p", "../etc/ours.pub", "-m", "SHA256SUMS"])
        .current_dir(&media)
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
    let page = fs::read_to_string(media.join("README.txt")).unwrap();
    assert!(page.contains("web:1.0") && page.contains("sh install.sh --serve"), "{page}");
    // A pack without a key leaves no signature of other sums behind.
    let store = fixtures::root().to_str().unwrap();
    let words = ["pack", "web:1.0", "--store", store, "--with-installer", "-o", "release.tar", "--installer-binary"];
    hod(words).arg(static_hod()).in_folder(&media).ok();
    assert!(!media.join("SHA256SUMS.minisig").exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_hod_that_needs_a_c_library_is_not_taken_along() {
    let folder = tempfile::tempdir().unwrap();
    let store = fixtures::root().to_str().unwrap();
    let words = ["pack", "web:1.0", "--store", store, "--with-installer", "-o", "release.tar"];
    let output = hod(words).in_folder(folder.path()).code(2);
    assert!(output.stderr.contains("scripts/build-static"), "{}", output.stderr);
    assert!(!folder.path().join("release.tar").exists(), "found out before the work");
    hod(["pack", "--store", store, "--with-installer", "-o", "-"]).code(2);
}
