//! A folder on a filesystem that cannot be written, as that of a stick is.

use std::path::Path;
use std::process::Command;

/// A folder, seen through a mount that is read-only.
pub struct ReadOnly(tempfile::TempDir);

impl ReadOnly {
    /// Mounts a folder; where that is not allowed, says so.
    pub fn of(folder: &Path) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mount = |words: &[&str]| Command::new("mount").args(words).arg(place.path()).output();
        let bound = mount(&["--bind", folder.to_str().unwrap()]);
        if !bound.as_ref().is_ok_and(|output| output.status.success()) {
            super::skipped::skipped("all of it", &format!("no permission to mount a directory: {bound:?}"));
            return None;
        }
        let mounted = Self(place);
        let output = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(mounted.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Some(mounted)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
