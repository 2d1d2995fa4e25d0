//! Debian's `docker-registry`, as a judge of registry roots and as a registry to pull from and push to.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fs_err as fs;
use serde_json::json;
use tempfile::TempDir;

use super::tls::Certificates;

/// A registry that runs until the value is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    host: String,
    root: PathBuf,
    log: Arc<Mutex<String>>,
    _folder: TempDir,
}

/// What a registry is to be like.
#[derive(Debug, Default)]
pub struct Options {
    root: Option<PathBuf>,
    user: Option<(String, String)>,
    tls: Option<(PathBuf, PathBuf)>,
    client_authority: Option<PathBuf>,
    deletes: bool,
    cache: bool,
    schema1: bool,
}

impl Options {
    /// Serves the root at `path`; without this, an empty one.
    pub fn root(mut self, path: &Path) -> Self {
        self.root = Some(path.to_owned());
        self
    }

    /// Asks for a user name and password (Basic).
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// Speaks TLS.
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some((certificates.server_certificate(), certificates.server_key()));
        self
    }

    /// Speaks TLS, and only with clients that have a certificate.
    pub fn mutual_tls(mut self, certificates: &Certificates) -> Self {
        self.client_authority = Some(certificates.authority());
        self.tls(certificates)
    }

    /// Lets clients delete manifests.
    pub fn deletes(mut self) -> Self {
        self.deletes = true;
        self
    }

    /// Takes manifests in Docker's first format.
    pub fn schema1(mut self) -> Self {
        self.schema1 = true;
        self
    }

    /// Keeps in memory which blobs it has seen, as the packaged configuration has it.
    pub fn cache(mut self) -> Self {
        self.cache = true;
        self
    }

    /// The configuration file; JSON is YAML too.
    fn configuration(&self, root: &Path, folder: &Path) -> String {
        let mut configuration = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": root}, "delete": {"enabled": self.deletes}},
            // Port 0 leaves the choice to the kernel; the log says which it was.
            "http": {"addr": "127.0.0.1:0", "secret": "test"},
            // Where layers may lie that it does not have itself.
            "validation": {"manifests": {"urls": {"allow": [".*"]}}},
        });
        if self.schema1 {
            configuration["compatibility"] = json!({"schema1": {"enabled": true}});
        }
        if self.cache {
            configuration["storage"]["cache"] = json!({"blobdescriptor": "inmemory"});
        }
        if let Some((name, password)) = &self.user {
            let users = folder.join("htpasswd");
            fs::write(&users, htpasswd(name, password)).unwrap();
            configuration["auth"] = json!({"htpasswd": {"realm": "test", "path": users}});
        }
        if let Some((certificate, key)) = &self.tls {
            let authorities: Vec<_> = self.client_authority.iter().collect();
            configuration["http"]["tls"] = json!({"certificate": certificate, "key": key, "clientcas": authorities});
        }
        configuration.to_string()
    }

    /// Starts the registry and waits until it listens.
    pub fn start(self) -> DockerRegistry {
        let folder = tempfile::tempdir().unwrap();
        let root = self.root.clone().unwrap_or_else(|| folder.path().join("root"));
        let configuration = folder.path().join("config.yml");
        fs::write(&configuration, self.configuration(&root, folder.path())).unwrap();
        let mut process = docker_registry()
            .arg("serve")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry does not start: scripts/test installs it");
        let log = Arc::new(Mutex::new(String::new()));
        let addresses = follow(process.stderr.take().unwrap(), Arc::clone(&log));
        let Ok(host) = addresses.recv_timeout(Duration::from_secs(60)) else {
            let _ = process.kill();
            let _ = process.wait();
            panic!("docker-registry did not listen:\n{}", log.lock().unwrap());
        };
        DockerRegistry { process, host, root, log, _folder: folder }
    }
}

impl DockerRegistry {
    /// An empty registry.
    pub fn empty() -> Self {
        Options::default().start()
    }

    /// A registry that serves the root at `path`.
    pub fn over(path: &Path) -> Self {
        Options::default().root(path).start()
    }

