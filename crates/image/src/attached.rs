//! Finds the referrers of an image, in a registry and in local places.
//!
//! For the root of an image and each of its chosen children: the referrers that the registry lists or that an index
//! under a tag names, and cosign's tags; then the same for what was found. A registry whose API for referrers gives no
//! list is asked for the tag; a tag that cannot be read is an error.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::list::PinnedReferrer;
use hod_engine::copy::{CopyError, Engine, LoadFilter};
use hod_engine::endpoint::{EndpointError, Fault, Source as _};
use hod_engine::observe::Event;
use hod_oci::{
    Descriptor, Digest, Graph, Manifest, ManifestError, MediaType, Node, Platforms, ReferrerIndex, Tag, Version,
    cosign_tags, is_companion_tag, is_referrers_tag, referrer, referrers_tag,
};
use hod_registry::{RegistryError, Repository};
use hod_store as store;

mod held;

pub use held::{belongs_to_another, with_attached};

/// How much may belong to one image, against registries that invent more and more.
const LIMIT: usize = 10_000;

/// Something that belongs to an image.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The tag that it has at its place.
    pub tag: Tag,
    /// What it is. For an index of referrers, these are its children.
    pub graph: Arc<Graph>,
    /// True if it is an index of referrers, to be merged with others.
    pub is_index: bool,
}

/// The errors of finding the referrers of an image.
#[derive(Debug, thiserror::Error)]
pub enum AttachedError {
    /// The registry cannot be asked.
    #[error("cannot list the referrers of {subject} (signatures, attestations)")]
    Ask {
        /// The manifest.
        subject: Digest,
        /// The reason.
        #[source]
        source: EndpointError,
    },
    /// Something was found and cannot be had.
    #[error("cannot fetch the referrers of {subject} (signatures, attestations)")]
    Load {
        /// The manifest.
        subject: Digest,
        /// The reason.
        #[source]
        source: Box<CopyError>,
    },
    /// An index of referrers whose entries cannot be told.
    #[error("{digest} is not a valid list of the referrers of {subject}")]
    Index {
        /// The manifest.
        subject: Digest,
        /// The index.
        digest: Digest,
        /// The reason.
        #[source]
        source: ManifestError,
    },
    /// No end.
    #[error("the image has more than {LIMIT} referrers")]
    Limit,
}

/// What becomes of an image if its registry has an API for referrers that gives no valid list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReferrersApi {
    /// The index under the tag says what belongs to it.
    #[default]
    Optional,
    /// It fails.
    Required,
}

/// The referrers of a manifest that the API of its registry lists; `None` if it has none that can be used. The observer
/// hears of that once a host.
pub async fn listed_referrers(
    engine: &Engine,
    repository: &Repository,
    subject: &Digest,
    api: ReferrersApi,
) -> Result<Option<Vec<Descriptor>>, EndpointError> {
    let place = repository.place();
    let ask = || async { Ok(repository.referrers(subject).await?) };
    match engine.question(&format!("referrers of {subject} in {place}"), place, ask).await {
        Err(error)
            if api == ReferrersApi::Optional
                && error.cause().downcast_ref().is_some_and(RegistryError::is_no_list_of_referrers) =>
        {
            if repository.give_up_referrers() {
                let notice = format!("{} gives no list of referrers, so their tags are used", place.domain());
                engine.observer().on(&Event::Notice(&notice));
            }
            Ok(None)
        }
        listed => listed,
    }
}

/// How many tags of things that belong to images are kept, of all repositories; each takes some hundred bytes.
const TAGS: usize = 100_000;

/// What a repository says of its tags, once it was asked.
type Tags = Arc<OnceCell<Listing>>;

/// What a repository says of its tags.
#[derive(Debug)]
enum Listing {
    /// These belong to images.
    Tags(HashSet<Tag>),
    /// There are too many to look through: each name is asked for.
    Long,
    /// It does not say. Who may pull need not be allowed to list: then each name is asked for.
    Refused,
}

/// Finds what belongs to images, in one run: the tags of each repository are listed once.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    /// What a registry must have.
    api: ReferrersApi,
    /// By place.
    tags: Mutex<HashMap<String, Tags>>,
    /// How many of them there are.
    kept: AtomicUsize,
}

/// One search: where, and what was found so far.
struct Search<'a> {
    engine: &'a Engine,
    repository: Arc<Repository>,
    kept: Option<&'a store::Repository>,
    api: ReferrersApi,
    tags: Tags,
    /// The children of the indexes among the subjects, which a list of referrers cannot have.
    children: HashMap<Digest, HashSet<Digest>>,
    seen: HashSet<Digest>,
    /// Manifests that have not been looked at.
    queue: Vec<Digest>,
    found: Vec<Attachment>,
}

