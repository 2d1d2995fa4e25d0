//! The tools that own a storage: how they are called, and what they say when they fail.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FileType;

use crate::{Result, StorageImage, TransportError};
use hod_io::fs::{Child, Directory};

/// What the names of folders for archives begin with.
const FOLDER: &str = ".hod-storage-";

/// A folder for an archive on its way, which is gone with this value. What is left by a process that was killed goes
/// when the next one makes a folder.
#[derive(Debug)]
pub(super) struct Folder {
    place: Child,
    path: PathBuf,
    /// Held for its lock.
    _lock: fs_err::File,
}

impl Folder {
    /// Makes a folder that only this user can read.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        let above = Directory::open(parent)?;
        for (name, kind) in above.entries()? {
            let number = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.parse::<u32>().ok());
            if kind == FileType::Directory && number.is_some() {
                let _ = clear(&above.child(name));
            }
        }
        for number in 0_u32.. {
            let place = above.child(format!("{FOLDER}{number}"));
            match place.make_directory_as(0o700) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let lock = place.directory()?.file()?;
            // Not every filesystem has locks; without them nobody removes the folder of another.
            let _ = lock.lock();
            // Before it had its lock, it looked as if it were left behind.
            if place.is(&lock.metadata()?)? {
                return Ok(Self { path: place.path(), place, _lock: lock });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The archive in it.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join("image.tar")
    }
}

/// Removes a folder of this user's, if the process that has made it is dead.
fn clear(place: &Child) -> io::Result<()> {
    let folder = place.directory()?;
    let lock = folder.file()?;
    if folder.stat()?.st_uid == nix::unistd::geteuid().as_raw()
        && hod_io::fs::try_lock(&lock).unwrap_or_default()
        && place.is(&lock.metadata()?)?
    {
        place.remove_tree()?;
    }
    Ok(())
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.place.remove_tree();
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
        self.first_of(podman.collect(), skopeo, "cannot export the image")
    }

    /// Lets one of them take the image from an archive.
    pub(super) fn load(&self, file: &Path) -> Result<()> {
        let podman = ["load", "--quiet", "--input"].map(OsString::from).into_iter().chain([file.into()]);
        let skopeo = vec!["copy".into(), "--quiet".into(), prefixed("oci-archive:", file), self.skopeo_name()];
        self.first_of(podman.collect(), skopeo, "cannot import the image")
    }

    /// Lets one of them take the image's name away, and the image if it has no other.
    pub(super) fn delete(&self) -> Result<()> {
        let podman = vec!["rmi".into(), self.image.wanted().into()];
        self.first_of(podman, vec!["delete".into(), self.skopeo_name()], "cannot delete the image")
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
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("without an error message");
    Err(TransportError::Tool { tool, fails, message: last.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_has_left_goes_and_what_others_have_stays() {
        let parent = tempfile::tempdir().unwrap();
        for left in [".hod-storage-0", ".hod-storage-7", ".hod-storage-mine"] {
            fs_err::create_dir(parent.path().join(left)).unwrap();
            fs_err::write(parent.path().join(left).join("image.tar"), "half").unwrap();
        }
        let first = Folder::create(parent.path()).unwrap();
        let second = Folder::create(parent.path()).unwrap();
        fs_err::write(second.file(), "whole").unwrap();
        assert!(!first.file().exists() && second.file() == parent.path().join(".hod-storage-1/image.tar"));
        drop((first, second));
        assert!(parent.path().join(".hod-storage-mine/image.tar").exists());
        assert_eq!(fs_err::read_dir(parent.path()).unwrap().count(), 1);
    }
}
