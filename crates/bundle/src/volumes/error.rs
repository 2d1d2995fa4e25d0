//! The errors of volumes.

use std::path::PathBuf;

/// What is wrong with volumes, before anything in them is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// A volume that is nowhere.
    #[error("the volume {name} is missing: it is not in {}", list(folders))]
    Missing {
        /// The name of its file.
        name: String,
        /// The searched places.
        folders: Vec<PathBuf>,
    },
    /// A volume that ends too soon.
    #[error("the volume {} has {found} of {expected} bytes: it was not copied completely", path.display())]
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
        "the volume {} has {found} bytes, more than the {expected} bytes of the volumes before it: it belongs to another bundle",
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
    #[error("{} contains neither a registry root nor the volumes of a bundle", folder.display())]
    NoSet {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder with the volumes of several bundles.
    #[error("several bundles have volumes in {}: {}", list(folders), names.join(", "))]
    SeveralSets {
        /// The folders.
        folders: Vec<PathBuf>,
        /// What the bundles are called.
        names: Vec<String>,
    },
    /// A file of sums that cannot be used.
    #[error("{} is not in the format of sha256sum: line {line}", path.display())]
    Sums {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A name that some media cannot hold.
    #[error("{name:?} is not a valid name for volumes: {problem}")]
    Name {
        /// The name.
        name: String,
        /// The reason.
        problem: &'static str,
    },
    /// More volumes than there are names for.
    #[error("the bundle needs more than {VOLUMES_LIMIT} volumes of {size} bytes: choose a larger volume size")]
    Many {
        /// The length of a volume.
        size: u64,
    },
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The most volumes that a bundle can have: three digits, so that `cat NAME.???` puts them in order.
pub const VOLUMES_LIMIT: usize = 999;
