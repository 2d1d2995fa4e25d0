//! Signature files written in this run; later cleanup keeps them.
//!
//! The signatures of a manifest replace those that were there before the run. But a manifest may have several names, for
//! each of which there is a signature, and be copied as each of them, also at the same time.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The folders to which this run has written.
#[derive(Debug, Clone, Default)]
pub(super) struct WrittenFolders(Arc<Mutex<HashMap<PathBuf, Folder>>>);

/// A lock for a folder, and whether this run has written there.
type Folder = Arc<Mutex<bool>>;

impl WrittenFolders {
    /// Makes these the signatures of a manifest, beside those that this run has written already.
    pub(super) fn write(&self, file: impl Fn(usize) -> PathBuf, signatures: &[Bytes]) -> io::Result<()> {
        let first = file(1);
        let path = first.parent().unwrap_or(&first);
        let folder = self.folder(path);
        let mut is_written = folder.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = if *is_written { read(&file)? } else { Vec::new() };
        let new: Vec<&Bytes> = signatures.iter().filter(|signature| !all.contains(signature)).collect();
        all.extend(new.into_iter().cloned());
        fs_err::create_dir_all(path)?;
        hod_io::fs::write_numbered(file, &all)?;
        *is_written = true;
        Ok(())
    }

    fn folder(&self, path: &Path) -> Folder {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_default().clone()
    }
}

/// The files 1, 2, … of a series.
fn read(file: impl Fn(usize) -> PathBuf) -> io::Result<Vec<Bytes>> {
    let mut found = Vec::new();
    for number in 1.. {
        match fs_err::read(file(number)) {
            Ok(bytes) => found.push(bytes.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_its_own_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = |number| folder.path().join(format!("a@sha256=1/signature-{number}"));
        let found = || {
            let mut found = read(file).unwrap();
            found.sort();
            found
        };
        let numbers: Vec<Bytes> = (10..18).map(|number: u8| Bytes::from(number.to_string())).collect();
        let run = WrittenFolders::default();
        let common = Bytes::from_static(b"0");
        std::thread::scope(|scope| {
            for number in &numbers {
                scope.spawn(|| run.write(file, &[common.clone(), number.clone()]).unwrap());
            }
        });
        assert_eq!(found(), [&[common][..], &numbers[..]].concat());
        WrittenFolders::default().write(file, &numbers[..2]).unwrap();
        assert_eq!(found(), &numbers[..2]);
    }
}
