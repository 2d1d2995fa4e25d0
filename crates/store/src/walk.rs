//! Everything below `docker/registry/v2`, for those who judge it, and what does not belong beside it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::layout::REGISTRY;
use super::root::{OWN, absent};
use super::{Entry, Result, Store, staging};

/// Where the authority of a server is, which is nobody's business but its own.
const TLS: &str = ".hod/tls";

/// What kind of thing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, which the walk does not follow.
    SymbolicLink,
    /// A device, socket or pipe.
    Other,
}

/// Something in a root.
#[derive(Debug, Clone)]
pub struct FoundEntry {
    /// Where, below the root.
    pub path: PathBuf,
    /// What that path stands for; `None` for what does not belong in a root, and for the folders
    /// on the way to what does.
    pub entry: Option<Entry>,
    /// What is there.
    pub kind: FoundKind,
    /// The length in bytes of a file.
    pub size: u64,
}

/// An iterator over a root, folders before what is in them, by name.
#[derive(Debug)]
pub struct Walk {
    root: PathBuf,
    entries: walkdir::IntoIter,
}

impl Store {
    /// Walks over every file and folder below `docker/registry/v2`, without judging any.
    pub fn walk(&self) -> Walk {
        let root = self.root().to_owned();
        let entries = walkdir::WalkDir::new(root.join(REGISTRY)).min_depth(1).sort_by_file_name().into_iter();
        Walk { root, entries }
    }
}

impl Store {
    /// What is among hod's own files in the root and is not one of them, as paths below the root: links, pipes, files
    /// of other names. What processes that are running have there is theirs.
    pub fn foreign_in_own(&self) -> Result<Vec<String>> {
        let Some(own) = self.tree().child(OWN)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut open = vec![(own, OWN.to_owned())];
        while let Some((place, path)) = open.pop() {
            let Some(stat) = readable(place.stat())? else { continue };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !is_own(&path, kind) {
                found.push(path);
            } else if kind == FileType::Directory
                && path != TLS
                && let Some(folder) = readable(place.directory())?
            {
                let names = readable(folder.entries())?.unwrap_or_default();
                open.extend(names.into_iter().map(|(name, _)| {
                    let path = format!("{path}/{}", name.to_string_lossy());
                    (folder.child(name), path)
                }));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Whether hod itself makes something of that kind at that path.
fn is_own(path: &str, kind: FileType) -> bool {
    let (is_file, is_folder) = (kind == FileType::RegularFile, kind == FileType::Directory);
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [OWN] | [OWN, "partial" | "staged" | "tls"] => is_folder,
        [OWN, "lock" | "referrers" | "removed"] => is_file,
        [OWN, name] if name.strip_prefix(".removed.").is_some_and(|rest| rest.ends_with("tmp")) => is_file,
        [OWN, name] if name.strip_prefix("hashed-").is_some_and(|user| user.parse::<u32>().is_ok()) => is_file,
        [OWN, "partial", name] => is_file && staging::is_partial(name),
        [OWN, "staged", number] => is_folder && number.parse::<u64>().is_ok(),
        [OWN, "staged", _, ..] => is_file || is_folder,
        _ => false,
    }
}

/// `None` for what is gone meanwhile, or closed to this user.
fn readable<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match absent(result) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        result => result,
    }
}

impl Walk {
    fn found(&self, entry: &walkdir::DirEntry) -> std::result::Result<FoundEntry, walkdir::Error> {
        let path = entry.path().strip_prefix(&self.root).unwrap_or_else(|_| entry.path()).to_owned();
        let file_type = entry.file_type();
        let kind = if file_type.is_file() {
            FoundKind::File
        } else if file_type.is_dir() {
            FoundKind::Folder
        } else if file_type.is_symlink() {
            FoundKind::SymbolicLink
        } else {
            FoundKind::Other
        };
        let size = if kind == FoundKind::File { entry.metadata()?.len() } else { 0 };
        Ok(FoundEntry { entry: path.to_str().and_then(Entry::parse), path, kind, size })
    }
}

impl Iterator for Walk {
    type Item = Result<FoundEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.entries.next()?;
        let path = next.as_ref().map_or_else(walkdir::Error::path, |entry| Some(entry.path()));
        let path = path.map_or_else(|| self.root.clone(), Path::to_owned);
        let found = next.and_then(|entry| self.found(&entry));
        Some(found.map_err(|error| {
            let error = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
            hod_io::fs::with_path(&path, &error).into()
        }))
    }
}
