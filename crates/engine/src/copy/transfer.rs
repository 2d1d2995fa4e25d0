//! Moving the bytes of one content, however often the connection breaks.
//!
//! ```text
//! source.open(offset) ─▶ Resumed (reopens where it broke) ─▶ Verified (hashes, bounds) ─▶ sink.put
//! ```
//!
//! Inside one `put` a broken reader is reopened at the byte where it stopped. A `put` that fails as
//! a whole starts again from what the sink has kept. A sink that finds out digests by itself is left to do so, until it
//! refuses what it was sent: then the bytes are hashed here as well, to tell which end is wrong.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::retry::{Failures, Trial};
use super::{CopyError, Engine, Side};
use crate::endpoint::{BlobReader, EndpointError, Fault, Mismatch, Placement, Sink, Source, Verified};
use crate::observe::Event;
use hod_oci::Descriptor;

/// Bytes that have to arrive between two breaks for patience to begin anew: a server that cuts each
/// connection is used as long as it serves, and one that sends a byte at a time is not.
const PROGRESS: u64 = 1024 * 1024;
/// Content up to this size, in bytes, is hashed here whatever the sink does: it costs nothing.
const SMALL: u64 = 1024 * 1024;

/// How far a transfer has come, and whether its reader has failed for good.
struct Progress {
    position: AtomicU64,
    source_failed: AtomicBool,
    /// Whether the digest is left to the sink.
    is_left_to_sink: bool,
    /// Ends, for those who watch, as soon as bytes come again.
    trial: Arc<Trial>,
}

impl Engine {
    /// Moves content from source to sink, with patience.
    pub(super) async fn transfer(
        &self,
        source: &Arc<dyn Source>,
        sink: &dyn Sink,
        content: &Descriptor,
    ) -> Result<Placement, CopyError> {
        let trial = Arc::new(self.retry.trial());
        let mut failures = Failures::default();
        let mut counted = None;
        let mut may_be_left = !source.place().is_remote() && content.size > SMALL;
        let mut refused = None;
        let mut content = Cow::Borrowed(content);
        loop {
            let is_left = may_be_left && sink.finds_digests();
            let progress = Arc::new(Progress {
                position: AtomicU64::new(0),
                source_failed: AtomicBool::new(false),
                is_left_to_sink: is_left,
                trial: trial.clone(),
            });
            let mut error = match self.attempt(source, sink, &content, &progress, &mut counted).await {
                Ok(placed) => {
                    self.retry.worked(&trial);
                    return Ok(placed);
                }
                Err(error) => error,
            };
            let lying = error.fault() == Fault::Corrupt;
            let mut from_source = lying || progress.source_failed.load(Ordering::Relaxed);
            if is_left && matches!(error.fault(), Fault::Rejected | Fault::Corrupt) {
                may_be_left = false;
                refused = Some(error);
                continue;
            }
            // A second time the length is the source's own.
            if matches!(content, Cow::Borrowed(_))
                && let Some(corrected) = self.corrected(&**source, &content, &error).await
            {
                content = Cow::Owned(corrected);
                continue;
            }
            // What comes only once cannot be hashed now.
            if let Some(first) = refused.take_if(|_| from_source && !lying) {
                (error, from_source) = (first, false);
            }
            let (side, place) =
                if from_source { (Side::Source, source.place()) } else { (Side::Destination, sink.place()) };
            // The reader has tried its own faults; and local bytes do not get better by waiting.
            let final_fault = if lying { !place.is_remote() } else { from_source };
            let what = format!("{} {side} {place}", content.digest);
            let gave_up = if final_fault {
                Err(error)
            } else {
                self.retry.pause(&trial, (&what, place), &mut failures, error).await
            };
            if let Err(error) = gave_up {
                self.observer.on(&Event::Dropped { digest: &content.digest });
                if side == Side::Source {
                    self.failed.note(place, &content, &error);
                }
                return Err(CopyError::content(&content, side, place, error));
            }
        }
    }

