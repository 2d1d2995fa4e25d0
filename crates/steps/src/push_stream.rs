//! Pushes a bundle from standard input to a registry, without a copy on disk.
//!
//! The bundle comes once and in its own order: manifests, then blobs. So each blob goes to the first
//! repository that needs it while it passes by, and is mounted in the others; manifests are kept in
//! memory, and every image is published only when the whole bundle has been read and found right.
//!
//! ```text
//! thread: BundleReader ──Piece──▶ channel ──▶ task: Engine::place ──▶ registry
//! ```

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::push::{OutboundImage, PushOptions, PushReceipt, push};
use super::push_base::{BaseError, find_base};
use super::push_chosen::{chosen, contents};
use super::select::{UnmatchedLine, select};
use hod_bundle::{BundleError, BundleReader, Header, Image, Trust};
use hod_engine::copy::{CopyError, Engine};
use hod_engine::endpoint::{self, BlobReader, EndpointError, Fault, Place, Sink, Source};
use hod_engine::observe::{Event, Stop};
use hod_image::attached::with_attached;
use hod_image::contents::{ContentsReader, Holdings, StoredImage};
use hod_image::list::ImageList;
use hod_image::resolve::ResolveOptions;
use hod_oci::{Descriptor, Digest, MANIFEST_LIMIT, MediaType, NameError, RepositoryName, Tag, Version};
use hod_registry::{Registries, Repository};

/// Bytes of a blob that are handed over at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks that wait at the most.
const CHUNKS: usize = 8;
/// Bytes of manifests that are kept in memory at the most.
const KEPT_LIMIT: u64 = 64 * 1024 * 1024;

/// Why a stream could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A blob that is needed by several images.
    #[error("cannot push {digest}, which {} of the bundle needs", repository)]
    Blob {
        /// The blob.
        digest: Digest,
        /// The repository that it was to go to first.
        repository: RepositoryName,
        /// The reason.
        #[source]
        source: CopyError,
    },
    /// What it builds on.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A name that is too long below the destination's path.
    #[error("an image has no valid name at the destination")]
    Name(#[from] NameError),
    /// Manifests that no machine should have to hold.
    #[error("the manifests of the bundle have more than {KEPT_LIMIT} bytes: unpack the bundle, and push the store")]
    Large,
    /// The images of the bundle cannot be told.
    #[error("cannot list the images of the bundle")]
    Contents(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Images that were asked for and are not in it.
    #[error("{} of the list cannot be found in the bundle", hod_engine::count(.0.len(), "image"))]
    Unmatched(Vec<UnmatchedLine<NeverFails>>),
    /// Asked to stop.
    #[error("stopped before the bundle was read")]
    Stopped,
}

/// Reading what is in memory does not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NeverFails {}

/// What comes from the thread that reads.
enum Piece {
    Header(Arc<Header>),
    /// A manifest, whole.
    Manifest(Digest, Bytes),
    /// A blob, whose bytes follow through a channel of its own.
    Blob(Digest, u64, mpsc::Receiver<endpoint::Result<Bytes>>),
    /// The bundle was read to its end and is right.
    Whole,
}

/// A bundle that is read once, from its beginning.
#[derive(Debug)]
pub struct BundleStream<R> {
    /// Its bytes.
    pub input: R,
    /// The accepted signers.
    pub trust: Trust,
    /// The images that are wanted, where that is not all.
    pub wanted: Option<ImageFilter>,
}

/// The images of a list, and how to find them.
#[derive(Debug)]
pub struct ImageFilter {
    /// The list.
    pub list: ImageList,
    /// How they are found.
    pub options: ResolveOptions,
}

/// Pushes the images of a bundle as it comes, all of them or those of a list.
pub async fn push_stream(
    engine: &Engine,
    registries: &Registries,
    bundle: BundleStream<impl Read + Send + 'static>,
    options: &PushOptions,
    stop: &Stop,
) -> Result<PushReceipt, StreamError> {
    let BundleStream { input, trust, wanted } = bundle;
    let (sender, mut pieces) = mpsc::channel(1);
    let stop = stop.clone();
    let reader = tokio::task::spawn_blocking(move || read(input, &trust, &sender, &stop));
    let mut state = State {
        engine,
        registries,
        options,
        header: None,
        first: HashMap::new(),
        manifests: HashMap::new(),
        homes: Arc::default(),
    };
    let mut result = Ok(false);
    while let Some(piece) = pieces.recv().await {
        result = state.take(piece, wanted.as_ref()).await;
        if !matches!(result, Ok(false)) {
            break;
        }
    }
    drop(pieces);
    let read = reader.await.unwrap_or_else(|error| Err(BundleError::Read(std::io::Error::other(error)).into()));
    // The reader's own failure is the cause of whatever a half blob did to the upload.
    match (read, result) {
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(false)) => Err(StreamError::Stopped),
        (Ok(()), Ok(true)) => state.publish(wanted).await,
    }
}

