//! Something to read as a stream of chunks, one read ahead of whoever takes them.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::task::{self, JoinHandle};

use super::{BlobReader, EndpointError, Fault, Result, read_chunk};

/// How much is read at once.
const CHUNK: usize = 512 * 1024;

/// A reader and how much of it is still to be read.
struct Rest<R> {
    reader: R,
    bytes: u64,
}

/// Reads `bytes` bytes from where the reader stands. One that ends too soon ends the stream too.
///
/// Must be called on a runtime, whose threads for blocking work do the reading.
pub fn read_ahead(reader: impl Read + Send + 'static, bytes: u64) -> BlobReader {
    stream::unfold(Some(Rest { reader, bytes }.ahead()), next).boxed()
}

impl<R: Read + Send + 'static> Rest<R> {
    fn read(mut self) -> io::Result<(Bytes, Self)> {
        let length = self.bytes.min(CHUNK as u64);
        let chunk = read_chunk(&mut self.reader, length)?;
        self.bytes = if chunk.is_empty() { 0 } else { self.bytes - chunk.len() as u64 };
        Ok((chunk, self))
    }

    fn ahead(self) -> JoinHandle<io::Result<(Bytes, Self)>> {
        task::spawn_blocking(|| self.read())
    }
}

type Ahead<R> = Option<JoinHandle<io::Result<(Bytes, Rest<R>)>>>;

async fn next<R: Read + Send + 'static>(ahead: Ahead<R>) -> Option<(Result<Bytes>, Ahead<R>)> {
    match ahead?.await {
        Ok(Ok((chunk, _))) if chunk.is_empty() => None,
        Ok(Ok((chunk, rest))) => Some((Ok(chunk), (rest.bytes > 0).then(|| rest.ahead()))),
        Ok(Err(error)) => Some((Err(error.into()), None)),
        Err(stopped) => Some((Err(EndpointError::new(Fault::Other, stopped)), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_are_what_was_read() {
        let content: Vec<u8> = (0..=250).cycle().take(3 * CHUNK + 17).collect();
        for (bytes, expected) in [(content.len(), content.len()), (5, 5), (0, 0), (content.len() + 9, content.len())] {
            let chunks: Vec<Bytes> =
                read_ahead(io::Cursor::new(content.clone()), bytes as u64).map(|chunk| chunk.unwrap()).collect().await;
            assert!(chunks.concat() == content[..expected], "{bytes}");
        }
    }
}
