//! Bodies of requests: small ones as bytes, and blobs on their way into an upload.
//!
//! A client that sends nothing for too long is given up. What has come until then stays in its
//! upload, for the client to continue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::EXPECT;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::Refusal;
use super::metrics::Metrics;
use hod_engine::endpoint::{EndpointError, Fault};
use hod_store::Upload;

/// Pieces of a body that wait for the disk. Each has what a connection buffers for reading at the most.
const PIECES: usize = 8;
/// How much of a body is read on although its request is refused, so that the client, which
/// writes first, gets to see the answer.
const DRAIN_LIMIT: u64 = 16 * 1024 * 1024;
/// The same, where nobody knows who it is.
const DRAIN_LIMIT_OF_STRANGERS: u64 = 1024 * 1024;
/// How long that may take, whatever comes.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// An upload, held for one request alone.
pub(super) type Slot = OwnedMutexGuard<Option<Upload>>;

/// The body of a request that has not been read.
pub(super) struct Receiving {
    body: Incoming,
    patience: Duration,
    metrics: Arc<Metrics>,
    /// Whether the client sends nothing before it is told to go on, and nothing after a refusal.
    waits: bool,
}

impl Receiving {
    /// Reads the body of a request with these headers, of which something has to come at least once in `patience`.
    pub(super) fn new(body: Incoming, headers: &HeaderMap, patience: Duration, metrics: Arc<Metrics>) -> Self {
        Self { body, patience, metrics, waits: headers.contains_key(EXPECT) }
    }

    /// The next piece.
    async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        self.waits = false;
        loop {
            let frame = timeout(self.patience, self.body.frame()).await.map_err(|_| {
                let message = format!("nothing has come for {} s", self.patience.as_secs());
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "UNKNOWN", message)
            })?;
            match frame.transpose().map_err(|_| cut_off())? {
                Some(frame) => {
                    // Trailers say nothing that matters here.
                    if let Ok(piece) = frame.into_data() {
                        self.metrics.received.fetch_add(piece.len() as u64, Ordering::Relaxed);
                        return Ok(Some(piece));
                    }
                }
                None => return Ok(None),
            }
        }
    }

    /// Reads a body of at most `limit` bytes.
    pub(super) async fn small(mut self, limit: u64) -> Result<Bytes, Refusal> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if (bytes.len() + piece.len()) as u64 > limit {
                self.drain().await;
                let message = format!("a manifest has {limit} bytes at the most");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    /// Appends the body to an upload.
    pub(super) async fn append(mut self, mut slot: Slot) -> Result<Slot, Refusal> {
        let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES);
        let writer = spawn_blocking(move || {
            while let Some(piece) = pieces.blocking_recv() {
                if let Some(upload) = slot.as_mut() {
                    upload.write(&piece)?;
                }
            }
            Ok::<_, EndpointError>(slot)
        });
        let received = loop {
            match self.piece().await {
                Ok(Some(piece)) => {
                    // The writer ends early only with an error, which says more.
                    if sender.send(piece).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(refusal) => break Err(refusal),
            }
        };
        drop(sender);
        let written = writer.await.unwrap_or_else(|error| Err(EndpointError::new(Fault::Other, error)));
        let slot = written.map_err(|cause| Refusal::failed("cannot write the upload", cause))?;
        received.map(|()| slot)
    }

    /// Reads what is left of the body of a client that is known, up to a limit, and throws it away.
    pub(super) async fn drain(self) {
        self.drain_up_to(DRAIN_LIMIT).await;
    }

    /// The same for a client that nobody knows.
    pub(super) async fn drain_of_stranger(self) {
        self.drain_up_to(DRAIN_LIMIT_OF_STRANGERS).await;
    }

    async fn drain_up_to(mut self, mut left: u64) {
        if self.waits {
            return;
        }
        let read = async {
            while let Ok(Some(piece)) = self.piece().await {
                left = left.saturating_sub(piece.len() as u64);
                if left == 0 {
                    return;
                }
            }
        };
        // Whoever sends for longer finds the connection closed.
        let _ = timeout(DRAIN_TIME, read).await;
    }
}

fn cut_off() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", "the body of the request ended too soon")
}
