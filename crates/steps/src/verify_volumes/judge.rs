//! Maps damage of a bundle to the faulty volumes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::ops::Range;

use super::compare::Outcome;
use super::parts::{Part, Parts};
use crate::finding::{Code, Finding, Findings};
use crate::verify_bundle::users;
use hod_bundle::Header;
use hod_oci::Digest;
use hod_store::Entry;

/// Ranges that a message shows at the most.
const SHOWN: usize = 4;

/// Where a range of the tar stream lies in the file.
type Place<'a> = &'a dyn Fn(&Range<u64>) -> Range<u64>;

/// What is held against a volume.
#[derive(Debug, Default)]
struct VolumeFault {
    ranges: Vec<Range<u64>>,
    blobs: BTreeSet<Digest>,
    images: BTreeSet<String>,
}

/// Judges the volumes of one bundle.
pub(super) struct Judge<'a> {
    parts: Parts,
    header: &'a Header,
    users: HashMap<Digest, Vec<String>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(parts: Parts, header: &'a Header) -> Self {
        Self { parts, header, users: users(header) }
    }

    /// What was found, with each volume that is at fault.
    pub(super) fn findings(mut self, outcomes: &[Outcome], bytes: u64, place: Place<'_>) -> Findings {
        let mut found = Findings { bytes, images: self.header.images().len(), ..Findings::default() };
        found.blobs = self.header.blobs().len();
        found.links = self.header.repositories().iter().map(|links| links.files().count()).sum();
        self.weigh(outcomes, place);
        if let Some(finding) = self.foreign_beginning() {
            found.findings.push(finding);
            return found;
        }
        let mut blames: BTreeMap<usize, VolumeFault> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| !outcome.bad.is_empty()) {
            let suspects = self.suspects(outcome, place);
            if let Some(digest) = outcome.blob {
                found.findings.push(self.blob_finding(digest, &suspects));
            }
            for (index, range) in suspects {
                let blame = blames.entry(index).or_default();
                blame.ranges.push(range);
                blame.blobs.extend(outcome.blob);
                blame.images.extend(self.images_of(outcome));
            }
        }
        for index in 0..self.parts.parts.len() {
            let blame = blames.remove(&index).unwrap_or_default();
            found.findings.extend(self.volume_finding(index, blame));
        }
        found.findings.extend(self.superfluous());
        found.findings.sort();
        found
    }

    /// Counts for each volume what in it is right and wrong.
    fn weigh(&mut self, outcomes: &[Outcome], place: Place<'_>) {
        for outcome in outcomes {
            let holds = self.parts.within(&place(&outcome.range));
            let [(index, _)] = holds.as_slice() else { continue };
            let Some(part) = self.parts.parts.get_mut(*index) else { continue };
            match (outcome.blob.is_some(), outcome.bad.is_empty()) {
                (true, true) => part.good_blobs += 1,
                (true, false) => {}
                // What lies before the data area has been read as a header.
                (false, _) if outcome.range.start == 0 => {}
                (false, true) => part.fixed.0 += 1,
                (false, false) => part.fixed.1 += 1,
            }
        }
    }

    /// A first volume of another bundle than all others: the sums and the others agree, and it alone does not.
    fn foreign_beginning(&self) -> Option<Finding> {
        let (first, others) = self.parts.parts.split_first()?;
        let contradicts = |part: &Part| part.sum == Some(true) && part.fixed.1 > 0;
        if first.sum != Some(false) || !others.iter().any(contradicts) {
            return None;
        }
        let detail = "it belongs to another bundle than the other volumes; copy this file again";
        Some(Finding::new(Code::VolumeForeign, shown(first), detail))
    }

    /// The volumes that may be at fault for something that is wrong: those that the sums accuse, or else all that it
    /// lies in.
    fn suspects(&self, outcome: &Outcome, place: Place<'_>) -> Vec<(usize, Range<u64>)> {
        let mut all: Vec<(usize, Range<u64>)> = Vec::new();
        for found in outcome.bad.iter().flat_map(|range| self.parts.within(&place(range))) {
            if all.last() != Some(&found) {
                all.push(found);
            }
        }
        let accused = |index: usize| {
            self.parts.parts.get(index).is_some_and(|part| {
                part.path.is_none()
                    || part.sum == Some(false)
                    || part.size < part.expected
                    || !part.unreadable.is_empty()
            })
        };
        let some: Vec<_> = all.iter().filter(|(index, _)| accused(*index)).cloned().collect();
        if some.is_empty() { all } else { some }
    }

    fn images_of(&self, outcome: &Outcome) -> Vec<String> {
        match &outcome.entry {
            None => self.header.images().iter().map(hod_bundle::Image::label).collect(),
            Some(Entry::Data(digest)) => self.users.get(digest).cloned().unwrap_or_default(),
            Some(
                Entry::Layers(name)
                | Entry::Revisions(name)
                | Entry::Tags(name)
                | Entry::Layer(name, _)
                | Entry::Revision(name, _)
                | Entry::TagIndex(name, ..)
                | Entry::TagCurrent(name, _),
            ) => {
                let images = self.header.images().iter().filter(|image| image.name == *name);
                images.map(hod_bundle::Image::label).collect()
            }
        }
    }

    fn blob_finding(&self, digest: Digest, suspects: &[(usize, Range<u64>)]) -> Finding {
        let mut detail = String::new();
        for (index, range) in suspects {
            let Some(part) = self.parts.parts.get(*index) else { continue };
            let lies = if part.path.is_none() { "missing: bytes" } else { "bytes" };
            let _ = write!(detail, "{}{lies} {} of {}", separator(&detail), range_text(range), part.name);
        }
        let mut finding = Finding::new(Code::BlobDigestMismatch, Entry::Data(digest).to_string(), detail);
        if suspects.iter().any(|(index, _)| self.parts.parts.get(*index).is_some_and(|part| part.path.is_none())) {
            finding.code = Code::BlobMissing;
        }
        finding.images = self.users.get(&digest).cloned().unwrap_or_default();
        finding
    }

    fn volume_finding(&self, index: usize, blame: VolumeFault) -> Option<Finding> {
        let part = self.parts.parts.get(index)?;
        let (code, detail) = verdict(part, &blame)?;
        let mut finding = Finding::new(code, shown(part), detail);
        finding.blobs = blame.blobs.into_iter().collect();
        finding.images = blame.images.into_iter().collect();
        if part.path.is_some() {
            let ranges = merged(blame.ranges);
            finding.ranges = ranges.into_iter().map(|range| (range.start, range.end.saturating_sub(1))).collect();
        }
        Some(finding)
    }

    /// Volumes beyond the last.
    fn superfluous(&self) -> Vec<Finding> {
        let count = self.parts.parts.len();
        let present = self.parts.media.set.present().unwrap_or_default();
        let beyond = present.into_iter().filter(|(number, _)| *number > count);
        let finding = |file: hod_bundle::volumes::VolumeFile| {
            let detail = format!("the bundle has {count} volumes: this file belongs to another; move it elsewhere");
            Finding::new(Code::VolumeForeign, file.path.display().to_string(), detail)
        };
        beyond.map(|(_, file)| finding(file)).collect()
    }
}

