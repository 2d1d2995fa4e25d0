//! Puts back what a removal had withdrawn that was killed.

use std::cmp::Reverse;
use std::io::Read as _;

use rustix::fs::{FileType, OFlags};

use super::layout::{LINK_LIMIT, REPOSITORIES};
use super::root::Root;
use super::{Entry, Result, StoreError};
use hod_io::fs::Directory;
use hod_oci::Digest;

/// Where withdrawn tags and manifests are, in the folder of a process.
pub(super) const WITHDRAWN: &str = "withdrawn";

/// A path of a root, below the repositories.
pub(super) fn below(path: &str) -> &str {
    path.strip_prefix(REPOSITORIES).unwrap_or(path).trim_start_matches('/')
}

/// Puts back what was withdrawn, a tag where its manifest is in place. Afterwards what is left there is deleted, so
/// whatever cannot be read is an error.
pub(super) fn restore(root: &Root, withdrawn: &Directory) -> Result<()> {
    let entries = withdrawn.entries()?.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
    let mut numbers: Vec<u64> = entries.filter_map(|(name, _)| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable_by_key(|number| Reverse(*number));
    for number in numbers {
        restore_one(root, &withdrawn.child(number.to_string()).directory()?)?;
    }
    Ok(())
}

fn restore_one(root: &Root, withdrawn: &Directory) -> Result<()> {
    let is_there = |entry: &Entry| Ok::<_, StoreError>(root.look(&entry.to_string())?.is_some());
    for (path, _) in withdrawn.files_below()? {
        let Some(link) = path.to_str().and_then(|path| Entry::parse(&format!("{REPOSITORIES}/{path}"))) else {
            continue;
        };
        let is_whole = match &link {
            Entry::Revision(_, digest) => is_there(&Entry::Data(*digest))?,
            Entry::TagCurrent(name, _) => {
                let file = match withdrawn.open_below(&path, OFlags::RDONLY | OFlags::NONBLOCK) {
                    Ok(file) => file,
                    Err(error) => {
                        return Err(hod_io::fs::with_path(&withdrawn.path().join(path), &error.into()).into());
                    }
                };
                let mut text = Vec::new();
                file.take(LINK_LIMIT).read_to_end(&mut text)?;
                // A file that is no link was no tag.
                let Ok(digest) = String::from_utf8_lossy(&text).parse::<Digest>() else { continue };
                is_there(&Entry::Revision(name.clone(), digest))? && is_there(&Entry::Data(digest))?
            }
            _ => false,
        };
        let folder = link.directory();
        if is_whole && root.look(&folder)?.is_none() {
            root.place(&withdrawn.child_below(below(&folder))?, &folder)?;
        }
    }
    Ok(())
}
