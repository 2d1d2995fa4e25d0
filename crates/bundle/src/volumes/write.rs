//! Writes a bundle as volumes, in one pass.
//!
//! Each volume is written under a temporary name, hashed on the way, and made durable when it is full. The volumes
//! get their names when the last of them is whole; the first gets its name last, and the sums come after it.
//!
//! The temporary names are the same on every run, so that the next one goes on with what an interrupted one has left.
//! Whoever has claimed the first volume has all of them, until it gets its name.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::error::VOLUMES_LIMIT;
use super::name::{self, SUMS_END};
use super::{Sums, VolumeError, VolumeSize, volume_name};
use crate::{BundleError, Result};
use hod_engine::observe::Stop;
use hod_io::fs::ResumedFile;
use hod_oci::{Algorithm, Digest, Hasher};

/// The volumes of a bundle that is being written. What fails leaves no files; what is stopped or killed leaves those that
/// the next run goes on with.
pub struct VolumeWriter {
    folder: PathBuf,
    base: String,
    size: u64,
    current: Option<Volume>,
    done: Vec<Digest>,
    /// The first volume, held for its lock from its beginning on.
    claim: Option<fs::File>,
    stop: Stop,
    kept: u64,
}

struct Volume {
    file: ResumedFile,
    hasher: Hasher,
    left: u64,
}

/// Volumes that have been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutVolumes {
    /// The files, the first volume first.
    pub files: Vec<PathBuf>,
    /// The file with their sums.
    pub sums: PathBuf,
    /// Bytes that an interrupted run had written.
    pub kept: u64,
}

impl VolumeWriter {
    /// Begins the volumes of the bundle that `path` names, until `stop`. Nothing is written yet.
    pub fn new(path: &Path, size: VolumeSize, stop: &Stop) -> Result<Self> {
        let folder = hod_io::fs::folder_of(path);
        let base = path.file_name().unwrap_or_default();
        let problem = "it is not UTF-8";
        let base = base.to_str().ok_or_else(|| VolumeError::Name { name: base.to_string_lossy().into(), problem })?;
        name::check_portable(base)?;
        let (folder, base) = (folder.to_owned(), base.to_owned());
        let (size, done, stop) = (size.bytes(), Vec::new(), stop.clone());
        Ok(Self { folder, base, size, current: None, done, claim: None, stop, kept: 0 })
    }

    /// The temporary name of a volume.
    fn partial(&self, number: usize) -> PathBuf {
        hod_io::fs::partial_of(&self.place(number))
    }

    /// Bytes on the disk that an interrupted run has left under the temporary names, and that are kept, written over or
    /// deleted.
    pub fn left_behind(&self) -> u64 {
        let found = (1..=VOLUMES_LIMIT).map_while(|number| fs::symlink_metadata(self.partial(number)).ok());
        found.map(|file| hod_io::fs::bytes_on_disk(&file)).sum()
    }

    fn place(&self, number: usize) -> PathBuf {
        self.folder.join(volume_name(&self.base, number))
    }

    fn begin(&mut self) -> io::Result<&mut Volume> {
        let number = self.done.len() + 1;
        if number > VOLUMES_LIMIT {
            return Err(BundleError::from(VolumeError::Many { size: self.size }).into());
        }
        let file = hod_io::fs::claim(&self.partial(number))?;
        if self.claim.is_none() {
            self.claim = Some(file.try_clone()?);
        }
        let file = ResumedFile::new(file)?;
        Ok(self.current.insert(Volume { file, hasher: Hasher::new(Algorithm::Sha256), left: self.size }))
    }

    /// Makes the current volume durable.
    fn end(&mut self) -> io::Result<()> {
        let Some(volume) = self.current.take() else { return Ok(()) };
        self.done.push(volume.hasher.finish());
        self.kept += volume.file.kept();
        volume.file.into_file()?.sync_all()
    }

    /// Gives the volumes their names, takes away what an earlier bundle of that name had more, and writes the sums.
    pub fn finish(mut self) -> Result<CutVolumes> {
        self.name_all().map_err(BundleError::Write)
    }

    fn name_all(&mut self) -> io::Result<CutVolumes> {
        if self.done.is_empty() && self.current.is_none() {
            self.begin()?;
        }
        self.end()?;
        let sums = self.folder.join(format!("{}{SUMS_END}", self.base));
        remove(&sums)?;
        let count = self.done.len();
        for number in count + 1..=VOLUMES_LIMIT {
            remove(&self.partial(number))?;
        }
        for number in (1..=count).rev() {
            fs::rename(self.partial(number), self.place(number))?;
        }
        // From now on others may begin volumes of these names.
        self.claim = None;
        for number in count + 1..=VOLUMES_LIMIT {
            if !remove(&self.place(number))? {
                break;
            }
        }
        let text = Sums::new(std::mem::take(&mut self.done)).to_text(&self.base);
        hod_io::fs::write_atomically(&sums, text.as_bytes())?;
        Ok(CutVolumes { files: (1..=count).map(|number| self.place(number)).collect(), sums, kept: self.kept })
    }
}

