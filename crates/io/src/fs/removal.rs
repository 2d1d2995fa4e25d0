//! Names that a removal takes, noted until it has ended, so that a removal that was killed can be run again.
//!
//! It may have taken some of the names, or all of them. Who runs it again finds them in the note, and counts them as removed.

use std::collections::BTreeSet;
use std::io::{self, Read as _};

use rustix::fs::OFlags;

use super::directory::Child;
use super::write_atomically_in;

/// How much is read of a note.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The note of a removal, with what one that was killed has noted.
#[derive(Debug)]
pub struct Removal {
    file: Child,
    pending: BTreeSet<String>,
}

impl Removal {
    /// Reads what a removal that was killed has noted in this file; nothing where there was none.
    pub fn open(file: Child) -> io::Result<Self> {
        let mut text = Vec::new();
        match file.open(OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => drop(found?.take(LIMIT).read_to_end(&mut text)?),
        }
        Ok(Self { file, pending: String::from_utf8_lossy(&text).lines().map(str::to_owned).collect() })
    }

    /// Whether one that was killed has noted this line.
    pub fn has(&self, line: &str) -> bool {
        self.pending.contains(line)
    }

    /// What follows these words in a line that one has noted that was killed.
    pub fn after(&self, words: &str) -> Option<&str> {
        self.pending.iter().find_map(|line| line.strip_prefix(words))
    }

    /// Notes lines, beside those of the removal that was killed.
    pub fn note(&self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        let mut lines: BTreeSet<String> = lines.into_iter().collect();
        lines.extend(self.pending.iter().cloned());
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        write_atomically_in(&self.file, text.as_bytes(), 0o666)
    }

    /// The file.
    pub const fn file(&self) -> &Child {
        &self.file
    }

    /// Forgets the note: all that it names is removed.
    pub fn end(&self) -> io::Result<()> {
        match self.file.remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Directory;

    #[test]
    fn a_note_lasts_until_the_removal_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Removal::open(Directory::open(folder.path()).unwrap().child("note")).unwrap();
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let first = open();
        first.note(lines(&["a", "@0 sha256:1"])).unwrap();
        assert!(!first.has("a"), "nobody was killed");
        let again = open();
        assert!(again.has("a") && !again.has("b"));
        assert_eq!((again.after("@0 "), again.after("@1 ")), (Some("sha256:1"), None));
        again.note(lines(&["b"])).unwrap();
        let last = open();
        assert!(last.has("a") && last.has("b"));
        last.end().unwrap();
        last.end().unwrap();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }
}
