//! Container engines that listen on a socket: podman's service and Docker's daemon, each with a root of its own.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use tempfile::TempDir;

use super::tls::Certificates;

/// How long an engine may take to begin.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine that runs until the value is dropped.
#[derive(Debug)]
pub struct Engine {
    process: Child,
    socket: PathBuf,
    folder: TempDir,
}

/// `podman` with a root in this folder.
pub fn podman(folder: &Path) -> Command {
    let mut command = Command::new("podman");
    command.arg("--root").arg(folder.join("root")).arg("--runroot").arg(folder.join("run"));
    command.args(["--storage-driver", "vfs"]).env("HOME", folder).env("TMPDIR", folder);
    command
}

/// `dockerd` with everything in this folder, listening there, and without a network.
pub fn dockerd(folder: &Path, host: &str) -> Command {
    let mut command = Command::new("dockerd");
    command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]);
    for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(flag).arg(folder.join(name));
    }
    // The machine's own configuration has no say.
    fs::write(folder.join("daemon.json"), "{}").unwrap();
    command.arg("--config-file").arg(folder.join("daemon.json")).args(["--host", host]);
    command
}

/// Runs a command to its end, which must be a good one, and returns what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: scripts/test installs it"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

impl Engine {
    /// `podman system service`.
    pub fn podman() -> Self {
        Self::start(|folder, socket| {
            let mut command = podman(folder);
            command.args(["system", "service", "--time=0", &format!("unix://{}", socket.display())]);
            command
        })
    }

    /// `dockerd`, with a containerd that it starts itself, and without a network.
    pub fn docker() -> Self {
        Self::start(|folder, socket| dockerd(folder, &format!("unix://{}", socket.display())))
    }

    /// The same, which listens on a port too, and only to clients with a certificate of this authority.
    pub fn docker_with_tls(certificates: &Certificates) -> Self {
        Self::start(|folder, socket| {
            let mut command = dockerd(folder, &format!("unix://{}", socket.display()));
            command.args(["--host", "tcp://127.0.0.1:0", "--tlsverify", "--tlscacert"]).arg(certificates.authority());
            command.arg("--tlscert").arg(certificates.server_certificate());
            command.arg("--tlskey").arg(certificates.server_key());
            command
        })
    }

    /// The port of loopback on which it says that it listens.
    pub fn port(&self) -> u16 {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
            let port = log.split_once("API listen on 127.0.0.1:").and_then(|(_, rest)| rest.split_once('"'));
            if let Some((port, _)) = port {
                return port.parse().unwrap();
            }
            assert!(Instant::now() < end, "it does not say where it listens:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn start(command: impl FnOnce(&Path, &Path) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (socket, log) = (folder.path().join("s"), folder.path().join("log"));
        let output = fs::File::create(&log).unwrap().into_parts().0;
        let mut command = command(folder.path(), &socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let mut process =
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: scripts/test installs it"));
        let end = Instant::now() + PATIENCE;
        while !answers(&socket) {
            let ended = process.try_wait().unwrap();
            let log = || fs::read_to_string(&log).unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{command:?} does not answer: {ended:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, socket, folder }
    }

    /// `unix://PATH`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut answer = String::new();
    let request = b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";
    stream.write_all(request).is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 OK")
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Asked to end, the daemon ends its containerd and its mounts too.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
