//! Volumes: the bytes of a bundle cut into files, as large as a medium takes.
//!
//! ```text
//! release.tar.001 release.tar.002 … release.tar.009    the bundle's bytes, one after the other
//! release.tar.sha256                                   a line for each volume, as sha256sum writes them
//! ```
//!
//! `docs/volumes.md` describes them for users. Two things must stay true: the volumes are the bytes of the bundle and
//! nothing else, so that `cat` makes the bundle of them; and nothing here needs more of them at a time than it reads,
//! so that they can come on media that are put in one after the other.

mod name;
mod read;
mod set;
mod size;
mod sums;
mod write;

use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;

pub use name::VOLUMES_LIMIT;
use name::volume_name;
pub use read::{Answer, Ask, VolumeReader, WantedVolume};
pub use set::{VolumeFile, VolumeSet, Volumes};
pub use size::{VolumeSize, VolumeSizeError};
pub use sums::Sums;
pub use write::{CutVolumes, VolumeWriter};

use super::{BundleError, OpenBundle, Result, Signed, Trust};
use hod_io::fs::ColdFile;

/// What is wrong with volumes, before anything in them is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// A volume that is nowhere.
    #[error("the volume {name} is missing: it is not in {}", list(folders))]
    Missing {
        /// The name of its file.
        name: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// A volume that ends too soon.
    #[error("the volume {} has {found} bytes and should have {expected}: it was not copied to its end", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// The length that it should have.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// A volume that is longer than those before it.
    #[error(
        "the volume {} has {found} bytes, more than the {expected} of those before it: it belongs to another bundle",
        path.display()
    )]
    Long {
        /// The file.
        path: PathBuf,
        /// The length that it may have.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// A folder without volumes.
    #[error("{} holds neither a registry root nor the volumes of a bundle", folder.display())]
    NoSet {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder with the volumes of several bundles.
    #[error("there are volumes of several bundles in {}: {}", list(folders), names.join(", "))]
    SeveralSets {
        /// The folders.
        folders: Vec<PathBuf>,
        /// What the bundles are called.
        names: Vec<String>,
    },
    /// A file of sums that cannot be used.
    #[error("{} is not in the form of sha256sum: line {line}", path.display())]
    Sums {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A name that some media cannot hold.
    #[error("{name:?} cannot be the name of volumes: {problem}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        problem: &'static str,
    },
    /// More volumes than there are names for.
    #[error("the bundle needs more than {VOLUMES_LIMIT} volumes of {size} bytes: choose larger ones")]
    Many {
        /// The length of a volume.
        size: u64,
    },
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

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
    pub fn open(&self, trust: &Trust) -> Result<(OpenBundle, Option<Signed>)> {
        match self {
            Self::One(path) => OpenBundle::over(Box::new(fs::File::open(path)?), trust),
            Self::Volumes(set) => set.open(trust),
        }
    }

    /// Reads the bundle from its beginning. `ask` is called for volumes that are not there when their turn comes.
    pub fn read(&self, ask: Option<Ask>) -> Result<Box<dyn Read + Send>> {
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
