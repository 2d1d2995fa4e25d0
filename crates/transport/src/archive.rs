//! What the archives and directories share: small files, and tar members that are read in place.

mod written;

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;

pub(super) use written::{NewTar, TarStream};

use super::TransportError;
use super::compression::Compression;
use hod_engine::endpoint::{BlobReader, read_ahead};
use hod_oci::{Algorithm, Digest, Hasher, MANIFEST_LIMIT, ManifestError};

/// How much is read at once.
const CHUNK: usize = 512 * 1024;
/// How many members an archive of images may have; the largest in use have a few thousand.
const MEMBERS: usize = 100_000;
/// How many bytes their names and the targets of links may have in all.
const NAMES: usize = 32 * 1024 * 1024;
/// How long extended headers and long names may be, as in layers.
const EXTENDED: u64 = 1024 * 1024;
/// How much is read of what describes a member: that, and blocks of headers.
pub(super) const DESCRIPTION: u64 = EXTENDED + 16 * 1024;

/// Reads a file that is no larger than a manifest may be.
pub(super) fn read_small(path: &Path) -> super::Result<Bytes> {
    match hod_io::fs::read_within(path, MANIFEST_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let source = ManifestError::Large(fs::metadata(path)?.len());
            Err(TransportError::Manifest { path: path.to_owned(), source })
        }
        bytes => Ok(bytes?.into()),
    }
}

/// The bytes of a stream that may be compressed.
pub(super) fn expanded(
    compression: Compression,
    stream: impl Read + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::None => Box::new(stream),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(stream)?),
    })
}

/// A tar file whose members can be read in any order.
#[derive(Debug, Clone)]
pub(super) struct TarFile {
    path: PathBuf,
    file: Arc<fs::File>,
    members: Arc<HashMap<String, Member>>,
}

#[derive(Debug, Clone)]
enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

impl TarFile {
    /// Opens an archive and reads where its members are. A compressed one, which can only be read from front to
    /// back, is expanded to a nameless file of the folder `scratch` first.
    pub(super) fn open(path: &Path, kind: &'static str, scratch: &Path) -> super::Result<Self> {
        Self::of(path, fs::File::open(path)?, kind, scratch)
    }

    /// The same for a file that is open already; `path` is what messages call it.
    pub(super) fn of(path: &Path, mut file: fs::File, kind: &'static str, folder: &Path) -> super::Result<Self> {
        let mut head = [0; 6];
        let count = file.read_at(&mut head, 0)?;
        let head = head.get(..count).unwrap_or_default();
        if let Some(name) = other_compression(head) {
            let problem = format!(
                "it is compressed with {name}, but hod supports only gzip and zstd: decompress it first, as in {name} -dk {}",
                path.display()
            );
            return Err(TransportError::NoArchive { path: path.to_owned(), kind, problem });
        }
        let compression = Compression::of(head);
        if compression != Compression::None {
            let mut plain = scratch(folder)?;
            let expand = || io::copy(&mut expanded(compression, file)?, &mut plain);
            expand().map_err(|error| bad(path, kind, &error))?;
            file = plain;
        }
        file.seek(SeekFrom::Start(0))?;
        let members = index(&file, NAMES).map_err(|error| bad(path, kind, &error))?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), members: Arc::new(members) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file's bytes are, through the links that lead to it.
    pub(super) fn member(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = normal(name);
        for _ in 0..8 {
            match self.members.get(&name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// The bytes of a small member.
    pub(super) fn small(&self, name: &str) -> super::Result<Option<Bytes>> {
        let Some((offset, size)) = self.member(name) else { return Ok(None) };
        if size > MANIFEST_LIMIT {
            return Err(TransportError::Manifest { path: self.path.join(name), source: ManifestError::Large(size) });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Some(bytes.into()))
    }

    /// The first bytes of a member.
    pub(super) fn head(&self, offset: u64, size: u64) -> super::Result<Vec<u8>> {
        let mut head = vec![0; usize::try_from(size.min(8)).unwrap_or_default()];
        self.file.read_exact_at(&mut head, offset)?;
        Ok(head)
    }

    /// A part of the file as something to read.
    pub(super) fn part(&self, offset: u64, size: u64) -> Part {
        Part::of(&self.file, offset, size)
    }

    /// A part of the file as a stream.
    pub(super) fn stream(&self, offset: u64, size: u64) -> BlobReader {
        self.part(offset, size).stream()
    }
}

/// The compression of other tools' archives that hod does not read, by its magic number.
fn other_compression(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], _); 2] = [(b"\xFD7zXZ\0", "xz"), (b"BZh", "bzip2")];
    known.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| name)
}

fn bad(path: &Path, kind: &'static str, error: &io::Error) -> TransportError {
    TransportError::NoArchive { path: path.to_owned(), kind, problem: error.to_string() }
}

