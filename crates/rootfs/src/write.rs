//! Creates files, links, directories and devices of a layer, with owners, modes, attributes and times.

use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use fs_err::File;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::error::{LayerError, shown};
use super::members::{Kind, Member, Members};
use super::notes::{Folder, WrittenNames, key};
use super::owners::{Owners, ROOTLESS};
use super::rootfs::{Place, Rootfs, components, look, times};
use hod_oci::{Algorithm, Hasher};

/// How much is moved at once.
const CHUNK: usize = 256 * 1024;
/// Attributes that belong to the machine and not to the image.
const OF_THE_MACHINE: [&[u8]; 4] = [b"security.selinux", b"system.nfs4_acl", b"system.nfs4_dacl", b"system.nfs4_sacl"];

/// What could not be made by this user, or on this filesystem.
#[derive(Debug, Clone, Copy, Default)]
pub struct SkippedEntries {
    /// Devices, for which there are empty files.
    pub devices: u64,
    /// Extended attributes.
    pub xattrs: u64,
}

/// Makes entries.
#[derive(Debug)]
pub(super) struct EntryWriter<'a> {
    pub(super) rootfs: &'a mut Rootfs,
    pub(super) written: WrittenNames,
    left_out: &'a mut SkippedEntries,
    how: &'a EntryOptions,
    buffer: Vec<u8>,
}

/// How entries are made.
#[derive(Debug, Clone, Default)]
pub(super) struct EntryOptions {
    pub(super) owners: Owners,
    /// True if a folder does not take the place of a symbolic link to one.
    pub(super) keep_links: bool,
    /// True if whiteouts become files.
    pub(super) keep_whiteouts: bool,
}

/// Hashes so many zeros, of which `some` has a number.
fn zeros(hasher: &mut Hasher, mut count: u64, some: &[u8]) {
    while count > 0 {
        let part = usize::try_from(count).unwrap_or(usize::MAX).min(some.len());
        hasher.update(some.get(..part).unwrap_or_default());
        count -= part as u64;
    }
}

impl<'a> EntryWriter<'a> {
    pub(super) fn new(rootfs: &'a mut Rootfs, left_out: &'a mut SkippedEntries, how: &'a EntryOptions) -> Self {
        Self { rootfs, written: WrittenNames::default(), left_out, how, buffer: vec![0; CHUNK] }
    }

    /// Makes an entry; its bytes are read from the archive.
    pub(super) fn make(&mut self, mut member: Member, archive: &mut Members<impl Read>) -> Result<(), LayerError> {
        self.settle(&mut member)?;
        let member = &member;
        let failed = |error: Errno| LayerError::Write { path: shown(&member.path), source: error.into() };
        let refuse = |problem| LayerError::Entry { path: shown(&member.path), problem };
        let path = components(&member.path)?;
        let Some((name, above)) = path.split_last() else {
            if member.kind != Kind::Folder {
                return Err(refuse("the root of an image must be a directory"));
            }
            let top = self.rootfs.top();
            return self.describe(&top, member, true).map_err(failed);
        };
        let place = self.rootfs.find(above, true)?.ok_or_else(|| refuse("its parent directory is missing"))?;
        if member.kind == Kind::Folder && self.how.keep_links && self.rootfs.is_link_to_folder(&place, name)? {
            // What the entry says goes to the link: what it leads to has its own.
            self.describe_by_name(&place, name, member).map_err(failed)?;
            return self.note(&place, name);
        }
        if member.kind == Kind::Folder {
            let (folder, is_new) = self.rootfs.folder(&place, name).map_err(failed)?;
            self.describe(&folder, member, !is_new).map_err(failed)?;
            return self.note(&place, name);
        }
        if member.kind == Kind::HardLink {
            self.hard_link(&place, name, member)?;
        } else {
            self.rootfs.clear(&place, name).map_err(failed)?;
            match member.kind {
                Kind::File => self.file(&place, name, member, archive)?,
                Kind::SymbolicLink => self.symbolic_link(&place, name, member).map_err(failed)?,
                _ if self.special(&place, name, member).map_err(failed)? => {}
                _ => {
                    self.left_out.devices += 1;
                    self.file(&place, name, member, archive)?;
                }
            }
        }
        self.note(&place, name)
    }

