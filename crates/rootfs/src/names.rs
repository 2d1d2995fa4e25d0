//! The names in a directory, with bounded memory.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

/// How many bytes of names are held at a time for each directory on the way down.
const BATCH: usize = 64 * 1024;
/// How many bytes of names a sorted list may hold, with those of the directories above.
const SORTED: usize = 32 * 1024 * 1024;

/// Reads a directory in batches.
pub(super) struct Batches {
    folder: Dir,
    folders_only: bool,
    /// True if all was read.
    pub(super) ended: bool,
}

impl Batches {
    /// Reads the names of all, or of those that may be directories.
    pub(super) fn of(folder: &OwnedFd, folders_only: bool) -> Result<Self, Errno> {
        Ok(Self { folder: Dir::read_from(folder.as_fd())?, folders_only, ended: false })
    }

    /// The next names.
    pub(super) fn next(&mut self) -> Result<Names, Errno> {
        let mut names = Names::default();
        while names.bytes.len() < BATCH {
            let Some(entry) = self.folder.read() else {
                self.ended = true;
                break;
            };
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let is_wanted = !self.folders_only || matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if is_wanted && !matches!(name, b"." | b"..") {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Some names.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Where each begins and ends.
    places: Vec<(u32, u32)>,
}

impl Names {
    /// All names in a directory in order; `room` is what may still be held of them.
    pub(super) fn sorted(folder: &OwnedFd, room: &mut NameBudget) -> io::Result<Self> {
        let (mut all, mut batches) = (Self::default(), Batches::of(folder, false)?);
        while !batches.ended {
            for name in batches.next()?.iter() {
                all.push(name);
            }
            if all.size() > room.0 {
                let problem = format!(
                    "the names in nested directories take more than {SORTED} bytes, too many for the umoci listing: unpack with --rootfs"
                );
                return Err(io::Error::other(problem));
            }
        }
        room.0 -= all.size();
        let bytes = &all.bytes;
        all.places.sort_unstable_by_key(|(start, end)| bytes.get(*start as usize..*end as usize));
        Ok(all)
    }

    fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        // Batches and sorted lists end long before this does.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.places.push((place(start), place(self.bytes.len())));
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<(u32, u32)>()
    }

    pub(super) fn get(&self, position: usize) -> Option<&[u8]> {
        let (start, end) = self.places.get(position)?;
        self.bytes.get(*start as usize..*end as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().filter_map(|(start, end)| self.bytes.get(*start as usize..*end as usize))
    }
}

/// How many bytes of names may still be held.
#[derive(Debug)]
pub(super) struct NameBudget(usize);

impl NameBudget {
    pub(super) const fn new() -> Self {
        Self(SORTED)
    }

    /// Gives back what some names have taken.
    pub(super) fn free(&mut self, names: &Names) {
        self.0 += names.size();
    }
}