impl Finder {
    /// Knows nothing yet.
    pub(crate) fn new(api: ReferrersApi) -> Self {
        Self { api, ..Self::default() }
    }

    /// Finds what belongs to an image of a registry's repository. What `kept` has is not asked for again.
    pub(crate) async fn find(
        &self,
        engine: &Engine,
        repository: Arc<Repository>,
        kept: Option<&store::Repository>,
        image: &Graph,
    ) -> Result<Vec<Attachment>, AttachedError> {
        let tags = {
            let mut all = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(repository.place().to_string()).or_default().clone()
        };
        let list = || async {
            let what = format!("tags of {}", repository.place());
            let ask = || async { Ok(repository.search_tags(is_companion_tag).await?) };
            match engine.question(&what, repository.place(), ask).await {
                Ok(tags) => {
                    let tags: HashSet<Tag> = tags.into_iter().collect();
                    let before = self.kept.fetch_add(tags.len(), Ordering::Relaxed);
                    Ok(if before + tags.len() > TAGS { Listing::Long } else { Listing::Tags(tags) })
                }
                Err(error) if error.fault() == Fault::Missing => Ok(Listing::Tags(HashSet::new())),
                Err(error) if error.cause().downcast_ref().is_some_and(RegistryError::is_endless) => Ok(Listing::Long),
                Err(error) if matches!(error.fault(), Fault::Denied | Fault::Rejected) => Ok(Listing::Refused),
                Err(error) => Err(error),
            }
        };
        let root = image.root.descriptor.digest;
        tags.get_or_try_init(list).await.map_err(|source| AttachedError::Ask { subject: root, source })?;
        let mut search = Search::new(engine, repository, kept, (tags, self.api));
        search.look_at(image);
        while let Some(subject) = search.queue.pop() {
            if search.found.len() > LIMIT || search.seen.len() > LIMIT {
                return Err(AttachedError::Limit);
            }
            search.cosign(&subject).await?;
            search.referrers(&subject).await?;
        }
        Ok(search.found)
    }

    /// Gets what a lock says to belong to an image, and nothing else, wherever tags and indexes are now.
    pub(crate) async fn pinned(
        &self,
        engine: &Engine,
        repository: Arc<Repository>,
        kept: Option<&store::Repository>,
        (image, pinned): (&Graph, &[PinnedReferrer]),
    ) -> Result<Vec<Attachment>, AttachedError> {
        let search = Search::new(engine, repository, kept, (Tags::default(), self.api));
        let subject = image.root.descriptor.digest;
        let mut found = Vec::new();
        let mut indexes: BTreeMap<&Tag, Vec<Node>> = BTreeMap::new();
        for PinnedReferrer { tag, digest } in pinned {
            let graph = search.load(&subject, Version::Digest(*digest)).await?;
            if is_referrers_tag(tag) {
                indexes.entry(tag).or_default().push(graph.root);
            } else {
                found.push(Attachment { tag: tag.clone(), graph: Arc::new(graph), is_index: false });
            }
        }
        let index = |(tag, children): (&Tag, _)| {
            let graph = Arc::new(index_of_referrers(children));
            Attachment { tag: tag.clone(), graph, is_index: true }
        };
        found.extend(indexes.into_iter().map(index));
        Ok(found)
    }
}

impl<'a> Search<'a> {
    fn new(
        engine: &'a Engine,
        repository: Arc<Repository>,
        kept: Option<&'a store::Repository>,
        (tags, api): (Tags, ReferrersApi),
    ) -> Self {
        let (children, seen, queue, found) = (HashMap::new(), HashSet::new(), Vec::new(), Vec::new());
        Self { engine, repository, kept, api, tags, children, seen, queue, found }
    }
}

