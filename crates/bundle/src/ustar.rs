//! Tar headers, in the only form that bundles use.
//!
//! A header is a function of path, kind, size and time, so a reader need not interpret what it
//! finds: it compares. The form is POSIX ustar. A path that does not fit has an extended
//! header (PAX) with `path` alone before it. A size of 8 GiB or more is in base 256 and not in PAX,
//! since busybox tar knows the former only.

/// The unit of a tar stream.
pub(super) const BLOCK: usize = 512;
/// [`BLOCK`], as a distance in the stream.
pub(super) const BLOCK_SIZE: u64 = 512;
/// The end of a tar stream: two blocks of zeros.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The largest time that eleven octal digits hold, in seconds since 1970.
pub(super) const TIME_LIMIT: u64 = 0o777_7777_7777;
/// The largest size that eleven octal digits hold.
const OCTAL_LIMIT: u64 = 0o777_7777_7777;
/// The longest name field.
const NAME_LIMIT: usize = 100;
/// The longest prefix field.
const PREFIX_LIMIT: usize = 155;
/// What an extended header is called; a tar that knows no PAX writes it out as a file.
const EXTENDED_NAME: &str = "hod/pax";
/// What a member whose path is in an extended header is called for a tar that knows no PAX.
const LONG_NAME: &str = "hod/long-name";

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    File,
    Folder,
}

impl Type {
    const fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::Folder => b'5',
        }
    }

    const fn mode(self) -> &'static [u8] {
        match self {
            Self::File => b"0000644",
            Self::Folder => b"0000755",
        }
    }
}

/// Where the fields of a header begin.
mod at {
    pub(super) const MODE: usize = 100;
    pub(super) const UID: usize = 108;
    pub(super) const GID: usize = 116;
    pub(super) const SIZE: usize = 124;
    pub(super) const MTIME: usize = 136;
    pub(super) const CHECKSUM: usize = 148;
    pub(super) const FLAG: usize = 156;
    pub(super) const MAGIC: usize = 257;
    pub(super) const DEVICE_MAJOR: usize = 329;
    pub(super) const DEVICE_MINOR: usize = 337;
    pub(super) const PREFIX: usize = 345;
}

/// The bytes before a member's content: one block, or an extended header and one block.
///
/// The path of a folder ends with a slash.
pub(super) fn head(path: &str, kind: Type, size: u64, mtime: u64) -> Vec<u8> {
    if let Some((prefix, name)) = split(path) {
        return block(prefix, name, kind.flag(), kind.mode(), size, mtime).to_vec();
    }
    let record = extended_record(path);
    let mut head = block("", EXTENDED_NAME, b'x', Type::File.mode(), record.len() as u64, mtime).to_vec();
    head.extend_from_slice(record.as_bytes());
    head.resize(head.len().next_multiple_of(BLOCK), 0);
    head.extend_from_slice(&block("", LONG_NAME, kind.flag(), kind.mode(), size, mtime));
    head
}

/// The length of [`head`] for a path.
pub(super) fn head_length(path: &str) -> u64 {
    match split(path) {
        Some(_) => BLOCK_SIZE,
        None => 2 * BLOCK_SIZE + padded(extended_record(path).len() as u64),
    }
}

/// A length with what fills the last block.
pub(super) const fn padded(length: u64) -> u64 {
    length.saturating_add(BLOCK_SIZE - 1) & !(BLOCK_SIZE - 1)
}

/// Prefix and name of a path, where it fits: the longest prefix that leaves a name.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME_LIMIT {
        return Some(("", path));
    }
    let end = path.trim_end_matches('/').len().min(PREFIX_LIMIT + 1);
    let slash = path.get(..end)?.rfind('/')?;
    let (prefix, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    (!prefix.is_empty() && name.len() <= NAME_LIMIT).then_some((prefix, name))
}

/// `LENGTH path=PATH\n`, where LENGTH counts the whole record, itself included.
fn extended_record(path: &str) -> String {
    let rest = format!(" path={path}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length += 1;
    }
    format!("{length}{rest}")
}

fn block(prefix: &str, name: &str, flag: u8, mode: &[u8], size: u64, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, field: &[u8]| {
        block.iter_mut().skip(at).zip(field).for_each(|(to, from)| *to = *from);
    };
    put(0, name.as_bytes());
    put(at::MODE, mode);
    put(at::UID, b"0000000");
    put(at::GID, b"0000000");
    if size <= OCTAL_LIMIT {
        put(at::SIZE, format!("{size:011o}").as_bytes());
    } else {
        put(at::SIZE, &[0x80, 0, 0, 0]);
        put(at::SIZE + 4, &size.to_be_bytes());
    }
    put(at::MTIME, format!("{mtime:011o}").as_bytes());
    put(at::CHECKSUM, b"        ");
    put(at::FLAG, &[flag]);
    put(at::MAGIC, b"ustar\x0000");
    put(at::DEVICE_MAJOR, b"0000000");
    put(at::DEVICE_MINOR, b"0000000");
    put(at::PREFIX, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    block.iter_mut().skip(at::CHECKSUM).zip(sum.as_bytes()).for_each(|(to, from)| *to = *from);
    block
}

/// The size that a block claims in octal digits, if it claims one.
pub(super) fn size(block: &[u8]) -> Option<u64> {
    octal(block.get(at::SIZE..at::SIZE + 11)?)
}

/// The time that a block claims.
pub(super) fn mtime(block: &[u8]) -> Option<u64> {
    octal(block.get(at::MTIME..at::MTIME + 11)?)
}

fn octal(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |number: u64, digit| matches!(digit, b'0'..=b'7').then(|| number << 3 | u64::from(digit - b'0')))
}

