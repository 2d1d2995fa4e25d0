//! What a store or bundle holds: its images, with everything of them that is there.
//!
//! `ls`, `pack`, `push` and `verify` all begin here, so that they agree on what an image is: each
//! tag, and each manifest that neither a tag nor an index of its repository names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::list::{PinnedReferrer, StoredName};
use hod_bundle::OpenBundle;
use hod_engine::endpoint::EndpointError;
use hod_oci::{Descriptor, Digest, Graph, GraphError, Manifest, MediaType, Node, Platform, RepositoryName, Tag, Walk};
use hod_store::{Store, StoreError};

/// A registry root, as far as one has to read it to know its images.
pub trait Holdings {
    /// What reading can fail with.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The repositories, sorted.
    fn repositories(&self) -> Result<Vec<RepositoryName>, Self::Error>;
    /// The tags of a repository and what they point to, sorted.
    fn tags(&self, repository: &RepositoryName) -> Result<Vec<(Tag, Digest)>, Self::Error>;
    /// The manifests of a repository, sorted.
    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, Self::Error>;
    /// The bytes of a manifest, where they are there.
    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, Self::Error>;
    /// The bytes of a config, where they are there.
    fn config(&self, config: &Descriptor) -> Result<Option<Bytes>, Self::Error>;
    /// How many bytes content has, of which a manifest may give another length; `None` where that is not known, or where
    /// the content is not right.
    fn size(&self, content: &Descriptor) -> Result<Option<u64>, Self::Error>;
}

/// An image that is held.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Its repository and tag.
    pub name: StoredName,
    /// What there is of it.
    pub graph: Graph,
    /// The group of the list that it came with, where that is known.
    pub group: Option<Box<str>>,
    /// Where it came from, where that is known.
    pub source: Option<Box<str>>,
    /// Whether it was asked for by digest, which then must not change.
    pub pinned: bool,
    /// What belongs to it, where a lock says so.
    pub referrers: Option<Vec<PinnedReferrer>>,
}

impl StoredImage {
    /// The name as a person writes it: with the digest where there is no tag.
    pub fn label(&self) -> String {
        match &self.name.tag {
            Some(_) => self.name.to_string(),
            None => format!("{}@{}", self.name.repository, self.graph.root.descriptor.digest),
        }
    }
}

/// Why the contents cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError<E: std::error::Error + 'static> {
    /// Reading failed.
    #[error(transparent)]
    Read(E),
    /// Reading something of an image failed.
    #[error("cannot read {image}")]
    Image {
        /// The image.
        image: String,
        /// Why not.
        #[source]
        source: E,
    },
    /// The manifest that a name points to is not there.
    #[error("{name} points to {digest}, which is missing")]
    Absent {
        /// The image.
        name: String,
        /// What is missing.
        digest: Digest,
    },
    /// A manifest that is there cannot be used.
    #[error("{name} has an unusable manifest: {digest}")]
    Manifest {
        /// The image.
        name: String,
        /// The manifest.
        digest: Digest,
        /// What is wrong with it, or too much.
        #[source]
        source: GraphError,
    },
    /// A name that was asked for.
    #[error("image {0} does not exist")]
    Unknown(String),
    /// What a lock says to belong to an image.
    #[error("the referrer {referrer} of {image}, which the lock names, is missing: pull the lock again")]
    Referrer {
        /// The image.
        image: String,
        /// What is missing.
        referrer: String,
    },
}

impl<E: std::error::Error> ContentsError<E> {
    fn unusable(name: &str, manifest: &Descriptor, source: GraphError) -> Self {
        Self::Manifest { name: name.to_owned(), digest: manifest.digest, source }
    }
}

impl Holdings for OpenBundle {
    type Error = EndpointError;