impl Search<'_> {
    /// Notes the manifests of a graph, to be looked at.
    fn look_at(&mut self, graph: &Graph) {
        for node in graph.manifests() {
            if self.seen.insert(node.descriptor.digest) {
                self.queue.push(node.descriptor.digest);
                let children: HashSet<Digest> = node.manifest.children().iter().map(|child| child.digest).collect();
                if !children.is_empty() {
                    self.children.insert(node.descriptor.digest, children);
                }
            }
        }
    }

    /// Returns true if what is under the tag for the referrers of a subject can be a list of them. GitLab takes such a tag
    /// for the digest, and answers with the subject; others have been given a list with the images of an index.
    fn is_list(&self, subject: &Digest, found: &Node) -> bool {
        let children = self.children.get(subject);
        let is_child = |entry: &Descriptor| children.is_some_and(|children| children.contains(&entry.digest));
        found.manifest.media_type.is_index()
            && found.descriptor.digest != *subject
            && !found.manifest.children().iter().any(is_child)
    }

    /// What a tag stands for with everything in it; `None` where there is no such tag.
    async fn tagged(&self, subject: &Digest, tag: &Tag) -> Result<Option<Graph>, AttachedError> {
        if matches!(self.tags.get(), Some(Listing::Tags(tags)) if !tags.contains(tag)) {
            return Ok(None);
        }
        match self.load(subject, Version::Tag(tag.clone())).await {
            Ok(graph) => Ok(Some(graph)),
            Err(AttachedError::Load { source, .. }) if is_absent(&source, tag) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn load(&self, subject: &Digest, version: Version) -> Result<Graph, AttachedError> {
        let wanted = LoadFilter { version, platforms: Platforms::All, asked: false };
        let kept = self.kept.map(|kept| kept as &dyn hod_engine::endpoint::Source);
        let loaded = self.engine.load(&*self.repository, kept, &wanted).await;
        loaded.map_err(|source| AttachedError::Load { subject: *subject, source: Box::new(source) })
    }

    async fn cosign(&mut self, subject: &Digest) -> Result<(), AttachedError> {
        for tag in cosign_tags(subject) {
            if let Some(graph) = self.tagged(subject, &tag).await? {
                self.look_at(&graph);
                self.found.push(Attachment { tag, graph: Arc::new(graph), is_index: false });
            }
        }
        Ok(())
    }

    /// The referrers that the registry lists and those of the index under the tag.
    async fn referrers(&mut self, subject: &Digest) -> Result<(), AttachedError> {
        let Some(tag) = referrers_tag(subject) else { return Ok(()) };
        let listed = listed_referrers(self.engine, &self.repository, subject, self.api).await;
        let listed = listed.map_err(|source| AttachedError::Ask { subject: *subject, source })?;
        let lists = listed.is_some();
        let kept = if lists && matches!(self.tags.get(), Some(Listing::Refused)) {
            None
        } else {
            self.tagged(subject, &tag).await?.filter(|graph| self.is_list(subject, &graph.root))
        };
        let mut index = ReferrerIndex::default();
        let mut children = Vec::new();
        for descriptor in listed.iter().flatten() {
            let graph = self.load(subject, Version::Digest(descriptor.digest)).await?;
            index.add(descriptor);
            children.push(graph.root);
        }
        let graph = match kept {
            Some(kept) if index.is_empty() => kept,
            Some(kept) => {
                let digest = kept.root.descriptor.digest;
                let entries = ReferrerIndex::parse(&kept.root.bytes);
                index.merge(entries.map_err(|source| AttachedError::Index { subject: *subject, digest, source })?);
                let known: HashSet<Digest> = children.iter().map(|child| child.descriptor.digest).collect();
                let more = kept.root.children.into_iter().filter(|child| !known.contains(&child.descriptor.digest));
                children.extend(more);
                index_of(index.to_bytes(), children)
            }
            None if index.is_empty() => return Ok(()),
            None => index_of(index.to_bytes(), children),
        };
        for child in &graph.root.children {
            self.look_at(&Graph { root: child.clone() });
        }
        self.found.push(Attachment { tag, graph: Arc::new(graph), is_index: true });
        Ok(())
    }
}

/// Returns true if the tag itself is what is missing, and not something that it names.
fn is_absent(error: &CopyError, tag: &Tag) -> bool {
    let is_tag = |version: &Version| matches!(version, Version::Tag(missing) if missing == tag);
    matches!(error, CopyError::Resolve { version, source, .. } if is_tag(version) && source.fault() == Fault::Missing)
}

/// The index of referrers that names these and says of each what its manifest says: always the same bytes.
pub(super) fn index_of_referrers(children: Vec<Node>) -> Graph {
    let mut index = ReferrerIndex::default();
    for child in &children {
        index.add(&referrer(&child.descriptor, &child.manifest));
    }
    index_of(index.to_bytes(), children)
}

/// An index of referrers as a graph. One of somebody else's keeps its type with its bytes.
pub fn index_of(bytes: Bytes, children: Vec<Node>) -> Graph {
    let parsed = Manifest::parse(&MediaType::parse(""), &bytes);
    let media_type = parsed.map_or(MediaType::OciIndex, |manifest| manifest.media_type);
    let descriptor = Descriptor::of(media_type.clone(), &bytes);
    let kind =
        hod_oci::ManifestKind::Index { manifests: children.iter().map(|child| child.descriptor.clone()).collect() };
    let manifest = Manifest { media_type, kind, subject: None, artifact_type: None, annotations: BTreeMap::default() };
    Graph { root: Node::new(descriptor, bytes, manifest, children, Vec::new()) }
}