    /// One `put`. `counted` is the position up to which the observer has heard of bytes.
    async fn attempt(
        &self,
        source: &Arc<dyn Source>,
        sink: &dyn Sink,
        content: &Descriptor,
        progress: &Arc<Progress>,
        counted: &mut Option<u64>,
    ) -> Result<Placement, EndpointError> {
        let prefix = sink.prefix(content).await?;
        let offset = prefix.length();
        match *counted {
            None => self.observer.on(&Event::Begun { content, offset }),
            Some(position) if position > offset => {
                self.observer.on(&Event::Rewound { digest: &content.digest, bytes: position - offset });
            }
            Some(_) => {}
        }
        progress.position.store(offset, Ordering::Relaxed);
        let reader = self.resumed(source.clone(), content.clone(), offset, progress.clone());
        let body = if progress.is_left_to_sink && offset == 0 {
            Verified::left_to_sink(content, reader)
        } else {
            Verified::new(content, prefix, reader)
        };
        let placed = sink.put(content, body).await;
        *counted = Some(progress.position.load(Ordering::Relaxed));
        placed
    }

    /// The content's bytes from `offset`, reopened wherever they break off.
    fn resumed(
        &self,
        source: Arc<dyn Source>,
        content: Descriptor,
        offset: u64,
        progress: Arc<Progress>,
    ) -> BlobReader {
        let state = Resumed {
            engine: self.clone(),
            source,
            content,
            progress,
            position: offset,
            broke_at: offset,
            failures: Failures::default(),
            reader: None,
        };
        stream::unfold(Some(state), |state| async move {
            let mut state = state?;
            match state.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(state))),
                Ok(None) => None,
                Err(error) => {
                    state.progress.source_failed.store(true, Ordering::Relaxed);
                    Some((Err(error), None))
                }
            }
        })
        .boxed()
    }
}

struct Resumed {
    engine: Engine,
    source: Arc<dyn Source>,
    content: Descriptor,
    progress: Arc<Progress>,
    position: u64,
    /// Where it broke off last, or where it began.
    broke_at: u64,
    failures: Failures,
    reader: Option<BoxStream<'static, Result<Bytes, EndpointError>>>,
}

impl Resumed {
    /// The next chunk, or `None` at the end of the content.
    async fn next(&mut self) -> Result<Option<Bytes>, EndpointError> {
        loop {
            match self.advance().await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => {
                    self.reader = None;
                    if self.position - self.broke_at >= PROGRESS {
                        self.failures = Failures::default();
                    }
                    self.broke_at = self.position;
                    if !self.source.place().is_remote() || error.fault() == Fault::Corrupt {
                        return Err(error);
                    }
                    let place = self.source.place();
                    let what = format!("{} from {place}", self.content.digest);
                    let trial = &self.progress.trial;
                    self.engine.retry.pause(trial, (&what, place), &mut self.failures, error).await?;
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, EndpointError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None if self.position == self.content.size => return Ok(None),
            None => self.reader.insert(self.source.open(&self.content, self.position).await?),
        };
        let Some(chunk) = reader.next().await.transpose()? else {
            if self.position >= self.content.size {
                return Ok(None);
            }
            let (digest, size, got) = (self.content.digest, self.content.size, self.position);
            // A whole body: the length is wrong, and not the line.
            let is_whole = matches!(self.source.size(&self.content).await, Ok(Some(whole)) if whole == got);
            let fault = if is_whole { Fault::Corrupt } else { Fault::Unreachable };
            return Err(EndpointError::new(fault, Mismatch::Short { digest, size, got }));
        };
        self.progress.trial.worked();
        // More than was announced is not progress; `Verified` refuses it.
        let moved = (chunk.len() as u64).min(self.content.size.saturating_sub(self.position));
        self.position += chunk.len() as u64;
        self.progress.position.store(self.position, Ordering::Relaxed);
        self.engine.observer.on(&Event::Moved { digest: &self.content.digest, bytes: moved });
        Ok(Some(chunk))
    }
}