    /// Notes that an entry is of this layer, where something of a layer below could be beside it.
    fn note(&mut self, place: &Place, name: &[u8]) -> Result<(), LayerError> {
        if self.rootfs.notes.is_new(place.key) { Ok(()) } else { self.written.insert(place.key, name) }
    }

    /// Makes of the owner that the image says the one that the entry gets.
    fn settle(&self, member: &mut Member) -> Result<(), LayerError> {
        let owners = &self.how.owners;
        if member.kind == Kind::HardLink {
            return Ok(());
        }
        if owners.is_rootless() {
            member.xattrs.retain(|(name, _)| name != ROOTLESS);
        }
        let remembered = owners.remembered(member.uid, member.gid);
        member.xattrs.extend(remembered.map(|value| (ROOTLESS.to_vec(), value)));
        if let Some((uid, gid)) = owners.on_host(&member.path, member.uid, member.gid)? {
            (member.uid, member.gid) = (uid, gid);
        }
        Ok(())
    }

    /// Gives a file away, where files are given away.
    fn give(&self, file: &OwnedFd, member: &Member) -> Result<(), Errno> {
        if self.how.owners.is_rootless() {
            return Ok(());
        }
        fs::fchown(file, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid)))
    }

    /// Gives a folder all but its mode and time, which it gets in the end.
    fn describe(&mut self, folder: &OwnedFd, member: &Member, is_old: bool) -> Result<(), Errno> {
        self.rootfs.describe(folder, Folder { mode: member.mode, mtime: member.mtime })?;
        self.give(folder, member)?;
        if is_old {
            clear_xattrs(folder)?;
        }
        self.xattrs(folder, member)
    }

    fn file(
        &mut self,
        place: &Place,
        name: &[u8],
        member: &Member,
        archive: &mut Members<impl Read>,
    ) -> Result<(), LayerError> {
        let failed = |source| LayerError::Write { path: shown(&member.path), source };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&*place.folder, name, flags, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(|error| failed(error.into()))?;
        let mut file = File::from_parts(file.into(), shown(&member.path));
        let mut hasher = self.rootfs.notes.wants_sums().then(|| Hasher::new(Algorithm::Sha256));
        let mut length = 0;
        loop {
            let hole = archive.hole();
            if hole > 0 {
                length += hole;
                file.seek(SeekFrom::Start(length)).map_err(failed)?;
                if let Some(hasher) = &mut hasher {
                    self.buffer.fill(0);
                    zeros(hasher, hole, &self.buffer);
                }
            }
            let count = archive.read(&mut self.buffer)?;
            let Some(bytes) = self.buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            length += count as u64;
            file.write_all(bytes).map_err(failed)?;
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
        }
        // A hole at the end.
        if file.stream_position().map_err(failed)? == length && file.metadata().map_err(failed)?.len() < length {
            file.set_len(length).map_err(failed)?;
        }
        let file = OwnedFd::from(file.into_parts().0);
        let mut settled = || -> Result<(), Errno> {
            if let Some(hasher) = hasher.take() {
                self.rootfs.notes.note_sum(key(&fs::fstat(&file)?), &hasher.finish());
            }
            // Another owner takes setuid bits and capabilities away: it comes first. A mode may forbid the owner to set
            // attributes: it comes last.
            self.give(&file, member)?;
            self.xattrs(&file, member)?;
            fs::fchmod(&file, Mode::from_raw_mode(member.mode))?;
            fs::futimens(&file, &times(member.mtime))
        };
        settled().map_err(|error| failed(error.into()))
    }

    fn symbolic_link(&mut self, place: &Place, name: &[u8], member: &Member) -> Result<(), Errno> {
        fs::symlinkat(&*member.link, &*place.folder, name)?;
        self.describe_by_name(place, name, member)
    }

    /// Gives all but its mode to what cannot be opened.
    fn describe_by_name(&mut self, place: &Place, name: &[u8], member: &Member) -> Result<(), Errno> {
        if !self.how.owners.is_rootless() {
            let owner = (Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid)));
            fs::chownat(&*place.folder, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        self.xattrs_by_name(place, name, member)?;
        fs::utimensat(&*place.folder, name, &times(member.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Links to a file of the tree. It has one owner, mode and time under all its names.
    fn hard_link(&mut self, place: &Place, name: &[u8], member: &Member) -> Result<(), LayerError> {
        let refuse = |problem| LayerError::Entry { path: shown(&member.path), problem };
        let failed = |error: Errno| LayerError::Write { path: shown(&member.path), source: error.into() };
        let target = components(&member.link)?;
        let (file, above) = target.split_last().ok_or_else(|| refuse("it is a link without a target"))?;
        let from = self.rootfs.find(above, false)?.ok_or_else(|| refuse("its link target is missing"))?;
        let found = look(&from, file).map_err(failed)?;
        let (found, is_folder) = found.ok_or_else(|| refuse("its link target is missing"))?;
        if is_folder {
            return Err(refuse("it is a hard link to a directory"));
        }
        let old = look(place, name).map_err(failed)?;
        if old.is_some_and(|(old, _)| (old.st_dev, old.st_ino) == (found.st_dev, found.st_ino)) {
            return Ok(());
        }
        self.rootfs.clear(place, name).map_err(failed)?;
        fs::linkat(&*from.folder, &**file, &*place.folder, name, AtFlags::empty()).map_err(failed)
    }

    /// A device or pipe. Says whether it could be made.
    fn special(&mut self, place: &Place, name: &[u8], member: &Member) -> Result<bool, Errno> {
        let kind = match member.kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if kind != FileType::Fifo && self.how.owners.is_rootless() {
            return Ok(false);
        }
        let device = fs::makedev(member.device.0, member.device.1);
        match fs::mknodat(&*place.folder, name, kind, Mode::from_raw_mode(member.mode), device) {
            Err(Errno::PERM) if kind != FileType::Fifo => return Ok(false),
            made => made?,
        }
        self.describe_by_name(place, name, member)?;
        fs::chmodat(&*place.folder, name, Mode::from_raw_mode(member.mode), AtFlags::empty())?;
        Ok(true)
    }

    fn xattrs(&mut self, file: &OwnedFd, member: &Member) -> Result<(), Errno> {
        self.set_xattrs(member, |name, value| fs::fsetxattr(file, name, value, XattrFlags::empty()))
    }

    /// The same for what cannot be opened: by a name that leads through the folder, and is not followed.
    fn xattrs_by_name(&mut self, place: &Place, name: &[u8], member: &Member) -> Result<(), Errno> {
        let mut path = format!("/proc/self/fd/{}/", place.folder.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        self.set_xattrs(member, |name, value| fs::lsetxattr(&*path, name, value, XattrFlags::empty()))
    }

    fn set_xattrs(&mut self, member: &Member, set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
        for (name, value) in &member.xattrs {
            if OF_THE_MACHINE.contains(&&**name) {
                continue;
            }
            match set(name, value) {
                Ok(()) => {}
                // Links and pipes have no attributes of users; who owns them is forgotten.
                Err(Errno::PERM) if name == ROOTLESS => {}
                Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => self.left_out.xattrs += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Takes away what a lower layer gave a folder.
fn clear_xattrs(folder: &OwnedFd) -> Result<(), Errno> {
    let size = match fs::flistxattr_query(folder) {
        Ok(size) => size,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut list = vec![0; size];
    let size = fs::flistxattr(folder, &mut list[..])?;
    for name in list.get(..size).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if OF_THE_MACHINE.contains(&name) {
            continue;
        }
        match fs::fremovexattr(folder, name) {
            Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
