//! The file with the checksums of the volumes, in the format of `sha256sum`.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use fs_err as fs;

use super::error::VOLUMES_LIMIT;
use super::{VolumeError, name, volume_name};
use crate::Result;
use hod_oci::{Algorithm, Digest};

/// More than lines for all volumes take.
const LIMIT: u64 = 1024 * 1024;

/// The digests of the volumes of a bundle, the first volume first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    digests: Vec<Digest>,
}

impl Sums {
    /// The sums of volumes with these SHA-256 digests.
    pub const fn new(digests: Vec<Digest>) -> Self {
        Self { digests }
    }

    /// The sums of the bundle `base` in a file, or `None` where it has none of that bundle.
    ///
    /// Lines about other files are passed over: one file may have the sums of a whole medium.
    pub(super) fn read(path: &Path, base: &str) -> Result<Option<Self>> {
        let mut text = Vec::new();
        fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut text)?;
        let error = |line| VolumeError::Sums { path: path.to_owned(), line };
        if text.len() as u64 > LIMIT {
            return Err(error(0).into());
        }
        Ok(Self::parse(&text, base).map_err(error)?)
    }

    /// Reads lines of `HEX  NAME` or `HEX *NAME`.
    ///
    /// # Errors
    /// The number of the line that has another form, or names a volume again with another digest; of the last line
    /// where a volume has none.
    pub fn parse(text: &[u8], base: &str) -> std::result::Result<Option<Self>, usize> {
        let mut found = vec![None; VOLUMES_LIMIT];
        let mut last = 0;
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            last = index + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let (digest, name) = entry(line).ok_or(last)?;
            let Some((_, number)) = name::volume_of(name).filter(|(of, _)| *of == base) else { continue };
            let slot = found.get_mut(number - 1).ok_or(last)?;
            if slot.is_some_and(|other| other != digest) {
                return Err(last);
            }
            *slot = Some(digest);
        }
        let Some(highest) = found.iter().rposition(Option::is_some) else { return Ok(None) };
        let digests: Option<Vec<Digest>> = found.into_iter().take(highest + 1).collect();
        digests.map(|digests| Some(Self { digests })).ok_or(last)
    }

    /// The text of the file for the bundle `base`.
    pub fn to_text(&self, base: &str) -> String {
        let mut text = String::new();
        for (index, digest) in self.digests.iter().enumerate() {
            let _ = writeln!(text, "{}  {}", digest.hex(), volume_name(base, index + 1));
        }
        text
    }

    /// How many volumes there are.
    pub const fn count(&self) -> usize {
        self.digests.len()
    }

    /// The digest of a volume, counted from 1.
    pub fn digest(&self, number: usize) -> Option<&Digest> {
        self.digests.get(number.checked_sub(1)?)
    }
}

fn entry(line: &[u8]) -> Option<(Digest, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (hex, rest) = line.split_once(' ')?;
    let name = rest.strip_prefix([' ', '*'])?;
    let name = name.strip_prefix("./").unwrap_or(name);
    Some((Digest::from_parts(Algorithm::Sha256, hex).ok()?, name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sums(count: usize) -> Sums {
        Sums::new((0..count).map(|number| Digest::sha256(&number.to_le_bytes())).collect())
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [1, 3, VOLUMES_LIMIT] {
            let text = sums(count).to_text("r.tar");
            assert_eq!(Sums::parse(text.as_bytes(), "r.tar"), Ok(Some(sums(count))));
            assert_eq!(Sums::parse(text.replace('\n', "\r\n").as_bytes(), "r.tar"), Ok(Some(sums(count))));
            assert_eq!(Sums::parse(text.as_bytes(), "other.tar"), Ok(None));
        }
    }

    #[test]
    fn other_forms_of_sha256sum_and_other_files() {
        let text = sums(2).to_text("r.tar").replace("  r", " *./r");
        let more = format!("{text}{}  README\n", Digest::sha256(b"").hex());
        assert_eq!(Sums::parse(more.as_bytes(), "r.tar"), Ok(Some(sums(2))));
    }

    #[test]
    fn what_is_no_list_of_sums() {
        let text = sums(3).to_text("r.tar");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(Sums::parse(format!("{}\n{}\n", lines[0], lines[2]).as_bytes(), "r.tar"), Err(3));
        let changed = lines[1].replace(".002", ".001");
        assert_eq!(Sums::parse(format!("{}\n{changed}", lines[0]).as_bytes(), "r.tar"), Err(2));
        for bad in ["x", "abc  r.tar.001", &text.to_uppercase(), &text.replace("  ", " "), "\u{0}"] {
            assert!(Sums::parse(bad.as_bytes(), "r.tar").is_err(), "{bad:?}");
        }
        assert_eq!(Sums::parse(b"", "r.tar"), Ok(None));
    }

    proptest! {
        #[test]
        fn other_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Sums::parse(&bytes, "r.tar");
        }

        #[test]
        fn changes_never_panic(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = sums(3).to_text("r.tar").into_bytes();
            let position = position.index(text.len());
            text[position] = byte;
            let _ = Sums::parse(&text, "r.tar");
        }
    }
}
