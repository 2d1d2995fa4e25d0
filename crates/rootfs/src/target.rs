//! What an image is unpacked to, and what came of it.

use std::path::{Path, PathBuf};

use super::write::LeftOut;

/// What is to be made.
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

/// What was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpacked {
    /// The number of layers.
    pub layers: usize,
    /// The number of their entries.
    pub entries: u64,
    /// What could not be made.
    pub left_out: LeftOut,
}
