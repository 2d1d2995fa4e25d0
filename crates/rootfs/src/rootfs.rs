//! A root file system under construction, into which untrusted layers are unpacked.
//!
//! Every name is looked up from the folder above it, one component at a time, and never by the kernel through
//! a symbolic link: links are read and followed here, with the top of the tree as `/`, as a process in the
//! container would see them. So nothing outside can be reached, whatever links a layer makes.

use std::collections::VecDeque;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::error::{LayerError, shown};
use super::names::Batches;
use super::notes::{Folder, Key, Notes, WrittenNames, key};

/// How deep folders may nest.
const DEPTH: usize = 256;
/// How many symbolic links may stand in one path, as the kernel has it.
const LINKS: usize = 40;
/// How long a path may be, and each of its parts.
const PATH: usize = 4096;
const NAME: usize = 255;
/// How much is read of a file of the tree.
const SMALL: u64 = 1024 * 1024;
/// How a folder is opened: nothing is followed.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A tree under construction.
#[derive(Debug)]
pub(super) struct Rootfs {
    top: Arc<OwnedFd>,
    pub(super) notes: Notes,
    /// Who gets what no entry has described.
    owner: Option<(Uid, Gid)>,
    /// The folder of the entry before, which mostly is that of the next.
    last: Option<(Vec<Vec<u8>>, Place)>,
}

/// A folder of the tree, and where it really is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) key: Key,
    path: Vec<Vec<u8>>,
}

impl Place {
    /// Where something in this folder really is.
    fn child(&self, name: &[u8]) -> Vec<Vec<u8>> {
        self.path.iter().cloned().chain([name.to_vec()]).collect()
    }
}

/// The parts of an entry's path, below the top.
pub(super) fn components(path: &[u8]) -> Result<Vec<Vec<u8>>, LayerError> {
    let refuse = |problem| LayerError::Entry { path: shown(path.get(..PATH).unwrap_or(path)), problem };
    if path.len() > PATH {
        return Err(refuse("its path is too long"));
    }
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    for part in &parts {
        match *part {
            b".." => return Err(refuse("its path contains ..")),
            part if part.len() > NAME => return Err(refuse("a part of its path is too long")),
            part if part.contains(&0) => return Err(refuse("its path contains a NUL byte")),
            _ => {}
        }
    }
    Ok(parts.into_iter().map(<[u8]>::to_vec).collect())
}

impl Rootfs {
    /// Builds in an empty folder. Folders that no entry describes get the owner, which only root can give.
    pub(super) fn new(top: OwnedFd, owner: Option<(Uid, Gid)>, with_sums: bool) -> std::io::Result<Self> {
        let stat = fs::fstat(&top)?;
        if let Some((user, group)) = owner {
            fs::fchown(&top, Some(user), Some(group))?;
        }
        let mut notes = Notes::new(with_sums);
        notes.made(key(&stat), Folder { mode: 0o755, mtime: (0, 0) });
        Ok(Self { top: Arc::new(top), notes, owner, last: None })
    }

