//! Files that hold content, whatever place they are in.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fs_err as fs;

use super::TransportError;
use hod_engine::endpoint::{BlobReader, LocalFile, Result, read_ahead};
use hod_io::fs::{ColdFile, open_plain};
use hod_oci::{Descriptor, Digest, Hasher, Manifest, MediaType};

/// Opens the file that holds some content of a place at an offset.
pub(super) async fn open_file(place: &Path, path: PathBuf, content: &Descriptor, offset: u64) -> Result<BlobReader> {
    use std::io::{Seek as _, SeekFrom};
    let (digest, size) = (content.digest, content.size);
    let place = place.to_owned();
    let file = blocking(move || {
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TransportError::Absent { path: place, digest });
            }
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata()?.len();
        if found != size {
            return Err(TransportError::Size { path, found, expected: size });
        }
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    })
    .await?;
    Ok(read_ahead(file, size.saturating_sub(offset)))
}

/// How long a file is, where it is there.
pub(super) async fn file_size(path: PathBuf) -> Result<Option<u64>> {
    blocking(move || match fs::metadata(&path) {
        Ok(found) => Ok(found.is_file().then_some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TransportError::from(error)),
    })
    .await
}

/// The bytes of a manifest with what they are, after a check of their digest.
pub(super) fn described(path: PathBuf, digest: Digest, bytes: Bytes) -> super::Result<(Descriptor, Bytes)> {
    let found = Digest::of(digest.algorithm(), &bytes);
    if found != digest {
        return Err(TransportError::Corrupt { path, expected: Box::new(digest), found: Box::new(found) });
    }
    let manifest =
        Manifest::parse(&MediaType::parse(""), &bytes).map_err(|source| TransportError::Manifest { path, source })?;
    Ok((Descriptor::new(manifest.media_type, digest, bytes.len() as u64), bytes))
}

/// Whether a file of that length is there. Files get their names only after their bytes were checked.
pub(super) fn has(path: &Path, size: u64) -> super::Result<bool> {
    Ok(plain_file(path)?.is_some_and(|found| found.len() == size))
}

/// Whether there is a file, of whatever length: manifests may lie about that.
pub(super) fn is_there(path: &Path) -> super::Result<bool> {
    Ok(plain_file(path)?.is_some())
}

fn plain_file(path: &Path) -> super::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata).filter(Metadata::is_file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The file at a path, for whoever wants to link it; `None` where there is none. Its bytes are not known.
pub(super) async fn local_file(path: PathBuf) -> Result<Option<LocalFile>> {
    blocking(move || match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(LocalFile::new(open_plain(&path)?))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    })
    .await
}

/// Whether a file is there and holds exactly that content.
pub(super) async fn holds(content: &Descriptor, path: PathBuf) -> Result<bool> {
    let digest = content.digest;
    blocking(move || {
        if !is_there(&path)? {
            return Ok(false);
        }
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.read(ColdFile::new(open_plain(&path)?))?;
        Ok(hasher.finish() == digest)
    })
    .await
}

/// Runs file work where it may take its time.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> super::Result<T> + Send + 'static) -> Result<T> {
    hod_engine::endpoint::blocking(work).await
}