    fn repositories(&self) -> Result<Vec<RepositoryName>, EndpointError> {
        Ok(self.header().repositories().iter().map(|links| links.name.clone()).collect())
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Vec<(Tag, Digest)>, EndpointError> {
        let links = self.header().repository(repository);
        let tags = links.map(|links| links.tags.iter().map(|tag| (tag.name.clone(), tag.digest)).collect());
        Ok(tags.unwrap_or_default())
    }

    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, EndpointError> {
        let links = self.header().repository(repository);
        Ok(links.map(|links| links.revisions.clone()).unwrap_or_default())
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, EndpointError> {
        self.small(digest)
    }

    fn config(&self, config: &Descriptor) -> Result<Option<Bytes>, EndpointError> {
        self.small(&config.digest)
    }

    fn size(&self, content: &Descriptor) -> Result<Option<u64>, EndpointError> {
        Ok(self.header().blob(&content.digest).map(|blob| blob.size))
    }
}

impl Holdings for Store {
    type Error = StoreError;

    fn repositories(&self) -> Result<Vec<RepositoryName>, StoreError> {
        Self::repositories(self)
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Vec<(Tag, Digest)>, StoreError> {
        let mut tags = Vec::new();
        for tag in Self::tags(self, repository)? {
            // A registry may delete a tag while it is being looked at.
            if let Some(digest) = self.tag(repository, &tag)? {
                tags.push((tag, digest));
            }
        }
        Ok(tags)
    }

    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, StoreError> {
        Self::revisions(self, repository)
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        match self.size(digest)? {
            Some(_) => self.read_manifest(digest).map(Some),
            None => Ok(None),
        }
    }

    fn config(&self, config: &Descriptor) -> Result<Option<Bytes>, StoreError> {
        self.manifest(&config.digest)
    }

    fn size(&self, content: &Descriptor) -> Result<Option<u64>, StoreError> {
        self.real_size(&content.digest, content.size)
    }
}

/// Holdings for whom it is enough to know the manifests: no config is read, and so no platform told that only a config
/// names. Who just carries images on need not look into them.
#[derive(Debug, Clone)]
pub struct ManifestsOnly<H>(pub H);

impl<H: Holdings> Holdings for ManifestsOnly<H> {
    type Error = H::Error;

    fn repositories(&self) -> Result<Vec<RepositoryName>, H::Error> {
        self.0.repositories()
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Vec<(Tag, Digest)>, H::Error> {
        self.0.tags(repository)
    }

    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, H::Error> {
        self.0.revisions(repository)
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, H::Error> {
        self.0.manifest(digest)
    }

    fn config(&self, _: &Descriptor) -> Result<Option<Bytes>, H::Error> {
        Ok(None)
    }

    fn size(&self, content: &Descriptor) -> Result<Option<u64>, H::Error> {
        self.0.size(content)
    }
}

/// Reads graphs out of holdings, each manifest once.
#[derive(Debug)]
pub struct ContentsReader<'a, H> {
    holdings: &'a H,
    manifests: HashMap<Digest, ParsedManifest>,
    platforms: HashMap<Digest, Option<Platform>>,
}

/// Images that are whole as far as their manifests go, and why others are not.
pub type FoundImages<E> = (Vec<StoredImage>, Vec<ContentsError<E>>);

/// A manifest as it came, and what it says.
type ParsedManifest = (Bytes, Arc<Manifest>);

impl<'a, H: Holdings> ContentsReader<'a, H> {
    /// Reads from these holdings.
    pub fn new(holdings: &'a H) -> Self {
        Self { holdings, manifests: HashMap::new(), platforms: HashMap::new() }
    }

    /// Every image, sorted by repository; in each, tags first, then what only a digest names.
    ///
    /// # Errors
    /// The first image that is damaged, too.
    pub fn images(&mut self) -> Result<Vec<StoredImage>, ContentsError<H::Error>> {
        let (images, damaged) = self.images_and_damage()?;
        damaged.into_iter().next().map_or(Ok(images), Err)
    }

    /// The same, without the images that are damaged; and why they are.
    pub fn images_and_damage(&mut self) -> Result<FoundImages<H::Error>, ContentsError<H::Error>> {
        let (mut images, mut damaged) = (Vec::new(), Vec::new());
        let mut note = |held: Result<StoredImage, ContentsError<H::Error>>| match held {
            Ok(held) => Ok(Some(held)),
            Err(error @ (ContentsError::Absent { .. } | ContentsError::Manifest { .. })) => {
                damaged.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        };
        for repository in self.holdings.repositories().map_err(ContentsError::Read)? {
            let tags = self.holdings.tags(&repository).map_err(ContentsError::Read)?;
            let revisions: BTreeSet<_> =
                self.holdings.revisions(&repository).map_err(ContentsError::Read)?.into_iter().collect();
            let mut named = HashSet::new();
            for (tag, digest) in tags {
                let name = StoredName { repository: repository.clone(), tag: Some(tag) };
                let Some(held) = note(self.held(name, digest, &revisions))? else { continue };
                named.extend(held.graph.manifests().iter().map(|node| node.descriptor.digest));
                images.push(held);
            }
            let mut untagged = Vec::new();
            for digest in revisions.iter().filter(|digest| !named.contains(*digest)) {
                let name = StoredName { repository: repository.clone(), tag: None };
                untagged.extend(note(self.held(name, *digest, &revisions))?);
            }
            let children: HashSet<Digest> = untagged
                .iter()
                .flat_map(|held| held.graph.manifests().into_iter().rev().skip(1))
                .map(|node| node.descriptor.digest)
                .collect();
            untagged.retain(|held| !children.contains(&held.graph.root.descriptor.digest));
            images.extend(untagged);
        }
        Ok((images, damaged))
    }

    /// One image by name: the digest where one is given, which must be a manifest of the repository,
    /// else what the tag points to.
    ///
    /// With both, the image is called by the tag, wherever that points now: so a lock gives what it says.
    pub fn image(
        &mut self,
        name: &StoredName,
        digest: Option<&Digest>,
    ) -> Result<StoredImage, ContentsError<H::Error>> {
        let repository = &name.repository;
        let revisions: BTreeSet<_> =
            self.holdings.revisions(repository).map_err(ContentsError::Read)?.into_iter().collect();
        let root = match (digest, &name.tag) {
            (Some(digest), _) => revisions.get(digest).copied(),
            (None, Some(tag)) => {
                let tags = self.holdings.tags(repository).map_err(ContentsError::Read)?;
                tags.into_iter().find(|(name, _)| name == tag).map(|(_, digest)| digest)
            }
            (None, None) => None,
        };
        let Some(root) = root else {
            let digest = digest.map_or_else(String::new, |digest| format!("@{digest}"));
            return Err(ContentsError::Unknown(format!("{name}{digest}")));
        };
        self.held(name.clone(), root, &revisions)
    }

    fn held(
        &mut self,
        name: StoredName,
        root: Digest,
        revisions: &BTreeSet<Digest>,
    ) -> Result<StoredImage, ContentsError<H::Error>> {
        let text = name.to_string();
        let descriptor = Descriptor::new(MediaType::Other("".into()), root, 0);
        let Some(root) = self.node((&text, revisions), descriptor, &Walk::default())? else {
            return Err(ContentsError::Absent { name: text, digest: root });
        };
        Ok(StoredImage { name, graph: Graph { root }, group: None, source: None, pinned: false, referrers: None })
    }

    /// The manifest and its children, or `None` where its bytes are not there.
    fn node(
        &mut self,
        (name, revisions): (&str, &BTreeSet<Digest>),
        descriptor: Descriptor,
        walk: &Walk,
    ) -> Result<Option<Node>, ContentsError<H::Error>> {
        let Some((bytes, manifest)) = self.manifest(name, &descriptor)? else { return Ok(None) };
        let below = walk.enter(&manifest).map_err(|source| ContentsError::unusable(name, &descriptor, source))?;
        let (mut children, mut absent) = (Vec::new(), Vec::new());
        for child in manifest.children() {
            let here = revisions.contains(&child.digest);
            let node = if here { self.node((name, revisions), child.clone(), &below)? } else { None };
            match node {
                Some(node) => children.push(node),
                // The repository says that it has it: that is damage, and not a platform that was left out.
                None if here => return Err(ContentsError::Absent { name: name.to_owned(), digest: child.digest }),
                None => absent.push(child.clone()),
            }
        }
        let platform = if descriptor.platform.is_none() { self.platform(name, &manifest)? } else { None };
        Ok(Some(Node { platform, ..Node::new(descriptor, bytes, manifest, children, absent) }))
    }

    fn manifest(
        &mut self,
        name: &str,
        descriptor: &Descriptor,
    ) -> Result<Option<ParsedManifest>, ContentsError<H::Error>> {
        let Descriptor { digest, media_type, .. } = descriptor;
        // What it was announced as before, if as anything, says nothing of what it is announced as here.
        let agrees = |(_, known): &&ParsedManifest| !media_type.is_manifest() || *media_type == known.media_type;
        if let Some(known) = self.manifests.get(digest).filter(agrees) {
            return Ok(Some(known.clone()));
        }
        let unreadable = |source| ContentsError::Image { image: name.to_owned(), source };
        let Some(bytes) = self.holdings.manifest(digest).map_err(unreadable)? else { return Ok(None) };
        let mut manifest = Manifest::parse_proven(media_type, &bytes)
            .map_err(|source| ContentsError::unusable(name, descriptor, GraphError::Manifest(source)))?;
        for blob in manifest.blobs_mut() {
            blob.size = self.holdings.size(blob).map_err(unreadable)?.unwrap_or(blob.size);
        }
        let manifest = Arc::new(manifest);
        self.manifests.insert(*digest, (bytes.clone(), manifest.clone()));
        Ok(Some((bytes, manifest)))
    }

    /// The platform that an image's config names, if it is that of a runnable image.
    fn platform(&mut self, name: &str, manifest: &Manifest) -> Result<Option<Platform>, ContentsError<H::Error>> {
        let Some(config) = manifest.config().filter(|config| config.media_type.is_image_config()) else {
            return Ok(None);
        };
        if let Some(known) = self.platforms.get(&config.digest) {
            return Ok(known.clone());
        }
        let unreadable = |source| ContentsError::Image { image: name.to_owned(), source };
        let bytes = self.holdings.config(config).map_err(unreadable)?;
        let platform = bytes.and_then(|bytes| Platform::of_config(&bytes));
        self.platforms.insert(config.digest, platform.clone());
        Ok(platform)
    }
}
