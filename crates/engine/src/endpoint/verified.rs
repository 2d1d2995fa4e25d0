//! Bytes that cannot lie: the only body a sink takes.
//!
//! Their digest is checked here, with one exception: a sink that has shown to find it out by itself
//! ([`super::Sink::finds_digests`]) may be left to do so, since nothing is gained where both ends of a connection hash
//! the same bytes. Their number is always checked here.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _};

use super::lane::{self, BodyHash};
use super::{BlobReader, EndpointError, Fault, Prefix, Result};
use hod_oci::{Algorithm, Descriptor, Digest, Hasher};

/// Why bytes are not the content that was named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// They end too soon.
    #[error("{digest} ended after {got} of {size} bytes")]
    Short {
        /// The content that was wanted.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// How many bytes came.
        got: u64,
    },
    /// They go on after the end.
    #[error("{digest} is longer than its declared {size} bytes")]
    Long {
        /// The content that was wanted.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// They have the right length and another hash.
    #[error("the bytes of {expected} have the digest {found}")]
    Digest {
        /// The content that was wanted.
        expected: Digest,
        /// What came.
        found: Digest,
    },
}

impl Mismatch {
    /// Whether an error says that the bytes themselves are wrong, and not only too few.
    pub fn is_of_bytes(error: &EndpointError) -> bool {
        error.fault() == Fault::Corrupt && !matches!(error.cause().downcast_ref(), Some(Self::Short { .. }))
    }
}

/// A stream that ends well only if its bytes are exactly those that a descriptor names, or, where
/// [`Verified::is_hashed`] is false, as many.
///
/// It yields the content from the end of the prefix on. The error comes instead of the end, so a sink
/// that waits for the end before it makes anything visible cannot go wrong. It never yields more
/// bytes than the descriptor says, whatever the reader sends.
pub struct Verified {
    reader: BlobReader,
    expected: Digest,
    size: u64,
    start: u64,
    position: u64,
    check: Check,
}

/// What is checked.
enum Check {
    /// Digest and length.
    Digest(Box<Hasher>),
    /// The same, hashed beside other bodies.
    Beside(BodyHash),
    /// The length.
    Length,
    /// The stream has ended, well or not.
    Ended,
}

impl Verified {
    /// Checks what `reader` delivers against `content`; `reader` starts where `prefix` ends.
    pub fn new(content: &Descriptor, prefix: Prefix, reader: BlobReader) -> Self {
        let (expected, size, start) = (content.digest, content.size, prefix.length);
        let is_worth_it = size.saturating_sub(start) >= lane::ENOUGH as u64;
        let check = if is_worth_it && expected.algorithm() == Algorithm::Sha256 {
            Check::Beside(BodyHash::new(prefix))
        } else {
            Check::Digest(Box::new(prefix.hasher))
        };
        Self { reader, expected, size, start, position: start, check }
    }

    /// Checks the length of what `reader` delivers, and leaves the digest to the sink.
    pub fn left_to_sink(content: &Descriptor, reader: BlobReader) -> Self {
        let (expected, size) = (content.digest, content.size);
        Self { reader, expected, size, start: 0, position: 0, check: Check::Length }
    }

    /// Whether the digest is checked here, and not by the sink.
    pub const fn is_hashed(&self) -> bool {
        !matches!(self.check, Check::Length)
    }

    /// Checks bytes at hand.
    pub fn bytes(content: &Descriptor, bytes: Bytes) -> Self {
        let reader = stream::once(std::future::ready(Ok(bytes))).boxed();
        Self::new(content, Prefix::none(content.digest.algorithm()), reader)
    }

    /// How many bytes of the content come before this stream's first.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes this stream will yield.
    pub const fn remaining(&self) -> u64 {
        self.size - self.position
    }

