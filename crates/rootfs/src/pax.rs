//! Extended headers of tar archives (POSIX.1-2017, `pax`, "pax Extended Header").
//!
//! ```text
//! 27 mtime=1683072000.123456789\n        length of the record, keyword, value
//! ```
//!
//! Values are bytes: extended attributes may hold any, also line feeds.

use super::error::LayerError;
use super::sparse::SparseHeader;

/// What is taken from an extended header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: Option<(i64, u32)>,
    /// What it says of holes in a file.
    pub(super) sparse: Option<SparseHeader>,
    /// Names and values.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What `star` began and all tools write before the names of extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What GNU tar writes before the keywords of sparse files.
const SPARSE: &[u8] = b"GNU.sparse.";

impl Pax {
    /// Reads the records of a header.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, LayerError> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (record, rest) = record(bytes).ok_or_else(|| bad("a record of an extended header is malformed"))?;
            bytes = rest;
            let (keyword, value) = split(record, b'=').ok_or_else(|| bad("a record of an extended header has no ="))?;
            pax.set(keyword, value)?;
        }
        Ok(pax)
    }

    fn set(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), LayerError> {
        // An empty value takes back what an earlier header said.
        let some = |value: &[u8]| (!value.is_empty()).then(|| value.to_vec());
        match keyword {
            b"path" => self.path = some(value),
            b"linkpath" => self.link = some(value),
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => self.mtime = time(value)?,
            _ => {
                if let Some(keyword) = keyword.strip_prefix(SPARSE) {
                    self.sparse.get_or_insert_default().set(keyword, value)?;
                } else if let Some(name) = keyword.strip_prefix(XATTR) {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn bad(problem: &str) -> LayerError {
    LayerError::Tar(problem.to_owned())
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..position)?, bytes.get(position + 1..)?))
}

/// The first record without its length and line feed, and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (digits, _) = split(bytes, b' ')?;
    let length: usize = std::str::from_utf8(digits).ok().filter(|digits| digits.len() < 10)?.parse().ok()?;
    let record = bytes.get(digits.len() + 1..length)?.strip_suffix(b"\n")?;
    Some((record, bytes.get(length..)?))
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Result<Option<T>, LayerError> {
    if value.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(value).ok();
    let number = text.and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| bad("an extended header has an invalid number"))
}

/// Seconds with a fraction; before 1970 the fraction counts back, too.
fn time(value: &[u8]) -> Result<Option<(i64, u32)>, LayerError> {
    let Some(text) = std::str::from_utf8(value).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
    let invalid = || bad("an extended header has an invalid time");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| invalid())?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().map_err(|_| invalid())?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Ok(Some((seconds.checked_sub(1).ok_or_else(invalid)?, 1_000_000_000 - nanoseconds)));
    }
    Ok(Some((seconds, nanoseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (keyword, value) in records {
            let rest = keyword.len() + value.len() + 3;
            let mut length = rest + 1;
            while length.to_string().len() + rest != length {
                length += 1;
            }
            bytes.extend(format!("{length} {keyword}=").bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn values_are_bytes() {
        let capability = b"\x01\0\0\x02\n\n=\0 7 a=\xff";
        let long = [b'x'; 300];
        let bytes = header(&[
            ("path", &long),
            ("SCHILY.xattr.security.capability", capability),
            ("mtime", b"1683072000.5"),
            ("uid", b"70000"),
            ("comment", b"none of ours"),
            ("linkpath", b"a"),
            ("linkpath", b""),
        ]);
        let pax = Pax::parse(&bytes).unwrap();
        assert_eq!(pax.path.unwrap(), long);
        assert_eq!(pax.xattrs, [(b"security.capability".to_vec(), capability.to_vec())]);
        assert_eq!((pax.mtime, pax.uid, pax.link), (Some((1_683_072_000, 500_000_000)), Some(70000), None));
        assert_eq!(time(b"-1.25").unwrap(), Some((-2, 750_000_000)));
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&b"5 a=b"[..], b"x a=b\n", b"6 a=b\n\n", b"6 abc\n", b"9999999999 a=b\n", b"14 uid=number\n"] {
            assert!(Pax::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let _ = Pax::parse(&bytes);
        }
    }
}
