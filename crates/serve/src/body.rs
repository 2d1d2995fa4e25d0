//! Blobs on their way to a client: read ahead, and checked before the last piece is given away.
//!
//! A transfer holds two pieces of [`PIECE`] bytes at the most, the one that is being sent and the next one, which is
//! read meanwhile. The last piece of a whole blob is given away only when all of them together have the blob's digest.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::task::{JoinHandle, spawn_blocking};

use super::damage::DamageList;
use super::hash_cache::HashCache;
use super::metrics::Metrics;
use super::stamp::Stamp;
use hod_engine::endpoint::{EndpointError, Fault, Mismatch, Result, read_chunk};
use hod_oci::{Digest, Hasher};

/// How many bytes are read at once.
const PIECE: u64 = 256 * 1024;

/// What the checks of all blobs have in common.
#[derive(Clone, Default)]
pub(super) struct Checks {
    pub(super) hashed: Arc<HashCache>,
    pub(super) damage: Arc<DamageList>,
    pub(super) metrics: Arc<Metrics>,
}

/// Content that is read piece by piece.
pub(super) struct BlobStream {
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

/// A piece, and what comes after it.
type Piece = (Bytes, Option<Box<BlobStream>>);

impl BlobStream {
    /// Reads all of a blob of `size` bytes, and checks it.
    pub(super) fn whole(reader: Box<dyn Read + Send>, digest: Digest, size: u64) -> Self {
        let hasher = Some(Hasher::new(digest.algorithm()));
        let (checks, place) = (Checks::default(), PathBuf::new());
        Self { reader, digest, size, left: size, hasher, checks, stamp: None, place }
    }

    /// Reads `length` bytes of a blob, and checks nothing but that they are there; `reader` stands where they begin.
    pub(super) fn part(reader: Box<dyn Read + Send>, digest: Digest, length: u64) -> Self {
        Self { hasher: None, ..Self::whole(reader, digest, length) }
    }

    /// Takes note of what was found in a file whose state is `stamp`, where it has one, at `place`.
    pub(super) fn noting(self, checks: Checks, stamp: Option<Stamp>, place: PathBuf) -> Self {
        Self { checks, stamp, place, ..self }
    }

    /// The body of an answer. Blocks until the first piece is there, so that what fails at once can still be told with a
    /// status.
    pub(super) fn body(self) -> Result<Body> {
        let (first, rest) = Box::new(self).piece()?;
        let rest = stream::try_unfold(rest.map(read_ahead), async |next: Option<JoinHandle<Result<Piece>>>| {
            let Some(next) = next else { return Ok(None) };
            let (piece, rest) = next.await.map_err(|stopped| EndpointError::new(Fault::Other, stopped))??;
            Ok::<_, EndpointError>(Some((piece, rest.map(read_ahead))))
        });
        Ok(Body::from_stream(stream::iter([Ok(first)]).chain(rest)))
    }

    /// Reads the next piece; the last one only if everything was what it should be.
    fn piece(mut self: Box<Self>) -> Result<Piece> {
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
            self.checks.metrics.hashed.fetch_add(read, Ordering::Relaxed);
        }
        if self.left > 0 {
            return Ok((piece, Some(self)));
        }
        if let Some(found) = self.hasher.take().map(Hasher::finish) {
            if found != self.digest {
                return Err(self.corrupt(Mismatch::Digest { expected: self.digest, found }));
            }
            self.checks.damage.forget(&found);
            if let Some(stamp) = self.stamp {
                self.checks.hashed.note(found, stamp, SystemTime::now());
            }
        }
        Ok((piece, None))
    }

    fn corrupt(&self, mismatch: Mismatch) -> EndpointError {
        self.checks.damage.note(self.digest, self.stamp, &self.place, &mismatch);
        EndpointError::new(Fault::Corrupt, mismatch)
    }
}

fn read_ahead(stream: Box<BlobStream>) -> JoinHandle<Result<Piece>> {
    spawn_blocking(|| stream.piece())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Content of several pieces.
    fn content() -> Vec<u8> {
        (0..PIECE * 2 + 10).map(|position| (position % 251) as u8).collect()
    }

    async fn sent(stream: BlobStream) -> (u64, Option<String>) {
        let mut body = match stream.body() {
            Ok(body) => body,
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
        assert_eq!(sent(BlobStream::whole(reader(content.clone()), digest, size)).await, (size, None));

        for position in [0, content.len() / 2, content.len() - 1] {
            let mut damaged = content.clone();
            damaged[position] ^= 1;
            let (sent, error) = sent(BlobStream::whole(reader(damaged), digest, size)).await;
            assert_eq!(sent, PIECE * 2, "the last piece must not leave");
            assert!(error.unwrap().contains("have the digest"));
        }
        let (_, error) = sent(BlobStream::whole(reader(content[..content.len() - 1].to_vec()), digest, size)).await;
        assert!(error.unwrap().contains(&format!("ended after {} of {size} bytes", size - 1)));
    }

    #[tokio::test]
    async fn a_small_blob_fails_before_the_head_is_sent() {
        let digest = Digest::sha256(b"brick");
        assert!(BlobStream::whole(reader(b"brack".to_vec()), digest, 5).body().is_err());
        assert_eq!(sent(BlobStream::whole(reader(b"brick".to_vec()), digest, 5)).await, (5, None));
        assert_eq!(sent(BlobStream::whole(reader(Vec::new()), Digest::sha256(b""), 0)).await, (0, None));
    }

    #[tokio::test]
    async fn a_part_has_its_length_or_fails() {
        let digest = Digest::sha256(b"brick");
        assert_eq!(sent(BlobStream::part(reader(b"ick".to_vec()), digest, 2)).await, (2, None));
        assert!(sent(BlobStream::part(reader(b"i".to_vec()), digest, 2)).await.1.is_some());
    }
}
