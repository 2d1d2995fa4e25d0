//! Reads volumes in order, with gaps where bytes are missing, and hashes them.
//!
//! A medium that is not in is asked for when its turn comes, so that all may be put into the same place one by one.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use fs_err as fs;

use super::compare::add;
use hod_bundle::volumes::{Answer, Sums, VOLUMES_LIMIT, VolumeFile, VolumePrompt, WantedVolume};
use hod_bundle::{BundleError, VolumeSet};
use hod_oci::{Algorithm, Digest, Hasher};

/// Bytes read at a time; also what is given up where a medium cannot be read.
const CHUNK: usize = 1024 * 1024;

/// Gets the bytes of the bundle, or the length of a hole in them, and says whether to go on.
pub(super) type PartConsumer<'a> = &'a mut dyn FnMut(Result<&[u8], u64>) -> bool;

/// A volume, and what was found out about it.
#[derive(Debug)]
pub(super) struct Part {
    /// The name of its file.
    pub(super) name: String,
    /// The file, where there is one.
    pub(super) path: Option<PathBuf>,
    /// Its length.
    pub(super) size: u64,
    /// The length that it should have.
    pub(super) expected: u64,
    /// The position of its first byte in the bundle.
    pub(super) start: u64,
    /// Whether its digest is the one in the file of sums; `None` where it cannot be compared.
    pub(super) sum: Option<bool>,
    /// Bytes of it that cannot be read.
    pub(super) unreadable: Vec<Range<u64>>,
    /// Pieces in it whose bytes are decided in advance: those that are right, and those that are wrong.
    pub(super) fixed: (usize, usize),
    /// Blobs in it that are right.
    pub(super) good_blobs: usize,
}

/// Where volumes are looked for, and who is asked for those that are not there.
pub(super) struct Media {
    pub(super) set: VolumeSet,
    pub(super) ask: Option<VolumePrompt>,
}

impl Media {
    /// Finds a volume, counted from 1, unless whoever is asked gives up.
    pub(super) fn locate(&mut self, number: usize) -> Result<Option<VolumeFile>, BundleError> {
        loop {
            if let Some(found) = self.set.locate(number)? {
                return Ok(Some(found));
            }
            let Some(ask) = &mut self.ask else { return Ok(None) };
            let (name, count) = (self.set.name(number), self.set.sums().map(Sums::count));
            match ask(WantedVolume { name: &name, number, count, folders: self.set.folders() })? {
                Answer::Again => {}
                Answer::In(folder) => self.set.add_folder(&folder)?,
                Answer::GiveUp => return Ok(None),
            }
        }
    }
}

/// All volumes of a bundle.
#[expect(clippy::struct_field_names, reason = "parts are what this is made of")]
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    pub(super) media: Media,
    /// True if the header says how long the bundle is.
    has_total: bool,
}

impl Parts {
    /// The volumes of a set. `total` is the length of the bundle, where the header says it.
    pub(super) fn find(media: Media, total: Option<u64>) -> io::Result<Self> {
        let set = &media.set;
        let present = set.present()?;
        let highest = present.keys().max().copied().unwrap_or(0);
        // The longest is as long as all but the last should be, unless everything was cut.
        let length = match total.map(|total| length_of_two(set, &present, total)).transpose()?.flatten() {
            Some(length) => length,
            None => present.values().map(|file| file.size).max().unwrap_or(0),
        };
        let implied = total.filter(|_| length > 0).map(|total| usize::try_from(total.div_ceil(length)).unwrap_or(0));
        let listed = set.sums().map(Sums::count);
        let count = listed.or(implied).unwrap_or(highest).clamp(1, VOLUMES_LIMIT);
        let mut start = 0;
        let mut parts = Vec::with_capacity(count);
        for number in 1..=count {
            let file = present.get(&number);
            let size = file.map_or(0, |file| file.size);
            let rest = total.map(|total| total.saturating_sub(start));
            let expected = match rest {
                Some(rest) if number == count => rest,
                Some(rest) => length.min(rest),
                None if number == count => size,
                None => length,
            };
            let path = file.map(|file| file.path.clone());
            let (unreadable, fixed) = (Vec::new(), (0, 0));
            let name = set.name(number);
            parts.push(Part { name, path, size, expected, start, sum: None, unreadable, fixed, good_blobs: 0 });
            start += expected;
        }
        Ok(Self { parts, media, has_total: total.is_some() })
    }