/// Removes a file; says whether there was one.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Write for VolumeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.as_ref().is_some_and(|volume| volume.left == 0) {
            self.end()?;
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let volume = match &mut self.current {
            Some(volume) => volume,
            None => self.begin()?,
        };
        let limit = usize::try_from(volume.left).unwrap_or(usize::MAX).min(bytes.len());
        let count = volume.file.write(bytes.get(..limit).unwrap_or_default())?;
        volume.hasher.update(bytes.get(..count).unwrap_or_default());
        volume.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for VolumeWriter {
    fn drop(&mut self) {
        if self.claim.is_none() || self.stop.is_requested() {
            return;
        }
        // Those of a killed run too; the first, which keeps others away, last.
        for number in (1..=VOLUMES_LIMIT).rev() {
            let _ = fs::remove_file(self.partial(number));
        }
    }
}

impl fmt::Debug for VolumeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeWriter").field("base", &self.base).field("done", &self.done.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(folder: &Path, bytes: &[u8], size: u64) -> CutVolumes {
        let mut writer =
            VolumeWriter::new(&folder.join("r.tar"), VolumeSize::new(size).unwrap(), &Stop::default()).unwrap();
        for part in bytes.chunks(1000) {
            writer.write_all(part).unwrap();
        }
        writer.finish().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn volumes_are_the_bytes_cut_up() {
        let bytes: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for (length, count) in [(0, 1), (1, 1), (4096, 1), (4097, 2), (80_000, 20)] {
            let folder = tempfile::tempdir().unwrap();
            let written = cut(folder.path(), &bytes[..length], 4096);
            assert_eq!(written.files.len(), count, "{length}");
            let parts: Vec<u8> = written.files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
            assert_eq!(parts, &bytes[..length]);
            assert_eq!(names(folder.path()).len(), count + 1);
            let check = std::process::Command::new("sha256sum")
                .args(["--check", "--strict", "r.tar.sha256"])
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(check.status.success(), "{check:?}");
        }
    }

    #[test]
    fn a_shorter_bundle_takes_the_place_of_a_longer_one() {
        let folder = tempfile::tempdir().unwrap();
        cut(folder.path(), &vec![1; 20_000], 4096);
        fs::write(folder.path().join("r.tar.009"), "of somebody else").unwrap();
        cut(folder.path(), &[2; 5000], 4096);
        assert_eq!(names(folder.path()), ["r.tar.001", "r.tar.002", "r.tar.009", "r.tar.sha256"]);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer =
            VolumeWriter::new(&folder.path().join("r.tar"), VolumeSize::new(4096).unwrap(), &Stop::default()).unwrap();
        writer.write_all(&[0; 10_000]).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
        assert!(names(folder.path()).iter().all(|name| name.ends_with(".partial")));
        drop(writer);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_a_killed_run_has_left_is_taken_over_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let left = |numbers: &[usize]| {
            for number in numbers {
                fs::write(folder.path().join(format!(".r.tar.{number:03}.partial")), vec![7; 9000]).unwrap();
            }
        };
        left(&[1, 2, 3, 5]);
        let written = cut(folder.path(), &[2; 5000], 4096);
        assert_eq!(names(folder.path()), ["r.tar.001", "r.tar.002", "r.tar.sha256"]);
        assert_eq!(written.files.iter().map(|file| fs::read(file).unwrap().len()).collect::<Vec<_>>(), [4096, 904]);
        left(&[1, 2, 3, 5]);
        let mut writer =
            VolumeWriter::new(&folder.path().join("r.tar"), VolumeSize::new(4096).unwrap(), &Stop::default()).unwrap();
        writer.write_all(&[0; 5000]).unwrap();
        drop(writer);
        assert_eq!(names(folder.path()), ["r.tar.001", "r.tar.002", "r.tar.sha256"]);
    }

    #[test]
    fn what_is_stopped_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
        let stop = Stop::default();
        let mut writer =
            VolumeWriter::new(&folder.path().join("r.tar"), VolumeSize::new(4096).unwrap(), &stop).unwrap();
        writer.write_all(&bytes[..10_000]).unwrap();
        stop.request();
        drop(writer);
        assert_eq!(names(folder.path()).len(), 3);
        let written = cut(folder.path(), &bytes, 4096);
        assert_eq!(written.kept, 10_000);
        assert_eq!(names(folder.path()).len(), 6);
        let parts: Vec<u8> = written.files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
        assert_eq!(parts, bytes);
    }

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let begin = || {
            VolumeWriter::new(&folder.path().join("r.tar"), VolumeSize::new(4096).unwrap(), &Stop::default()).unwrap()
        };
        let mut first = begin();
        first.write_all(&[1; 10_000]).unwrap();
        let mut second = begin();
        assert_eq!(second.write_all(&[2; 10]).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(second);
        first.write_all(&[1; 10_000]).unwrap();
        let written = first.finish().unwrap();
        assert!(written.files.iter().flat_map(|file| fs::read(file).unwrap()).all(|byte| byte == 1));
    }

    #[test]
    fn names_run_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer =
            VolumeWriter::new(&folder.path().join("r.tar"), VolumeSize::new(4096).unwrap(), &Stop::default()).unwrap();
        let error = writer.write_all(&vec![0; 4096 * 999 + 1]).unwrap_err();
        assert!(error.to_string().contains("more than 999 volumes"), "{error}");
        drop(writer);
        assert!(names(folder.path()).is_empty());
        let bad = VolumeWriter::new(&folder.path().join("a:b.tar"), VolumeSize::new(4096).unwrap(), &Stop::default());
        assert!(matches!(bad, Err(BundleError::Volume(_))));
    }
}
