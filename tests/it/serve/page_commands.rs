//! Runs the commands of the web page as they are, with each tool that is installed.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::{Digest, Manifest};
use hod_serve::{Admission, Tls};

use super::page::{copied, page, target};
use super::serving::Serving;
use super::{manifest, stored};
use crate::support::daemons::Daemon;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::skipped::{has_tool, is_root_for};

/// Images of which a sparse index has one platform.
const SPARSE: [&str; 3] = ["base/busybox:1.35", "pause:3.9", "web:1.1"];

/// A shell whose tools keep everything in one directory.
struct Shell {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{path}/root\"\nrunroot = \"{path}/run\"\n");
        fs::write(folder.path().join("storage.conf"), storage).unwrap();
        fs::write(folder.path().join("auth.json"), "{}").unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        let variables = vec![
            ("HOME", path.to_string()),
            ("TMPDIR", path.to_string()),
            ("CONTAINERS_STORAGE_CONF", format!("{path}/storage.conf")),
            ("REGISTRY_AUTH_FILE", format!("{path}/auth.json")),
            ("CONTAINERD_SNAPSHOTTER", "native".to_owned()),
        ];
        Self { folder, variables }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.variables.push((name, value));
        self
    }

    /// The directory in which commands run.
    fn work(&self) -> std::path::PathBuf {
        self.folder.path().join("work")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.work()).env_remove("DOCKER_CONFIG");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Pastes a text, which must work, and returns what it prints.
    #[track_caller]
    fn paste(&self, text: &str) -> String {
        let output = self.command(&["sh", "-c", text]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{said}\n{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// The command of a tool on a page; `None` if the page has none.
fn command(text: &str, tool: &str) -> Option<String> {
    let pulls = |line: &String| line.starts_with(&format!("{tool} ")) && !line.contains(" login ");
    copied(text).into_iter().find(pulls)
}

/// A root that has one platform of some images.
fn sparse_root(platform: &str) -> tempfile::TempDir {
    let source = Serving::root(fixtures::root());
    let root = tempfile::tempdir().unwrap();
    let list = root.path().join("list");
    fs::write(&list, SPARSE.map(|name| format!("{}/{name}\n", source.address)).concat()).unwrap();
    hod(["pull", "--platform", platform, "--store", root.path().to_str().unwrap(), "--file"]).arg(&list).ok();
    root
}

/// The images that a runtime can start, each with its root.
fn containers() -> Vec<(String, Digest)> {
    let is_container = |digest: &Digest| {
        let root = manifest(digest);
        root.config().map_or(!root.children().is_empty(), |config| config.media_type.is_image_config())
    };
    let images =
        fixtures::names().into_iter().filter(|(name, digest)| !name.contains(":sha256-") && is_container(digest));
    images.collect()
}

/// The manifest of an image for a platform.
fn instance(root: &Digest, platform: &str) -> Option<(Digest, Manifest)> {
    let found = manifest(root);
    if found.config().is_some() {
        return Some((*root, found));
    }
    let is_it = |child: &&hod_oci::Descriptor| child.platform.as_ref().is_some_and(|own| own.to_string() == platform);
    let digest = found.children().iter().find(is_it)?.digest;
    Some((digest, manifest(&digest)))
}

/// A directory that skopeo wrote must have exactly this manifest.
#[track_caller]
fn assert_copied(directory: &Path, expected: &Digest) {
    assert!(fs::read(directory.join("manifest.json")).unwrap() == stored(expected), "{}", directory.display());
    fs::remove_dir_all(directory).unwrap();
}

fn directory_of(shell: &Shell, image: &str) -> std::path::PathBuf {
    let name = image.rsplit_once(':').unwrap().0;
    shell.work().join(name.rsplit('/').next().unwrap())
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_copies_every_image_with_the_command_of_its_page() {
    let (serving, shell) = (Serving::root(fixtures::root()), Shell::new());
    let mut copied = 0;
    for (image, root) in fixtures::names().into_iter().filter(|(name, _)| !name.contains(":sha256-")) {
        let line = command(&page(&serving, &target(&image)), "skopeo").unwrap();
        shell.paste(&line);
        // skopeo copies no index in an index, so the command takes one platform of it.
        if image != "suite/complete:1" {
            assert_copied(&directory_of(&shell, &image), &root);
        }
        copied += 1;
    }
    assert!(copied > 12);
    for platform in ["linux/amd64", "linux/arm64"] {
        let root = sparse_root(platform);
        let sparse = Serving::root(root.path());
        for image in SPARSE {
            let expected = instance(&fixtures::digest(image), platform).unwrap().0;
            shell.paste(&command(&page(&sparse, &target(image)), "skopeo").unwrap());
            assert_copied(&directory_of(&shell, image), &expected);
            let chosen = format!("{}&platform={}", target(image), platform.replace('/', "%2F"));
            shell.paste(&command(&page(&serving, &chosen), "skopeo").unwrap());
            assert_copied(&directory_of(&shell, image), &expected);
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn podman_pulls_every_image_with_the_command_of_its_page() {
    let (serving, shell) = (Serving::root(fixtures::root()), Shell::new());
    let pulled = |serving: &Serving, image: &str| {
        let line = command(&page(serving, &target(image)), "podman").unwrap();
        shell.paste(&line).lines().last().unwrap().to_owned()
    };
    let config = |image: &str, platform: &str| {
        let (_, found) = instance(&fixtures::digest(image), platform)?;
        Some(found.config().unwrap().digest.hex())
    };
    let images = containers();
    assert!(images.len() > 10);
    for (image, _) in &images {
        let id = pulled(&serving, image);
        if let Some(expected) = config(image, "linux/amd64").filter(|_| cfg!(target_arch = "x86_64")) {
            assert_eq!(id, expected, "{image}");
        }
    }
    for platform in ["linux/amd64", "linux/arm64"] {
        let root = sparse_root(platform);
        let sparse = Serving::root(root.path());
        for image in SPARSE {
            assert_eq!(pulled(&sparse, image), config(image, platform).unwrap(), "{image} for {platform}");
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn containerd_pulls_every_image_with_the_command_of_its_page() {
    let Some(containerd) = Daemon::containerd() else { return };
    let shell = Shell::new().with("CONTAINERD_ADDRESS", containerd.folder().join("socket").display().to_string());
    let pull = |serving: &Serving, image: &str| {
        shell.paste(&command(&page(serving, &target(image)), "ctr").unwrap());
        let listed = containerd.run(&["images", "ls"]);
        let line = listed.lines().find(|line| line.starts_with(&format!("{}/{image} ", serving.address)));
        let digest = fixtures::digest(image).to_string();
        assert!(line.is_some_and(|line| line.contains(&digest)), "{image}: {listed}");
    };
    let serving = Serving::root(fixtures::root());
    for (image, _) in containers() {
        pull(&serving, &image);
    }
    let root = sparse_root("linux/arm64");
    let sparse = Serving::root(root.path());
    for image in SPARSE {
        pull(&sparse, image);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_pulls_every_image_with_the_command_of_its_page() {
    let Some(docker) = Daemon::docker(None) else { return };
    let path = std::env::var("PATH").unwrap();
    // Debian's client, as in the other tests of the daemon.
    let shell = Shell::new()
        .with("PATH", format!("/usr/bin:{path}"))
        .with("DOCKER_HOST", format!("unix://{}/docker.sock", docker.folder().display()));
    let pull = |serving: &Serving, image: &str| {
        let line = command(&page(serving, &target(image)), "docker").unwrap();
        shell.paste(&line);
        docker.run(&["inspect", "--format", "{{.Id}}", line.rsplit(' ').next().unwrap()])
    };
    let serving = Serving::root(fixtures::root());
    // Debian's Docker cannot read zstd.
    for (image, _) in containers().into_iter().filter(|(name, _)| name != "build/agent:7") {
        assert!(!pull(&serving, &image).is_empty(), "{image}");
    }
    let root = sparse_root("linux/arm64");
    let sparse = Serving::root(root.path());
    for image in SPARSE {
        let (_, expected) = instance(&fixtures::digest(image), "linux/arm64").unwrap();
        assert_eq!(pull(&sparse, image), expected.config().unwrap().digest.to_string(), "{image}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn commands_of_the_page_trust_the_authority_of_the_server() {
    if !is_root_for("all of it") {
        return;
    }
    let Some(containerd) = Daemon::containerd() else { return };
    let serving = Serving::with(fixtures::root(), |options| {
        options.tls = Some(Tls::SelfSigned { names: vec!["registry.site".to_owned()], keep: None });
    });
    let shell = Shell::new().with("CONTAINERD_ADDRESS", containerd.folder().join("socket").display().to_string());
    fs::write(shell.folder.path().join("hosts"), "127.0.0.1 localhost registry.site\n").unwrap();
    // The machine's own settings stay as they are.
    let inside = |lines: &[&str]| {
        let hosts = shell.folder.path().join("hosts").display().to_string();
        let mounts = "for each in docker containerd; do mkdir -p /etc/$each; mount -t tmpfs tmpfs /etc/$each; done";
        let script = format!("set -e\nmount --bind {hosts} /etc/hosts\n{mounts}\n{}", lines.join("\n"));
        shell.command(&["unshare", "--mount", "sh", "-c", &script]).output().unwrap()
    };
    // ctr treats its own machine in another way.
    for name in ["127.0.0.1", "registry.site"] {
        let host = format!("{name}:{}", serving.address.port());
        let curl = format!("curl -sSfk --resolve {host}:127.0.0.1");
        shell.paste(&format!("{curl} -o ca.crt https://{host}/ca.crt"));
        let authority = fs::read_to_string(shell.work().join("ca.crt")).unwrap();
        assert_eq!(Some(&authority), serving.authority.as_ref());
        let text = shell.paste(&format!("{curl} 'https://{host}{}'", target("web:1.1")));
        let shown = shell.paste("openssl x509 -in ca.crt -noout -fingerprint -sha256");
        assert!(text.contains(shown.split('=').nth(1).unwrap()), "{shown}");
        assert!(copied(&text).contains(&authority), "the page shows the certificate");
        let setup = ["install ", "mkdir "].map(|begin| {
            let found = copied(&text).into_iter().find(|line| line.starts_with(begin));
            found.unwrap_or_else(|| panic!("{begin}: {text}"))
        });
        for tool in ["podman", "skopeo", "ctr"] {
            let line = command(&text, tool).unwrap();
            assert!(!line.contains("insecure") && !line.contains("tls-verify") && !line.contains("http"), "{line}");
            assert!(!inside(&[&line]).status.success(), "{line} must fail without the authority");
            let trusted = inside(&[&setup[0], &setup[1], &line]);
            assert!(trusted.status.success(), "{line}: {}", String::from_utf8_lossy(&trusted.stderr));
        }
        assert_copied(&directory_of(&shell, "web:1.1"), &fixtures::digest("web:1.1"));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn commands_of_the_page_log_in_if_a_pull_needs_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    let hashed = Command::new("htpasswd").args(["-nbB", "ann", "secret"]).output().unwrap();
    fs::write(&users, hashed.stdout).unwrap();
    let serving = Serving::with(fixtures::root(), |options| {
        options.admission = Admission { readers: Some(users.clone()), ..Admission::default() };
    });
    let shell = Shell::new();
    let url = serving.url(&target("web:1.1"));
    let text = shell.paste(&format!("curl -sSf -u ann:secret '{url}'"));
    let line = command(&text, "skopeo").unwrap();
    let refused = shell.command(&["sh", "-c", &line]).output().unwrap();
    assert!(!refused.status.success());
    for tool in ["podman", "skopeo"] {
        let login = copied(&text).into_iter().find(|line| line.starts_with(&format!("{tool} login "))).unwrap();
        // The tool asks for the password on a terminal.
        shell.paste(&format!("(sleep 1; echo secret) | script -qec \"{login}\" /dev/null"));
        shell.paste(&command(&text, tool).unwrap());
        fs::write(shell.folder.path().join("auth.json"), "{}").unwrap();
    }
    assert_copied(&directory_of(&shell, "web:1.1"), &fixtures::digest("web:1.1"));
    assert!(command(&text, "ctr").unwrap().contains(" --user ann "));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn helm_and_nerdctl_pull_with_the_commands_of_the_page() {
    let (serving, shell) = (Serving::root(fixtures::root()), Shell::new());
    let helm = command(&page(&serving, &target("charts/web:0.1.0")), "helm").unwrap();
    assert_eq!(helm, format!("helm pull --plain-http oci://{}/charts/web --version 0.1.0", serving.address));
    if has_tool("helm") {
        shell.paste(&helm);
        assert!(shell.work().join("web-0.1.0.tgz").exists());
    }
    let nerdctl = command(&page(&serving, &target("web:1.1")), "nerdctl").unwrap();
    if has_tool("nerdctl") {
        let Some(containerd) = Daemon::containerd() else { return };
        let shell = shell.with("CONTAINERD_ADDRESS", containerd.folder().join("socket").display().to_string());
        shell.paste(&nerdctl);
    }
}
