//! Checks a bundle in volumes, and names the files to copy again.
//!
//! Every volume is read once. Damage does not end the check: the header says what each byte has to be, or which blob
//! it is part of, so whatever is right after it is known to be right. Where the file of sums is there it tells which
//! volume is at fault when a damaged blob lies in several; without it, all of them are suspects.

mod compare;
mod judge;
mod parts;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use zstd::bulk::Decompressor;

use super::finding::{Code, Finding, Findings};
use compare::Comparison;
use hod_bundle::frames::{self, FramePlace, Frames};
use hod_bundle::volumes::{VolumePrompt, VolumeReader};
use hod_bundle::{BegunBundle, BundleError, BundleSigner, Header, SIGNATURE_NAME, Trust, TrustError, VolumeSet};
use hod_engine::observe::{Event, Observer, Stop};
use judge::Judge;
use parts::{Media, Parts};

/// Checks the volumes of a bundle: those that are there, or that `ask` brings when their turn comes.
///
/// # Errors
/// Only where folders cannot be read; damage is a finding.
pub fn verify_volumes(
    set: &VolumeSet,
    ask: Option<VolumePrompt>,
    trust: &Trust,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<Findings, BundleError> {
    let mut media = Media { set: set.clone(), ask };
    media.locate(1)?;
    let begun = Beginning::read(&media.set, trust);
    let total = begun.as_ref().ok().filter(|begun| !begun.compressed).map(Beginning::tar_size);
    let mut parts = Parts::find(media, total)?;
    let begun = match begun {
        Err(error) => return without_header(&mut parts, &error, stop),
        Ok(begun) => begun,
    };
    if begun.compressed {
        // The table at the end is needed first.
        parts.fetch(parts.parts.len().saturating_sub(1))?;
    }
    observer.on(&Event::Step { name: "verify", images: 0, bytes: parts.size() });
    let mut found = if begun.compressed {
        compressed(parts, &begun, observer, stop)?
    } else {
        plain(parts, &begun, observer, stop)?
    };
    match begun.signed {
        Ok(signed) => found.signed = signed,
        Err(error) => found.findings.push(Finding::new(Code::SignatureInvalid, SIGNATURE_NAME, error.to_string())),
    }
    Ok(found)
}

/// The header, and what lies before the data area.
struct Beginning {
    header: Arc<Header>,
    signed: Result<Option<BundleSigner>, TrustError>,
    signature: Option<Vec<u8>>,
    compressed: bool,
}

impl Beginning {
    fn read(set: &VolumeSet, trust: &Trust) -> Result<Self, BundleError> {
        let mut magic = [0; 4];
        let file = set.locate(1)?;
        let begun = BegunBundle::read(VolumeReader::new(set.clone(), None))?;
        let signed = begun.check(trust);
        let reader = begun.open()?;
        if let Some(file) = file {
            std::io::Read::read_exact(&mut fs_err::File::open(file.path)?, &mut magic)?;
        }
        let signature = reader.signature().map(<[u8]>::to_vec);
        Ok(Self { header: reader.header().clone(), signed, signature, compressed: FramePlace::begins(&magic) })
    }

    fn signature_size(&self) -> Option<u64> {
        self.signature.as_ref().map(|signature| signature.len() as u64)
    }

    fn tar_size(&self) -> u64 {
        self.header.tar_size(self.signature_size())
    }

    fn comparison(&self) -> Comparison<'_> {
        Comparison::new(&self.header, self.header.data_area(self.signature_size()))
    }
}

/// Without the header nothing is known but what the sums say.
fn without_header(parts: &mut Parts, error: &BundleError, stop: &Stop) -> Result<Findings, BundleError> {
    let mut bytes = 0;
    parts.scan(&mut |read| {
        bytes += read.map_or(0, |read| read.len() as u64);
        !stop.is_requested()
    })?;
    let mut findings = Findings { bytes, ..Findings::default() };
    findings.findings = judge::by_sums(parts);
    let first = parts.parts.first().map_or_else(|| parts.media.set.name(1), judge::shown);
    if !findings.findings.iter().any(|finding| finding.path == first) {
        let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
        let why = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        let detail = format!("the header of the bundle cannot be read from it: {why}; copy this file again");
        findings.findings.push(Finding::new(Code::VolumeDamaged, first, detail));
    }
    findings.findings.sort();
    Ok(findings)
}

fn plain(mut parts: Parts, begun: &Beginning, observer: &dyn Observer, stop: &Stop) -> Result<Findings, BundleError> {
    let mut comparison = begun.comparison();
    let mut bytes = 0;
    let mut outcomes = Vec::new();
    parts.scan(&mut |read| {
        match read {
            Ok(read) => {
                bytes += read.len() as u64;
                observer.on(&Event::Moved { digest: &begun.header.id(), bytes: read.len() as u64 });
                comparison.bytes(read);
            }
            Err(length) => comparison.hole(length),
        }
        outcomes.extend(comparison.outcomes());
        !stop.is_requested()
    })?;
    if stop.is_requested() {
        return Ok(Findings::default());
    }
    outcomes.extend(comparison.finish());
    Ok(Judge::new(parts, &begun.header).findings(&outcomes, bytes, &Range::clone))
}

