//! `oci:` — an OCI image layout (OCI image-spec, `image-layout.md`).
//!
//! ```text
//! oci-layout                       {"imageLayoutVersion":"1.0.0"}
//! index.json                       what the layout holds, by org.opencontainers.image.ref.name
//! blobs/<algorithm>/<hex>          all content, manifests too
//! ```
//!
//! `index.json` is replaced last, in one step, by one process at a time: `oci-layout` is the file that is
//! locked for it. Entries of other tools keep all that they have.

mod edit;
mod index;
mod sink;

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;

pub use edit::{SweepMode, SweepReceipt};
pub use sink::LayoutSink;

pub(super) use index::{EntryName, Index, LAYOUT_FILE, check_layout_file};

use super::archive::read_small;
use super::files::{blocking, described, file_size, local_file, open_file};
use super::scaffold::Made;
use super::{LayoutImage, TransportError};
use hod_engine::endpoint::{BlobReader, LocalFile, Place, Result, Source};
use hod_oci::{Descriptor, Digest, Version};

/// The most that is read of `oci-layout`, which has a few dozen bytes.
const LAYOUT_FILE_LIMIT: u64 = 64 * 1024;

/// A layout on disk.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
    /// Where content is, by algorithm.
    blobs: PathBuf,
}

/// A layout to read images from.
#[derive(Debug)]
pub struct LayoutSource {
    layout: Layout,
    place: Place,
}

impl Layout {
    /// Opens a layout that is there.
    pub fn open(path: &Path) -> super::Result<Self> {
        let layout = Self { path: path.to_owned(), blobs: path.join("blobs") };
        let file = path.join("oci-layout");
        match hod_io::fs::read_within(&file, LAYOUT_FILE_LIMIT) {
            Ok(bytes) => check_layout_file(&file, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(TransportError::LayoutFile { path: file, source: error.into() });
            }
            // hauler writes none, and skopeo reads it: the index is what counts.
            Err(error) if error.kind() == io::ErrorKind::NotFound && layout.blobs.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::NotADirectory => {
                return Err(TransportError::NoLayout(path.to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        layout.index()?;
        Ok(layout)
    }

    /// Opens a layout, or makes an empty one where nothing is.
    pub fn create(path: &Path) -> super::Result<Self> {
        Ok(Self::make(path, &mut Made::at(path))?.0)
    }

    /// The same, which notes what was made. As long as the lock is held, nobody takes the layout away.
    pub(super) fn make(path: &Path, made: &mut Made) -> super::Result<(Self, fs::File)> {
        // One at a time: others may be about to make the same layout.
        let lock = made.hold(hod_io::fs::lock)?;
        // What cannot be looked at is not absent: an index in its place would lose all images.
        let exists = |name: &str| fs::exists(path.join(name));
        if !exists("oci-layout")? {
            // Files beside a layout are none of its business; files in its places are somebody else's.
            if exists("index.json")? || exists("blobs")? {
                return Err(TransportError::Foreign(path.to_owned()));
            }
            made.leave()?;
            made.file(&path.join("oci-layout"), LAYOUT_FILE)?;
        }
        if !exists("index.json")? {
            made.folder(&path.join("blobs/sha256"))?;
            made.file(&path.join("index.json"), &Index::default().bytes())?;
        }
        Ok((Self::open(path)?, lock))
    }

    /// The same layout with its content elsewhere, as `ALGORITHM/HEX` below a folder that many layouts share.
    #[must_use]
    pub fn with_blobs_in(self, folder: Option<&Path>) -> Self {
        let blobs = folder.map_or(self.blobs, Path::to_owned);
        Self { path: self.path, blobs }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the layout holds, read anew.
    pub(super) fn index(&self) -> super::Result<Index> {
        let path = self.path.join("index.json");
        match read_small(&path) {
            Err(TransportError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(TransportError::NoLayout(self.path.clone()))
            }
            bytes => Index::parse(&path, &bytes?),
        }
    }

    /// The images with their names, in the order of the index.
    pub fn images(&self) -> super::Result<Vec<(Option<String>, Descriptor)>> {
        Ok(self.index()?.images())
    }

    /// The image that is meant; without a name there must be exactly one.
    pub fn find(&self, image: Option<&LayoutImage>) -> super::Result<Descriptor> {
        self.index()?.find(&self.path, image)
    }

    /// The image that is meant, with the name that it has among all.
    pub fn find_named(&self, image: &LayoutImage) -> super::Result<(Option<String>, Descriptor)> {
        self.index()?.find_named(&self.path, Some(image))
    }

    /// Where content is.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.algorithm().name()).join(digest.hex())
    }

    /// This layout as a source.
    pub fn source(&self) -> LayoutSource {
        LayoutSource { layout: self.clone(), place: Place::local(&self.path.display().to_string(), None) }
    }

    /// The bytes of a manifest, checked.
    pub fn manifest(&self, digest: &Digest) -> super::Result<(Descriptor, Bytes)> {
        let path = self.blob(digest);
        match read_small(&path) {
            Err(TransportError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(TransportError::Absent { path: self.path.clone(), digest: *digest })
            }
            bytes => described(path, *digest, bytes?),
        }
    }
}

#[async_trait]
impl Source for LayoutSource {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        let (layout, version) = (self.layout.clone(), version.clone());
        blocking(move || {
            let digest = match version {
                Version::Digest(digest) => digest,
                Version::Tag(tag) => layout.find(Some(&LayoutImage::Name(tag.as_str().into())))?.digest,
            };
            layout.manifest(&digest)
        })
        .await
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        open_file(&self.layout.path, self.layout.blob(&content.digest), content, offset).await
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        file_size(self.layout.blob(&content.digest)).await
    }

    async fn file(&self, content: &Descriptor) -> Result<Option<LocalFile>> {
        local_file(self.layout.blob(&content.digest)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_cannot_be_looked_at_is_not_replaced() {
        for name in ["oci-layout", "index.json"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            Layout::create(folder.path()).unwrap();
            fs::remove_file(&path).unwrap();
            // Not even root can look at it.
            fs_err::os::unix::fs::symlink(&path, &path).unwrap();
            let error = Layout::create(folder.path()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        }
    }
}
