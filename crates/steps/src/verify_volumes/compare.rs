//! Compares a tar stream with gaps against the members that its header implies, and continues after damage.
//!
//! Every byte of the stream is decided by the header, so the place of everything is known even where bytes are not
//! there or wrong.

use std::collections::VecDeque;
use std::ops::Range;

use hod_bundle::{Header, Member, MemberContent};
use hod_oci::{Digest, Hasher};
use hod_store::Entry;

/// Two blocks of zeros end a tar.
const END: usize = 1024;
/// Tars are made of blocks.
const BLOCK: u64 = 512;

/// What became of a piece of the stream: a tar header, a link, or the bytes of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Its range in the tar stream.
    pub(super) range: Range<u64>,
    /// The member that it belongs to; none for the beginning and the end.
    pub(super) entry: Option<Entry>,
    /// The blob whose bytes it is.
    pub(super) blob: Option<Digest>,
    /// Where it is wrong or not there; all of a blob whose digest is wrong. Empty where it is right.
    pub(super) bad: Vec<Range<u64>>,
}

/// What a piece has to be.
enum Wanted {
    /// Nothing is known, or it was checked before.
    Anything(u64),
    Bytes(Vec<u8>),
    Blob(Digest, u64),
}

impl Wanted {
    fn length(&self) -> u64 {
        match self {
            Self::Anything(length) | Self::Blob(_, length) => *length,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// A piece that is being compared.
struct Piece {
    wanted: Wanted,
    entry: Option<Entry>,
    start: u64,
    done: u64,
    hasher: Option<Hasher>,
    bad: Vec<Range<u64>>,
}

/// The comparison of a stream from its first byte to its last.
pub(super) struct Comparison<'a> {
    header: &'a Header,
    members: Box<dyn Iterator<Item = Member> + 'a>,
    queue: VecDeque<(Wanted, Option<Entry>)>,
    current: Option<Piece>,
    position: u64,
    ended: bool,
    outcomes: Vec<Outcome>,
}

impl<'a> Comparison<'a> {
    /// A comparison with what a header implies, which begins its data area at `area`.
    pub(super) fn new(header: &'a Header, area: u64) -> Self {
        Self {
            header,
            members: Box::new(header.members()),
            queue: VecDeque::from([(Wanted::Anything(area), None)]),
            current: None,
            position: 0,
            ended: false,
            outcomes: Vec::new(),
        }
    }

    /// The next piece that has any bytes.
    fn next_piece(&mut self) -> Option<&mut Piece> {
        while self.current.is_none() {
            let Some((wanted, entry)) = self.queue.pop_front() else {
                if self.ended {
                    return None;
                }
                self.enqueue();
                continue;
            };
            let hasher = match &wanted {
                Wanted::Blob(digest, _) => Some(Hasher::new(digest.algorithm())),
                _ => None,
            };
            let piece = Piece { wanted, entry, start: self.position, done: 0, hasher, bad: Vec::new() };
            self.current = Some(piece);
            self.settle();
        }
        self.current.as_mut()
    }

    fn enqueue(&mut self) {
        let Some(member) = self.members.next() else {
            self.ended = true;
            self.queue.push_back((Wanted::Bytes(vec![0; END]), None));
            return;
        };
        let entry = Some(member.entry.clone());
        self.queue.push_back((Wanted::Bytes(member.head(self.header.mtime())), entry.clone()));
        let padding = usize::try_from(member.size.next_multiple_of(BLOCK) - member.size).unwrap_or_default();
        match &member.holds {
            MemberContent::Blob(_) => {
                if let Entry::Data(digest) = member.entry {
                    self.queue.push_back((Wanted::Blob(digest, member.size), entry.clone()));
                }
                self.queue.push_back((Wanted::Bytes(vec![0; padding]), entry));
            }
            holds => {
                let mut bytes = holds.text().into_bytes();
                bytes.resize(bytes.len() + padding, 0);
                self.queue.push_back((Wanted::Bytes(bytes), entry));
            }
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let position = self.position;
            let Some(piece) = self.next_piece() else { return };
            let left = usize::try_from(piece.wanted.length() - piece.done).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            piece.take(now, position);
            self.position += now.len() as u64;
            bytes = later;
            self.settle();
        }
    }

    /// Passes over bytes that are not there or cannot be read.
    pub(super) fn hole(&mut self, mut length: u64) {
        while length > 0 {
            let position = self.position;
            let Some(piece) = self.next_piece() else { return };
            let now = length.min(piece.wanted.length() - piece.done);
            piece.done += now;
            piece.hasher = None;
            add(&mut piece.bad, position..position + now);
            self.position += now;
            length -= now;
            self.settle();
        }
    }

    /// Passes over everything that did not come.
    pub(super) fn finish(&mut self) -> Vec<Outcome> {
        self.hole(u64::MAX);
        self.outcomes()
    }

    /// What has been found out since the last call.
    pub(super) fn outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Ends the current piece if all of it has come.
    fn settle(&mut self) {
        if self.current.as_ref().is_none_or(|piece| piece.done < piece.wanted.length()) {
            return;
        }
        let Some(mut piece) = self.current.take() else { return };
        let range = piece.start..piece.start + piece.done;
        let blob = match piece.wanted {
            Wanted::Blob(digest, _) => Some(digest),
            _ => None,
        };
        let found = piece.hasher.map(Hasher::finish);
        if let (Some(digest), Some(found)) = (blob, found)
            && found != digest
        {
            // An empty blob has no bytes that could be wrong.
            piece.bad = vec![range.clone()];
        }
        if !range.is_empty() {
            self.outcomes.push(Outcome { range, entry: piece.entry, blob, bad: piece.bad });
        }
    }
}

impl Piece {
    fn take(&mut self, bytes: &[u8], position: u64) {
        if let Wanted::Bytes(wanted) = &self.wanted {
            let start = usize::try_from(self.done).unwrap_or(usize::MAX);
            let wanted = wanted.get(start..).unwrap_or_default();
            for (offset, _) in (position..).zip(bytes.iter().zip(wanted)).filter(|(_, (byte, wanted))| byte != wanted) {
                add(&mut self.bad, offset..offset + 1);
            }
        } else if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.done += bytes.len() as u64;
    }
}

/// Adds a range at the end of others; one that begins where the last ends makes that longer.
pub(super) fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end >= range.start && last.start <= range.start => last.end = last.end.max(range.end),
        _ => ranges.push(range),
    }
}
