//! The one `match` over all transports: a location becomes a source or a sink.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::admission::{Admission, AdmissionError, Guard};
use super::contents::{ContentsError, ContentsReader};
use super::list::StoredName;
use crate::bundle::{BundleError, OpenBundle};
use crate::endpoint::{EndpointError, Sink, Source};
use crate::oci::{DOCKER_IO, Graph, Reference, Tag, Version};
use crate::registry::{HostAccess, Registries};
use crate::store::{Store, StoreError};
use crate::transport::{
    DirSink, DirSource, DockerArchive, DockerArchiveSink, Layout, LayoutImage, Location, OciArchive, OciArchiveSink,
    StoreImage, TransportError,
};

/// An image to read.
#[derive(Clone)]
pub struct OpenSource {
    /// Where its content is.
    pub source: Arc<dyn Source>,
    /// Which manifest it is.
    pub version: Version,
    /// What there is of it, where the place knows it better than its manifests: stores and bundles hold
    /// indexes without all of their children.
    pub held: Option<Arc<Graph>>,
    /// What it has to show before it is taken.
    pub guard: Option<Guard>,
}

/// A place for an image.
#[derive(Clone)]
pub struct OpenSink {
    /// Where its content goes.
    pub sink: Arc<dyn Sink>,
    /// The tags that it gets there.
    pub tags: Vec<Tag>,
    /// Whether signatures come with it, where the place has room for them.
    pub signatures: bool,
}

