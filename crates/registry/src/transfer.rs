//! Watches bodies in transfer, so that a stalled connection does not block a run.
//!
//! A limit for the whole of a request would cut long transfers. So each [`FLOOR`] of bytes has a limit, and the time
//! counts only while the network is what everything waits for: a slow disk or a busy processor is no slow server.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use hod_engine::endpoint::{EndpointError, Verified};

/// A registry has to store what it was sent before it answers: so many times longer is waited for that.
const STORING: u32 = 10;

/// What has to move within the limit, in bytes: a line of 10 KB/s that hundreds share still moves more in a minute.
pub(super) const FLOOR: u64 = 1024;
/// As many pieces of a body as the HTTP client takes before it waits for the connection (hyper, `MAX_BUF_LIST_BUFFERS`).
const BATCH: u32 = 16;
/// The first pieces of a body, and the smallest: on the slowest line a batch of them moves within the limit.
const SMALLEST: usize = 1024;
/// The largest pieces; chunks are smaller.
const LARGEST: usize = 4 * 1024 * 1024;
/// A batch that takes less than this part of the limit makes the next pieces larger.
const QUICK: u32 = 60;
/// One that takes more than this part makes them smaller.
const SLOW: u32 = 6;

/// How fast a body arrives.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long [`FLOOR`] bytes may take.
    pub(super) limit: Duration,
    /// How long the bytes since the last full [`FLOOR`] have been waited for.
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, bytes: 0 }
    }

    /// When to give up waiting for bytes that are asked for now.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        now + self.limit.saturating_sub(self.waited)
    }

    /// Notes bytes that were waited for since then.
    pub(super) fn moved(&mut self, since: Instant, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= FLOOR {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        } else {
            self.waited += since.elapsed();
        }
    }
}

/// How large the pieces are in which an upload is handed to the HTTP client, which asks for more only when a batch of
/// them is gone: on a slow line small enough that it asks within the limit, on a fast one as large as they come.
#[derive(Debug)]
struct Pieces {
    limit: Duration,
    size: usize,
    /// How many of a batch are handed out without a pause of the source.
    handed: u32,
    /// When the first of them was.
    since: Option<Instant>,
}

impl Pieces {
    const fn new(limit: Duration) -> Self {
        Self { limit, size: SMALLEST, handed: 0, since: None }
    }

    /// The size of the next piece.
    fn next(&mut self, now: Instant) -> usize {
        if let Some(since) = self.since.filter(|_| self.handed == BATCH) {
            let took = now.saturating_duration_since(since);
            if took < self.limit / QUICK {
                self.size = (self.size * 2).min(LARGEST);
            } else if took > self.limit / SLOW {
                self.size = (self.size / 2).max(SMALLEST);
            }
            self.handed = 0;
        }
        if self.handed == 0 {
            self.since = Some(now);
        }
        self.handed += 1;
        self.size
    }
}

/// The state of a waiting upload.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The network, since then.
    Network(Instant),
    /// The source of the bytes.
    Source,
    /// The answer, since then: everything has been sent.
    Answer(Instant),
}

impl Phase {
    /// When to give up, as far as that is known at `now`.
    fn deadline(self, now: Instant, limit: Duration) -> Instant {
        match self {
            Self::Network(since) => since + limit,
            Self::Answer(since) => since + limit * STORING,
            Self::Source => now + limit,
        }
    }
}

/// The state of an upload, shared by its body and by who waits for the answer.
#[derive(Debug)]
pub(super) struct Progress {
    phase: Mutex<Phase>,
    failure: Mutex<Option<EndpointError>>,
}

impl Progress {
    fn new() -> Arc<Self> {
        Arc::new(Self { phase: Mutex::new(Phase::Network(Instant::now())), failure: Mutex::default() })
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// The reason for an early end of the body, if any.
    pub(super) fn failure(&self) -> Option<EndpointError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns when the network has not moved a byte for `limit`.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let phase = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let deadline = phase.deadline(now, limit);
            if deadline <= now {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// The body of an upload.
///
/// It holds one chunk back until the next, or the good end, is there: the HTTP client sends its last
/// byte only after everything has been verified, so the registry never sees a complete body that is
/// not the content.
pub(super) struct UploadBody {
    body: Verified,
    held: Option<Bytes>,
    /// The rest of a chunk of which a piece was handed out.
    rest: Bytes,
    /// True if there is nothing behind it.
    is_last: bool,
    pieces: Pieces,
    progress: Arc<Progress>,
}

/// Says to the HTTP client that the body ends early; the reason is kept in [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the content could not be read to its end")]
pub(super) struct ShortBodyError;

impl UploadBody {
    /// A body whose connection may stand still for as long as `limit`.
    pub(super) fn new(body: Verified, limit: Duration) -> Self {
        let (pieces, progress) = (Pieces::new(limit), Progress::new());
        Self { body, held: None, rest: Bytes::new(), is_last: false, pieces, progress }
    }

    /// A piece of the rest. After the last one the HTTP client asks for no more.
    fn piece(&mut self) -> Bytes {
        let now = Instant::now();
        let size = self.pieces.next(now).min(self.rest.len());
        let piece = self.rest.split_to(size);
        let is_end = self.is_last && self.rest.is_empty();
        self.progress.enter(if is_end { Phase::Answer(now) } else { Phase::Network(now) });
        piece
    }

    /// What it waits for, to be watched while it is sent.
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }
}

impl Stream for UploadBody {
    type Item = Result<Bytes, ShortBodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if !self.rest.is_empty() {
                return Poll::Ready(Some(Ok(self.piece())));
            }
            self.progress.enter(Phase::Source);
            let Poll::Ready(next) = self.body.poll_next_unpin(context) else {
                self.pieces.handed = 0;
                return Poll::Pending;
            };
            match next {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => self.rest = self.held.replace(chunk).unwrap_or_default(),
                Some(Err(error)) => {
                    *self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    self.held = None;
                    return Poll::Ready(Some(Err(ShortBodyError)));
                }
                None => {
                    let Some(last) = self.held.take() else {
                        self.progress.enter(Phase::Answer(Instant::now()));
                        return Poll::Ready(None);
                    };
                    (self.rest, self.is_last) = (last, true);
                }
            }
        }
    }
}

