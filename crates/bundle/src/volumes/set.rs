//! Finds the volumes of a bundle, and reads a complete set as one file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::name::{self, SUMS_END};
use super::{Sums, VolumeError, volume_name};
use crate::{BundleError, BundleSigner, OpenBundle, RandomAccess, Result, Trust};

/// A volume that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFile {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

/// What volumes are called, and where they may be. Media may come and go while it is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSet {
    base: String,
    folders: Vec<PathBuf>,
    sums: Option<Sums>,
}

impl VolumeSet {
    /// The volumes of the bundle `base` in a folder and others.
    pub(super) fn new(folder: &Path, others: &[PathBuf], base: &str) -> Result<Self> {
        let mut set = Self { base: base.to_owned(), folders: Vec::new(), sums: None };
        for folder in std::iter::once(folder).chain(others.iter().map(PathBuf::as_path)) {
            set.add_folder(folder)?;
        }
        Ok(set)
    }

    /// The volumes of the one bundle that a folder and others have volumes of.
    pub(super) fn in_folder(folder: &Path, others: &[PathBuf]) -> Result<Self> {
        let folders: Vec<PathBuf> = std::iter::once(folder.to_owned()).chain(others.iter().cloned()).collect();
        let mut bases = BTreeSet::new();
        for folder in &folders {
            let names = names(folder)?;
            bases.extend(
                names
                    .iter()
                    .filter_map(|name| name::base_of(name))
                    .filter(|base| name::is_bundle(base))
                    .map(str::to_owned),
            );
        }
        let names: Vec<String> = bases.into_iter().collect();
        match names.as_slice() {
            [base] => Self::new(folder, others, base),
            [] => Err(VolumeError::NoSet { folder: folder.to_owned() }.into()),
            _ => Err(VolumeError::SeveralSets { folders, names }.into()),
        }
    }

    /// Looks into one more folder for volumes, and for sums if there are none yet.
    pub fn add_folder(&mut self, folder: &Path) -> Result<()> {
        if !self.folders.iter().any(|known| known == folder) {
            self.folders.push(folder.to_owned());
        }
        let sums = folder.join(format!("{}{SUMS_END}", self.base));
        if self.sums.is_none() && is_file(&sums)?.is_some() {
            self.sums = Sums::read(&sums, &self.base)?;
        }
        Ok(())
    }

    /// What the bundle is called.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where volumes are looked for.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The sums, where there are any.
    pub const fn sums(&self) -> Option<&Sums> {
        self.sums.as_ref()
    }

    /// The name of a volume, counted from 1.
    pub fn name(&self, number: usize) -> String {
        volume_name(&self.base, number)
    }

    /// Returns true if there is a volume, or the file with the sums.
    pub(super) fn exists(&self) -> Result<bool> {
        Ok(self.sums.is_some() || !self.present()?.is_empty())
    }

    /// Looks for a volume, in the order of the folders.
    pub fn locate(&self, number: usize) -> io::Result<Option<VolumeFile>> {
        for folder in &self.folders {
            let path = folder.join(self.name(number));
            if let Some(size) = is_file(&path)? {
                return Ok(Some(VolumeFile { path, size }));
            }
        }
        Ok(None)
    }

    /// All volumes that are there, by number.
    pub fn present(&self) -> io::Result<BTreeMap<usize, VolumeFile>> {
        let mut numbers = BTreeSet::new();
        for folder in &self.folders {
            let names = names(folder)?;
            numbers.extend(
                names
                    .iter()
                    .filter_map(|name| name::volume_of(name))
                    .filter(|(base, _)| *base == self.base)
                    .map(|(_, number)| number),
            );
        }
        let mut found = BTreeMap::new();
        for number in numbers {
            if let Some(file) = self.locate(number)? {
                found.insert(number, file);
            }
        }
        Ok(found)
    }

    /// That a volume is not there.
    pub(super) fn missing(&self, number: usize) -> VolumeError {
        VolumeError::Missing { name: self.name(number), folders: self.folders.clone() }
    }

    /// Opens the bundle, all of whose volumes must be there.
    pub(super) fn open(&self, trust: &Trust) -> Result<(OpenBundle, Option<BundleSigner>)> {
        let volumes = self.volumes()?;
        let next = volumes.parts.len() + 1;
        let size = volumes.size()?;
        OpenBundle::over(Box::new(volumes), trust).map_err(|error| match error {
            // Without sums, the last volumes can be missing unnoticed.
            BundleError::Truncated { offset, .. } if offset == size && self.sums.is_none() => self.missing(next).into(),
            BundleError::SeekTable(_) if self.sums.is_none() => self.missing(next).into(),
            error => error,
        })
    }

    /// The volumes as one file.
    pub fn volumes(&self) -> Result<Volumes> {
        let present = self.present()?;
        let count = self.sums.as_ref().map_or_else(|| present.keys().max().copied().unwrap_or(1), Sums::count);
        let mut found = Vec::with_capacity(count);
        for number in 1..=count {
            found.push(present.get(&number).cloned().ok_or_else(|| self.missing(number))?);
        }
        check_lengths(&found)?;
        let mut parts = Vec::with_capacity(count);
        let mut start = 0;
        for VolumeFile { path, size } in found {
            parts.push(Part { file: fs::File::open(path)?, start, size });
            start += size;
        }
        Ok(Volumes { parts })
    }
}

