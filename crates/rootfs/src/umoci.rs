//! Writes the files that `umoci repack` needs: `umoci.json` with the image, and an mtree(5) listing of the files.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};

use base64::Engine as _;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::names::{NameBudget, Names};
use super::notes::key;
use super::owners::{IdMapping, Owners};
use super::rootfs::{Rootfs, open};
use hod_oci::{Algorithm, Descriptor, Digest, Hasher};

/// The name of the description.
pub(super) const DESCRIPTION: &str = "umoci.json";

/// The name of the listing of a bundle.
pub(super) fn listing_name(image: &Digest) -> String {
    format!("{}.mtree", image.to_string().replace(':', "_"))
}

#[derive(Serialize)]
struct Description<'a> {
    umoci_version: &'static str,
    from_descriptor_path: Walk<'a>,
    map_options: MapOptions<'a>,
    whiteout_mode: u32,
}

#[derive(Serialize)]
struct Walk<'a> {
    descriptor_walk: [&'a Descriptor; 1],
}

#[derive(Serialize)]
struct MapOptions<'a> {
    uid_mappings: Option<&'a [IdMapping]>,
    gid_mappings: Option<&'a [IdMapping]>,
    rootless: bool,
}

/// The bytes of `umoci.json`.
pub(super) fn description(image: &Descriptor, owners: &Owners) -> io::Result<Vec<u8>> {
    let some = |mappings: &'_ [IdMapping]| !mappings.is_empty();
    let mut bytes = serde_json::to_vec(&Description {
        umoci_version: "2",
        from_descriptor_path: Walk { descriptor_walk: [image] },
        map_options: MapOptions {
            uid_mappings: Some(owners.uids()).filter(|it| some(it)),
            gid_mappings: Some(owners.gids()).filter(|it| some(it)),
            rootless: owners.is_rootless(),
        },
        whiteout_mode: 0,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes the listing of a tree whose folders have not been closed to their owner yet.
pub(super) fn write_listing(rootfs: &Rootfs, output: impl Write) -> io::Result<()> {
    let top = rootfs.top();
    let mut listing = Listing { rootfs, owner: None, room: NameBudget::new(), output };
    writeln!(listing.output, "#      keywords: size,type,uid,gid,mode,link,nlink,tar_time,sha256digest,xattr")?;
    listing.folder(&top, ".", ".")?;
    listing.output.flush()
}

struct Listing<'a, W> {
    rootfs: &'a Rootfs,
    /// User and group of entries whose lines do not say otherwise.
    owner: Option<(u32, u32)>,
    room: NameBudget,
    output: W,
}

impl<W: Write> Listing<'_, W> {
    /// A folder and what is in it: files first, then folders, both by name.
    fn folder(&mut self, folder: &OwnedFd, path: &str, name: &str) -> io::Result<()> {
        writeln!(self.output, "\n# {path}")?;
        let mut stat = fs::fstat(folder)?;
        let owner = (stat.st_uid, stat.st_gid);
        if self.owner.replace(owner) != Some(owner) {
            writeln!(self.output, "/set type=file nlink=1 mode=0664 uid={} gid={}", owner.0, owner.1)?;
        }
        let mut mode = stat.st_mode & 0o7777;
        if let Some(described) = self.rootfs.notes.folder(key(&stat)) {
            mode = described.mode;
            stat.st_mtime = described.mtime.0;
        }
        let line = self.line(&stat, mode, None)?;
        let attributes =
            attributes(|list| fs::flistxattr(folder, list), |name, value| fs::fgetxattr(folder, name, value))?;
        writeln!(self.output, "{name}{line}{attributes}")?;
        let all = Names::sorted(folder, &mut self.room)?;
        let is_folder = |stat: &fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mut folders = Vec::new();
        for (position, name) in all.iter().enumerate() {
            let stat = fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if is_folder(&stat) {
                folders.push(position);
            } else {
                self.file(folder, name, &stat)?;
            }
        }
        for name in folders.into_iter().filter_map(|position| all.get(position)) {
            let below = open(folder, name)?;
            let name = encoded(name);
            let path = if path == "." { name.clone() } else { format!("{path}/{name}") };
            self.folder(&below, &path, &name)?;
        }
        self.room.free(&all);
        writeln!(self.output, "..")
    }

    fn file(&mut self, above: &OwnedFd, name: &[u8], stat: &fs::Stat) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let target = (kind == FileType::Symlink).then(|| fs::readlinkat(above, name, Vec::new())).transpose()?;
        let mut line = self.line(stat, stat.st_mode & 0o7777, target.as_deref().map(std::ffi::CStr::to_bytes))?;
        if kind == FileType::RegularFile {
            let sum = self.rootfs.notes.sum(key(stat)).map_or_else(|| read(above, name), Ok)?;
            let _ = write!(line, " sha256digest={}", sum.hex());
            let mut path = format!("/proc/self/fd/{}/", above.as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            let list = |list: &mut [u8]| fs::llistxattr(&*path, list);
            line.push_str(&attributes(list, |name, value| fs::lgetxattr(&*path, name, value))?);
        }
        writeln!(self.output, "    {}{line}", encoded(name))
    }

    /// What is said of all kinds of entries.
    fn line(&self, stat: &fs::Stat, mode: u32, target: Option<&[u8]>) -> io::Result<String> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => "",
            FileType::Directory => " type=dir",
            FileType::Symlink => " type=link",
            FileType::Fifo => " type=fifo",
            FileType::CharacterDevice => " type=char",
            FileType::BlockDevice => " type=block",
            _ => return Err(io::Error::other("the root file system has a file of a type that images do not have")),
        };
        let mut line = format!(" size={}{kind}", stat.st_size);
        let (user, group) = self.owner.unzip();
        for (name, found, usual) in [("uid", stat.st_uid, user), ("gid", stat.st_gid, group)] {
            if usual != Some(found) {
                let _ = write!(line, " {name}={found}");
            }
        }
        if mode != 0o664 {
            let _ = if mode == 0 { write!(line, " mode=0") } else { write!(line, " mode=0{mode:o}") };
        }
        if let Some(target) = target {
            let _ = write!(line, " link={}", encoded(target));
        }
        if stat.st_nlink != 1 {
            let _ = write!(line, " nlink={}", stat.st_nlink);
        }
        let _ = write!(line, " tar_time={}.000000000", stat.st_mtime);
        Ok(line)
    }
}

