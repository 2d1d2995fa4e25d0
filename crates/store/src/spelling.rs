//! File systems that do not tell all tags apart, such as exFAT, SMB and APFS.
//!
//! A tag is a directory in a root. Where `V1` and `v1` are one directory, the image of the second would take the place of
//! the first.

use super::error::Result;
use super::layout::REGISTRY;
use super::root::{OWN, Root};
use hod_oci::Tag;

/// The names that are one on the file system of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spelling {
    ignores_case: bool,
    ignores_last_dots: bool,
}

impl Spelling {
    /// Finds out by other names for a directory that is there.
    pub(super) fn of(root: &Root) -> Result<Self> {
        let path = if root.look(REGISTRY)?.is_some() { REGISTRY } else { OWN };
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        // A file system in user space may give each name an inode number of its own. So what counts is that a name leads
        // somewhere and is no name of the directory.
        let leads_there = |other: &str| -> Result<bool> {
            if root.look(&format!("{above}/{other}"))?.is_none() {
                return Ok(false);
            }
            let entries = root.directory(above)?.map(|above| above.entries()).transpose()?;
            Ok(!entries.unwrap_or_default().iter().any(|(name, _)| *name == *other))
        };
        Ok(Self {
            ignores_case: leads_there(&name.to_uppercase())?,
            ignores_last_dots: leads_there(&format!("{name}."))?,
        })
    }

    /// True if every tag is a directory of its own.
    pub(super) const fn tells_all_apart(self) -> bool {
        !self.ignores_case && !self.ignores_last_dots
    }

    /// What all spellings of one directory have in common.
    pub(super) fn key(self, tag: &Tag) -> String {
        let name = if self.ignores_last_dots { tag.as_str().trim_end_matches('.') } else { tag.as_str() };
        if self.ignores_case { name.to_ascii_lowercase() } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_name_has_one_key() {
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let exfat = Spelling { ignores_case: true, ignores_last_dots: true };
        assert_eq!(exfat.key(&tag("V1.")), exfat.key(&tag("v1")));
        let smb = Spelling { ignores_case: true, ignores_last_dots: false };
        assert_eq!(smb.key(&tag("V1.")), "v1.");
    }
}