/// Checks that all volumes but the last are of one length, and the last is not longer.
fn check_lengths(found: &[VolumeFile]) -> Result<(), VolumeError> {
    let Some((last, others)) = found.split_last() else { return Ok(()) };
    let Some(expected) = others.iter().map(|volume| volume.size).max() else { return Ok(()) };
    if let Some(short) = others.iter().find(|volume| volume.size < expected) {
        return Err(VolumeError::Short { path: short.path.clone(), expected, found: short.size });
    }
    if last.size > expected {
        return Err(VolumeError::Long { path: last.path.clone(), expected, found: last.size });
    }
    Ok(())
}

/// The length of a file; `None` where there is none.
fn is_file(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder; none where there is no such folder, since a medium may not be in yet.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
    names.filter_map(io::Result::transpose).collect()
}

/// The volumes of a bundle, open, as one file.
#[derive(Debug)]
pub struct Volumes {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    file: fs::File,
    start: u64,
    size: u64,
}

impl RandomAccess for Volumes {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let index = self.parts.partition_point(|part| part.start + part.size <= offset);
        let Some(part) = self.parts.get(index) else { return Ok(0) };
        let inside = offset - part.start;
        let limit = usize::try_from(part.size - inside).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get_mut(..limit).unwrap_or_default();
        let count = RandomAccess::read_at(&part.file, bytes, inside)?;
        if count == 0 && limit > 0 {
            let path = part.file.path().to_owned();
            let error = VolumeError::Short { path, expected: part.size, found: inside };
            return Err(BundleError::from(error).into());
        }
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.parts.last().map_or(0, |part| part.start + part.size))
    }
}

#[cfg(test)]
mod tests {
    use super::super::BundleFiles;
    use super::*;

    fn folder(files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, size) in files {
            fs::write(folder.path().join(name), vec![name.as_bytes()[name.len() - 1]; *size]).unwrap();
        }
        folder
    }

    fn set(path: &Path) -> VolumeSet {
        match BundleFiles::find(path, &[]).unwrap() {
            BundleFiles::Volumes(set) => set,
            BundleFiles::One(path) => panic!("{} is one file", path.display()),
        }
    }

    #[test]
    fn a_set_has_many_names() {
        let media = folder(&[("r.tar.001", 5), ("r.tar.002", 3), ("r.tar", 0), ("other.tar.zst", 1)]);
        for name in ["r.tar.001", "r.tar.002", "r.tar.sha256", ""] {
            assert_eq!(set(&media.path().join(name)).base(), "r.tar");
        }
        // A bundle in one file is meant where there is one.
        let one = BundleFiles::find(&media.path().join("r.tar"), &[]).unwrap();
        assert_eq!(one, BundleFiles::One(media.path().join("r.tar")));
        fs::remove_file(media.path().join("r.tar")).unwrap();
        assert_eq!(set(&media.path().join("r.tar")).base(), "r.tar");
        let nothing = media.path().join("s.tar");
        assert_eq!(BundleFiles::find(&nothing, &[]).unwrap(), BundleFiles::One(nothing));
    }

    #[test]
    fn a_folder_must_have_one_set() {
        let several = folder(&[("a.tar.001", 1), ("b.tar.zst.sha256", 0)]);
        let error = BundleFiles::find(several.path(), &[]).unwrap_err().to_string();
        assert!(error.ends_with(": a.tar, b.tar.zst"), "{error}");
        let none = folder(&[("a.7z.001", 1), ("x.tar", 1)]);
        let error = BundleFiles::find(none.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("contains neither"), "{error}");
    }

    #[test]
    fn reads_across_volumes() {
        let media = folder(&[("r.tar.001", 5), ("r.tar.002", 5), ("r.tar.003", 2)]);
        let volumes = set(media.path()).volumes().unwrap();
        assert_eq!(volumes.size().unwrap(), 12);
        let mut all = Vec::new();
        let mut bytes = [0; 4];
        while let count @ 1.. = volumes.read_at(&mut bytes, all.len() as u64).unwrap() {
            all.extend_from_slice(&bytes[..count]);
        }
        assert_eq!(all, b"111112222233");
        assert_eq!(volumes.read_at(&mut bytes, u64::MAX).unwrap(), 0);
    }

    #[test]
    fn tells_what_is_wrong() {
        let problem = |files: &[(&str, usize)]| {
            let media = folder(files);
            set(media.path()).volumes().unwrap_err().to_string()
        };
        assert!(problem(&[("r.tar.001", 5), ("r.tar.003", 5)]).contains("r.tar.002 is missing"));
        assert!(problem(&[("r.tar.002", 5)]).contains("r.tar.001 is missing"));
        assert!(
            problem(&[("r.tar.001", 4), ("r.tar.002", 5), ("r.tar.003", 1)]).contains("r.tar.001 has 4 of 5 bytes")
        );
        assert!(problem(&[("r.tar.001", 5), ("r.tar.002", 6)]).contains("belongs to another bundle"));
    }
}
