//! The tools that own a storage: how they are called, and what they say when they fail.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::transport::{Result, StorageImage, TransportError};

/// A folder for an archive on its way, which is gone with this value.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a folder that only this user can read.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        for number in 0_u32.. {
            let path = parent.join(format!(".hod-storage-{}-{number}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The archive in it.
    pub(super) fn file(&self) -> PathBuf {
        self.0.join("image.tar")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// The tools, as they are to be called for an image.
pub(super) struct Tools<'a> {
    image: &'a StorageImage,
}

impl<'a> Tools<'a> {
    pub(super) const fn of(image: &'a StorageImage) -> Self {
        Self { image }
    }

    /// Lets one of them write the image to an archive.
    pub(super) fn save(&self, file: &Path) -> Result<()> {
        let wanted = self.image.wanted();
        let podman = ["save", "--quiet", "--format", "oci-archive", "--output"].map(OsString::from);
        let podman = podman.into_iter().chain([file.into(), wanted.into()]);
        let skopeo = vec!["copy".into(), "--quiet".into(), self.skopeo_name(), prefixed("oci-archive:", file)];
        self.first_of(podman.collect(), skopeo, "does not give the image")
    }

    /// Lets one of them take the image from an archive.
    pub(super) fn load(&self, file: &Path) -> Result<()> {
        let podman = ["load", "--quiet", "--input"].map(OsString::from).into_iter().chain([file.into()]);
        let skopeo = vec!["copy".into(), "--quiet".into(), prefixed("oci-archive:", file), self.skopeo_name()];
        self.first_of(podman.collect(), skopeo, "does not take the image")
    }

    /// Lets one of them take the image's name away, and the image if it has no other.
    pub(super) fn delete(&self) -> Result<()> {
        let podman = vec!["rmi".into(), self.image.wanted().into()];
        self.first_of(podman, vec!["delete".into(), self.skopeo_name()], "does not delete the image")
    }

    fn first_of(&self, podman: Vec<OsString>, skopeo: Vec<OsString>, fails: &'static str) -> Result<()> {
        let mut command = Command::new("podman");
        command.args(self.podman_options()).args(podman);
        if run(command, "podman", fails)? {
            return Ok(());
        }
        let mut command = Command::new("skopeo");
        // What is checked by a policy is what comes from elsewhere; both ends of this are hod's own affair.
        command.arg("--insecure-policy").args(skopeo);
        if run(command, "skopeo", fails)? { Ok(()) } else { Err(TransportError::NoTool) }
    }

    fn podman_options(&self) -> Vec<OsString> {
        let Some(root) = &self.image.root else { return Vec::new() };
        let mut options: Vec<OsString> = vec!["--root".into(), root.graph.clone().into()];
        if let Some(run) = &root.run {
            options.extend(["--runroot".into(), run.clone().into()]);
        }
        if let Some(driver) = &root.driver {
            options.extend(["--storage-driver".into(), driver.to_string().into()]);
        }
        for option in &root.options {
            options.extend(["--storage-opt".into(), option.to_string().into()]);
        }
        options
    }

    fn skopeo_name(&self) -> OsString {
        format!("containers-storage:{}", self.image).into()
    }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// Runs a tool to its end; `false` where it is not installed.
fn run(mut command: Command, tool: &'static str, fails: &'static str) -> Result<bool> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(TransportError::Tool { tool, fails, message: error.to_string() }),
    };
    if output.status.success() {
        return Ok(true);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(TransportError::Tool { tool, fails, message: last.trim().to_owned() })
}