/// Reads the bundle and hands it over piece by piece.
fn read(input: impl Read, trust: &Trust, sender: &mpsc::Sender<Piece>, stop: &Stop) -> Result<(), StreamError> {
    let (mut reader, _) = BundleReader::trusted(input, trust)?;
    let header = reader.header().clone();
    let manifests: std::collections::HashSet<Digest> =
        header.repositories().iter().flat_map(|links| links.revisions.iter().copied()).collect();
    let bytes: u64 = header.blobs().iter().filter(|blob| manifests.contains(&blob.digest)).map(|blob| blob.size).sum();
    if bytes > KEPT_LIMIT {
        return Err(StreamError::Large);
    }
    if sender.blocking_send(Piece::Header(header)).is_err() {
        return Ok(());
    }
    while let Some(mut body) = reader.next_blob()? {
        let (digest, size) = (*body.digest(), body.size());
        if manifests.contains(&digest) && size <= MANIFEST_LIMIT {
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes).map_err(BundleError::from)?;
            if sender.blocking_send(Piece::Manifest(digest, bytes.into())).is_err() {
                return Ok(());
            }
            continue;
        }
        let (chunks, receiver) = mpsc::channel(CHUNKS);
        if sender.blocking_send(Piece::Blob(digest, size, receiver)).is_err() {
            return Ok(());
        }
        // Whoever has the blob already does not listen; the rest is passed over, unless all is over.
        let mut is_heard = true;
        loop {
            if stop.is_requested() {
                return Err(StreamError::Stopped);
            }
            if !is_heard && sender.is_closed() {
                return Ok(());
            }
            let mut chunk = vec![0; CHUNK];
            match body.read_checked(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    chunk.truncate(count);
                    is_heard = is_heard && chunks.blocking_send(Ok(chunk.into())).is_ok();
                }
                Err(error) => {
                    let _ = chunks.blocking_send(Err(EndpointError::new(Fault::Other, "the bundle is damaged")));
                    return Err(error.into());
                }
            }
        }
    }
    reader.finish()?;
    let _ = sender.blocking_send(Piece::Whole);
    Ok(())
}

/// The repositories of the registry that have a blob from this stream.
type Homes = Arc<Mutex<HashMap<Digest, Arc<Repository>>>>;

struct State<'a> {
    engine: &'a Engine,
    registries: &'a Registries,
    options: &'a PushOptions,
    header: Option<Arc<Header>>,
    /// For each blob the repository that needs it first.
    first: HashMap<Digest, RepositoryName>,
    manifests: HashMap<Digest, Bytes>,
    homes: Homes,
}

impl State<'_> {
    /// Deals with a piece; says whether it was the last.
    async fn take(&mut self, piece: Piece, wanted: Option<&ImageFilter>) -> Result<bool, StreamError> {
        match piece {
            Piece::Header(header) => self.begin(header, wanted).await?,
            Piece::Manifest(digest, bytes) => {
                self.manifests.insert(digest, bytes);
            }
            Piece::Blob(digest, size, chunks) => self.blob(digest, size, chunks).await?,
            Piece::Whole => return Ok(true),
        }
        Ok(false)
    }

    /// Finds what the bundle builds on, and which repository needs each blob first; of a list, only for its images.
    async fn begin(&mut self, header: Arc<Header>, wanted: Option<&ImageFilter>) -> Result<(), StreamError> {
        let images = wanted.map(|wanted| chosen(&header, &wanted.list, &wanted.options));
        let needed = images.as_ref().map(|images| contents(&header, images));
        let is_needed = |digest: &Digest| needed.as_ref().is_none_or(|needed| needed.contains(digest));
        let bytes = header.blobs().iter().filter(|blob| is_needed(&blob.digest)).map(|blob| blob.size).sum();
        let count = images.as_ref().map_or_else(|| header.images().len(), Vec::len);
        self.engine.observer().on(&Event::Step { name: "push", images: count, bytes });
        let found = find_base(self.engine, self.registries, &header, is_needed, self.options).await?;
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        for links in header.repositories() {
            let uses = |image: &&Image, digest: &Digest| {
                image.name == links.name && header.contents_of(image).any(|content| content.digest == *digest)
            };
            for digest in links.layers.iter().filter(|digest| is_needed(digest)) {
                if images.as_ref().is_none_or(|images| images.iter().any(|image| uses(image, digest))) {
                    self.first.entry(*digest).or_insert_with(|| links.name.clone());
                }
            }
        }
        self.header = Some(header);
        Ok(())
    }

    /// Brings a blob to the first repository that needs it.
    async fn blob(
        &self,
        digest: Digest,
        size: u64,
        chunks: mpsc::Receiver<endpoint::Result<Bytes>>,
    ) -> Result<(), StreamError> {
        let Some(repository) = self.first.get(&digest) else { return Ok(()) };
        let name = self.options.destination.repository(repository)?;
        let home = Arc::new(self.registries.repository(&self.options.destination.host, &name));
        let source: Arc<dyn Source> = Arc::new(PassingBlob::new(chunks));
        let sink: Arc<dyn Sink> = home.clone();
        let content = Descriptor::new(MediaType::Other("".into()), digest, size);
        let placed = self.engine.place(&source, &*sink, &content).await;
        placed.map_err(|source| StreamError::Blob { digest, repository: repository.clone(), source })?;
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, home);
        Ok(())
    }

    /// Publishes the images, now that all their blobs are somewhere at the registry.
    async fn publish(self, wanted: Option<ImageFilter>) -> Result<PushReceipt, StreamError> {
        let Some(header) = self.header else { return Ok(PushReceipt::default()) };
        let holdings = InMemory { header, manifests: self.manifests };
        let images: Vec<StoredImage> = match wanted {
            Some(ImageFilter { list, options }) => {
                let images = select(&holdings, list, &options).map_err(StreamError::Unmatched)?;
                let all = if options.referrers { with_attached(&holdings, images) } else { Ok(images) };
                all.map_err(|error| StreamError::Contents(Box::new(error)))?
            }
            None => ContentsReader::new(&holdings).images().map_err(|error| StreamError::Contents(Box::new(error)))?,
        };
        let source: Arc<dyn Source> =
            Arc::new(ReadBack { place: Place::local("the bundle on standard input", None), homes: self.homes });
        let images = images.into_iter().map(|held| OutboundImage { held, source: source.clone() }).collect();
        Ok(push(self.engine, self.registries, images, self.options).await)
    }
}

