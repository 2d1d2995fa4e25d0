//! Reads volumes one after the other, and asks for missing ones.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use fs_err as fs;

use super::set::VolumeFile;
use super::{VolumeError, VolumeSet};
use crate::reader::BundleReader;
use crate::{BundleError, Result, frame};

/// A volume that is wanted and not there.
#[derive(Debug, Clone, Copy)]
pub struct WantedVolume<'a> {
    /// The name of its file.
    pub name: &'a str,
    /// Which one it is, from 1.
    pub number: usize,
    /// How many there are, where that is known.
    pub count: Option<usize>,
    /// The searched places.
    pub folders: &'a [PathBuf],
}

/// What to do when a volume is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Look again.
    Again,
    /// Look again, and in this folder too.
    In(PathBuf),
    /// Give up.
    GiveUp,
}

/// Is called for a volume that is not there, and may take its time.
pub type VolumePrompt = Box<dyn FnMut(WantedVolume<'_>) -> io::Result<Answer> + Send>;

/// The bytes of a bundle in volumes, from its beginning.
pub struct VolumeReader {
    set: VolumeSet,
    ask: Option<VolumePrompt>,
    /// The volume that is being read, and how many bytes of it are left.
    current: Option<(fs::File, u64)>,
    /// How many volumes have been begun.
    begun: usize,
    /// The one before, which must be as long as the first if it is not the last.
    last: Option<VolumeFile>,
    /// The length of the first volume.
    first: u64,
    /// Bytes of all volumes before the current one and of it.
    reached: u64,
    /// The length of the bundle, where it is known.
    total: Option<u64>,
}

impl VolumeReader {
    /// Reads these volumes. `ask` is called for those that are not there when their turn comes.
    pub fn new(set: VolumeSet, ask: Option<VolumePrompt>) -> Self {
        Self { set, ask, current: None, begun: 0, last: None, first: 0, reached: 0, total: None }
    }

    /// Returns true if another volume follows those that were begun; `None` where nobody knows.
    fn follows(&self) -> Option<bool> {
        if self.begun == 0 {
            return Some(true);
        }
        if let Some(sums) = self.set.sums() {
            return Some(self.begun < sums.count());
        }
        self.total.map(|total| self.reached < total)
    }

    /// Opens the next volume; says whether there was one.
    fn advance(&mut self) -> Result<bool> {
        // Whoever reads on has seen the header of the first volume, and who signed it.
        if let Some(first) = self.last.as_ref().filter(|_| self.begun == 1 && self.set.sums().is_none()) {
            self.total = plain_length(&first.path);
        }
        let certain = self.follows();
        if certain == Some(false) {
            return Ok(false);
        }
        let number = self.begun + 1;
        let found = loop {
            if let Some(found) = self.set.locate(number)? {
                break found;
            }
            if certain.is_none() {
                return Ok(false);
            }
            self.ask_for(number)?;
        };
        self.check_length(&found)?;
        let file = fs::File::open(&found.path)?;
        if number == 1 {
            self.first = found.size;
        }
        self.begun = number;
        self.reached += found.size;
        self.current = Some((file, found.size));
        self.last = Some(found);
        Ok(true)
    }

    fn ask_for(&mut self, number: usize) -> Result<()> {
        let name = self.set.name(number);
        let answer = match &mut self.ask {
            Some(ask) => {
                let count = self.set.sums().map(super::Sums::count);
                ask(WantedVolume { name: &name, number, count, folders: self.set.folders() })?
            }
            None => Answer::GiveUp,
        };
        match answer {
            Answer::Again => Ok(()),
            Answer::In(folder) => self.set.add_folder(&folder),
            Answer::GiveUp => Err(self.set.missing(number).into()),
        }
    }

    /// Checks the lengths of the volumes on both sides of a cut.
    fn check_length(&self, next: &VolumeFile) -> Result<(), VolumeError> {
        let Some(last) = &self.last else { return Ok(()) };
        if last.size < self.first {
            return Err(VolumeError::Short { path: last.path.clone(), expected: self.first, found: last.size });
        }
        if next.size > self.first {
            if self.begun == 1 {
                return Err(VolumeError::Short { path: last.path.clone(), expected: next.size, found: last.size });
            }
            return Err(VolumeError::Long { path: next.path.clone(), expected: self.first, found: next.size });
        }
        Ok(())
    }
}

/// The length of a bundle that is not compressed, if its header lies in the first volume.
fn plain_length(path: &std::path::Path) -> Option<u64> {
    let mut magic = [0; 4];
    fs::File::open(path).ok()?.read_exact(&mut magic).ok()?;
    if magic == frame::MAGIC {
        return None;
    }
    let reader = BundleReader::new(fs::File::open(path).ok()?).ok()?;
    let signature = reader.signature().map(|signature| signature.len() as u64);
    Some(reader.header().tar_size(signature))
}

impl Read for VolumeReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((file, left)) = &mut self.current
                && *left > 0
            {
                let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let count = file.read(bytes.get_mut(..limit).unwrap_or_default())?;
                if count == 0 && limit > 0 {
                    let (path, left) = (file.path().to_owned(), *left);
                    let expected = self.last.as_ref().map_or(0, |volume| volume.size);
                    let error = VolumeError::Short { path, expected, found: expected.saturating_sub(left) };
                    return Err(BundleError::from(error).into());
                }
                *left -= count as u64;
                return Ok(count);
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

impl fmt::Debug for VolumeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeReader").field("set", &self.set).field("begun", &self.begun).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::BundleFiles;
    use super::*;

    fn reader(path: &Path, ask: Option<VolumePrompt>) -> VolumeReader {
        let BundleFiles::Volumes(set) = BundleFiles::find(path, &[]).unwrap() else { panic!("one file") };
        VolumeReader::new(set, ask)
    }

    fn all(mut reader: VolumeReader) -> Result<String> {
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn asks_until_the_volume_is_there() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(one.path().join("r.tar.001"), "abc").unwrap();
        let text = ["abc", "def", "g"].map(|part| hod_oci::Digest::sha256(part.as_bytes()));
        let sums = super::super::Sums::new(text.to_vec()).to_text("r.tar");
        fs::write(one.path().join("r.tar.sha256"), sums).unwrap();
        let (first, second) = (one.path().to_owned(), two.path().to_owned());
        let mut asked = 0;
        let ask: VolumePrompt = Box::new(move |wanted| {
            asked += 1;
            assert_eq!(wanted.count, Some(3));
            match asked {
                1 => {
                    assert_eq!((wanted.name, wanted.number), ("r.tar.002", 2));
                    Ok(Answer::Again)
                }
                2 => {
                    // The next medium is put in where the first was.
                    fs::remove_file(first.join("r.tar.001"))?;
                    fs::write(first.join("r.tar.002"), "def")?;
                    Ok(Answer::Again)
                }
                3 => {
                    assert_eq!(wanted.name, "r.tar.003");
                    fs::write(second.join("r.tar.003"), "g")?;
                    Ok(Answer::In(second.clone()))
                }
                _ => Ok(Answer::GiveUp),
            }
        });
        assert_eq!(all(reader(one.path(), Some(ask))).unwrap(), "abcdefg");
    }

    #[test]
    fn without_anyone_to_ask_it_names_the_volume() {
        let media = tempfile::tempdir().unwrap();
        fs::write(media.path().join("r.tar.002"), "def").unwrap();
        let error = all(reader(&media.path().join("r.tar"), None)).unwrap_err();
        assert!(
            matches!(&error, BundleError::Volume(error) if matches!(&**error,
            VolumeError::Missing { name, .. } if name == "r.tar.001")),
            "{error:?}"
        );
    }

    #[test]
    fn volumes_of_other_lengths() {
        let problem = |parts: [&str; 3]| {
            let media = tempfile::tempdir().unwrap();
            for (number, part) in (1..).zip(parts) {
                fs::write(media.path().join(format!("r.tar.{number:03}")), part).unwrap();
            }
            all(reader(media.path(), None)).unwrap_err().to_string()
        };
        assert!(problem(["ab", "def", "g"]).contains("r.tar.001 has 2 of 3 bytes"));
        assert!(problem(["abc", "de", "g"]).contains("r.tar.002 has 2 of 3 bytes"));
        assert!(problem(["abc", "def", "ghij"]).contains("another bundle"));
    }
}
