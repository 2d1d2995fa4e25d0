//! Opens a location as a source or a sink: the only `match` over all transports.

mod error;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

pub use error::OpenError;

use super::admission::{Admission, PendingAdmission};
use super::contents::ContentsReader;
use super::list::StoredName;
use super::signing::{SignAs, Signing, SigningError};
use hod_bundle::OpenBundle;
use hod_engine::endpoint::{Sink, Source};
use hod_oci::{DOCKER_IO, Digest, Graph, Platform, Reference, Tag, Version};
use hod_registry::{HostAccess, Registries};
use hod_store::Store;
use hod_transport::{
    ContainersStorage, DaemonHost, DaemonImage, DaemonTls, DirSource, DockerArchive, DockerArchiveSink, DockerDaemon,
    DockerDaemonSink, Layout, LayoutImage, Location, OciArchive, OciArchiveSink, SCRATCH, Scaffolds, StoreImage,
    TarballSource, TransportError,
};

/// An image to read.
#[derive(Clone)]
pub struct OpenSource {
    /// The source of its content.
    pub source: Arc<dyn Source>,
    /// Which manifest it is.
    pub version: Version,
    /// What there is of it, where the place knows it better than its manifests: stores and bundles hold
    /// indexes without all of their children.
    pub held: Option<Arc<Graph>>,
    /// What it has to show before it is taken.
    pub guard: Option<PendingAdmission>,
    /// True if the manifest was made up from an archive: then its digest means nothing elsewhere, and that layers are
    /// not compressed says nothing about the image.
    pub made_up: bool,
}

/// A place for an image.
#[derive(Clone)]
pub struct OpenSink {
    /// The sink for its content.
    pub sink: Arc<dyn Sink>,
    /// The tags that it gets there.
    pub tags: Vec<Tag>,
    /// True if signatures come with it, where the place has room for them.
    pub signatures: bool,
    /// The signer.
    pub signing: Option<SignAs>,
}

/// How places on this machine are dealt with.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// Where the daemon of `docker-daemon:` listens, as `DOCKER_HOST` has it.
    pub daemon: Option<String>,
    /// How it is spoken to over the network.
    pub daemon_tls: DaemonTls,
    /// Where podman may listen, to be asked for `containers-storage:`.
    pub storages: Vec<DaemonHost>,
    /// The directory for large temporary files.
    pub scratch: PathBuf,
    /// Where layouts keep their blobs, if not in themselves.
    pub shared_blobs: Option<PathBuf>,
    /// For which platform an image is that does not say so itself.
    pub platform: Platform,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            daemon: None,
            daemon_tls: DaemonTls::default(),
            storages: Vec::new(),
            scratch: SCRATCH.into(),
            shared_blobs: None,
            platform: Platform::native_linux(),
        }
    }
}

/// All places of one side of a copy; what several images share is opened once.
#[derive(Debug)]
pub struct Places {
    registries: Registries,
    local: LocalSettings,
    admission: Option<Arc<Admission>>,
    /// True if signatures are left behind.
    unsigned: bool,
    signing: Option<Signing>,
    /// The bundles that images are taken from.
    bundles: HashMap<PathBuf, OpenBundle>,
    stores: Mutex<HashMap<PathBuf, Store>>,
    opened_oci: Mutex<HashMap<PathBuf, OciArchive>>,
    opened_docker: Mutex<HashMap<PathBuf, DockerArchive>>,
    oci_archives: Mutex<HashMap<PathBuf, OciArchiveSink>>,
    docker_archives: Mutex<HashMap<PathBuf, DockerArchiveSink>>,
    scaffolds: Scaffolds,
}

type Result<T> = std::result::Result<T, OpenError>;

impl Places {
    /// Places where registries are dealt with in this way, and what is local as is usual.
    pub fn new(registries: Registries) -> Self {
        Self {
            registries,
            local: LocalSettings::default(),
            admission: None,
            unsigned: false,
            signing: None,
            bundles: HashMap::new(),
            stores: Mutex::default(),
            opened_oci: Mutex::default(),
            opened_docker: Mutex::default(),
            oci_archives: Mutex::default(),
            docker_archives: Mutex::default(),
            scaffolds: Scaffolds::default(),
        }
    }

    /// The same places, from which only what a trust policy allows is taken.
    #[must_use]
    pub fn admitting(self, admission: Arc<Admission>) -> Self {
        Self { admission: Some(admission), ..self }
    }

