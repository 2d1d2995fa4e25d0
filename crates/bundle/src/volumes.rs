//! Volumes: the bytes of a bundle, split into files that fit on a medium.
//!
//! ```text
//! release.tar.001 release.tar.002 … release.tar.009    the bundle's bytes, one after the other
//! release.tar.sha256                                   a line for each volume, as sha256sum writes them
//! ```
//!
//! `docs/volumes.md` describes them for users. Two things must stay true: the volumes are the bytes of the bundle and
//! nothing else, so that `cat` makes the bundle of them; and nothing here needs more of them at a time than it reads,
//! so that they can come on media that are put in one after the other.

mod error;
mod name;
mod read;
mod set;
mod size;
mod sums;
mod write;

use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;

pub use error::{VOLUMES_LIMIT, VolumeError};
use name::volume_name;
pub use read::{Answer, VolumePrompt, VolumeReader, WantedVolume};
pub use set::{VolumeFile, VolumeSet, Volumes};
pub use size::{VolumeSize, VolumeSizeError};
pub use sums::Sums;
pub use write::{CutVolumes, VolumeWriter};

use super::{BundleError, BundleSigner, OpenBundle, Result, Trust};
use hod_io::fs::ColdFile;

/// The file or the volumes that a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleFiles {
    /// A bundle in one file.
    One(PathBuf),
    /// A bundle in volumes.
    Volumes(VolumeSet),
}

impl BundleFiles {
    /// Finds out what a path stands for: a bundle, a volume, what volumes have in common, or a folder with the
    /// volumes of one bundle. `others` are more folders where volumes may be.
    pub fn find(path: &Path, others: &[PathBuf]) -> Result<Self> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if metadata.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            return VolumeSet::in_folder(path, others).map(Self::Volumes);
        }
        let one = || Ok(Self::One(path.to_owned()));
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { return one() };
        let folder = hod_io::fs::folder_of(path);
        let is_part = name::base_of(file).is_some();
        if metadata.is_some() && !is_part {
            return one();
        }
        let set = VolumeSet::new(folder, others, name::base_of(file).unwrap_or(file))?;
        if is_part || set.exists()? { Ok(Self::Volumes(set)) } else { one() }
    }

    /// Opens the bundle for reading in any order, if it is signed as `trust` says; with who signed it. All volumes must be
    /// there.
    pub fn open(&self, trust: &Trust) -> Result<(OpenBundle, Option<BundleSigner>)> {
        match self {
            Self::One(path) => OpenBundle::over(Box::new(fs::File::open(path)?), trust),
            Self::Volumes(set) => set.open(trust),
        }
    }

    /// Reads the bundle from its beginning. `ask` is called for volumes that are not there when their turn comes.
    pub fn read(&self, ask: Option<VolumePrompt>) -> Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::One(path) => Box::new(ColdFile::new(fs::File::open(path)?)),
            Self::Volumes(set) => Box::new(VolumeReader::new(set.clone(), ask)),
        })
    }
}

impl From<VolumeError> for BundleError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(Box::new(error))
    }
}

impl OpenBundle {
    /// Opens a bundle, in one file or in volumes: reads its header, and of a compressed one the table at its end.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(BundleFiles::find(path, &[])?.open(&Trust::default())?.0)
    }
}