impl fmt::Debug for UploadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody").field("body", &self.body).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::stream;

    use super::*;
    use hod_engine::endpoint::{Fault, Prefix};
    use hod_oci::{Descriptor, MediaType};

    fn body(content: &[u8], chunks: &[&'static [u8]]) -> UploadBody {
        let descriptor = Descriptor::of(MediaType::parse("x"), content);
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let none = Prefix::none(descriptor.digest.algorithm());
        UploadBody::new(Verified::new(&descriptor, none, stream::iter(chunks).boxed()), Duration::from_secs(60))
    }

    fn collect(body: UploadBody) -> Vec<Option<Bytes>> {
        body.map(Result::ok).collect::<Vec<_>>().now_or_never().unwrap()
    }

    #[test]
    fn every_kibibyte_has_the_limit() {
        let limit = Duration::from_secs(60);
        let (now, mut pace) = (Instant::now(), Pace::new(limit));
        let ago = |seconds: u64| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        pace.moved(ago(20), 1023);
        pace.moved(ago(20), 0);
        let left = pace.deadline(now) - now;
        assert!(left <= Duration::from_secs(20), "{left:?}");
        pace.moved(ago(20), 1);
        assert_eq!(pace.deadline(now), now + limit);
        // The time between two chunks, in which nobody asked for bytes, is not the server's.
        pace.moved(Instant::now(), 1);
        assert!(pace.deadline(now) - now > limit.mul_f64(0.9));
    }

    #[test]
    fn pieces_fit_the_line() {
        let mut now = Instant::now();
        let mut pieces = Pieces::new(Duration::from_secs(60));
        let mut batch = |pieces: &mut Pieces, took: Duration| {
            let sizes: Vec<_> = (0..BATCH).map(|_| pieces.next(now)).collect();
            now += took;
            assert!(sizes.windows(2).all(|pair| pair[0] == pair[1]));
            sizes[0]
        };
        let quick = Duration::from_millis(1);
        assert_eq!([0; 4].map(|_| batch(&mut pieces, quick)), [1024, 2048, 4096, 8192]);
        assert!((0..20).map(|_| batch(&mut pieces, quick)).last() == Some(LARGEST));
        // A line of 1 KB/s that has become one.
        assert!((0..20).map(|_| batch(&mut pieces, Duration::from_secs(16))).last() == Some(SMALLEST));
        assert_eq!([0; 3].map(|_| batch(&mut pieces, Duration::from_secs(5))), [SMALLEST; 3]);
    }

    #[test]
    fn the_last_chunk_waits_for_the_end() {
        let good = body(b"brick", &[b"br", b"", b"ick", b""]);
        let progress = good.progress();
        assert_eq!(collect(good), [Some(Bytes::from("br")), Some(Bytes::from("ick"))]);
        assert!(progress.failure().is_none());
        let bad = body(b"brick", &[b"br", b"xck", b""]);
        let progress = bad.progress();
        assert_eq!(collect(bad), [Some(Bytes::from("br")), None]);
        assert_eq!(progress.failure().unwrap().fault(), Fault::Corrupt);
    }

    #[test]
    fn a_large_chunk_is_handed_out_in_pieces() {
        static LARGE: [u8; 100_000] = [7; 100_000];
        let large = body(&LARGE, &[&LARGE]);
        let progress = large.progress();
        let pieces: Vec<Bytes> = collect(large).into_iter().map(Option::unwrap).collect();
        assert_eq!(pieces.concat(), LARGE);
        assert_eq!(pieces.first().unwrap().len(), SMALLEST);
        assert!(pieces.len() > 16, "{}", pieces.len());
        assert!(matches!(*progress.phase.lock().unwrap(), Phase::Answer(_)));
    }

    #[test]
    fn only_the_network_can_stall() {
        let (start, limit) = (Instant::now(), Duration::from_secs(60));
        let later = start + limit * 5;
        assert_eq!(Phase::Network(start).deadline(later, limit), start + limit);
        assert_eq!(Phase::Answer(start).deadline(later, limit), start + limit * STORING);
        assert_eq!(Phase::Source.deadline(later, limit), later + limit);
    }
}
