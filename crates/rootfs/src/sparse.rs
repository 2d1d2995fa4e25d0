//! Where the bytes of a sparse file go (GNU tar manual, "Storing Sparse Files", and the PAX formats 0.0, 0.1 and 1.0).

use std::collections::VecDeque;

use super::error::LayerError;

/// The longest file with holes, in bytes: they cost no disk, and time to hash.
const LONGEST: u64 = 1 << 40;
/// How many pieces a file may have.
const PIECES: usize = 65_536;

/// What extended headers say of a sparse file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SparseHeader {
    /// The name of the file, where the entry has one that says what it is.
    pub(super) name: Option<Vec<u8>>,
    major: Option<u64>,
    size: Option<u64>,
    /// Offsets and lengths in turns.
    map: Vec<u64>,
}

/// The pieces of a file of which the archive has the bytes: offset and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SparseMap {
    pub(super) pieces: VecDeque<(u64, u64)>,
    /// The length of the file.
    pub(super) size: u64,
}

impl SparseHeader {
    /// Takes a record whose keyword begins with `GNU.sparse.`.
    pub(super) fn set(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), LayerError> {
        match keyword {
            b"major" => self.major = Some(number(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"map" => {
                self.map = value.split(|byte| *byte == b',').map(number).collect::<Result<_, _>>()?;
            }
            b"offset" | b"numbytes" => {
                // They come in pairs, each of a record of its own.
                if self.map.len().is_multiple_of(2) != (keyword == b"offset") {
                    return Err(bad());
                }
                self.map.push(number(value)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the map stands before the bytes of the file, as in format 1.0.
    pub(super) const fn is_map_in_content(&self) -> bool {
        matches!(self.major, Some(1))
    }

    /// The map, of a file of which `stored` bytes are in the archive. `numbers` are those before the content, if any are.
    pub(super) fn map(&self, numbers: Option<&[u64]>, stored: u64) -> Result<SparseMap, LayerError> {
        let (pairs, rest) = numbers.unwrap_or(&self.map).as_chunks::<2>();
        let size = self.size.filter(|size| *size <= LONGEST).ok_or_else(bad)?;
        if !rest.is_empty() || pairs.len() > PIECES {
            return Err(bad());
        }
        let (mut end, mut sum) = (0_u64, 0_u64);
        for [offset, length] in pairs {
            let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
            end = next.ok_or_else(bad)?;
            sum += length;
        }
        if sum != stored {
            return Err(bad());
        }
        let pieces = pairs.iter().map(|[offset, length]| (*offset, *length)).filter(|(_, length)| *length > 0);
        Ok(SparseMap { pieces: pieces.collect(), size })
    }
}

/// Reads the map that stands before the bytes of a file: how many pieces, then their numbers, one a line. Says whether
/// there is more of it than in `text`, as `None`.
pub(super) fn numbers(text: &[u8]) -> Result<Option<Vec<u64>>, LayerError> {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text.get(..end).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| number(line.strip_suffix(b"\n").unwrap_or(line)));
    let Some(count) = lines.next().transpose()? else { return Ok(None) };
    let count = usize::try_from(count).ok().filter(|count| *count <= PIECES).ok_or_else(bad)?;
    let numbers: Vec<u64> = lines.take(count * 2).collect::<Result<_, _>>()?;
    Ok((numbers.len() == count * 2).then_some(numbers))
}

fn number(digits: &[u8]) -> Result<u64, LayerError> {
    str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(bad)
}

fn bad() -> LayerError {
    LayerError::Tar("the map of a sparse file is invalid".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(records: &[(&str, &str)]) -> Result<SparseHeader, LayerError> {
        let mut header = SparseHeader::default();
        records.iter().try_for_each(|(keyword, value)| header.set(keyword.as_bytes(), value.as_bytes()))?;
        Ok(header)
    }

    #[test]
    fn maps_of_all_formats_are_read() {
        let wanted = SparseMap { pieces: [(10, 5), (90, 10)].into(), size: 100 };
        let oldest = [("size", "100"), ("numblocks", "2"), ("offset", "10"), ("numbytes", "5")];
        let oldest = [&oldest[..], &[("offset", "90"), ("numbytes", "10")]].concat();
        assert_eq!(header(&oldest).unwrap().map(None, 15).unwrap(), wanted);
        assert_eq!(header(&[("size", "100"), ("map", "10,5,90,10")]).unwrap().map(None, 15).unwrap(), wanted);
        let newest = header(&[("major", "1"), ("minor", "0"), ("realsize", "100"), ("name", "a")]).unwrap();
        assert!(newest.is_map_in_content());
        let found = numbers(b"3\n10\n5\n90\n10\n100\n0\n\0\0").unwrap().unwrap();
        assert_eq!(newest.map(Some(&found), 15).unwrap(), wanted);
        assert_eq!(numbers(b"3\n10\n5\n9").unwrap(), None);
    }

    #[test]
    fn maps_that_make_no_sense_are_refused() {
        let sized = |map: &str| header(&[("size", "100"), ("map", map)])?.map(None, 15);
        for map in ["", "1", "10,5,12,10", "90,5,95,10", "0,14", "0,18446744073709551615", "x,1"] {
            assert!(sized(map).is_err(), "{map}");
        }
        assert!(header(&[("map", "0,15")]).unwrap().map(None, 15).is_err());
        assert!(header(&[("size", "9999999999999"), ("map", "0,15")]).unwrap().map(None, 15).is_err());
        assert!(header(&[("numbytes", "1")]).is_err() && numbers(b"99999999\n").is_err() && numbers(b"a\n").is_err());
    }
}
