//! Reads the entries of a layer exactly as Go's `archive/tar` does, so that an image unpacks the same everywhere.

use std::borrow::Cow;
use std::io::Read;

use tar::{EntryType, Header};

use super::error::{LayerError, shown};
use super::pax::Pax;
use super::sparse::{self, SparseMap};

const BLOCK: usize = 512;
/// How long extended headers and long names may be.
const EXTENDED: u64 = 1024 * 1024;
/// How many entries a layer may have.
const MEMBERS: u64 = 10_000_000;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    SymbolicLink,
    Folder,
    Character,
    Block,
    Pipe,
}

/// An entry without its bytes.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// Major and minor number.
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads entries from a tar stream.
#[derive(Debug)]
pub(super) struct Members<R> {
    input: R,
    /// Bytes of the current entry that were not read, and blanks after them.
    left: u64,
    padding: u64,
    /// Of a sparse file, where its bytes go, and how far it was read.
    sparse: Option<(SparseMap, u64)>,
    path: String,
    count: u64,
}

/// What stands before an entry and belongs to it.
#[derive(Default)]
struct Before {
    pax: Pax,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> Members<R> {
    /// Reads from the start of an archive.
    pub(super) fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0, sparse: None, path: "its first entry".to_owned(), count: 0 }
    }

    /// The next entry, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Member>, LayerError> {
        let mut before = Before::default();
        let mut is_described = false;
        loop {
            let Some(header) = self.header()? else {
                return if is_described { Err(bad("its last extended header has no entry")) } else { Ok(None) };
            };
            let size = number(&header.as_old().size)?;
            let kind = header.entry_type();
            is_described = true;
            match kind {
                EntryType::XHeader => before.pax = Pax::parse(&self.extended(size)?)?,
                EntryType::GNULongName => before.path = Some(name(self.extended(size)?)),
                EntryType::GNULongLink => before.link = Some(name(self.extended(size)?)),
                // For all entries that follow; no tool that makes layers says anything there that matters.
                EntryType::XGlobalHeader => {
                    self.extended(size)?;
                    is_described = false;
                }
                _ => {
                    self.count += 1;
                    if self.count > MEMBERS {
                        return Err(bad("it has more than ten million entries"));
                    }
                    return self.member(&header, before, size).map(Some);
                }
            }
        }
    }

    /// Passes over the hole that begins here in the current file; says how long it is.
    pub(super) fn hole(&mut self) -> u64 {
        let Some((map, position)) = &mut self.sparse else { return 0 };
        let end = map.pieces.front().map_or(map.size, |(offset, _)| *offset);
        let length = end.saturating_sub(*position);
        *position += length;
        length
    }

    /// The bytes of the current entry, of a sparse file up to its next hole.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let mut wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if let Some((map, position)) = &self.sparse {
            let piece = map.pieces.front().map_or(0, |(offset, length)| offset + length - position);
            wanted = wanted.min(usize::try_from(piece).unwrap_or(usize::MAX));
        }
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = self.input.read(buffer).map_err(LayerError::Read)?;
        if count == 0 {
            return Err(LayerError::Truncated(self.path.clone()));
        }
        self.left -= count as u64;
        if let Some((map, position)) = &mut self.sparse {
            *position += count as u64;
            if map.pieces.front().is_some_and(|(offset, length)| *offset + *length <= *position) {
                map.pieces.pop_front();
            }
        }
        Ok(count)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), LayerError> {
        if self.passed(bytes)? == bytes { Ok(()) } else { Err(LayerError::Truncated(self.path.clone())) }
    }

    /// Passes over so many bytes, or all that there are; says how many.
    fn passed(&mut self, bytes: u64) -> Result<u64, LayerError> {
        std::io::copy(&mut self.input.by_ref().take(bytes), &mut std::io::sink()).map_err(LayerError::Read)
    }

    /// Reads the map that stands before the bytes of a sparse file, in whole blocks.
    fn map_in_content(&mut self) -> Result<Vec<u64>, LayerError> {
        let mut text = Vec::new();
        loop {
            let mut block = [0; BLOCK];
            let mut length = 0;
            while let Some(free) = block.get_mut(length..).filter(|free| !free.is_empty()) {
                match self.read(free)? {
                    0 => return Err(bad("the map of a sparse file is invalid")),
                    count => length += count,
                }
            }
            text.extend_from_slice(&block);
            if let Some(numbers) = sparse::numbers(&text)? {
                return Ok(numbers);
            }
            if text.len() as u64 > EXTENDED {
                return Err(bad("the map of a sparse file is longer than a megabyte"));
            }
        }
    }

    /// The next header, `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        self.sparse = None;
        let (left, padding) = (std::mem::take(&mut self.left), std::mem::take(&mut self.padding));
        self.skip(left)?;
        // The last file may lack what fills its block, as the end of the archive may be missing.
        if self.passed(padding)? < padding {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        let mut length = 0;
        while let Some(free) = block.get_mut(length..).filter(|free| !free.is_empty()) {
            match self.input.read(free).map_err(LayerError::Read)? {
                0 if length == 0 => return Ok(None),
                0 => return Err(LayerError::Truncated(format!("the header after {}", self.path))),
                count => length += count,
            }
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        let of_sum: u64 = header.as_old().cksum.iter().map(|byte| u64::from(*byte)).sum();
        if number(&header.as_old().cksum)? != sum - of_sum + 8 * u64::from(b' ') {
            return Err(bad("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn begin(&mut self, size: u64) -> Result<(), LayerError> {
        let block = BLOCK as u64;
        self.left = size;
        self.padding = (block - size % block) % block;
        size.checked_add(block).map(drop).ok_or_else(|| bad("an entry has an impossible size"))
    }

    fn extended(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > EXTENDED {
            return Err(bad("an extended header is longer than a megabyte"));
        }
        self.begin(size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        let mut length = 0;
        while let Some(free) = bytes.get_mut(length..).filter(|free| !free.is_empty()) {
            length += self.read(free)?;
        }
        Ok(bytes)
    }

    fn member(&mut self, header: &Header, before: Before, size: u64) -> Result<Member, LayerError> {
        let pax = before.pax;
        let named = pax.sparse.as_ref().and_then(|sparse| sparse.name.clone());
        let path = named.or(pax.path).or(before.path).unwrap_or_else(|| header.path_bytes().into_owned());
        self.path = shown(&path);
        let kind = kind(header, &path)?;
        // Only files have bytes, whatever their header says.
        let size = if kind == Kind::File { pax.size.unwrap_or(size) } else { 0 };
        self.begin(size)?;
        if let Some(of_file) = pax.sparse.filter(|_| kind == Kind::File) {
            let numbers = if of_file.is_map_in_content() { Some(self.map_in_content()?) } else { None };
            self.sparse = Some((of_file.map(numbers.as_deref(), self.left)?, 0));
        }
        let old = header.as_old();
        let small =
            |field: &[u8]| number(field).and_then(|id| u32::try_from(id).map_err(|_| bad("an ID is too large")));
        let link = || header.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
        let device = match header.as_ustar().map(|ustar| (&ustar.dev_major, &ustar.dev_minor)) {
            Some((major, minor)) => (small(major)?, small(minor)?),
            None => match header.as_gnu().map(|gnu| (&gnu.dev_major, &gnu.dev_minor)) {
                Some((major, minor)) => (small(major)?, small(minor)?),
                None => (0, 0),
            },
        };
        Ok(Member {
            link: pax.link.or(before.link).unwrap_or_else(link),
            kind,
            mode: small(&old.mode)? & 0o7777,
            uid: pax.uid.map_or_else(|| small(&old.uid), Ok)?,
            gid: pax.gid.map_or_else(|| small(&old.gid), Ok)?,
            mtime: pax.mtime.map_or_else(|| seconds(&old.mtime).map(|seconds| (seconds, 0)), Ok)?,
            device,
            xattrs: pax.xattrs,
            path,
        })
    }
}

fn bad(problem: &str) -> LayerError {
    LayerError::Tar(problem.to_owned())
}

fn kind(header: &Header, path: &[u8]) -> Result<Kind, LayerError> {
    let is_old = header.as_old().linkflag == [0];
    Ok(match header.entry_type() {
        // As the oldest archives call folders.
        EntryType::Regular if is_old && path.ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::SymbolicLink,
        EntryType::Char => Kind::Character,
        EntryType::Block => Kind::Block,
        EntryType::Directory => Kind::Folder,
        EntryType::Fifo => Kind::Pipe,
        EntryType::GNUSparse => {
            return Err(LayerError::Entry { path: shown(path), problem: "sparse files are not supported" });
        }
        _ => return Err(LayerError::Entry { path: shown(path), problem: "it has an unknown type" }),
    })
}

/// A name that ends at its first zero byte.
fn name(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// A number of a header: octal digits, or GNU's binary form with the highest bit set. An empty field is 0.
fn number(field: &[u8]) -> Result<u64, LayerError> {
    u64::try_from(seconds(field)?).map_err(|_| bad("a count in a header is negative"))
}

/// The same where negative numbers make sense.
fn seconds(field: &[u8]) -> Result<i64, LayerError> {
    let invalid = || bad("a header has an invalid number");
    match field.split_first() {
        Some((first, rest)) if first & 0x80 != 0 => {
            // Two's complement over the whole field, without its highest bit.
            let start = if first & 0x40 != 0 { i128::from(first | 0x80) - 256 } else { i128::from(first & 0x7f) };
            let value =
                rest.iter().try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(i128::from(*byte)));
            value.and_then(|value| i64::try_from(value).ok()).ok_or_else(invalid)
        }
        _ => {
            let digits = field.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = std::str::from_utf8(digits).map_err(|_| invalid())?.trim_matches(' ');
            if text.is_empty() { Ok(0) } else { i64::from_str_radix(text, 8).map_err(|_| invalid()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(tar: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, LayerError> {
        let mut members = Members::new(tar);
        let mut found = Vec::new();
        while let Some(member) = members.next()? {
            let (mut bytes, mut buffer) = (Vec::new(), [0; 100]);
            loop {
                let count = members.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                bytes.extend_from_slice(&buffer[..count]);
            }
            found.push((member, bytes));
        }
        Ok(found)
    }

    fn entry(name: &str, body: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o4755);
        header.set_uid(5_000_000);
        header.set_mtime(1234);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, name, body).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn reads_names_of_any_length_and_numbers_of_both_kinds() {
        let long = "d/".repeat(120) + "file";
        let found = all(&entry(&long, b"bricks")).unwrap();
        let (member, bytes) = &found[0];
        assert_eq!((&*member.path, &**bytes), (long.as_bytes(), &b"bricks"[..]));
        assert_eq!((member.mode, member.uid, member.mtime, member.kind), (0o4755, 5_000_000, (1234, 0), Kind::File));
        assert_eq!(seconds(&[0xff, 0xff, 0xff, 0xfe]).unwrap(), -2);
        assert_eq!(seconds(&[0x80, 0, 1, 0]).unwrap(), 256);
        assert_eq!(seconds(b"  644 \0").unwrap(), 0o644);
        assert!(number(&[0xff; 8]).is_err() && seconds(b"9").is_err() && seconds(&[0x8f; 12]).is_err());
    }

    #[test]
    fn the_end_may_be_missing_and_the_middle_may_not() {
        let tar = entry("a", &[7; 1000]);
        assert_eq!(all(&tar[..512 + 1024]).unwrap().len(), 1);
        for cut in [1, 511, 600, 1500] {
            assert!(matches!(all(&tar[..cut]), Err(LayerError::Truncated(_))), "{cut}");
        }
        assert!(all(&[]).unwrap().is_empty());
        let mut damaged = tar.clone();
        damaged[0] ^= 1;
        assert!(matches!(all(&damaged), Err(LayerError::Tar(_))));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(mut block in proptest::collection::vec(proptest::num::u8::ANY, 512..2048)) {
            let _ = all(&block);
            // With a right sum the rest of the header is looked at too.
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let _ = all(&block);
        }
    }
}
