//! Many image directories below one folder, which share what they have in common.
//!
//! Each directory is an image of its own, as `dir:` has it. A blob that one of them has received in this run is
//! linked into the others instead of being fetched again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{DirSink, Scaffolds, TransportError};
use hod_engine::endpoint::{LocalFile, Place, Placement, Prefix, Result, Sink, Verified, read_ahead};
use hod_oci::{Descriptor, Digest, Graph, RepositoryName, Tag};

/// A folder for image directories. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct DirTree {
    root: PathBuf,
    /// Files that were received and checked in this run.
    received: Arc<Mutex<HashMap<Digest, PathBuf>>>,
    scaffolds: Scaffolds,
}

/// One image directory of a folder.
#[derive(Debug)]
pub struct DirTreeSink {
    image: DirSink,
    place: Place,
    tree: DirTree,
}

impl DirTree {
    /// The folder at a path, which is made with its first image.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), received: Arc::default(), scaffolds: Scaffolds::default() }
    }

    /// An image directory below the folder, made as [`DirSink::open`] makes it.
    pub fn sink(&self, path: &Path) -> super::Result<DirTreeSink> {
        let image = self.scaffolds.dir(path)?;
        if let Some(other) = hod_io::fs::other_spelling(path)? {
            return Err(TransportError::Alike { path: path.to_owned(), other });
        }
        let name = path.strip_prefix(&self.root).unwrap_or(path);
        let place = Place::folder(&self.root.display().to_string(), &name.display().to_string());
        Ok(DirTreeSink { image, place, tree: self.clone() })
    }
}

impl DirTreeSink {
    fn keep(&self, content: &Descriptor) {
        let mut received = self.tree.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.entry(content.digest).or_insert_with(|| self.image.path_of(content));
    }
}

#[async_trait]
impl Sink for DirTreeSink {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, graph: &Graph, tags: &[Tag]) -> Result<bool> {
        self.image.published(graph, tags).await
    }

    fn holds_foreign_layers(&self) -> bool {
        true
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        self.image.contains(content).await
    }

    async fn adopt(&self, content: &Descriptor, _: Option<&RepositoryName>) -> Result<Option<Placement>> {
        let file = {
            let received = self.tree.received.lock().unwrap_or_else(PoisonError::into_inner);
            received.get(&content.digest).cloned()
        };
        let Some(file) = file.and_then(|path| hod_io::fs::open_plain(&path).ok()) else { return Ok(None) };
        let bytes = file.try_clone()?;
        // It was written in this run, and its bytes were checked then.
        if let Some(placed) = self.image.link(content, LocalFile::known(file)).await? {
            return Ok(Some(placed));
        }
        let body = Verified::new(content, Prefix::none(content.digest.algorithm()), read_ahead(bytes, content.size));
        self.image.put(content, body).await.map(Some)
    }

    async fn link(&self, content: &Descriptor, file: LocalFile) -> Result<Option<Placement>> {
        self.image.link(content, file).await
    }

    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        self.image.prefix(content).await
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        let placed = self.image.put(content, body).await?;
        if !content.media_type.is_manifest() {
            self.keep(content);
        }
        Ok(placed)
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        self.image.publish(root, bytes, tags).await
    }

    async fn keep_signatures(&self, manifest: &Digest, is_root: bool, signatures: &[Bytes]) -> Result<bool> {
        self.image.keep_signatures(manifest, is_root, signatures).await
    }
}
