//! Checks the free space, before anything is written or fetched.

use std::path::{Path, PathBuf};

/// Why nothing can be written at a place.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// There is not that much room.
    #[error("{what} {needed} more bytes at {}, where {free} are free", path.display())]
    Short {
        /// What it is for, with a verb: `the bundle needs`.
        what: &'static str,
        /// The place.
        path: PathBuf,
        /// Bytes to come.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The room there is cannot be known.
    #[error("cannot determine the free space at {}", path.display())]
    Unknown {
        /// The place.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// Refuses what does not fit into the filesystem of a folder that is there.
pub fn require_room(what: &'static str, folder: &Path, needed: u64) -> Result<(), RoomError> {
    let free =
        hod_io::fs::free_space(folder).map_err(|source| RoomError::Unknown { path: folder.to_owned(), source })?;
    if needed <= free {
        return Ok(());
    }
    Err(RoomError::Short { what, path: folder.to_owned(), needed, free })
}

/// The free bytes where a folder is, or where it would be made: there, or in the nearest folder above it that exists.
pub(super) fn free_near(folder: &Path) -> Result<(PathBuf, u64), RoomError> {
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    let free = hod_io::fs::free_space(there);
    let free = free.map_err(|source| RoomError::Unknown { path: there.to_owned(), source })?;
    Ok((there.to_owned(), free))
}
