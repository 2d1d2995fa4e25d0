//! A file as a stream of chunks, one read ahead of whoever takes them.

use std::io::{self, Read as _};

use bytes::Bytes;
use fs_err as fs;
use futures_util::stream::{self, StreamExt as _};
use tokio::task::{self, JoinHandle};

use super::{BlobReader, EndpointError, Fault, Result};

/// How much is read at once.
const CHUNK: usize = 512 * 1024;

/// A file and how much of it is still to be read.
struct Rest {
    file: fs::File,
    bytes: u64,
}

/// Reads `bytes` bytes from where the file stands. A file that ends too soon ends the stream too.
///
/// Must be called on a runtime.
pub fn read_file(file: fs::File, bytes: u64) -> BlobReader {
    stream::unfold(Some(Rest { file, bytes }.ahead()), next).boxed()
}

impl Rest {
    fn read(mut self) -> io::Result<(Bytes, Self)> {
        let length = self.bytes.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(usize::try_from(length).unwrap_or(CHUNK));
        (&mut self.file).take(length).read_to_end(&mut chunk)?;
        self.bytes = if chunk.is_empty() { 0 } else { self.bytes - chunk.len() as u64 };
        Ok((chunk.into(), self))
    }

    fn ahead(self) -> JoinHandle<io::Result<(Bytes, Self)>> {
        task::spawn_blocking(|| self.read())
    }
}

type Ahead = Option<JoinHandle<io::Result<(Bytes, Rest)>>>;

async fn next(ahead: Ahead) -> Option<(Result<Bytes>, Ahead)> {
    match ahead?.await {
        Ok(Ok((chunk, _))) if chunk.is_empty() => None,
        Ok(Ok((chunk, rest))) => Some((Ok(chunk), (rest.bytes > 0).then(|| rest.ahead()))),
        Ok(Err(error)) => Some((Err(error.into()), None)),
        Err(stopped) => Some((Err(EndpointError::new(Fault::Other, stopped)), None)),
    }
}