    /// The same places, to which images go without their signatures.
    #[must_use]
    pub fn without_signatures(self) -> Self {
        Self { unsigned: true, ..self }
    }

    /// The same places, for which images are signed by somebody.
    #[must_use]
    pub fn with_signing(self, signing: Option<Signing>) -> Self {
        Self { signing, ..self }
    }

    /// The same places, with a bundle. Bundles are not opened here: that would be without a look at who made them, which
    /// is for the command to take or to leave.
    #[must_use]
    pub fn with_bundle(mut self, path: &Path, bundle: OpenBundle) -> Self {
        self.bundles.insert(path.to_owned(), bundle);
        self
    }

    /// The same places, where one registry is dealt with in a way of its own, which `file` gives.
    #[must_use]
    pub fn with_access(&self, access: &HostAccess, file: &str) -> Self {
        let (admission, local, bundles) = (self.admission.clone(), self.local.clone(), self.bundles.clone());
        let registries = self.registries.with_access(access, file);
        Self { admission, local, bundles, unsigned: self.unsigned, ..Self::new(registries) }
    }

    /// Returns true if images come here with their signatures.
    pub const fn takes_signatures(&self) -> bool {
        !self.unsigned
    }

    /// The registries, for questions about more than one image.
    pub const fn registries(&self) -> &Registries {
        &self.registries
    }

    /// The same with other settings for what is local.
    #[must_use]
    pub fn with_local(self, local: LocalSettings) -> Self {
        Self { local, ..self }
    }

    /// Opens a location to read an image from. Reads files and waits for daemons: for threads of a runtime that may
    /// block.
    pub fn source(&self, location: &Location) -> Result<OpenSource> {
        let guard = self.admission.as_ref().map(|admission| admission.rule(location)).transpose()?;
        Ok(OpenSource { guard, ..self.unguarded(location)? })
    }

    /// The same for an image that an open layout has listed. Reads nothing of the layout.
    pub(crate) fn source_in(&self, layout: &Layout, location: &Location, root: Digest) -> Result<OpenSource> {
        let guard = self.admission.as_ref().map(|admission| admission.rule(location)).transpose()?;
        let version = Version::Digest(root);
        Ok(OpenSource { source: Arc::new(layout.source()), version, held: None, guard, made_up: false })
    }

    /// The layout in a folder, with its blobs where they are kept.
    pub fn layout(&self, path: &Path) -> std::result::Result<Layout, TransportError> {
        Ok(Layout::open(path)?.with_blobs_in(self.local.shared_blobs.as_deref()))
    }

