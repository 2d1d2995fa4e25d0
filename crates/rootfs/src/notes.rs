//! The bounded in-memory state of a root file system under construction: numbers, and no names.
//!
//! A layer of a few kilobytes can expand to millions of entries.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};

use rustix::fs::Stat;

use super::error::LayerError;
use hod_oci::Digest;

/// How many directories an image may have.
const FOLDERS: usize = 500_000;

/// How many entries a layer may have in directories of the layers below it.
const WRITTEN: usize = 2_000_000;

/// How many sums of files are kept. Of more files the sums are taken again, by reading them.
const SUMS: usize = 400_000;

/// A file or directory: its device and inode.
pub(super) type Key = (u64, u64);

pub(super) const fn key(stat: &Stat) -> Key {
    (stat.st_dev, stat.st_ino)
}

/// What is known of the directories and files that were made.
#[derive(Debug)]
pub(super) struct Notes {
    /// What directories get in the end: while files come into them they are open to their owner.
    folders: BTreeMap<Key, DirectoryNote>,
    /// The sums of files, where they are wanted.
    sums: Option<BTreeMap<Key, [u8; 32]>>,
    /// Which layer is being unpacked, from 1.
    layer: u16,
}

/// A [`Folder`] in few bytes, and the layer that made it.
#[derive(Debug, Clone, Copy)]
struct DirectoryNote {
    seconds: i64,
    nanoseconds: u32,
    mode: u16,
    layer: u16,
}

impl Notes {
    pub(super) fn new(with_sums: bool) -> Self {
        Self { folders: BTreeMap::new(), sums: with_sums.then(BTreeMap::new), layer: 0 }
    }

    /// Begins a layer.
    pub(super) const fn begin_layer(&mut self) {
        // A manifest has no room for more layers than this counts.
        self.layer = self.layer.saturating_add(1);
    }

    /// Fails where there are more directories than an image may have.
    pub(super) fn check(&self) -> Result<(), LayerError> {
        if self.folders.len() > FOLDERS {
            return Err(LayerError::Many { what: "directories in the image", limit: FOLDERS });
        }
        Ok(())
    }

    /// Notes a directory that was made, with what it gets in the end.
    pub(super) fn made(&mut self, folder: Key, what: Folder) {
        // That of the first layer is there before it.
        self.folders.insert(folder, DirectoryNote { layer: self.layer.max(1), ..DirectoryNote::of(what) });
    }

    /// Notes what a directory gets in the end.
    pub(super) fn describe(&mut self, folder: Key, what: Folder) {
        let layer = self.folders.get(&folder).map_or(0, |noted| noted.layer);
        self.folders.insert(folder, DirectoryNote { layer, ..DirectoryNote::of(what) });
    }

    /// Forgets a directory that was removed.
    pub(super) fn forget(&mut self, folder: Key) {
        self.folders.remove(&folder);
    }

    /// What a directory gets in the end.
    pub(super) fn folder(&self, folder: Key) -> Option<Folder> {
        let DirectoryNote { seconds, nanoseconds, mode, .. } = self.folders.get(&folder)?;
        Some(Folder { mode: u32::from(*mode), mtime: (*seconds, *nanoseconds) })
    }

    /// Returns true if the current layer has made a directory: then nothing in it is of layers below.
    pub(super) fn is_new(&self, folder: Key) -> bool {
        self.folders.get(&folder).is_some_and(|noted| noted.layer == self.layer)
    }

    /// Returns true if the sums of files are wanted.
    pub(super) const fn wants_sums(&self) -> bool {
        self.sums.is_some()
    }

    /// Notes the sum of a file, as long as there is room.
    pub(super) fn note_sum(&mut self, file: Key, sum: &Digest) {
        if let Some(sums) = &mut self.sums {
            // A number is used again when its file was removed.
            sums.remove(&file);
            if let (true, Some(hash)) = (sums.len() < SUMS, sum.sha256_bytes()) {
                sums.insert(file, hash);
            }
        }
    }

    /// The sum of a file.
    pub(super) fn sum(&self, file: Key) -> Option<Digest> {
        self.sums.as_ref()?.get(&file).map(|hash| Digest::of_sha256(*hash))
    }
}

impl DirectoryNote {
    fn of(Folder { mode, mtime: (seconds, nanoseconds) }: Folder) -> Self {
        Self { seconds, nanoseconds, mode: u16::try_from(mode & 0o7777).unwrap_or_default(), layer: 0 }
    }
}

/// Which names of the current layer are in directories of layers below: what its whiteouts do not concern. Kept are
/// hashes, keyed by chance: that two of these names have one happens less often than that memory errs.
#[derive(Debug, Default)]
pub(super) struct WrittenNames {
    names: BTreeSet<u64>,
    key: RandomState,
}

impl WrittenNames {
    pub(super) fn insert(&mut self, folder: Key, name: &[u8]) -> Result<(), LayerError> {
        self.names.insert(self.key.hash_one((folder, name)));
        if self.names.len() > WRITTEN {
            let what = "entries of the layer in directories of the layers below it";
            return Err(LayerError::Many { what, limit: WRITTEN });
        }
        Ok(())
    }

    pub(super) fn contains(&self, folder: Key, name: &[u8]) -> bool {
        self.names.contains(&self.key.hash_one((folder, name)))
    }
}

/// What a folder gets in the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folder {
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
}
