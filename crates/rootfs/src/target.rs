//! The target and the result of unpacking an image.

use std::path::{Path, PathBuf};

use super::write::SkippedEntries;

/// The target to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder with `config.json` and `rootfs/`, and what `umoci repack` needs.
    Bundle(PathBuf),
    /// The tree alone.
    Rootfs(PathBuf),
}

impl Target {
    /// The folder that is made.
    pub fn path(&self) -> &Path {
        match self {
            Self::Bundle(path) | Self::Rootfs(path) => path,
        }
    }
}

/// The result.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnpackedTree {
    /// The number of layers.
    pub layers: usize,
    /// The number of their entries.
    pub entries: u64,
    /// The files that could not be created.
    pub left_out: SkippedEntries,
}
