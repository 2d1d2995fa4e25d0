//! Content of a store as a stream.

use crate::{Result, Store, StoreError};
use hod_engine::endpoint::{BlobReader, read_ahead};
use hod_io::fs::ColdFile;
use hod_oci::Digest;

/// Opens content at an offset. Must be called on a runtime.
pub(super) fn open(store: &Store, digest: &Digest, size: u64, offset: u64) -> Result<BlobReader> {
    let file = store.open_blob(digest)?;
    let found = file.metadata()?.len();
    if found != size {
        return Err(StoreError::Size { path: file.path().to_owned(), found, expected: size });
    }
    Ok(read_ahead(ColdFile::at(file, offset), size.saturating_sub(offset)))
}