fn compressed(
    mut parts: Parts,
    begun: &Beginning,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<Findings, BundleError> {
    let size = parts.size();
    let media = RefCell::new(&mut parts);
    let table = frames::load(size, &|bytes, offset| media.borrow_mut().read_exact_at(bytes, offset)).ok();
    let table = table.filter(|frames| !frames.is_empty() && frames.tar_size() == begun.tar_size());
    let Some(table) = table else { return without_table(&mut parts, begun, stop) };
    let mut comparison = begun.comparison();
    let mut walk = Walk { frames: &table, next: 0, pending: Vec::new(), hole: false, length: 0, position: 0 };
    let mut decompressor = Decompressor::new()?;
    let (mut bytes, mut outcomes) = (0, Vec::new());
    parts.scan(&mut |read| {
        if let Ok(read) = read {
            bytes += read.len() as u64;
            observer.on(&Event::Moved { digest: &begun.header.id(), bytes: read.len() as u64 });
        }
        walk.take(read, &mut decompressor, &mut comparison);
        outcomes.extend(comparison.outcomes());
        !stop.is_requested()
    })?;
    if stop.is_requested() {
        return Ok(Findings::default());
    }
    outcomes.extend(comparison.finish());
    let place = |range: &Range<u64>| {
        // The frame that has the first byte, and the one that has the last.
        let frame = |position| table.get(table.begun(position).checked_sub(1)?);
        let is_there = range.start < table.tar_size();
        let start = frame(range.start).filter(|_| is_there).map_or(0, |frame| frame.file);
        let last = range.end.checked_sub(1).and_then(frame);
        start..last.map_or(start, |frame| frame.file + frame.compressed)
    };
    Ok(Judge::new(parts, &begun.header).findings(&outcomes, bytes, &place))
}

/// Without the table at the end, which the last volume holds, frames cannot be told apart after damage.
fn without_table(parts: &mut Parts, begun: &Beginning, stop: &Stop) -> Result<Findings, BundleError> {
    let mut bytes = 0;
    parts.scan(&mut |read| {
        bytes += read.map_or(0, |read| read.len() as u64);
        !stop.is_requested()
    })?;
    let mut findings = Findings { bytes, images: begun.header.images().len(), ..Findings::default() };
    findings.findings = judge::by_sums(parts);
    if findings.findings.is_empty() {
        let set = &parts.media.set;
        let last = parts.parts.last().map(|part| part.name.clone()).unwrap_or_default();
        let detail = if set.sums().is_some() {
            "the table at the end of the bundle is damaged".to_owned()
        } else {
            let next = set.name(parts.parts.len() + 1);
            format!("the bundle does not end here: {next} is missing, or this file was not copied completely")
        };
        findings.findings.push(Finding::new(Code::VolumeShort, last, detail));
    }
    let all: Vec<String> = begun.header.images().iter().map(hod_bundle::Image::label).collect();
    findings.findings.iter_mut().for_each(|finding| finding.images.clone_from(&all));
    findings.findings.sort();
    Ok(findings)
}

/// Cuts the bytes of the file into its frames and expands them.
struct Walk<'a> {
    frames: &'a Frames,
    next: usize,
    /// The bytes of the current frame.
    pending: Vec<u8>,
    /// True if some of them are not there.
    hole: bool,
    /// How many of them have passed.
    length: u64,
    position: u64,
}

impl Walk<'_> {
    fn take(&mut self, read: Result<&[u8], u64>, decompressor: &mut Decompressor<'_>, comparison: &mut Comparison<'_>) {
        let mut left = read.map_or_else(|length| length, |bytes| bytes.len() as u64);
        let mut bytes = read.unwrap_or_default();
        while left > 0 {
            let Some(frame) = self.frames.get(self.next) else { return };
            let now = left.min(frame.compressed - self.length);
            if read.is_ok() {
                let (here, later) = bytes.split_at(usize::try_from(now).unwrap_or_default().min(bytes.len()));
                self.pending.extend_from_slice(here);
                bytes = later;
            } else {
                self.hole = true;
            }
            self.length += now;
            self.position += now;
            left -= now;
            if self.length == frame.compressed {
                let mut content = Vec::new();
                let expanded = !self.hole && frame.expand(&self.pending, decompressor, &mut content).is_ok();
                if expanded {
                    comparison.bytes(&content);
                } else {
                    comparison.hole(frame.content);
                }
                self.next += 1;
                (self.hole, self.length) = (false, 0);
                self.pending.clear();
            }
        }
    }
}
