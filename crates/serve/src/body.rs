//! What an answer sends: bytes at hand, or a blob that is read and checked on its way.
//!
//! A transfer holds two pieces of [`PIECE`] bytes at the most, the one that is being sent and the next
//! one, which is read meanwhile. The last piece of a whole blob is given away only when all of
//! them together have the blob's digest.

use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::damaged::DamagedBlobs;
use super::metrics::Metrics;
use super::verified::{Stamp, VerifiedFiles};
use hod_engine::endpoint::{EndpointError, Fault, Mismatch, Result, read_chunk};
use hod_oci::{Digest, Hasher};

/// How many bytes are read at once.
const PIECE: u64 = 256 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Bytes(Bytes),
    Blob(Transfer),
}

impl Body {
    /// Nothing.
    pub(super) const fn empty() -> Self {
        Self(Kind::Bytes(Bytes::new()))
    }

    /// Bytes at hand.
    pub(super) const fn bytes(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }

    /// A blob, or a part of it, whose first piece has been read.
    pub(super) const fn blob(transfer: Transfer) -> Self {
        Self(Kind::Blob(transfer))
    }

    /// Bytes that have not been given away yet.
    pub(super) const fn remaining(&self) -> u64 {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.len() as u64,
            Kind::Blob(transfer) => transfer.remaining,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = EndpointError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let piece = match &mut self.0 {
            Kind::Bytes(bytes) if bytes.is_empty() => None,
            Kind::Bytes(bytes) => Some(Ok(std::mem::take(bytes))),
            Kind::Blob(transfer) => ready!(transfer.poll_piece(context)),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

/// A blob on its way to a client.
#[derive(Debug)]
pub(super) struct Transfer {
    remaining: u64,
    next: Next,
}

#[derive(Debug)]
enum Next {
    /// A piece that has been read.
    Ready(Bytes, Box<Reading>),
    /// A piece that is being read on another thread.
    Coming(JoinHandle<Result<(Bytes, Box<Reading>)>>),
    /// Nothing more, or nothing that could be trusted.
    Ended,
}

impl Transfer {
    /// Begins to send what `reading` will read. Blocks until the first piece is there, so that
    /// what fails at once can still be told with a status.
    pub(super) fn begin(reading: Reading) -> Result<Self> {
        let remaining = reading.left;
        let (piece, reading) = Box::new(reading).piece()?;
        Ok(Self { remaining, next: Next::Ready(piece, reading) })
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let read = match std::mem::replace(&mut self.next, Next::Ended) {
            Next::Ended => return Poll::Ready(None),
            Next::Ready(piece, reading) => Ok((piece, reading)),
            Next::Coming(mut handle) => match Pin::new(&mut handle).poll(context) {
                Poll::Pending => {
                    self.next = Next::Coming(handle);
                    return Poll::Pending;
                }
                Poll::Ready(joined) => joined.unwrap_or_else(|error| Err(EndpointError::new(Fault::Other, error))),
            },
        };
        Poll::Ready(Some(read.map(|(piece, reading)| {
            self.remaining -= piece.len() as u64;
            if reading.left > 0 {
                self.next = Next::Coming(spawn_blocking(|| reading.piece()));
            }
            piece
        })))
    }
}

/// What the checks of all blobs have in common.
#[derive(Clone, Default)]
pub(super) struct Checks {
    pub(super) verified: Arc<VerifiedFiles>,
    pub(super) damaged: Arc<DamagedBlobs>,
    pub(super) metrics: Arc<Metrics>,
}

/// Content that is being read, piece by piece.
pub(super) struct Reading {
    reader: Box<dyn Read + Send>,
    digest: Digest,
    size: u64,
    left: u64,
    /// `None` where only a part is read, which proves nothing about the whole.
    hasher: Option<Hasher>,
    checks: Checks,
    /// The file's state before it was read.
    stamp: Option<Stamp>,
    /// Where the bytes lie, for the log.
    place: PathBuf,
}

impl Reading {
    /// Reads all of a blob of `size` bytes, and checks it.
    pub(super) fn whole(reader: Box<dyn Read + Send>, digest: Digest, size: u64) -> Self {
        Self {
            reader,
            digest,
            size,
            left: size,
            hasher: Some(Hasher::new(digest.algorithm())),
            checks: Checks::default(),
            stamp: None,
            place: PathBuf::new(),
        }
    }

    /// Reads `length` bytes of a blob, and checks nothing but that they are there; `reader` stands where they begin.
    pub(super) fn part(reader: Box<dyn Read + Send>, digest: Digest, length: u64) -> Self {
        Self { size: length, left: length, hasher: None, ..Self::whole(reader, digest, length) }
    }

    /// Takes note of what was found in a file whose state is `stamp`, where it has one, at `place`.
    pub(super) fn noting(mut self, checks: Checks, stamp: Option<Stamp>, place: PathBuf) -> Self {
        (self.checks, self.stamp, self.place) = (checks, stamp, place);
        self
    }

    /// Reads the next piece; the last one only if everything was what it should be.
    fn piece(mut self: Box<Self>) -> Result<(Bytes, Box<Self>)> {
        let length = self.left.min(PIECE);
        let piece = read_chunk(&mut self.reader, length).map_err(EndpointError::io)?;
        let read = piece.len() as u64;
        if read < length {
            let got = self.size - self.left + read;
            return Err(self.corrupt(Mismatch::Short { digest: self.digest, size: self.size, got }));
        }
        self.left -= length;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
            self.checks.metrics.hashed.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        if self.left == 0
            && let Some(found) = self.hasher.take().map(Hasher::finish)
        {
            if found != self.digest {
                return Err(self.corrupt(Mismatch::Digest { expected: self.digest, found }));
            }
            self.checks.damaged.forget(&found);
            if let Some(stamp) = self.stamp {
                self.checks.verified.note(found, stamp);
            }
        }
        Ok((piece, self))
    }

    fn corrupt(&self, mismatch: Mismatch) -> EndpointError {
        self.checks.damaged.note(self.digest, self.stamp, &self.place, &mismatch);
        EndpointError::new(Fault::Corrupt, mismatch)
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("digest", &self.digest).field("left", &self.left).finish_non_exhaustive()
    }
}

/// Runs what may block on a disk on a thread made for that.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    hod_engine::endpoint::blocking(work).await
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Content of several pieces.
    fn content() -> Vec<u8> {
        (0..PIECE * 2 + 10).map(|position| (position % 251) as u8).collect()
    }

    async fn sent(reading: Reading) -> (u64, Option<String>) {
        let mut body = match Transfer::begin(reading) {
            Ok(transfer) => Body::blob(transfer),
            Err(error) => return (0, Some(error.to_string())),
        };
        let mut sent = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => sent += frame.into_data().unwrap().len() as u64,
                Err(error) => return (sent, Some(error.to_string())),
            }
        }
        (sent, None)
    }

