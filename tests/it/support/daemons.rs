//! dockerd and containerd of Debian, each with everything in a folder of its own.
//!
//! They need root and a kernel that lets it mount; elsewhere there are none, and what wants one says so.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use tempfile::TempDir;

use super::engine::dockerd;
use super::skipped::skipped;

/// A daemon that is running, and is ended with the value.
pub struct Daemon {
    process: Child,
    folder: TempDir,
    client: Vec<String>,
}

/// Whether daemons that mount can run here; says so where they cannot.
fn is_possible() -> bool {
    let output = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output().unwrap();
    if !output.status.success() {
        skipped("all of it", &format!("no daemon can mount here: {}", String::from_utf8_lossy(&output.stderr)));
    }
    output.status.success()
}

impl Daemon {
    /// dockerd, which looks for images of Docker Hub at `mirror`, where one is given.
    pub fn docker(mirror: Option<&str>) -> Option<Self> {
        is_possible().then(|| {
            let folder = tempfile::tempdir().unwrap();
            let socket = format!("unix://{}/docker.sock", folder.path().display());
            let mut command = dockerd(folder.path(), &socket);
            command.args(mirror.map(|mirror| format!("--registry-mirror=http://{mirror}")));
            Self::start(command, folder, vec!["/usr/bin/docker".to_owned(), "--host".to_owned(), socket])
        })
    }

    /// containerd without the plugin for Kubernetes.
    pub fn containerd() -> Option<Self> {
        is_possible().then(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().display();
            let config = format!(
                "version = 2\nroot = \"{path}/root\"\nstate = \"{path}/state\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = \"{path}/socket\"\n[ttrpc]\naddress = \"{path}/ttrpc\"\n"
            );
            fs::write(folder.path().join("config.toml"), config).unwrap();
            let mut command = Command::new("containerd");
            command.arg("--config").arg(folder.path().join("config.toml"));
            let client = vec!["ctr".to_owned(), "--address".to_owned(), format!("{path}/socket")];
            Self::start(command, folder, client)
        })
    }

    fn start(mut command: Command, folder: TempDir, client: Vec<String>) -> Self {
        let log = fs::File::create(folder.path().join("log")).unwrap().into_file();
        command.env("HOME", folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut daemon = Self { process, folder, client };
        while !daemon.command(&["version"]).output().unwrap().status.success() {
            let ended = daemon.process.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} has ended: {}", daemon.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        daemon
    }

    /// Where it keeps everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.client[0]);
        command.args(&self.client[1..]).args(words).env("HOME", self.folder.path()).env_remove("DOCKER_CONFIG");
        command
    }

    /// Runs a command of its client and returns what that prints; stops the test where it fails.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both clean up behind themselves when they are asked to end.
        let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}
