//! Names that a removal takes, noted until it has ended, so that a removal that was killed can be run again.
//!
//! It may have taken some of the names, or all of them. Who runs it again finds them in the note, and counts them as removed.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{open_own, partial_of};

/// How much is read of a note.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The note of a removal, which may have been killed.
#[derive(Debug)]
pub struct Removal {
    path: PathBuf,
    lines: BTreeSet<String>,
}

impl Removal {
    /// What a removal that was killed has noted in this file; nothing where there was none.
    pub fn pending(path: &Path) -> io::Result<Self> {
        let lines = match super::read_within(path, LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            text => String::from_utf8_lossy(&text?).lines().map(str::to_owned).collect(),
        };
        Ok(Self { path: path.to_owned(), lines })
    }

    /// Whether a line was noted.
    pub fn has(&self, line: &str) -> bool {
        self.lines.contains(line)
    }

    /// What follows these words in a line that was noted.
    pub fn after(&self, words: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(words))
    }

    /// Notes more lines, beside those of the removal that was killed. A line is one line.
    ///
    /// No sync: what a removal changes is synced later, and with it this.
    pub fn note(&mut self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        let before = self.lines.len();
        self.lines.extend(lines);
        if self.lines.len() == before {
            return Ok(());
        }
        let temporary = partial_of(&self.path);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = open_own(&temporary, options)?;
        let text: String = self.lines.iter().flat_map(|line| [line, "\n"]).collect();
        file.write_all(text.as_bytes())?;
        fs::rename(&temporary, &self.path)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets the note: all that it names is removed.
    pub fn end(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_lasts_until_the_removal_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let mut first = Removal::pending(&path).unwrap();
        assert!(!first.has("a"));
        first.note(lines(&["a", "@0 sha256:1"])).unwrap();
        let mut again = Removal::pending(&path).unwrap();
        assert!(again.has("a") && !again.has("b"));
        assert_eq!((again.after("@0 "), again.after("@1 ")), (Some("sha256:1"), None));
        again.note(lines(&["b"])).unwrap();
        let last = Removal::pending(&path).unwrap();
        assert!(last.has("a") && last.has("b"));
        last.end().unwrap();
        last.end().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