    fn unguarded(&self, location: &Location) -> Result<OpenSource> {
        let failed = |source| OpenError::Transport { location: Box::new(location.clone()), source };
        let open =
            |source: Arc<dyn Source>, version| OpenSource { source, version, held: None, guard: None, made_up: false };
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
                let layout = self.layout(path).map_err(failed)?;
                let root = layout.find(image.as_ref()).map_err(failed)?.digest;
                open(Arc::new(layout.source()), Version::Digest(root))
            }
            Location::OciArchive(path, image) => {
                let archive = self.oci_archive(path).map_err(failed)?;
                let root = archive.find(image.as_ref()).map_err(failed)?.digest;
                open(Arc::new(archive.source()), Version::Digest(root))
            }
            Location::DockerArchive(path, image) => {
                let archive = self.opened_docker(path).map_err(failed)?;
                let source = archive.source(image.as_ref()).map_err(failed)?;
                let root = source.root();
                OpenSource { made_up: true, ..open(Arc::new(source), Version::Digest(root)) }
            }
            Location::DockerDaemon(image) => {
                let daemon = self.daemon().map_err(failed)?;
                let source = Handle::current().block_on(daemon.source(image)).map_err(failed)?;
                let root = source.root();
                OpenSource { made_up: true, ..open(Arc::new(source), Version::Digest(root)) }
            }
            Location::ContainersStorage(image) => {
                let (source, root) = Handle::current().block_on(self.storage().source(image)).map_err(failed)?;
                OpenSource { made_up: true, ..open(source, Version::Digest(root)) }
            }
            Location::Tarball(files) => {
                let source = TarballSource::open(files, &self.local.platform, &self.local.scratch).map_err(failed)?;
                let root = source.root();
                open(Arc::new(source), Version::Digest(root))
            }
            Location::Store(path, image) | Location::Bundle(path, image) => {
                let image = image.as_ref().ok_or_else(|| OpenError::NoImage(Box::new(location.clone())))?;
                self.held(location, path, image)?
            }
        })
    }

    /// An image of a store or bundle, with what there is of it.
    fn held(&self, location: &Location, path: &Path, image: &StoreImage) -> Result<OpenSource> {
        let (source, held): (Arc<dyn Source>, _) = if let Location::Store(..) = location {
            let store = self.store(location, path, false)?;
            let held = ContentsReader::new(&store).image(&stored_name(image), image.digest.as_ref());
            let held = held.map_err(|source| OpenError::Held { location: Box::new(location.clone()), source })?;
            (Arc::new(store.repository(&image.repository)), held)
        } else {
            let bundle = self.bundles.get(path).ok_or_else(|| OpenError::Bundle(Box::new(location.clone())))?;
            let held = ContentsReader::new(bundle).image(&stored_name(image), image.digest.as_ref());
            let held =
                held.map_err(|source| OpenError::HeldInBundle { location: Box::new(location.clone()), source })?;
            (Arc::new(bundle.source(&path.display().to_string(), &image.repository)), held)
        };
        let held = Some(Arc::new(held.graph));
        Ok(OpenSource { source, version: image.version(), held, guard: None, made_up: false })
    }

    /// Opens a location to write an image to. Makes what is missing of it: not for the async threads.
    pub fn sink(&self, location: &Location) -> Result<OpenSink> {
        self.sink_called(location, None)
    }

    /// The same for an image whose complete name is known.
    pub fn sink_called(&self, location: &Location, complete: Option<&Reference>) -> Result<OpenSink> {
        let failed = |source| OpenError::Transport { location: Box::new(location.clone()), source };
        let (signatures, signing) = (!self.unsigned, self.signing(location)?);
        let tagged = |sink: Arc<dyn Sink>, tags| OpenSink { sink, tags, signatures, signing: signing.clone() };
        let open = |sink: Arc<dyn Sink>| tagged(sink, Vec::new());
        Ok(match location {
            Location::Docker(reference) => {
                tagged(Arc::new(self.repository(reference)), reference.stored_tag().into_iter().collect())
            }
            Location::Dir(path) => open(Arc::new(self.scaffolds.dir(path).map_err(failed)?)),
            Location::Oci(path, image) => {
                let name = layout_name(location, image.as_ref())?;
                let blobs = self.local.shared_blobs.as_deref();
                let sink = self.scaffolds.layout(path, blobs, name).map_err(failed)?;
                open(Arc::new(sink.completed_by(complete)))
            }
            Location::OciArchive(path, image) => {
                let name = layout_name(location, image.as_ref())?;
                let mut archives = self.oci_archives.lock().unwrap_or_else(PoisonError::into_inner);
                let archive = match archives.get(path) {
                    Some(archive) => archive.clone(),
                    None => archives
                        .entry(path.clone())
                        .or_insert(OciArchiveSink::create(path, &self.local.scratch).map_err(failed)?)
                        .clone(),
                };
                open(Arc::new(archive.named(name).completed_by(complete)))
            }
            Location::DockerArchive(path, image) => {
                let archive = self.docker_archive(location, path)?;
                open(Arc::new(archive.named(image.as_ref()).map_err(failed)?))
            }
            Location::DockerDaemon(image) => open(Arc::new(self.daemon_sink(location, image)?)),
            Location::ContainersStorage(image) => {
                open(Handle::current().block_on(self.storage().sink(image)).map_err(failed)?)
            }
            Location::Tarball(_) => {
                let why = "tarball: is only a source; write dir:PATH for the layers of an image";
                return Err(OpenError::ReadOnly(Box::new(location.clone()), why));
            }
            Location::Store(root, image) => {
                let image = image.as_ref().ok_or_else(|| OpenError::NoImage(Box::new(location.clone())))?;
                let store = self.store(location, root, true)?;
                tagged(Arc::new(store.repository(&image.repository)), image.tags())
            }
            Location::Bundle(..) => {
                return Err(OpenError::ReadOnly(Box::new(location.clone()), "use hod pack to write a bundle"));
            }
        })
    }

    /// Who signs an image that goes there, if anybody does. A place that cannot keep signatures is an error then.
    pub fn signing(&self, location: &Location) -> Result<Option<SignAs>> {
        let Some(signing) = &self.signing else { return Ok(None) };
        let signs = signing.of(location)?;
        if let Location::Docker(reference) = location
            && !self.repository(reference).keeps_signatures()?
        {
            return Err(SigningError::NoLookaside(Box::new(location.clone())).into());
        }
        Ok(Some(signs))
    }

    /// A daemon, to take an image of that name.
    pub fn daemon_sink(&self, location: &Location, image: &DaemonImage) -> Result<DockerDaemonSink> {
        let failed = |source| OpenError::Transport { location: Box::new(location.clone()), source };
        match image {
            DaemonImage::Name(name) if name.digest.is_none() => Ok(self.daemon().map_err(failed)?.sink(name)),
            _ => {
                let why = "a daemon assigns IDs and digests itself; write docker-daemon:NAME:TAG";
                Err(OpenError::ReadOnly(Box::new(location.clone()), why))
            }
        }
    }

    /// The archive of `docker save` at a path, begun by the first image that goes there.
    pub fn docker_archive(&self, location: &Location, path: &Path) -> Result<DockerArchiveSink> {
        let mut archives = self.docker_archives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(archive) = archives.get(path) {
            return Ok(archive.clone());
        }
        let failed = |source| OpenError::Transport { location: Box::new(location.clone()), source };
        let archive = DockerArchiveSink::create(path, &self.local.scratch).map_err(failed)?;
        archives.insert(path.to_owned(), archive.clone());
        Ok(archive)
    }

    /// Completes the archives that were written to; only then are they there.
    pub fn finish(&self) -> Result<()> {
        let oci = std::mem::take(&mut *self.oci_archives.lock().unwrap_or_else(PoisonError::into_inner));
        let docker = std::mem::take(&mut *self.docker_archives.lock().unwrap_or_else(PoisonError::into_inner));
        let oci = oci.into_iter().map(|(path, archive)| (path, archive.finish()));
        let mut all = oci.chain(docker.into_iter().map(|(path, archive)| (path, archive.finish())));
        all.try_for_each(|(path, done)| done.map_err(|source| OpenError::Finish { path, source }))
    }

    /// The archives that were written to and not completed: nothing is there.
    pub fn unfinished(&self) -> Vec<PathBuf> {
        let oci = self.oci_archives.lock().unwrap_or_else(PoisonError::into_inner);
        let docker = self.docker_archives.lock().unwrap_or_else(PoisonError::into_inner);
        oci.keys().chain(docker.keys()).cloned().collect()
    }

    /// The layout in a tar file, which is read and perhaps expanded once.
    pub(super) fn oci_archive(&self, path: &Path) -> hod_transport::Result<OciArchive> {
        once(&self.opened_oci, path, || OciArchive::open_in(path, &self.local.scratch))
    }

    /// The same for what `docker save` writes.
    pub(super) fn opened_docker(&self, path: &Path) -> hod_transport::Result<DockerArchive> {
        once(&self.opened_docker, path, || DockerArchive::open_in(path, &self.local.scratch))
    }

    fn daemon(&self) -> hod_transport::Result<DockerDaemon> {
        let host = self.local.daemon.as_deref().map_or_else(|| Ok(DaemonHost::default()), str::parse)?;
        DockerDaemon::new(host, &self.local.daemon_tls, &self.local.scratch)
    }

    fn storage(&self) -> ContainersStorage {
        ContainersStorage::new(self.local.storages.clone(), &self.local.scratch)
    }

    fn repository(&self, reference: &Reference) -> hod_registry::Repository {
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

/// What was opened before, else what is opened now.
fn once<T: Clone>(
    opened: &Mutex<HashMap<PathBuf, T>>,
    path: &Path,
    open: impl FnOnce() -> hod_transport::Result<T>,
) -> hod_transport::Result<T> {
    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = opened.get(path) {
        return Ok(found.clone());
    }
    Ok(opened.entry(path.to_owned()).or_insert(open()?).clone())
}

fn layout_name<'a>(location: &Location, image: Option<&'a LayoutImage>) -> Result<Option<&'a str>> {
    match image {
        None => Ok(None),
        Some(LayoutImage::Name(name)) => Ok(Some(name)),
        Some(LayoutImage::Position(_) | LayoutImage::Digest(_)) => {
            Err(OpenError::ReadOnly(Box::new(location.clone()), "a position or digest only selects an existing image"))
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