/// Why a location cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The trust policy is against it.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// A store or bundle without the name of an image.
    #[error("{0} is a place with many images: name one of them after another colon")]
    NoImage(Box<Location>),
    /// A location that can only be read.
    #[error("{0} cannot be written: {1}")]
    ReadOnly(Box<Location>, &'static str),
    /// A directory, layout or archive.
    #[error("cannot open {location}")]
    Transport {
        /// The location.
        location: Box<Location>,
        /// Why not.
        #[source]
        source: TransportError,
    },
    /// A store.
    #[error("cannot open {location}")]
    Store {
        /// The location.
        location: Box<Location>,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// A bundle.
    #[error("cannot open {location}")]
    Bundle {
        /// The location.
        location: Box<Location>,
        /// Why not.
        #[source]
        source: BundleError,
    },
    /// What a store holds.
    #[error("cannot take the image from {location}")]
    Held {
        /// The location.
        location: Box<Location>,
        /// Why not.
        #[source]
        source: ContentsError<StoreError>,
    },
    /// What a bundle holds.
    #[error("cannot take the image from {location}")]
    HeldInBundle {
        /// The location.
        location: Box<Location>,
        /// Why not.
        #[source]
        source: ContentsError<EndpointError>,
    },
    /// An archive that could not be completed.
    #[error("cannot write the archive {path}")]
    Finish {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TransportError,
    },
}

/// All places of one side of a copy; what several images share is opened once.
#[derive(Debug)]
pub struct Places {
    registries: Registries,
    admission: Option<Arc<Admission>>,
    /// Whether signatures are left behind.
    unsigned: bool,
    stores: Mutex<HashMap<PathBuf, Store>>,
    oci_archives: Mutex<HashMap<PathBuf, OciArchiveSink>>,
    docker_archives: Mutex<HashMap<PathBuf, DockerArchiveSink>>,
}

type Result<T> = std::result::Result<T, OpenError>;

impl Places {
    /// Places where registries are dealt with in this way.
    pub fn new(registries: Registries) -> Self {
        let (admission, unsigned, stores, oci_archives, docker_archives) = Default::default();
        Self { registries, admission, unsigned, stores, oci_archives, docker_archives }
    }

    /// The same places, from which only what a trust policy allows is taken.
    #[must_use]
    pub fn admitting(self, admission: Arc<Admission>) -> Self {
        Self { admission: Some(admission), ..self }
    }

    /// The same places, to which images go with their signatures or without.
    #[must_use]
    pub fn with_signatures(self, with: bool) -> Self {
        Self { unsigned: !with, ..self }
    }

    /// The same places, where one registry is dealt with in a way of its own.
    #[must_use]
    pub fn with_access(&self, access: &HostAccess) -> Self {
        let admission = self.admission.clone();
        Self { admission, unsigned: self.unsigned, ..Self::new(self.registries.with_access(access)) }
    }

    /// Whether images come here with their signatures.
    pub const fn takes_signatures(&self) -> bool {
        !self.unsigned
    }

    /// The registries, for questions about more than one image.
    pub const fn registries(&self) -> &Registries {
        &self.registries
    }

    /// Opens a location to read an image from. Reads files: not for the async threads.
    pub fn source(&self, location: &Location) -> Result<OpenSource> {
        let guard = self.admission.as_ref().map(|admission| admission.rule(location)).transpose()?;
        Ok(OpenSource { guard, ..self.unguarded(location)? })
    }

    fn unguarded(&self, location: &Location) -> Result<OpenSource> {
        let failed = |source| OpenError::Transport { location: Box::new(location.clone()), source };
        let open = |source: Arc<dyn Source>, version| OpenSource { source, version, held: None, guard: None };
        Ok(match location {
            Location::Docker(reference) => {
                let host = reference.host.as_deref().unwrap_or(DOCKER_IO);
                open(Arc::new(self.registries.source(host, &reference.name)), reference.version())
            }
            Location::Dir(path) => {
                let source = DirSource::open(path).map_err(failed)?;
                let root = source.root();
                open(Arc::new(source), Version::Digest(root))
            }
            Location::Oci(path, image) => {
                let layout = Layout::open(path).map_err(failed)?;
                let root = layout.find(image.as_ref()).map_err(failed)?.digest;
                open(Arc::new(layout.source()), Version::Digest(root))
            }
            Location::OciArchive(path, image) => {
                let archive = OciArchive::open(path).map_err(failed)?;
                let root = archive.find(image.as_ref()).map_err(failed)?.digest;
                open(Arc::new(archive.source()), Version::Digest(root))
            }
            Location::DockerArchive(path, image) => {
                let archive = DockerArchive::open(path).map_err(failed)?;
                let source = archive.source(image.as_ref()).map_err(failed)?;
                let root = source.root();
                open(Arc::new(source), Version::Digest(root))
            }
            Location::Store(root, image) => {
                let image = image.as_ref().ok_or_else(|| OpenError::NoImage(Box::new(location.clone())))?;
                let store = self.store(location, root, false)?;
                let held = ContentsReader::new(&store).image(&stored_name(image), image.digest.as_ref());
                let held = held.map_err(|source| OpenError::Held { location: Box::new(location.clone()), source })?;
                let source = Arc::new(store.repository(&image.repository));
                OpenSource { source, version: image.version(), held: Some(Arc::new(held.graph)), guard: None }
            }
            Location::Bundle(path, image) => {
                let image = image.as_ref().ok_or_else(|| OpenError::NoImage(Box::new(location.clone())))?;
                let bundle = OpenBundle::open(path)
                    .map_err(|source| OpenError::Bundle { location: Box::new(location.clone()), source })?;
                let held = ContentsReader::new(&bundle).image(&stored_name(image), image.digest.as_ref());
                let held =
                    held.map_err(|source| OpenError::HeldInBundle { location: Box::new(location.clone()), source })?;
                let source = Arc::new(bundle.source(&path.display().to_string(), &image.repository));
                OpenSource { source, version: image.version(), held: Some(Arc::new(held.graph)), guard: None }
            }
        })
    }

    /// Opens a location to write an image to. Makes what is missing of it: not for the async threads.
    pub fn sink(&self, location: &Location) -> Result<OpenSink> {
        let failed = |source| OpenError::Transport { location: Box::new(location.clone()), source };
        let signatures = !self.unsigned;
        let open = |sink: Arc<dyn Sink>| OpenSink { sink, tags: Vec::new(), signatures };
        Ok(match location {
            Location::Docker(reference) => {
                let tags = reference.stored_tag().into_iter().collect();
                OpenSink { sink: Arc::new(self.repository(reference)), tags, signatures }
            }
            Location::Dir(path) => open(Arc::new(DirSink::open(path).map_err(failed)?)),
            Location::Oci(path, image) => {
                let name = layout_name(location, image.as_ref())?;
                let layout = Layout::create(path).map_err(failed)?;
                open(Arc::new(layout.sink(name).map_err(failed)?))
            }
            Location::OciArchive(path, image) => {
                let name = layout_name(location, image.as_ref())?;
                let mut archives = self.oci_archives.lock().unwrap_or_else(PoisonError::into_inner);
                let archive = match archives.get(path) {
                    Some(archive) => archive.clone(),
                    None => {
                        archives.entry(path.clone()).or_insert(OciArchiveSink::create(path).map_err(failed)?).clone()
                    }
                };
                open(Arc::new(archive.named(name)))
            }
            Location::DockerArchive(path, image) => {
                let archive = self.docker_archive(location, path)?;
                open(Arc::new(archive.named(image.as_ref()).map_err(failed)?))
            }
            Location::Store(root, image) => {
                let image = image.as_ref().ok_or_else(|| OpenError::NoImage(Box::new(location.clone())))?;
                let store = self.store(location, root, true)?;
                OpenSink { sink: Arc::new(store.repository(&image.repository)), tags: image.tags(), signatures }
            }
            Location::Bundle(..) => {
                return Err(OpenError::ReadOnly(Box::new(location.clone()), "bundles are made by hod pack"));
            }
        })
    }

    /// The archive of `docker save` at a path, begun by the first image that goes there.
    pub fn docker_archive(&self, location: &Location, path: &Path) -> Result<DockerArchiveSink> {
        let mut archives = self.docker_archives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(archive) = archives.get(path) {
            return Ok(archive.clone());
        }
        let failed = |source| OpenError::Transport { location: Box::new(location.clone()), source };
        let archive = DockerArchiveSink::create(path).map_err(failed)?;
        archives.insert(path.to_owned(), archive.clone());
        Ok(archive)
    }

    /// Completes the archives that were written to; only then are they there.
    pub fn finish(&self) -> Result<()> {
        let oci = std::mem::take(&mut *self.oci_archives.lock().unwrap_or_else(PoisonError::into_inner));
        for (path, archive) in oci {
            archive.finish().map_err(|source| OpenError::Finish { path, source })?;
        }
        let docker = std::mem::take(&mut *self.docker_archives.lock().unwrap_or_else(PoisonError::into_inner));
        for (path, archive) in docker {
            archive.finish().map_err(|source| OpenError::Finish { path, source })?;
        }
        Ok(())
    }

    fn repository(&self, reference: &Reference) -> crate::registry::Repository {
        self.registries.repository(reference.host.as_deref().unwrap_or(DOCKER_IO), &reference.name)
    }

    fn store(&self, location: &Location, root: &Path, write: bool) -> Result<Store> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(root) {
            return Ok(store.clone());
        }
        let store = if write { Store::create(root) } else { Store::open(root) };
        let store = store.map_err(|source| OpenError::Store { location: Box::new(location.clone()), source })?;
        stores.insert(root.to_owned(), store.clone());
        Ok(store)
    }
}

fn layout_name<'a>(location: &Location, image: Option<&'a LayoutImage>) -> Result<Option<&'a str>> {
    match image {
        None => Ok(None),
        Some(LayoutImage::Name(name)) => Ok(Some(name)),
        Some(LayoutImage::Position(_) | LayoutImage::Digest(_)) => {
            Err(OpenError::ReadOnly(Box::new(location.clone()), "a position or digest chooses an image that is there"))
        }
    }
}

fn stored_name(image: &StoreImage) -> StoredName {
    let tag = image.tag.clone().or_else(|| image.digest.is_none().then(Tag::latest));
    StoredName { repository: image.repository.clone(), tag }
}

impl std::fmt::Debug for OpenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSource").field("place", self.source.place()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for OpenSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSink").field("place", self.sink.place()).finish_non_exhaustive()
    }
}