    /// The length that the bundle should have.
    pub(super) fn size(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.start + part.expected)
    }

    /// Sees to it that a volume is there now, counted from 0: media come and go.
    pub(super) fn fetch(&mut self, index: usize) -> Result<(), BundleError> {
        let is_last = index + 1 == self.parts.len();
        let found = self.media.locate(index + 1)?;
        let Some(part) = self.parts.get_mut(index) else { return Ok(()) };
        part.size = found.as_ref().map_or(0, |file| file.size);
        // Nothing else says how long the last volume is.
        if is_last && !self.has_total && found.is_some() {
            part.expected = part.size;
        }
        part.path = found.map(|file| file.path);
        Ok(())
    }

    /// Reads all volumes from the first byte to the last, and compares their digests with the sums.
    pub(super) fn scan(&mut self, take: PartConsumer<'_>) -> Result<(), BundleError> {
        for index in 0..self.parts.len() {
            self.fetch(index)?;
            let sum = self.media.set.sums().and_then(|sums| sums.digest(index + 1));
            let Some(part) = self.parts.get_mut(index) else { break };
            if !part.scan(sum, take)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads bytes at a position, if they are all there.
    pub(super) fn read_exact_at(&mut self, mut bytes: &mut [u8], mut offset: u64) -> Result<(), BundleError> {
        while !bytes.is_empty() {
            let holds = |part: &Part| (part.start..part.start + part.expected).contains(&offset);
            let index = self.parts.iter().position(holds).ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            self.fetch(index)?;
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            let part = self.parts.get(index).ok_or_else(missing)?;
            let mut file = fs::File::open(part.path.as_ref().ok_or_else(missing)?)?;
            let inside = offset - part.start;
            file.seek(SeekFrom::Start(inside))?;
            let here = usize::try_from(part.expected - inside).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at_mut(here);
            file.read_exact(now)?;
            bytes = later;
            offset += here as u64;
        }
        Ok(())
    }

    /// The volumes that a range of the bundle lies in, each with the part of the range counted from its beginning.
    pub(super) fn within(&self, range: &Range<u64>) -> Vec<(usize, Range<u64>)> {
        let first = self.parts.partition_point(|part| part.start + part.expected <= range.start);
        let parts = self.parts.iter().enumerate().skip(first).take_while(|(_, part)| part.start < range.end);
        let cut = parts.map(|(index, part)| {
            let end = range.end.min(part.start + part.expected);
            (index, range.start.max(part.start) - part.start..end - part.start)
        });
        cut.filter(|(_, range)| !range.is_empty()).collect()
    }
}

impl Part {
    /// Reads the volume. Says whether to go on.
    fn scan(&mut self, sum: Option<&Digest>, take: PartConsumer<'_>) -> io::Result<bool> {
        let Some(path) = &self.path else { return Ok(take(Err(self.expected))) };
        let mut file = fs::File::open(path)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; CHUNK];
        let mut position = 0;
        while position < self.size {
            let length = usize::try_from(self.size - position).unwrap_or(usize::MAX).min(CHUNK);
            let bytes = buffer.get_mut(..length).unwrap_or_default();
            let used = |length: u64| length.min(self.expected.saturating_sub(position));
            let go_on = match read_chunk(&mut file, bytes, position) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = bytes.get(..count).unwrap_or_default();
                    hasher.update(bytes);
                    let wanted = usize::try_from(used(count as u64)).unwrap_or(count);
                    position += count as u64;
                    take(Ok(bytes.get(..wanted).unwrap_or_default()))
                }
                Err(_) => {
                    let length = length as u64;
                    add(&mut self.unreadable, position..position + length);
                    let hole = used(length);
                    position += length;
                    take(Err(hole))
                }
            };
            if !go_on {
                return Ok(false);
            }
        }
        if let Some(sum) = sum {
            self.sum = Some(self.unreadable.is_empty() && hasher.finish() == *sum);
        }
        let rest = self.expected.saturating_sub(position);
        Ok(rest == 0 || take(Err(rest)))
    }
}

/// The length of the first of two volumes that together are too short: by its sum, it is whole or it is not.
fn length_of_two(set: &VolumeSet, present: &BTreeMap<usize, VolumeFile>, total: u64) -> io::Result<Option<u64>> {
    let (Some(sums), Some(first), Some(second)) = (set.sums(), present.get(&1), present.get(&2)) else {
        return Ok(None);
    };
    if sums.count() != 2 || first.size + second.size >= total {
        return Ok(None);
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut file = fs::File::open(&first.path)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    let is_whole = sums.digest(1) == Some(&hasher.finish());
    Ok(Some(if is_whole { first.size } else { total - second.size }))
}

/// Reads at a position, since a medium that failed may have left it undefined.
fn read_chunk(file: &mut fs::File, bytes: &mut [u8], position: u64) -> io::Result<usize> {
    file.seek(SeekFrom::Start(position))?;
    let mut count = 0;
    while count < bytes.len() {
        match file.read(bytes.get_mut(count..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
