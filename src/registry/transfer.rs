//! Bodies on their way: watched so that a connection on which nothing moves does not hang a run.
//!
//! A limit for the whole of a request would cut long uploads; what counts is the time without progress,
//! and only while the network is what everything waits for.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use crate::endpoint::{EndpointError, Verified};

/// A registry has to store what it was sent before it answers: so many times longer is waited for that.
const STORING: u32 = 10;

/// What an upload waits for.
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

    /// Why the body ended early, if it did.
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
    progress: Arc<Progress>,
}

/// Says to the HTTP client that the body ends early; the reason is kept in [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the content could not be read to its end")]
pub(super) struct CutShort;

impl UploadBody {
    pub(super) fn new(body: Verified) -> Self {
        Self { body, held: None, progress: Progress::new() }
    }

    /// What it waits for, to be watched while it is sent.
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }
}

impl Stream for UploadBody {
    type Item = Result<Bytes, CutShort>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.progress.enter(Phase::Source);
            let next = ready!(self.body.poll_next_unpin(context));
            self.progress.enter(Phase::Network(Instant::now()));
            match next {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    if let Some(before) = self.held.replace(chunk) {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Some(Err(error)) => {
                    *self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    self.held = None;
                    return Poll::Ready(Some(Err(CutShort)));
                }
                None => {
                    self.progress.enter(Phase::Answer(Instant::now()));
                    return Poll::Ready(self.held.take().map(Ok));
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
    use crate::endpoint::{Fault, Prefix};
    use crate::oci::{Descriptor, MediaType};

    fn body(content: &[u8], chunks: &[&'static [u8]]) -> UploadBody {
        let descriptor = Descriptor::of(MediaType::parse("x"), content);
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let none = Prefix::none(descriptor.digest.algorithm());
        UploadBody::new(Verified::new(&descriptor, none, stream::iter(chunks).boxed()))
    }

    fn collect(body: UploadBody) -> Vec<Option<Bytes>> {
        body.map(Result::ok).collect::<Vec<_>>().now_or_never().unwrap()
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
    fn only_the_network_can_stall() {
        let (start, limit) = (Instant::now(), Duration::from_secs(60));
        let later = start + limit * 5;
        assert_eq!(Phase::Network(start).deadline(later, limit), start + limit);
        assert_eq!(Phase::Answer(start).deadline(later, limit), start + limit * STORING);
        assert_eq!(Phase::Source.deadline(later, limit), later + limit);
    }
}
