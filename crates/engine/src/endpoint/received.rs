//! A verified body on its way into a file, which is written while more bytes arrive.

use std::mem;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{EndpointError, Fault, Result, Verified};

/// How many bytes are gathered before they are written.
const GATHER: usize = 512 * 1024;
/// How many chunks are gathered at the most, however small.
const CHUNKS: usize = 1024;

/// A body that was received, and written but for its last chunks.
#[derive(Debug)]
pub struct Received<F> {
    /// What it was written to.
    pub file: F,
    /// What is still to be written.
    pub rest: Vec<Bytes>,
    /// How the body has ended.
    pub end: Result<()>,
}

/// A file that is at hand, or being written to.
enum State<F, E> {
    Idle(F),
    Writing(JoinHandle<std::result::Result<F, E>>),
}

impl<F: Send + 'static> Received<F> {
    /// Receives a body, which `write` adds to the file on threads that may block. An error is one of writing.
    pub async fn from<E>(
        mut body: Verified,
        file: F,
        write: fn(&mut F, &[Bytes]) -> std::result::Result<(), E>,
    ) -> Result<Self>
    where
        E: Into<EndpointError> + Send + 'static,
    {
        let mut state = State::Idle(file);
        let (mut rest, mut length): (Vec<Bytes>, usize) = (Vec::new(), 0);
        let end = loop {
            match body.next().await {
                Some(Ok(chunk)) => {
                    length += chunk.len();
                    rest.push(chunk);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
            if length >= GATHER || rest.len() >= CHUNKS {
                let mut file = state.settle().await?;
                let chunks = mem::take(&mut rest);
                length = 0;
                state = State::Writing(spawn_blocking(move || write(&mut file, &chunks).map(|()| file)));
            }
        };
        match (state.settle().await, end) {
            (Ok(file), end) => Ok(Self { file, rest, end }),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }
}

impl<F, E: Into<EndpointError>> State<F, E> {
    /// Waits for the write under way.
    async fn settle(self) -> Result<F> {
        match self {
            Self::Idle(file) => Ok(file),
            Self::Writing(write) => match write.await {
                Ok(result) => result.map_err(Into::into),
                Err(stopped) => Err(EndpointError::new(Fault::Other, stopped)),
            },
        }
    }
}
