//! File systems on which one file has names with different letters.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use fs_err as fs;

/// The name of what is at a path, where the file system took the path's for it: on exFAT, SMB or APFS `A` leads to `a`.
/// `None` where the name is right, or nothing is there.
pub fn other_spelling(path: &Path) -> io::Result<Option<OsString>> {
    let Some(name) = path.file_name() else { return Ok(None) };
    let swapped = name.as_bytes().iter().map(|byte| byte ^ if byte.is_ascii_alphabetic() { 0x20 } else { 0 });
    let swapped = OsString::from_vec(swapped.collect());
    let folder = super::folder_of(path);
    // Inode numbers do not tell: a file system in user space may give each name one of its own.
    if swapped == name || fs::symlink_metadata(folder.join(&swapped)).is_err() {
        return Ok(None);
    }
    let mut alike = None;
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        if entry == name {
            return Ok(None);
        }
        if entry.eq_ignore_ascii_case(name) {
            alike = Some(entry);
        }
    }
    Ok(alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_its_own_name_has_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("V1");
        assert_eq!(other_spelling(&path).unwrap(), None);
        fs::write(&path, "").unwrap();
        assert_eq!(other_spelling(&path).unwrap(), None);
        fs::write(folder.path().join("v1"), "").unwrap();
        assert_eq!(other_spelling(&path).unwrap(), None);
    }
}
