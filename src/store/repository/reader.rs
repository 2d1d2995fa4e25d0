//! Content of a store as a stream.

use std::io::{Seek as _, SeekFrom};

use crate::endpoint::{BlobReader, read_ahead};
use crate::oci::Digest;
use crate::store::{Result, Store, StoreError};

/// Opens content at an offset. Must be called on a runtime.
pub(super) fn open(store: &Store, digest: &Digest, size: u64, offset: u64) -> Result<BlobReader> {
    let mut file = store.open_blob(digest)?;
    let found = file.metadata()?.len();
    if found != size {
        return Err(StoreError::Size { path: file.path().to_owned(), found, expected: size });
    }
    file.seek(SeekFrom::Start(offset))?;
    Ok(read_ahead(file, size.saturating_sub(offset)))
}
