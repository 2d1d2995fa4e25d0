//! `oci-archive:` — an OCI image layout in a tar file.
//!
//! Read in place. Written in one pass: each content's room is known from its descriptor, so several are
//! written at once, and the archive gets its name when all images are complete.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fs_err::os::unix::fs::FileExt as _;
use futures_util::StreamExt as _;

use super::archive::{NewTar, TarFile};
use super::files::{blocking, described};
use super::layout::{EntryName, Index, LAYOUT_FILE, check_layout_file};
use super::{LayoutImage, TransportError};
use hod_engine::endpoint::{BlobReader, Place, Placement, Result, Sink, Source, Verified};
use hod_oci::{Descriptor, Digest, Graph, Manifest, Reference, Tag, Version};

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A layout in a tar file.
#[derive(Debug, Clone)]
pub struct OciArchive {
    tar: TarFile,
    index: Index,
}

/// An archive to read images from.
#[derive(Debug)]
pub struct OciArchiveSource {
    archive: OciArchive,
    place: Place,
}

impl OciArchive {
    /// Opens an archive and reads what it lists.
    pub fn open(path: &Path) -> super::Result<Self> {
        Self::open_in(path, Path::new(super::SCRATCH))
    }

    /// The same, with another folder for what has to be expanded.
    pub fn open_in(path: &Path, scratch: &Path) -> super::Result<Self> {
        let tar = TarFile::open(path, "OCI", scratch)?;
        let missing = |name: &str| TransportError::NoArchive {
            path: path.to_owned(),
            kind: "OCI",
            problem: format!("it has no {name}"),
        };
        // hauler writes none, and skopeo reads it: the index is what counts.
        if let Some(layout) = tar.small("oci-layout")? {
            check_layout_file(&path.join("oci-layout"), &layout)?;
        }
        let index = tar.small("index.json")?.ok_or_else(|| missing("index.json"))?;
        let index = Index::parse(&path.join("index.json"), &index)?;
        Ok(Self { tar, index })
    }

    /// The images with their names, in the order of the index.
    pub fn images(&self) -> Vec<(Option<String>, Descriptor)> {
        self.index.images()
    }

    /// The image that is meant; without a name there must be exactly one.
    pub fn find(&self, image: Option<&LayoutImage>) -> super::Result<Descriptor> {
        self.index.find(self.tar.path(), image)
    }

    /// The image that is meant, with the name that it has among all.
    pub fn find_named(&self, image: &LayoutImage) -> super::Result<(Option<String>, Descriptor)> {
        self.index.find_named(self.tar.path(), Some(image))
    }

    /// This archive as a source.
    pub fn source(&self) -> OciArchiveSource {
        let place = Place::local(&self.tar.path().display().to_string(), None);
        OciArchiveSource { archive: self.clone(), place }
    }

    fn absent(&self, digest: Digest) -> TransportError {
        TransportError::Absent { path: self.tar.path().to_owned(), digest }
    }
}

#[async_trait]
impl Source for OciArchiveSource {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        let (archive, version) = (self.archive.clone(), version.clone());
        blocking(move || {
            let digest = match version {
                Version::Digest(digest) => digest,
                Version::Tag(tag) => archive.find(Some(&LayoutImage::Name(tag.as_str().into())))?.digest,
            };
            let name = blob_name(&digest);
            let bytes = archive.tar.small(&name)?.ok_or_else(|| archive.absent(digest))?;
            described(archive.tar.path().join(name), digest, bytes)
        })
        .await
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        let name = blob_name(&content.digest);
        let (start, size) = self.archive.tar.member(&name).ok_or_else(|| self.archive.absent(content.digest))?;
        if size != content.size {
            let path = self.archive.tar.path().join(name);
            return Err(TransportError::Size { path, found: size, expected: content.size }.into());
        }
        Ok(self.archive.tar.stream(start + offset, size.saturating_sub(offset)))
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        Ok(self.archive.tar.member(&blob_name(&content.digest)).map(|(_, size)| size))
    }
}

/// An archive to write images to. Clones are the same archive.
#[derive(Debug, Clone)]
pub struct OciArchiveSink {
    path: PathBuf,
    place: Place,
    name: Option<EntryName>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    tar: NewTar,
    index: Index,
    folders: HashSet<String>,
    /// Where the bytes of content go, and how many there is room for.
    places: HashMap<Digest, (u64, u64)>,
    complete: HashSet<Digest>,
}

impl OciArchiveSink {
    /// Begins an archive. There must be no file of that name, or an empty one, or a pipe, and then the archive is made
    /// in `scratch`.
    pub fn create(path: &Path, scratch: &Path) -> super::Result<Self> {
        let state = State {
            tar: NewTar::create(path, scratch)?,
            index: Index::default(),
            folders: HashSet::new(),
            places: HashMap::new(),
            complete: HashSet::new(),
        };
        let place = Place::local(&path.display().to_string(), None);
        Ok(Self { path: path.to_owned(), place, name: None, state: Arc::new(Mutex::new(state)) })
    }