/// The sum of a file that is not known by its inode, as on filesystems which make inodes up.
fn read(above: &OwnedFd, name: &[u8]) -> io::Result<Digest> {
    let file = fs::openat(above, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut file = fs_err::File::from_parts(file.into(), String::from_utf8_lossy(name).into_owned());
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Extended attributes, as far as this user may read them.
fn attributes(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<String> {
    let list = match filled(list) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => return Ok(String::new()),
        list => list?,
    };
    let mut names: Vec<&[u8]> = list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        match filled(|value| get(name, value)) {
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => {}
            value => {
                let value = base64::engine::general_purpose::STANDARD.encode(value?);
                let _ = write!(text, " xattr.{}={value}", encoded(name));
            }
        }
    }
    Ok(text)
}

/// What a call of the system fills in, which gives no more than this for names and for values (xattr(7)).
fn filled(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; 64 * 1024];
    let size = call(&mut bytes)?;
    bytes.truncate(size);
    Ok(bytes)
}

/// A name as vis(3) writes it for mtree: in octal what is not printed, and what means something to a shell.
fn encoded(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => text.push_str("\\\\"),
            byte if byte.is_ascii_graphic() && !b"#*?[".contains(byte) => text.push(char::from(*byte)),
            byte => {
                let _ = write!(text, "\\{byte:03o}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_go_mtree_writes_them() {
        assert_eq!(encoded(b"star*[x]?"), r"star\052\133x]\077");
        assert_eq!(encoded("\u{fc} b#c\\\n\u{1}".as_bytes()), r"\303\274\040b\043c\\\012\001");
        assert_eq!(encoded(b"b\x80\xff-._~=:"), r"b\200\377-._~=:");
    }
}
