//! Bodies of requests: small ones as bytes, and blobs on their way into an upload.
//!
//! A client that sends nothing for too long is given up. What has come until then stays in its
//! upload, for the client to continue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header::EXPECT;
use axum::http::{HeaderMap, StatusCode};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::timeout;

use super::answer::{Refusal, blocking};
use super::metrics::Metrics;
use hod_store::Upload;

/// Pieces of a body that wait for the disk. Each has what a connection buffers for reading at the most.
const PIECES: usize = 8;
/// How much of a body is read on although its request is refused, so that the client, which
/// writes first, gets to see the answer.
pub(super) const DRAIN_LIMIT: u64 = 16 * 1024 * 1024;
/// The same, where nobody knows who it is.
pub(super) const DRAIN_LIMIT_OF_STRANGERS: u64 = 1024 * 1024;
/// How long that may take, whatever comes.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// An upload, held for one request alone.
pub(super) type UploadGuard = OwnedMutexGuard<Option<Upload>>;

/// The body of a request that has not been read.
pub(super) struct RequestBody {
    body: BodyDataStream,
    stall: Duration,
    metrics: Arc<Metrics>,
    /// Whether the client sends nothing before it is told to go on, and nothing after a refusal.
    waits: bool,
}

impl RequestBody {
    /// Reads the body of a request with these headers, of which something has to come at least once in `stall`.
    pub(super) fn new(body: Body, headers: &HeaderMap, stall: Duration, metrics: Arc<Metrics>) -> Self {
        Self { body: body.into_data_stream(), stall, metrics, waits: headers.contains_key(EXPECT) }
    }

    /// The next piece.
    async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        self.waits = false;
        let piece = timeout(self.stall, self.body.next()).await.map_err(|_| {
            let message = format!("nothing has come for {} s", self.stall.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "UNKNOWN", message)
        })?;
        let piece = piece.transpose().map_err(|_| {
            let message = "the body of the request ended too soon";
            Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
        })?;
        self.metrics.received.fetch_add(piece.as_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        Ok(piece)
    }

    /// Reads a body of at most `limit` bytes.
    pub(super) async fn small(mut self, limit: u64) -> Result<Bytes, Refusal> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if (bytes.len() + piece.len()) as u64 > limit {
                self.drain(DRAIN_LIMIT).await;
                let message = format!("a manifest has {limit} bytes at the most");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    /// Appends the body to an upload.
    pub(super) async fn append(mut self, mut slot: UploadGuard) -> Result<UploadGuard, Refusal> {
        let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES);
        let writer = blocking("cannot write the upload".to_owned(), move || {
            while let Some(piece) = pieces.blocking_recv() {
                if let Some(upload) = slot.as_mut() {
                    upload.write(&piece)?;
                }
            }
            Ok(slot)
        });
        let receive = async {
            while let Some(piece) = self.piece().await? {
                // The writer ends early only with an error, which says more.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            drop(sender);
            Ok(())
        };
        let (written, received) = tokio::join!(writer, receive);
        let slot = written?;
        received.map(|()| slot)
    }

    /// Reads what is left of the body, up to `left` bytes, and throws it away.
    pub(super) async fn drain(mut self, mut left: u64) {
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
