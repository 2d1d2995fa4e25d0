//! Folders compared file by file: path, kind, mode, bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use fs_err as fs;
use hod_oci::Digest;
use walkdir::WalkDir;

/// Everything below a folder: path to kind, mode and digest.
pub fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let metadata = entry.metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let content = if metadata.is_dir() {
            "folder".to_owned()
        } else if metadata.is_symlink() {
            format!("link to {}", fs::read_link(entry.path()).unwrap().display())
        } else if metadata.is_file() {
            format!("{} bytes {}", metadata.size(), Digest::sha256(&fs::read(entry.path()).unwrap()))
        } else {
            "device".to_owned()
        };
        found.insert(path, format!("{mode:04o} {content}"));
    }
    found
}

/// The first few differences between two folders, one a line; empty where there are none.
pub fn difference(left: &Path, right: &Path) -> String {
    let (left, right) = (listing(left), listing(right));
    let only_or_changed = left.iter().filter_map(|(path, entry)| match right.get(path) {
        None => Some(format!("- {path} {entry}\n")),
        Some(other) if other != entry => Some(format!("! {path}\n  left:  {entry}\n  right: {other}\n")),
        Some(_) => None,
    });
    let added = right.iter().filter(|(path, _)| !left.contains_key(*path));
    only_or_changed.chain(added.map(|(path, entry)| format!("+ {path} {entry}\n"))).take(20).collect()
}

/// Fails where two folders differ, and says where.
#[track_caller]
pub fn assert_same(left: &Path, right: &Path) {
    let difference = difference(left, right);
    assert!(difference.is_empty(), "{} and {} differ:\n{difference}", left.display(), right.display());
}

/// Copies a folder of plain files with their modes.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in WalkDir::new(from).min_depth(1) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_every_kind_of_difference() {
        let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(left.path().join("a")).unwrap();
        fs::write(left.path().join("a/1"), "x").unwrap();
        copy(left.path(), right.path());
        assert_same(left.path(), right.path());

        fs::write(right.path().join("a/1"), "y").unwrap();
        assert!(difference(left.path(), right.path()).starts_with("! a/1"));
        fs::write(right.path().join("a/1"), "x").unwrap();
        fs::set_permissions(right.path().join("a/1"), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(difference(left.path(), right.path()).contains("0600"));
        fs::remove_file(right.path().join("a/1")).unwrap();
        assert!(difference(left.path(), right.path()).starts_with("- a/1"));
        fs::create_dir(right.path().join("b")).unwrap();
        assert!(difference(left.path(), right.path()).contains("+ b 0755 folder"));
        std::os::unix::fs::symlink("/", right.path().join("a/1")).unwrap();
        assert!(difference(left.path(), right.path()).contains("link to /"));
    }
}
