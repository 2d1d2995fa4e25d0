//! `containers-storage:` — what podman, buildah and CRI-O keep, by way of those who own it.
//!
//! The storage has locks, drivers and id mappings that belong to its owner, so hod never touches its files. It asks
//! podman over the socket of its API where one listens; else it runs `podman`, else `skopeo`. Both move an archive of
//! an OCI layout through a folder that nobody else can read.

mod tool;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use tool::{Folder, Tools};

use super::files::blocking;
use super::{DaemonHost, DaemonTls, DockerDaemon, OciArchive, OciArchiveSink, StorageImage, TransportError};
use hod_engine::endpoint::{Place, Placement, Result, Sink, Source, Verified};
use hod_oci::{Descriptor, Digest, Graph, Tag};

/// A containers/storage, and how to come to it.
#[derive(Debug, Clone)]
pub struct ContainersStorage {
    /// Where a podman may listen that keeps its images where the machine's settings say.
    sockets: Vec<DaemonHost>,
    scratch: PathBuf,
}

/// A containers/storage to write one image to. It has the image when `publish` returns, and nothing of it before.
#[derive(Debug)]
pub(crate) struct ContainersStorageSink {
    archive: OciArchiveSink,
    image: StorageImage,
    folder: Arc<Folder>,
}

impl ContainersStorage {
    /// A storage whose podman may listen at `sockets`; archives go through the folder `scratch`.
    pub fn new(sockets: Vec<DaemonHost>, scratch: &Path) -> Self {
        Self { sockets, scratch: scratch.to_owned() }
    }

    /// A podman that answers. One that was told another root is not asked: its owner is whoever names that root.
    async fn daemon(&self, image: &StorageImage) -> Option<DockerDaemon> {
        if image.root.is_some() {
            return None;
        }
        for host in &self.sockets {
            let daemon = DockerDaemon::new(host.clone(), &DaemonTls::default(), &self.scratch);
            if let Ok(daemon) = daemon
                && daemon.answers().await
            {
                return Some(daemon);
            }
        }
        None
    }

    /// Takes an image's name away, and the image if it has no other. For threads that may wait.
    pub fn delete(image: &StorageImage) -> super::Result<()> {
        Tools::of(image).delete()
    }

    /// Takes an image out of the storage, with the digest of its manifest.
    pub async fn source(&self, image: &StorageImage) -> super::Result<(Arc<dyn Source>, Digest)> {
        if let Some(daemon) = self.daemon(image).await {
            let source = daemon.named_source(&image.wanted()).await?;
            let root = source.root();
            return Ok((Arc::new(source), root));
        }
        let (image, scratch) = (image.clone(), self.scratch.clone());
        let taken = tokio::task::spawn_blocking(move || {
            let folder = Folder::create(&scratch)?;
            let file = folder.file();
            Tools::of(&image).save(&file)?;
            // The file stays for as long as it is open.
            OciArchive::open_in(&file, &scratch)
        });
        let archive = taken.await.map_err(|stopped| TransportError::Io(std::io::Error::other(stopped)))??;
        let root = archive.find(None)?.digest;
        Ok((Arc::new(archive.source()), root))
    }

    /// The storage as the place for an image, which must have a name.
    pub async fn sink(&self, image: &StorageImage) -> super::Result<Arc<dyn Sink>> {
        let unnamed = |_| TransportError::Unsupported {
            kind: "a containers-storage",
            what: "an image that only its ID names: give it a name".to_owned(),
        };
        let name = image.reference().map_err(unnamed)?;
        if let Some(daemon) = self.daemon(image).await {
            return Ok(Arc::new(daemon.sink(&name)));
        }
        let folder = Arc::new(Folder::create(&self.scratch)?);
        let archive = OciArchiveSink::create(&folder.file(), &self.scratch)?.named(Some(&name.to_string()));
        Ok(Arc::new(ContainersStorageSink { archive, image: image.clone(), folder }))
    }
}

#[async_trait]
impl Sink for ContainersStorageSink {
    fn place(&self) -> &Place {
        self.archive.place()
    }

    async fn published(&self, graph: &Graph, _: &[Tag]) -> Result<bool> {
        if graph.root.manifest.media_type.is_index() {
            let (kind, what) = ("a containers-storage", "an image of several platforms: choose one".to_owned());
            return Err(TransportError::Unsupported { kind, what }.into());
        }
        Ok(false)
    }

    fn holds_foreign_layers(&self) -> bool {
        true
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        self.archive.contains(content).await
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        self.archive.put(content, body).await
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        self.archive.publish(root, bytes, tags).await?;
        let (archive, image, folder) = (self.archive.clone(), self.image.clone(), self.folder.clone());
        blocking(move || {
            archive.finish()?;
            Tools::of(&image).load(&folder.file())
        })
        .await
    }
}
