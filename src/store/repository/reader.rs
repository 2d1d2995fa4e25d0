//! A file as a stream of chunks, one read ahead of whoever takes them.

use std::io::{Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use fs_err as fs;
use futures_util::stream::{self, StreamExt as _};
use tokio::task::{self, JoinHandle};

use crate::endpoint::{BlobReader, EndpointError, Fault};
use crate::oci::Digest;
use crate::store::{Result, Store, StoreError};

/// How much is read at once.
const CHUNK: usize = 512 * 1024;

/// A file and how much of it is still to be read.
struct Rest {
    file: fs::File,
    bytes: u64,
}

/// Opens content at an offset. Must be called on a runtime.
pub(super) fn open(store: &Store, digest: &Digest, size: u64, offset: u64) -> Result<BlobReader> {
    let mut file = store.open_blob(digest)?;
    let found = file.metadata()?.len();
    if found != size {
        return Err(StoreError::Size { path: file.path().to_owned(), found, expected: size });
    }
    file.seek(SeekFrom::Start(offset))?;
    let rest = Rest { file, bytes: size.saturating_sub(offset) };
    Ok(stream::unfold(Some(rest.ahead()), next).boxed())
}

impl Rest {
    fn read(mut self) -> Result<(Bytes, Self)> {
        let length = self.bytes.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(usize::try_from(length).unwrap_or(CHUNK));
        (&mut self.file).take(length).read_to_end(&mut chunk)?;
        // A file that ends too soon ends the stream too.
        self.bytes = if chunk.is_empty() { 0 } else { self.bytes - chunk.len() as u64 };
        Ok((chunk.into(), self))
    }

    fn ahead(self) -> JoinHandle<Result<(Bytes, Self)>> {
        task::spawn_blocking(|| self.read())
    }
}

type Ahead = Option<JoinHandle<Result<(Bytes, Rest)>>>;

async fn next(ahead: Ahead) -> Option<(std::result::Result<Bytes, EndpointError>, Ahead)> {
    match ahead?.await {
        Ok(Ok((chunk, _))) if chunk.is_empty() => None,
        Ok(Ok((chunk, rest))) => Some((Ok(chunk), (rest.bytes > 0).then(|| rest.ahead()))),
        Ok(Err(error)) => Some((Err(error.into()), None)),
        Err(stopped) => Some((Err(EndpointError::new(Fault::Other, stopped)), None)),
    }
}