/// The manifests of a bundle, in memory.
struct InMemory {
    header: Arc<Header>,
    manifests: HashMap<Digest, Bytes>,
}

impl Holdings for InMemory {
    type Error = NeverFails;

    fn repositories(&self) -> Result<Vec<RepositoryName>, NeverFails> {
        Ok(self.header.repositories().iter().map(|links| links.name.clone()).collect())
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Vec<(Tag, Digest)>, NeverFails> {
        let links = self.header.repository(repository);
        Ok(links.map_or_else(Vec::new, |links| links.tags.iter().map(|tag| (tag.name.clone(), tag.digest)).collect()))
    }

    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, NeverFails> {
        let links = self.header.repository(repository);
        Ok(links.map(|links| links.revisions.clone()).unwrap_or_default())
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, NeverFails> {
        Ok(self.manifests.get(digest).cloned())
    }

    fn config(&self, _: &Descriptor) -> Result<Option<Bytes>, NeverFails> {
        Ok(None)
    }

    fn size(&self, content: &Descriptor) -> Result<Option<u64>, NeverFails> {
        Ok(self.header.blob(&content.digest).map(|blob| blob.size))
    }
}

/// A blob that comes by once.
struct PassingBlob {
    place: Place,
    chunks: Mutex<Option<mpsc::Receiver<endpoint::Result<Bytes>>>>,
}

impl PassingBlob {
    fn new(chunks: mpsc::Receiver<endpoint::Result<Bytes>>) -> Self {
        Self { place: Place::local("the bundle on standard input", None), chunks: Mutex::new(Some(chunks)) }
    }
}

fn gone() -> EndpointError {
    let problem = "standard input cannot be read twice: give the bundle as a file, so that hod can retry uploads";
    EndpointError::new(Fault::Other, problem)
}

#[async_trait]
impl Source for PassingBlob {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, _: &Version) -> endpoint::Result<(Descriptor, Bytes)> {
        Err(gone())
    }

    async fn open(&self, _: &Descriptor, offset: u64) -> endpoint::Result<BlobReader> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let chunks = chunks.filter(|_| offset == 0).ok_or_else(gone)?;
        let next = |mut chunks: mpsc::Receiver<endpoint::Result<Bytes>>| async {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        };
        Ok(futures_util::stream::unfold(chunks, next).boxed())
    }
}

/// Blobs that have passed by, read back from where they went: only for registries that do not mount.
struct ReadBack {
    place: Place,
    homes: Homes,
}

#[async_trait]
impl Source for ReadBack {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, _: &Version) -> endpoint::Result<(Descriptor, Bytes)> {
        Err(gone())
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> endpoint::Result<BlobReader> {
        let home = self.homes.lock().unwrap_or_else(PoisonError::into_inner).get(&content.digest).cloned();
        home.ok_or_else(gone)?.open(content, offset).await
    }
}