    /// Everything in one piece: for manifests, whose size the caller has bounded.
    pub async fn collect(mut self) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all.freeze())
    }

    /// Takes the next chunk from the reader, or says why this is not the content.
    fn check(&mut self, next: Option<Result<Bytes>>) -> Option<Result<Bytes>> {
        let problem = match next {
            Some(Ok(chunk)) => {
                let position = self.position + chunk.len() as u64;
                if position <= self.size {
                    match &mut self.check {
                        Check::Digest(hasher) => hasher.update(&chunk),
                        Check::Beside(lane) => lane.add(chunk.clone()),
                        Check::Length | Check::Ended => {}
                    }
                    self.position = position;
                    return Some(Ok(chunk));
                }
                EndpointError::new(Fault::Corrupt, Mismatch::Long { digest: self.expected, size: self.size })
            }
            Some(Err(error)) => error,
            None if self.position < self.size => EndpointError::new(
                Fault::Corrupt,
                Mismatch::Short { digest: self.expected, size: self.size, got: self.position },
            ),
            None => {
                let found = match std::mem::replace(&mut self.check, Check::Ended) {
                    Check::Digest(hasher) => hasher.finish(),
                    Check::Beside(lane) => lane.finish(),
                    Check::Length | Check::Ended => return None,
                };
                if found == self.expected {
                    return None;
                }
                EndpointError::new(Fault::Corrupt, Mismatch::Digest { expected: self.expected, found })
            }
        };
        self.check = Check::Ended;
        Some(Err(problem))
    }
}

impl Stream for Verified {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if matches!(self.check, Check::Ended) {
            return Poll::Ready(None);
        }
        self.reader.poll_next_unpin(context).map(|next| self.check(next))
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("expected", &self.expected)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_oci::MediaType;

    fn collect(content: &Descriptor, prefix: Prefix, chunks: &[&'static [u8]]) -> std::result::Result<Bytes, String> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let body = Verified::new(content, prefix, stream::iter(chunks).boxed());
        futures_util::FutureExt::now_or_never(body.collect()).unwrap().map_err(|error| error.to_string())
    }

    fn none() -> Prefix {
        Prefix::none(Algorithm::Sha256)
    }

    #[test]
    fn only_the_content_itself_passes() {
        let brick = Descriptor::of(MediaType::parse("x"), b"brick");
        assert_eq!(collect(&brick, none(), &[b"br", b"", b"ick"]).unwrap(), "brick");
        assert!(collect(&brick, none(), &[b"bric"]).unwrap_err().contains("ended after 4 of 5"));
        assert!(collect(&brick, none(), &[b"brick", b"s"]).unwrap_err().contains("longer than its declared 5 bytes"));
        assert!(collect(&brick, none(), &[b"brack"]).unwrap_err().contains("have the digest"));
    }

    #[test]
    fn who_leaves_the_digest_to_the_sink_still_counts() {
        let brick = Descriptor::of(MediaType::parse("x"), b"brick");
        let left = |chunks: &[&'static [u8]]| {
            let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
            let body = Verified::left_to_sink(&brick, stream::iter(chunks).boxed());
            assert!(!body.is_hashed());
            futures_util::FutureExt::now_or_never(body.collect()).unwrap().map_err(|error| error.to_string())
        };
        assert_eq!(left(&[b"br", b"ack"]).unwrap(), "brack");
        assert!(left(&[b"bric"]).unwrap_err().contains("ended after 4 of 5"));
        assert!(left(&[b"brick", b"s"]).unwrap_err().contains("longer than its declared 5 bytes"));
    }

    #[test]
    fn a_prefix_counts() {
        let brick = Descriptor::of(MediaType::parse("x"), b"brick");
        let kept = |bytes: &[u8]| {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(bytes);
            Prefix::new(bytes.len() as u64, hasher)
        };
        assert_eq!(collect(&brick, kept(b"br"), &[b"ick"]).unwrap(), "ick");
        assert_eq!(collect(&brick, kept(b"brick"), &[]).unwrap(), "");
        assert!(collect(&brick, kept(b"bx"), &[b"ick"]).unwrap_err().contains("have the digest"));
    }

    #[test]
    fn nothing_follows_an_error() {
        let brick = Descriptor::of(MediaType::parse("x"), b"brick");
        let chunks = vec![Ok(Bytes::from_static(b"bricks")), Ok(Bytes::from_static(b"more"))];
        let mut body = Verified::new(&brick, none(), stream::iter(chunks).boxed());
        let mut next = || futures_util::FutureExt::now_or_never(body.next()).unwrap();
        assert!(next().unwrap().is_err());
        assert!(next().is_none());
    }
}
