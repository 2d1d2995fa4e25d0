//! Debian's `docker-registry`, as a judge of registry roots.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use fs_err as fs;
use tempfile::TempDir;

/// A registry that runs until the value is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    host: String,
}

impl DockerRegistry {
    /// A registry that serves the root at `path`.
    pub fn over(path: &Path) -> Self {
        let (_folder, configuration) = configuration(path);
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry does not start");
        let log = BufReader::new(process.stderr.take().unwrap());
        let (sender, addresses) = mpsc::channel();
        // Reads to the end, so that the registry never waits for someone to take its log.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let _ = sender.send(rest.split([',', '"']).next().unwrap_or_default().to_owned());
                }
            }
        });
        let host = addresses.recv_timeout(Duration::from_secs(60));
        let mut registry = Self { process, host: String::new() };
        registry.host = host.expect("docker-registry did not listen");
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Fails where the garbage collection would delete anything of a root that no registry is serving.
#[track_caller]
pub fn assert_no_garbage(root: &Path) {
    let (_folder, configuration) = configuration(root);
    let mut command = Command::new("docker-registry");
    let output = command.args(["garbage-collect", "--dry-run"]).arg(&configuration).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{text}", root.display());
    assert!(text.contains(" 0 blobs and 0 manifests eligible for deletion"), "{}:\n{text}", root.display());
}

/// Port 0 leaves the choice to the kernel; the log says which it was.
fn configuration(root: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:0\n  secret: test\n",
        root.display()
    );
    fs::write(&path, text).unwrap();
    (folder, path)
}
