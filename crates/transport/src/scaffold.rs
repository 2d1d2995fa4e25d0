//! What is made of a folder before content comes to it, and goes again if none does.
//!
//! An image directory and a layout have files of their own from the start, so that they are known for what they are.
//! Where every image has failed before its first byte, the folder is as it was: not there, or empty. What was fetched
//! of an image stays, and with it the folder: the next run goes on from there.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;

use super::landing::is_partial;

/// Opens folders for images. When the last clone and the last of the sinks that were opened are dropped, what was made
/// goes where nothing has come.
#[derive(Debug, Clone, Default)]
pub struct Scaffolds {
    all: Arc<All>,
}

/// What was made of all places.
#[derive(Debug, Default)]
struct All {
    made: Mutex<Vec<Made>>,
}

/// What was made of a place. What was there before is not in it.
#[derive(Debug)]
pub(super) struct Made {
    place: PathBuf,
    /// The folders that whoever uses the place has locked.
    locks: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// With what was written to them.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// What was in the place before, and is none of its business.
    theirs: HashSet<PathBuf>,
}

impl Scaffolds {
    /// Notes what was made of a place.
    pub(super) fn note(&self, made: Made) {
        if made.folders.is_empty() && made.files.is_empty() {
            return;
        }
        let mut all = self.all.made.lock().unwrap_or_else(PoisonError::into_inner);
        // Several images may have come to a place at the same time, and each of them has made something of it.
        match all.iter_mut().find(|known| known.place == made.place) {
            Some(known) => {
                known.locks.extend(made.locks);
                known.folders.extend(made.folders);
                known.files.extend(made.files);
                known.theirs.extend(made.theirs);
            }
            None => all.push(made),
        }
    }
}

impl Drop for All {
    /// Whatever cannot be removed stays: this comes after an error that is worth more.
    fn drop(&mut self) {
        let made = std::mem::take(self.made.get_mut().unwrap_or_else(PoisonError::into_inner));
        let (mut folders, mut held) = (Vec::new(), Vec::new());
        for made in &made {
            let Ok(Some(locks)) = made.alone() else { continue };
            let Ok(Some(hollow)) = made.hollow() else { continue };
            let files = made.files.iter().map(|(file, _)| file).rev();
            let _ = hollow.iter().chain(files).try_for_each(fs::remove_file);
            folders.extend(&made.folders);
            held.extend(locks);
        }
        // One place may have made the folder that another is in: the lowest go first, whoever made them.
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        for folder in folders {
            // Only where it is empty.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Made {
    /// Nothing yet.
    pub(super) fn at(place: &Path) -> Self {
        let (locks, folders, files, theirs) = Default::default();
        Self { place: place.to_owned(), locks, folders, files, theirs }
    }

    /// Makes a folder, and those above it.
    pub(super) fn folder(&mut self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folder(path.parent().ok_or(error)?)?;
                match fs::create_dir(path) {
                    Err(_) if path.is_dir() => return Ok(()),
                    made => made?,
                }
            }
            Err(_) if path.is_dir() => return Ok(()),
            made => made?,
        }
        self.folders.push(path.to_owned());
        Ok(())
    }

