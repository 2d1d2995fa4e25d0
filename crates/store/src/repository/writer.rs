//! A verified body on its way into a partial file, which is written while more bytes arrive.

use std::mem;

use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use tokio::task::{self, JoinHandle};
use tokio::time;

use super::{Ingest, Parked, begin, blocking};
use crate::ingest::POLL;
use crate::{Store, StoreError};
use hod_engine::endpoint::{EndpointError, Fault, Mismatch, Placed, Result, Verified};
use hod_oci::Descriptor;

/// How many bytes are gathered before they are written.
const GATHER: usize = 512 * 1024;
/// How many chunks are gathered at the most, however small.
const CHUNKS: usize = 1024;

/// Writes a body to the store, to be committed there later.
///
/// Bytes that turn out to be wrong are thrown away; whatever else goes wrong, they are kept.
pub(super) async fn receive(
    store: &Store,
    content: &Descriptor,
    parked: Option<Parked>,
    mut body: Verified,
) -> Result<Placed> {
    let Some(ingest) = open(store, content, parked, body.start()).await? else {
        return Ok(Placed::AlreadyThere);
    };
    let mut writer = Writer { ingest: State::Idle(Box::new(ingest)), gathered: Vec::new(), length: 0 };
    loop {
        match body.next().await {
            Some(Ok(chunk)) => writer.gather(chunk).await?,
            Some(Err(error)) => {
                writer.abandon(is_wrong(&error)).await;
                return Err(error);
            }
            None => {
                writer.complete().await?;
                return Ok(Placed::Written);
            }
        }
    }
}

/// Takes the partial file as it was when its prefix was hashed, or an empty one where the body starts
/// at 0; `None` where the store has the content by now.
async fn open(store: &Store, content: &Descriptor, parked: Option<Parked>, start: u64) -> Result<Option<Ingest>> {
    let (digest, size) = (content.digest, content.size);
    if start == 0 {
        drop(parked);
        let Some(mut ingest) = begin(store, digest, size).await? else { return Ok(None) };
        return blocking(move || ingest.restart().map(|()| Some(ingest))).await;
    }
    let mut parked = parked.ok_or(StoreError::Overtaken(digest))?;
    loop {
        let store = store.clone();
        let resumed;
        (parked, resumed) = blocking(move || {
            let resumed = if store.has(&digest, size)? { None } else { Some(parked.resume()?) };
            Ok((parked, resumed))
        })
        .await?;
        match resumed {
            None => return Ok(None),
            Some(true) => break,
            Some(false) => time::sleep(POLL).await,
        }
    }
    let ingest = parked.into_ingest();
    if ingest.written() == start { Ok(Some(ingest)) } else { Err(StoreError::Overtaken(digest).into()) }
}

/// Whether the bytes themselves are wrong, and not only too few.
fn is_wrong(error: &EndpointError) -> bool {
    error.fault() == Fault::Corrupt && !matches!(error.cause().downcast_ref(), Some(Mismatch::Short { .. }))
}

struct Writer {
    ingest: State,
    gathered: Vec<Bytes>,
    length: usize,
}

enum State {
    Idle(Box<Ingest>),
    Writing(JoinHandle<crate::Result<Ingest>>),
    /// A write has failed, and said so.
    Failed,
}

impl Writer {
    async fn gather(&mut self, chunk: Bytes) -> Result<()> {
        self.length += chunk.len();
        self.gathered.push(chunk);
        if self.length < GATHER && self.gathered.len() < CHUNKS {
            return Ok(());
        }
        let (mut ingest, chunks) = self.settle().await?;
        self.ingest = State::Writing(task::spawn_blocking(move || {
            ingest.write_chunks(&chunks)?;
            Ok(ingest)
        }));
        Ok(())
    }

    async fn complete(mut self) -> Result<()> {
        let (mut ingest, chunks) = self.settle().await?;
        blocking(move || {
            ingest.write_chunks(&chunks)?;
            ingest.commit()
        })
        .await
    }

    async fn abandon(mut self, wrong: bool) {
        // The body's error is the one to report, whatever happens here.
        let Ok((mut ingest, chunks)) = self.settle().await else { return };
        let _ = blocking(move || if wrong { ingest.discard() } else { ingest.write_chunks(&chunks) }).await;
    }

    /// Waits for the write under way; hands out the file and what is to be written next.
    async fn settle(&mut self) -> Result<(Ingest, Vec<Bytes>)> {
        self.length = 0;
        let chunks = mem::take(&mut self.gathered);
        match mem::replace(&mut self.ingest, State::Failed) {
            State::Idle(ingest) => Ok((*ingest, chunks)),
            State::Writing(write) => match write.await {
                Ok(result) => Ok((result?, chunks)),
                Err(stopped) => Err(EndpointError::new(Fault::Other, stopped)),
            },
            State::Failed => Err(EndpointError::new(Fault::Other, "an earlier write failed")),
        }
    }
}