    fn reader(content: Vec<u8>) -> Box<dyn Read + Send> {
        Box::new(std::io::Cursor::new(content))
    }

    #[tokio::test]
    async fn a_whole_blob_ends_well_only_if_it_is_whole() {
        let content = content();
        let (digest, size) = (Digest::sha256(&content), content.len() as u64);
        assert_eq!(sent(Reading::whole(reader(content.clone()), digest, size)).await, (size, None));

        for position in [0, content.len() / 2, content.len() - 1] {
            let mut damaged = content.clone();
            damaged[position] ^= 1;
            let (sent, error) = sent(Reading::whole(reader(damaged), digest, size)).await;
            assert_eq!(sent, PIECE * 2, "the last piece must not leave");
            assert!(error.unwrap().contains("have the digest"));
        }
        let (_, error) = sent(Reading::whole(reader(content[..content.len() - 1].to_vec()), digest, size)).await;
        assert!(error.unwrap().contains(&format!("ended after {} of {size} bytes", size - 1)));
    }

    #[tokio::test]
    async fn a_small_blob_fails_before_the_head_is_sent() {
        let digest = Digest::sha256(b"brick");
        assert!(Transfer::begin(Reading::whole(reader(b"brack".to_vec()), digest, 5)).is_err());
        assert_eq!(sent(Reading::whole(reader(b"brick".to_vec()), digest, 5)).await, (5, None));
        assert_eq!(sent(Reading::whole(reader(Vec::new()), Digest::sha256(b""), 0)).await, (0, None));
    }

    #[tokio::test]
    async fn a_part_has_its_length_or_fails() {
        let digest = Digest::sha256(b"brick");
        assert_eq!(sent(Reading::part(reader(b"ick".to_vec()), digest, 2)).await, (2, None));
        assert!(sent(Reading::part(reader(b"i".to_vec()), digest, 2)).await.1.is_some());
    }
}