/// What is to be said about a volume, if anything.
fn verdict(part: &Part, blame: &VolumeFault) -> Option<(Code, String)> {
    if part.path.is_none() {
        return Some((Code::VolumeMissing, "it is missing: copy this file".to_owned()));
    }
    let nothing_fits = part.good_blobs == 0 && part.fixed.0 == 0 && part.fixed.1 > 0 && part.start > 0;
    if nothing_fits && part.size >= part.expected && part.unreadable.is_empty() {
        let detail = "it contains nothing of this bundle: it is a volume of another bundle; copy this file again";
        return Some((Code::VolumeForeign, detail.to_owned()));
    }
    if part.size < part.expected {
        let detail = format!("it has {} of {} bytes: copy this file again", part.size, part.expected);
        return Some((Code::VolumeShort, detail));
    }
    if !part.unreadable.is_empty() {
        let detail = format!("{} cannot be read: the medium is failing; copy this file again", list(&part.unreadable));
        return Some((Code::VolumeDamaged, detail));
    }
    if !blame.ranges.is_empty() {
        let ranges = merged(blame.ranges.clone());
        let detail = format!("it is damaged at {}: copy this file again", list(&ranges));
        return Some((Code::VolumeDamaged, detail));
    }
    if part.size > part.expected {
        let detail = format!("it has {} bytes and should have {}: copy this file again", part.size, part.expected);
        return Some((Code::VolumeDamaged, detail));
    }
    let detail = "its content is correct, but its checksum differs from the .sha256 file: copy the .sha256 file again";
    (part.sum == Some(false)).then(|| (Code::VolumeSumMismatch, detail.to_owned()))
}

/// What the lengths and sums alone say.
pub(super) fn by_sums(parts: &Parts) -> Vec<Finding> {
    let verdict = |part: &Part| match verdict(part, &VolumeFault::default()) {
        Some((Code::VolumeSumMismatch, _)) => {
            Some((Code::VolumeDamaged, "its checksum differs from the .sha256 file: copy this file again".to_owned()))
        }
        other => other,
    };
    let findings = parts.parts.iter().filter_map(|part| verdict(part).map(|(code, detail)| (part, code, detail)));
    findings.map(|(part, code, detail)| Finding::new(code, shown(part), detail)).collect()
}

/// The file of a volume as messages name it.
pub(super) fn shown(part: &Part) -> String {
    part.path.as_ref().map_or_else(|| part.name.clone(), |path| path.display().to_string())
}

const fn separator(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ", " }
}

fn range_text(range: &Range<u64>) -> String {
    format!("{}-{}", range.start, range.end.saturating_sub(1))
}

fn list(ranges: &[Range<u64>]) -> String {
    let mut text = ranges.iter().take(SHOWN).map(range_text).collect::<Vec<_>>().join(", ");
    if ranges.len() > SHOWN {
        let _ = write!(text, " and {} more places", ranges.len() - SHOWN);
    }
    format!("bytes {text}")
}

fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        super::compare::add(&mut merged, range);
    }
    merged
}