    /// The same archive, for an image of that name.
    #[must_use]
    pub fn named(&self, name: Option<&str>) -> Self {
        Self { name: name.map(EntryName::of), ..self.clone() }
    }

    /// The same for an image whose complete name is known, which runtimes then give it.
    #[must_use]
    pub fn completed_by(self, complete: Option<&Reference>) -> Self {
        Self { name: self.name.map(|name| name.completed_by(complete)), ..self }
    }

    /// Completes the archive, which is there from now on.
    ///
    /// # Errors
    /// Where content of an image that failed is incomplete: then nothing is left of the archive.
    pub fn finish(&self) -> super::Result<()> {
        let mut state = self.lock();
        if let Some(digest) = state.places.keys().find(|digest| !state.complete.contains(*digest)) {
            return Err(TransportError::Absent { path: self.path.clone(), digest: *digest });
        }
        let index = state.index.bytes();
        state.tar.member("index.json", &index, 0o644)?;
        state.tar.member("oci-layout", LAYOUT_FILE, 0o644)?;
        state.tar.finish()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, digest: Digest, manifest: &Manifest) -> super::Result<()> {
        let state = self.lock();
        let mut blobs = manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer());
        match blobs.find(|blob| !state.complete.contains(&blob.digest)) {
            None => Ok(()),
            Some(blob) => {
                let (path, manifest) = (self.path.clone(), Box::new(digest));
                Err(TransportError::Incomplete { path, manifest, digest: blob.digest })
            }
        }
    }

    fn write_manifest(&self, content: &Descriptor, bytes: Bytes) -> super::Result<()> {
        let path = self.path.join(blob_name(&content.digest));
        let (_, bytes) = described(path.clone(), content.digest, bytes)?;
        let manifest =
            Manifest::parse(&content.media_type, &bytes).map_err(|source| TransportError::Manifest { path, source })?;
        self.check(content.digest, &manifest)?;
        let mut state = self.lock();
        let place = state.place(content)?;
        state.tar.handle()?.write_all_at(&bytes, place)?;
        state.complete.insert(content.digest);
        Ok(())
    }
}

impl State {
    /// Where content goes, the same place however often it is tried.
    fn place(&mut self, content: &Descriptor) -> super::Result<u64> {
        if let Some((place, room)) = self.places.get(&content.digest) {
            if *room == content.size {
                return Ok(*place);
            }
            let (path, digest) = (self.tar.path().to_owned(), content.digest);
            return Err(TransportError::NoRoom { path, digest, found: content.size, room: *room });
        }
        for folder in ["blobs/".to_owned(), format!("blobs/{}/", content.digest.algorithm().name())] {
            if self.folders.insert(folder.clone()) {
                self.tar.member(&folder, &[], 0o755)?;
            }
        }
        let place = self.tar.reserve(&blob_name(&content.digest), content.size, 0o644)?;
        self.places.insert(content.digest, (place, content.size));
        Ok(place)
    }
}

#[async_trait]
impl Sink for OciArchiveSink {
    fn place(&self) -> &Place {
        &self.place
    }

    /// Keeps places for all of an image, in its own order: which content comes first is a matter of chance.
    async fn published(&self, graph: &Graph, _: &[Tag]) -> Result<bool> {
        let (this, graph) = (self.clone(), graph.clone());
        blocking(move || {
            let mut state = this.lock();
            graph.blobs().into_iter().try_for_each(|blob| state.place(blob).map(drop))?;
            graph.manifests().into_iter().try_for_each(|node| state.place(&node.descriptor).map(drop))
        })
        .await?;
        Ok(false)
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        Ok(self.lock().complete.contains(&content.digest))
    }

    async fn put(&self, content: &Descriptor, mut body: Verified) -> Result<Placement> {
        if content.media_type.is_manifest() {
            let bytes = body.collect().await?;
            let (this, content) = (self.clone(), content.clone());
            blocking(move || this.write_manifest(&content, bytes)).await?;
            return Ok(Placement::Written);
        }
        let (mut place, handle) = {
            let mut state = self.lock();
            let handle = state.tar.handle()?;
            (state.place(content)?, Arc::new(handle))
        };
        while let Some(chunk) = body.next().await {
            let (chunk, handle) = (chunk?, handle.clone());
            let length = chunk.len() as u64;
            blocking(move || Ok(handle.write_all_at(&chunk, place)?)).await?;
            place += length;
        }
        self.lock().complete.insert(content.digest);
        Ok(Placement::Written)
    }

    /// Lists the image; the archive itself is there after [`OciArchiveSink::finish`].
    async fn publish(&self, root: &Descriptor, bytes: Bytes, _: &[Tag]) -> Result<()> {
        let (this, root) = (self.clone(), root.clone());
        blocking(move || {
            let root = Descriptor { size: bytes.len() as u64, ..root };
            this.write_manifest(&root, bytes)?;
            this.lock().index.set(this.name.as_ref(), &root);
            Ok(())
        })
        .await
    }
}
