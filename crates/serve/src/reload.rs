//! Files that are read again when they have changed.
//!
//! A file that cannot be read any more, or makes no sense while somebody writes it, changes nothing:
//! what was read before goes on to count, and the next look tries again.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;

use super::stamp::Stamp;

/// What is made of some files, and how.
pub(super) struct Reload<T> {
    paths: Vec<PathBuf>,
    state: Mutex<State<T>>,
}

struct State<T> {
    stamps: Vec<Stamp>,
    value: Arc<T>,
}

impl<T> Reload<T> {
    /// Reads files for the first time.
    pub(super) fn new<E>(paths: Vec<PathBuf>, read: impl Fn(&[PathBuf]) -> Result<T, E>) -> Result<Self, E> {
        let stamps = stamps(&paths).unwrap_or_default();
        let value = Arc::new(read(&paths)?);
        Ok(Self { paths, state: Mutex::new(State { stamps, value }) })
    }

    /// What the files hold now, as far as it could be read.
    pub(super) fn get<E: Error + 'static>(&self, read: impl Fn(&[PathBuf]) -> Result<T, E>) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(stamps) = stamps(&self.paths)
            && stamps != state.stamps
        {
            match read(&self.paths) {
                Ok(value) => {
                    state.value = Arc::new(value);
                    tracing::info!(file = %self.paths.first().map_or_else(String::new, |path| path.display().to_string()), "read again");
                }
                Err(error) => tracing::warn!(error = &error as &dyn Error, "the file has changed and cannot be used"),
            }
            state.stamps = stamps;
        }
        Arc::clone(&state.value)
    }
}

fn stamps(paths: &[PathBuf]) -> io::Result<Vec<Stamp>> {
    paths.iter().map(|path| Ok(Stamp::of(&fs::metadata(path)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_again_what_has_changed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let reads = std::cell::Cell::new(0);
        let read = |paths: &[PathBuf]| {
            reads.set(reads.get() + 1);
            fs::read_to_string(&paths[0]).unwrap().parse::<u32>()
        };
        fs::write(&path, "1").unwrap();
        let files = Reload::new(vec![path.clone()], read).unwrap();
        assert_eq!((*files.get(read), *files.get(read), reads.get()), (1, 1, 1));
        fs::write(&path, "22").unwrap();
        assert_eq!((*files.get(read), *files.get(read), reads.get()), (22, 22, 2));
        fs::write(&path, "nonsense").unwrap();
        assert_eq!(*files.get(read), 22);
        fs::remove_file(&path).unwrap();
        assert_eq!(*files.get(read), 22);
        fs::write(&path, "4444").unwrap();
        assert_eq!(*files.get(read), 4444);
    }
}
