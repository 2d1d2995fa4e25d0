//! A layer as the engine brings it: unpacked as it comes, on a thread of its own.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task;

use super::error::LayerError;
use hod_engine::endpoint::{EndpointError, Fault, Result, Verified};

/// Chunks that wait to be unpacked.
const QUEUE: usize = 8;

/// Works on a layer as it comes, on a thread that may block.
///
/// What fails cannot be tried again: something of it is in the tree.
pub(super) async fn unpack(
    mut body: Verified,
    work: impl FnOnce(&mut (dyn Read + Send)) -> std::result::Result<(), LayerError> + Send + 'static,
) -> Result<()> {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let mut chunks = Chunks { receiver, current: Bytes::new() };
    let unpacking = task::spawn_blocking(move || work(&mut chunks));
    let mut failed = None;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            failed = Some(error);
            io::Error::other("cannot read the content")
        });
        let ends = chunk.is_err();
        // Nobody receives where unpacking has ended with an error of its own.
        if sender.send(chunk).await.is_err() || ends {
            break;
        }
    }
    drop(sender);
    let unpacked = settled(unpacking).await;
    if let Some(error) = failed {
        return Err(final_error(error));
    }
    unpacked?;
    // What follows the end of a compressed layer counts for its digest, too.
    while let Some(chunk) = body.next().await {
        chunk.map_err(final_error)?;
    }
    Ok(())
}

type Unpacking = task::JoinHandle<std::result::Result<(), LayerError>>;

/// A failure that is not tried again.
fn final_error(error: EndpointError) -> EndpointError {
    EndpointError::new(Fault::Rejected, error)
}

async fn settled(unpacking: Unpacking) -> Result<()> {
    match unpacking.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(LayerError::Write { path, source })) if EndpointError::is_full(&source) => {
            Err(EndpointError::new(Fault::Full, LayerError::Write { path, source }))
        }
        Ok(Err(error)) => Err(EndpointError::new(Fault::Rejected, error)),
        Err(stopped) => Err(EndpointError::new(Fault::Other, stopped)),
    }
}

/// Chunks as a reader. It fails where they broke off, so that half a layer is not taken for a whole one.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(buffer.len());
        let chunk = self.current.split_to(count);
        buffer.get_mut(..count).unwrap_or_default().copy_from_slice(&chunk);
        Ok(count)
    }
}