    /// What it should be like, to be started.
    pub fn options() -> Options {
        Options::default()
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The folder that holds `docker/registry/v2`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What it has logged so far; each request is a line.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs the garbage collection over a root that no registry is serving, and returns what it printed.
#[track_caller]
pub fn garbage_collect<'a>(root: &Path, options: impl IntoIterator<Item = &'a str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("config.yml");
    fs::write(&configuration, Options::default().configuration(root, folder.path())).unwrap();
    let output = docker_registry().arg("garbage-collect").args(options).arg(&configuration).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "garbage-collect failed over {}:\n{text}", root.display());
    text
}

/// Fails where the garbage collection would delete anything of a root.
#[track_caller]
pub fn assert_no_garbage(root: &Path) {
    let text = garbage_collect(root, ["--dry-run"]);
    assert!(text.contains(" 0 blobs and 0 manifests eligible for deletion"), "{}:\n{text}", root.display());
}

fn docker_registry() -> Command {
    let mut command = Command::new("docker-registry");
    // The registry takes settings from variables of this name too.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REGISTRY_")) {
        command.env_remove(name);
    }
    command.env("OTEL_TRACES_EXPORTER", "none");
    command
}

/// One line of a password file, by the tool that makes them.
fn htpasswd(name: &str, password: &str) -> String {
    let output = Command::new("htpasswd")
        .args(["-nbB", name, password])
        .output()
        .expect("htpasswd does not start: scripts/test installs it (apache2-utils)");
    String::from_utf8(output.stdout).unwrap()
}

/// Collects the log; what is sent is the address that the registry listens on.
fn follow(stderr: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let _ = sender.send(rest.split([',', '"']).next().unwrap_or_default().to_owned());
            }
            log.lock().unwrap().extend([&line, "\n"]);
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::raw::{Request, get};
    use crate::support::{fixtures, skopeo};

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn serves_the_fixtures_and_finds_no_garbage() {
        let registry = DockerRegistry::over(fixtures::root());
        for (name, digest) in fixtures::names() {
            assert_eq!(skopeo::digest(&format!("{}/{name}", registry.host())), digest);
        }
        assert!(registry.log().contains("/v2/web/manifests/1.0"));
        drop(registry);
        assert_no_garbage(fixtures::root());
    }

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn finds_garbage() {
        let root = fixtures::copy();
        fs::remove_dir_all(root.path().join("docker/registry/v2/repositories/edge")).unwrap();
        let text = garbage_collect(root.path(), ["--dry-run"]);
        assert!(!text.contains(" 0 blobs and 0 manifests eligible"), "{text}");
    }

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn asks_for_a_password() {
        let registry = DockerRegistry::options().user("me", "secret").start();
        assert_eq!(get(registry.host(), "/v2/").status, 401);
        let me = Request::get("/v2/").header("Authorization", "Basic bWU6c2VjcmV0").send(registry.host());
        assert_eq!(me.status, 200);
    }

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn speaks_tls_with_and_without_client_certificates() {
        let certificates = Certificates::new();
        for options in [Options::default().tls(&certificates), Options::default().mutual_tls(&certificates)] {
            let registry = options.root(fixtures::root()).start();
            let image = format!("docker://{}/web:1.0", registry.host());
            let folder = certificates.folder().to_str().unwrap();
            skopeo::skopeo(["inspect", "--cert-dir", folder, "--raw", &image]);
        }
    }

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    #[should_panic(expected = "bad certificate")]
    fn refuses_clients_without_a_certificate() {
        let certificates = Certificates::new();
        let registry = Options::default().mutual_tls(&certificates).root(fixtures::root()).start();
        let folder = tempfile::tempdir().unwrap();
        fs::copy(certificates.authority(), folder.path().join("ca.crt")).unwrap();
        let image = format!("docker://{}/web:1.0", registry.host());
        skopeo::skopeo(["inspect", "--cert-dir", folder.path().to_str().unwrap(), "--raw", &image]);
    }

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn takes_pushes_and_deletes() {
        let registry = DockerRegistry::options().deletes().start();
        let source = DockerRegistry::over(fixtures::root());
        skopeo::copy_all(
            &format!("docker://{}/web:1.0", source.host()),
            &format!("docker://{}/web:1.0", registry.host()),
        );
        assert!(registry.root().join("docker/registry/v2/repositories/web").is_dir());
        let path = format!("/v2/web/manifests/{}", fixtures::digest("web:1.0"));
        assert_eq!(Request::new("DELETE", &path).send(registry.host()).status, 202);
        assert_eq!(Request::new("DELETE", &path).send(DockerRegistry::empty().host()).status, 405);
    }
}