/// Returns true if a block begins a tar member: the sum over its bytes is the one that it states.
pub(super) fn is_header(block: &[u8]) -> bool {
    let stated = block.get(at::CHECKSUM..at::CHECKSUM + 8).map(|field| {
        let digits: Vec<u8> = field.iter().copied().filter(u8::is_ascii_digit).collect();
        octal(&digits)
    });
    let sum = block.iter().enumerate().map(|(index, byte)| match index {
        at::CHECKSUM..at::FLAG => u64::from(b' '),
        _ => u64::from(*byte),
    });
    block.len() == BLOCK && block.first() != Some(&0) && stated.flatten() == Some(sum.sum())
}

/// The path that a block claims, without regard to extended headers, made printable.
pub(super) fn path(block: &[u8]) -> String {
    let text = |range: std::ops::Range<usize>| {
        let field = block.get(range).unwrap_or_default();
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
    };
    let (name, prefix) = (text(0..at::MODE), text(at::PREFIX..at::PREFIX + PREFIX_LIMIT));
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

/// What a block is, in words for a message.
pub(super) fn describe(block: &[u8]) -> String {
    if block.iter().all(|byte| *byte == 0) {
        return "the end of the archive".to_owned();
    }
    if !is_header(block) {
        return "data that is not a tar header".to_owned();
    }
    let path = path(block);
    match block.get(at::FLAG) {
        Some(b'0' | 0) => match size(block) {
            Some(size) => format!("the file {path:?} of {size} bytes"),
            None => format!("the file {path:?}"),
        },
        Some(b'5') => format!("the directory {path:?}"),
        Some(b'1') => format!("the hard link {path:?}"),
        Some(b'2') => format!("the symbolic link {path:?}"),
        Some(b'3' | b'4') => format!("the device {path:?}"),
        Some(b'6') => format!("the pipe {path:?}"),
        Some(b'S') => format!("the sparse file {path:?}"),
        Some(b'x' | b'g') => "an extended header (PAX)".to_owned(),
        Some(b'L' | b'K') => "a long name of GNU tar".to_owned(),
        flag => format!("a member of type {:?}, {path:?}", flag.copied().map(char::from).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &[u8]) -> (String, u64) {
        let mut archive = tar::Archive::new(head);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), entry.size())
    }

    #[test]
    fn the_tar_crate_reads_every_length_of_path() {
        for length in 1..700 {
            for tail in ["", "/", "/data"] {
                let path: String = "abcdefg/hi".chars().cycle().take(length).collect::<String>() + tail;
                let path = path.replace("//", "/");
                let kind = if path.ends_with('/') { Type::Folder } else { Type::File };
                let head = head(&path, kind, 0, 7);
                assert_eq!(head.len() as u64, head_length(&path), "{path}");
                assert_eq!(read(&head).0, path);
            }
        }
    }

    #[test]
    fn a_long_component_needs_an_extended_header() {
        let path = format!("a/{}/data", "b".repeat(160));
        let head = head(&path, Type::File, 3, 0);
        assert_eq!(head.len(), 3 * BLOCK);
        assert_eq!(read(&head), (path, 3));
        assert!(describe(&head[..BLOCK]).contains("PAX"));
    }

    #[test]
    fn sizes_from_8_gib_on_are_in_base_256() {
        for size in [0, 1, OCTAL_LIMIT, OCTAL_LIMIT + 1, 1 << 40, u64::from(u32::MAX) << 20] {
            let head = head("a", Type::File, size, 0);
            assert_eq!(head.len(), BLOCK);
            assert_eq!(read(&head).1, size);
            assert_eq!(head[at::SIZE] & 0x80 != 0, size > OCTAL_LIMIT);
        }
    }

    #[test]
    fn blocks_are_described() {
        let block = head("x/y", Type::File, 5, 0);
        assert!(is_header(&block));
        assert_eq!(describe(&block), "the file \"x/y\" of 5 bytes");
        assert_eq!(describe(&[0; BLOCK]), "the end of the archive");
        assert_eq!(describe(&[1; BLOCK]), "data that is not a tar header");
    }
}