    /// Finds a folder by its path, through the symbolic links of the tree. With `make` it is made where it is not
    /// there; without, `None` says so.
    pub(super) fn find(&mut self, path: &[Vec<u8>], make: bool) -> Result<Option<Place>, LayerError> {
        if let Some((known, place)) = &self.last
            && known == path
        {
            return Ok(Some(place.clone()));
        }
        let shown = shown(&path.join(&b'/'));
        let refuse = |problem| LayerError::Entry { path: shown.clone(), problem };
        let failed = |error: Errno| LayerError::Write { path: shown.clone(), source: error.into() };
        let mut stack: Vec<(Vec<u8>, Arc<OwnedFd>)> = Vec::new();
        let mut queue: VecDeque<Vec<u8>> = path.iter().cloned().collect();
        let mut links = 0;
        while let Some(name) = queue.pop_front() {
            if matches!(&*name, b"" | b".") {
                continue;
            }
            if name == b".." {
                stack.pop();
                continue;
            }
            let current = stack.last().map_or(&self.top, |(_, folder)| folder).clone();
            let opened = match open(&current, &name) {
                Err(Errno::NOENT) if make => self.make(&current, &name),
                opened => opened,
            };
            match opened {
                Ok(folder) => stack.push((name, Arc::new(folder))),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::NOTDIR | Errno::LOOP) => match fs::readlinkat(&*current, &*name, Vec::new()) {
                    Ok(target) => {
                        links += 1;
                        if links > LINKS {
                            return Err(refuse("its path has a loop of symbolic links"));
                        }
                        if target.as_bytes().starts_with(b"/") {
                            stack.clear();
                        }
                        let parts: Vec<&[u8]> = target.as_bytes().split(|byte| *byte == b'/').collect();
                        parts.iter().rev().for_each(|part| queue.push_front(part.to_vec()));
                    }
                    Err(Errno::INVAL) if make => return Err(refuse("its parent is not a directory")),
                    Err(Errno::INVAL | Errno::NOENT) => return Ok(None),
                    Err(error) => return Err(failed(error)),
                },
                Err(error) => return Err(failed(error)),
            }
            if stack.len() > DEPTH {
                return Err(refuse("it is nested too deeply"));
            }
        }
        let folder = stack.last().map_or(&self.top, |(_, folder)| folder).clone();
        let key = key(&fs::fstat(&folder).map_err(failed)?);
        let place = Place { folder, key, path: stack.into_iter().map(|(name, _)| name).collect() };
        self.last = Some((path.to_vec(), place.clone()));
        Ok(Some(place))
    }

    /// Makes a folder that no entry has described yet.
    fn make(&mut self, above: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
        fs::mkdirat(above, name, Mode::RWXU)?;
        let folder = open(above, name)?;
        if let Some((user, group)) = self.owner {
            fs::fchown(&folder, Some(user), Some(group))?;
        }
        self.notes.made(key(&fs::fstat(&folder)?), Folder { mode: 0o755, mtime: (0, 0) });
        Ok(folder)
    }

    /// Notes what a folder gets in the end.
    pub(super) fn describe(&mut self, folder: &OwnedFd, what: Folder) -> Result<(), Errno> {
        self.notes.describe(key(&fs::fstat(folder)?), what);
        Ok(())
    }

    /// Returns true if that name is a link to a folder of the tree.
    pub(super) fn is_link_to_folder(&mut self, place: &Place, name: &[u8]) -> Result<bool, LayerError> {
        if fs::readlinkat(&*place.folder, name, Vec::new()).is_err() {
            return Ok(false);
        }
        match self.find(&place.child(name), false) {
            Ok(found) => Ok(found.is_some()),
            Err(LayerError::Entry { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The folder of that name, made where it is not there, also in the place of something else. Says whether it is new.
    pub(super) fn folder(&mut self, place: &Place, name: &[u8]) -> Result<(OwnedFd, bool), Errno> {
        match open(&place.folder, name) {
            Ok(folder) => return Ok((folder, false)),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => self.clear(place, name)?,
            Err(error) => return Err(error),
        }
        Ok((self.make(&place.folder, name)?, true))
    }

    /// The top, which an entry may describe.
    pub(super) fn top(&self) -> Arc<OwnedFd> {
        self.top.clone()
    }

    /// Removes whatever has that name.
    pub(super) fn clear(&mut self, place: &Place, name: &[u8]) -> Result<(), Errno> {
        self.remove((&place.folder, place.key), name, None).map(drop)
    }

    /// Removes what has that name, but for what the current layer has written, if that is given; says whether nothing is
    /// left there.
    pub(super) fn remove(
        &mut self,
        (above, above_key): (&OwnedFd, Key),
        name: &[u8],
        written: Option<&WrittenNames>,
    ) -> Result<bool, Errno> {
        let is_written = || written.is_some_and(|written| written.contains(above_key, name));
        match open(above, name) {
            Ok(folder) => {
                let key = key(&fs::fstat(&folder)?);
                if written.is_some() && self.notes.is_new(key) {
                    return Ok(false);
                }
                self.last = None;
                let empty = self.empty((&folder, key), written)?;
                if !empty || is_written() {
                    return Ok(false);
                }
                fs::unlinkat(above, name, AtFlags::REMOVEDIR)?;
                self.notes.forget(key);
                Ok(true)
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                if is_written() {
                    return Ok(false);
                }
                self.last = None;
                fs::unlinkat(above, name, AtFlags::empty())?;
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes what is in a folder, but for what the current layer has written, if that is given; says whether nothing is
    /// left.
    pub(super) fn empty(
        &mut self,
        (folder, key): (&OwnedFd, Key),
        written: Option<&WrittenNames>,
    ) -> Result<bool, Errno> {
        loop {
            let (mut empty, mut removed) = (true, false);
            let mut batches = Batches::of(folder, false)?;
            let mut names = batches.next()?;
            let is_whole = batches.ended;
            loop {
                for name in names.iter() {
                    let is_gone = self.remove((folder, key), name, written)?;
                    (empty, removed) = (empty && is_gone, removed || is_gone);
                }
                if batches.ended {
                    break;
                }
                names = batches.next()?;
            }
            // Not every filesystem tells of all names while some of them are removed.
            if is_whole || !removed {
                return Ok(empty);
            }
        }
    }

    /// Reads a file of the tree as a process in the container would find it; `None` where there is none.
    ///
    /// No more than a megabyte is read.
    pub(super) fn read_small(&mut self, path: &[Vec<u8>]) -> Result<Option<Vec<u8>>, LayerError> {
        let mut path = path.to_vec();
        for _ in 0..LINKS {
            let shown = shown(&path.join(&b'/'));
            let Some(name) = path.pop() else { return Ok(None) };
            let Some(place) = self.find(&path, false)? else { return Ok(None) };
            if let Ok(target) = fs::readlinkat(&*place.folder, &*name, Vec::new()) {
                path = if target.as_bytes().starts_with(b"/") { Vec::new() } else { place.path };
                path.extend(target.as_bytes().split(|byte| *byte == b'/').map(<[u8]>::to_vec));
                continue;
            }
            let failed = |source| LayerError::Write { path: shown.clone(), source };
            // A pipe must not make it wait.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match fs::openat(&*place.folder, &*name, flags, Mode::empty()) {
                Ok(file) => fs_err::File::from_parts(file.into(), shown.clone()),
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(failed(error.into())),
            };
            if !file.metadata().map_err(failed)?.is_file() {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            file.take(SMALL).read_to_end(&mut bytes).map_err(failed)?;
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// Gives all folders their modes and times, inner ones first.
    pub(super) fn finish(&mut self) -> Result<(), Errno> {
        self.last = None;
        let top = self.top.clone();
        self.finish_folder(&top)
    }

    fn finish_folder(&self, folder: &OwnedFd) -> Result<(), Errno> {
        let mut batches = Batches::of(folder, true)?;
        while !batches.ended {
            for name in batches.next()?.iter() {
                match open(folder, name) {
                    Ok(below) => self.finish_folder(&below)?,
                    Err(Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let stat = fs::fstat(folder)?;
        if let Some(Folder { mode, mtime }) = self.notes.folder(key(&stat)) {
            fs::fchmod(folder, Mode::from_raw_mode(mode))?;
            fs::futimens(folder, &times(mtime))?;
        }
        Ok(())
    }
}

pub(super) fn open(above: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    fs::openat(above, name, FOLDER, Mode::empty())
}

/// Both times of a file.
pub(super) fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

/// Returns true if there is anything of that name, and whether it is a folder.
pub(super) fn look(place: &Place, name: &[u8]) -> Result<Option<(fs::Stat, bool)>, Errno> {
    match fs::statat(&*place.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some((stat, FileType::from_raw_mode(stat.st_mode) == FileType::Directory))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