/// A file without a name, which is gone when it is closed.
pub(super) fn scratch(folder: &Path) -> io::Result<fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::fcntl::OFlag::O_TMPFILE.bits());
    if let Ok(file) = fs::OpenOptions::from_options(options).open(folder) {
        return Ok(file);
    }
    // Not every filesystem has files without names.
    for number in 0_u32.. {
        let path = folder.join(format!(".hod-{}-{number}.tmp", std::process::id()));
        match fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A range of a file, read without moving anybody else's position.
#[derive(Debug)]
pub(super) struct Part {
    file: Arc<fs::File>,
    position: u64,
    end: u64,
}

impl Part {
    pub(super) fn of(file: &Arc<fs::File>, offset: u64, size: u64) -> Self {
        Self { file: file.clone(), position: offset, end: offset.saturating_add(size) }
    }

    /// The bytes as a stream.
    pub(super) fn stream(self) -> BlobReader {
        let size = self.end - self.position;
        read_ahead(self, size)
    }
}

/// The digest of all that a reader gives, and how many bytes that is.
pub(super) fn hash(reader: impl Read) -> io::Result<(Digest, u64)> {
    hash_in(Algorithm::Sha256, reader)
}

/// The same by another algorithm.
pub(super) fn hash_in(algorithm: Algorithm, mut reader: impl Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut length) = (Hasher::new(algorithm), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((hasher.finish(), length)),
            count => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                length += count as u64;
            }
        }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..rest).unwrap_or_default(), self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// What the reader of tar says of headers quotes them: bytes of a file that was named by mistake, which nobody wants on
/// a screen or in a log.
pub(super) fn without_bytes(error: io::Error) -> io::Error {
    let is_quoting = error.raw_os_error().is_none() && error.kind() == io::ErrorKind::Other;
    if is_quoting { io::Error::other("it has an invalid tar header") } else { error }
}

/// A file of tar for reading headers. The reader of tar passes over the bytes of members, and holds in memory all that it
/// reads between two of them, which is bounded here.
struct Headers<'a> {
    file: &'a fs::File,
    /// How much may be read until the next member.
    left: &'a Cell<u64>,
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 && !buffer.is_empty() {
            return Err(too_long());
        }
        let count = (&mut self.file.file()).read(buffer.get_mut(..room).unwrap_or_default())?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&mut self.file.file()).seek(to)
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it has a long name or an extended header of more than a megabyte")
}

/// Reads where each member is; the last of several with one name counts, as it does for tar.
fn index(file: &fs::File, names: usize) -> io::Result<HashMap<String, Member>> {
    let left = Cell::new(DESCRIPTION);
    let mut archive = tar::Archive::new(Headers { file, left: &left });
    let mut members = HashMap::new();
    let mut room = names;
    for entry in archive.entries_with_seek().map_err(without_bytes)? {
        let entry = entry.map_err(without_bytes)?;
        left.set(DESCRIPTION);
        let name = normal(&String::from_utf8_lossy(&entry.path_bytes()));
        let kind = entry.header().entry_type();
        // Nobody reads those, and no other reader would take the archive.
        if kind.is_pax_global_extensions() && entry.size() > EXTENDED {
            return Err(too_long());
        }
        let member = if kind.is_file() {
            Member::File { offset: entry.raw_file_position(), size: entry.size() }
        } else if kind.is_hard_link() || kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target).into_owned();
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            Member::Link(if kind.is_hard_link() { normal(&target) } else { normal(&format!("{folder}/{target}")) })
        } else {
            continue;
        };
        let length = name.len() + if let Member::Link(target) = &member { target.len() } else { 0 };
        let too_many = || io::Error::other(format!("the names of its members take more than {names} bytes"));
        room = room.checked_sub(length).ok_or_else(too_many)?;
        members.insert(name, member);
        if members.len() > MEMBERS {
            return Err(io::Error::other(format!("it has more than {MEMBERS} members")));
        }
    }
    if members.is_empty() {
        return Err(io::Error::other("it is not a tar file, or is empty"));
    }
    Ok(members)
}

/// A path without `.`, `..` and slashes at its ends; names in archives are never used as paths of the system.
fn normal(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with an archive that begins with these bytes, and has nothing but zeros after them.
    fn problem(head: &[u8], length: u64) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), head).unwrap();
        fs::OpenOptions::new().write(true).open(file.path()).unwrap().set_len(length).unwrap();
        let opened = TarFile::open(file.path(), "docker", Path::new("/tmp"));
        opened.map_or_else(|error| error.to_string(), |tar| format!("{} members", tar.members.len()))
    }

    fn header(kind: tar::EntryType, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn long_names_and_extended_headers_are_bounded() {
        let (long, file) = (2 * EXTENDED, header(tar::EntryType::Regular, 0));
        for kind in [b'L', b'K', b'x', b'g'].map(tar::EntryType::new) {
            let says = problem(&header(kind, long), long + 4096);
            assert!(says.contains("of more than a megabyte"), "{kind:?}: {says}");
            // Of any length, and at once.
            assert!(problem(&header(kind, 8 << 30), (8 << 30) + 4096).contains("megabyte"), "{kind:?}");
            // What comes before one member does not count for the next.
            let one = [header(kind, EXTENDED), vec![0; usize::try_from(EXTENDED).unwrap()], file.clone()].concat();
            let two = one.repeat(2);
            assert_eq!(problem(&two, two.len() as u64 + 1024).split(' ').nth(1), Some("members"), "{kind:?}");
        }
    }

    #[test]
    fn the_names_of_all_members_are_bounded() {
        let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
        for number in 0..10 {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            tar.append_data(&mut header, format!("{}{number}", "n".repeat(99)), io::empty()).unwrap();
        }
        let file = fs::File::from_parts(tar.into_inner().unwrap(), "a.tar");
        let read = |names| {
            (&file).seek(SeekFrom::Start(0)).unwrap();
            index(&file, names).map(|members| members.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read(1000), Ok(10));
        assert!(read(999).unwrap_err().contains("more than 999 bytes"));
    }
}