    /// Writes a file, so that its place is known for what it is.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        hod_io::fs::write_atomically(path, content)?;
        self.files.push((path.to_owned(), content.to_owned()));
        Ok(())
    }

    /// Notes what is in the place, of which nothing was made here.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.place)? {
            self.theirs.insert(entry?.path());
        }
        Ok(())
    }

    /// Says that whoever uses the place has this folder locked, too.
    pub(super) fn locked_by(&mut self, folder: &Path) {
        self.locks.push(folder.to_owned());
    }

    /// Makes the place and has it locked: nobody takes it away then.
    pub(super) fn hold(&mut self, lock: impl Fn(&fs::File) -> io::Result<()>) -> io::Result<fs::File> {
        let place = self.place.clone();
        self.locked_by(&place);
        let open = || loop {
            self.folder(&place)?;
            match fs::File::open(&place) {
                // Somebody has taken it away meanwhile, who found nothing in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                folder => return folder,
            }
        };
        let folder = hod_io::fs::lock_at(&place, open, |folder| lock(folder).map(|()| true))?;
        folder.ok_or_else(|| io::ErrorKind::ResourceBusy.into())
    }

    /// The place's locks, if nobody uses it.
    fn alone(&self) -> io::Result<Option<Vec<fs::File>>> {
        let mut locks = Vec::new();
        for folder in self.locks.iter().collect::<BTreeSet<_>>() {
            let lock = |folder: &fs::File| Ok(hod_io::fs::try_lock(folder).unwrap_or_default());
            let Some(lock) = hod_io::fs::lock_at::<io::Error>(folder, || fs::File::open(folder), lock)? else {
                return Ok(None);
            };
            locks.push(lock);
        }
        Ok(Some(locks))
    }

    /// If nothing is in the place but what was there before and what was made, as it was made: the files of content of
    /// which no byte has come.
    fn hollow(&self) -> io::Result<Option<Vec<PathBuf>>> {
        let mut hollow = Vec::new();
        for (file, content) in &self.files {
            if fs::metadata(file)?.len() != content.len() as u64 || fs::read(file)? != *content {
                return Ok(None);
            }
        }
        let made: HashSet<&PathBuf> = self.files.iter().map(|(file, _)| file).chain(&self.folders).collect();
        let inside = self.folders.iter().filter(|folder| folder.starts_with(&self.place) && **folder != self.place);
        for folder in [&self.place].into_iter().chain(inside) {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if made.contains(&entry.path()) || self.theirs.contains(&entry.path()) {
                    continue;
                }
                if !is_partial(&entry.file_name().to_string_lossy()) || entry.metadata()?.len() > 0 {
                    return Ok(None);
                }
                hollow.push(entry.path());
            }
        }
        Ok(Some(hollow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DirSink;
    use crate::Layout;

    /// Every file and folder, sorted.
    fn listing(folder: &Path) -> Vec<String> {
        let entries = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name();
        entries
            .into_iter()
            .map(|entry| entry.unwrap().path().strip_prefix(folder).unwrap().display().to_string())
            .collect()
    }

    /// Every way to open a place.
    fn open(scaffolds: &Scaffolds, path: &Path, kind: usize) -> Box<dyn std::any::Any> {
        match kind {
            0 => Box::new(scaffolds.dir(path).unwrap()),
            1 => Box::new(scaffolds.layout(path, None, Some("a")).unwrap()),
            _ => Box::new(scaffolds.layout(path, Some(&path.with_file_name("blobs/of/all")), Some("a")).unwrap()),
        }
    }

    #[test]
    fn what_was_made_for_nothing_goes_and_nothing_else() {
        for kind in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            fs::create_dir(at("empty")).unwrap();
            if kind == 0 {
                DirSink::open(&at("before")).unwrap();
            } else {
                Layout::create(&at("before")).unwrap();
            }
            let expected = listing(folder.path());
            let scaffolds = Scaffolds::default();
            for path in ["new", "a/b/c", "a/d", "empty"] {
                drop(open(&scaffolds, &at(path), kind));
                assert!(!listing(&at(path)).is_empty(), "{kind} {path}");
                // Of content that was to come, not a byte has come.
                let blobs = if kind == 0 { at(path) } else { at(path).join("blobs") };
                fs::write(blobs.join(".sha256-00.partial"), "").unwrap();
            }
            drop(open(&scaffolds, &at("before"), kind));
            drop(scaffolds);
            assert_eq!(listing(folder.path()), expected, "{kind}");
        }
    }

    #[test]
    fn what_somebody_uses_or_has_filled_stays() {
        for kind in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let (used, filled) = (folder.path().join("used"), folder.path().join("x/filled"));
            let (first, second) = (Scaffolds::default(), Scaffolds::default());
            drop(open(&first, &used, kind));
            let in_use = open(&second, &used, kind);
            drop(open(&first, &filled, kind));
            let partial =
                if kind == 0 { filled.join(".sha256-00.partial") } else { filled.join("blobs/.sha256-00.partial") };
            fs::write(partial, "x").unwrap();
            drop(first);
            assert!(!listing(&used).is_empty() && !listing(&filled).is_empty(), "{kind}");
            drop(in_use);
            drop(second);
            assert!(!listing(&used).is_empty(), "the second has made nothing");
        }
    }

    #[test]
    fn images_that_come_at_the_same_time_make_a_place_together() {
        for kind in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a/b");
            let scaffolds = Scaffolds::default();
            let come = || drop(open(&scaffolds, &path, kind));
            std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(come))));
            drop(scaffolds);
            assert_eq!(listing(folder.path()), [""; 0], "{kind}");
        }
    }

    #[test]
    fn an_index_that_lists_something_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layout");
        let scaffolds = Scaffolds::default();
        drop(scaffolds.layout(&path, Some(&folder.path().join("blobs")), None).unwrap());
        let index = fs::read_to_string(path.join("index.json")).unwrap();
        fs::write(path.join("index.json"), index.replace("[]", "[ ]")).unwrap();
        drop(scaffolds);
        assert!(Layout::open(&path).is_ok());
    }
}
