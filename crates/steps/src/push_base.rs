//! Checks that the target registry has the base of a delta, before anything is pushed.
//!
//! A registry has its blobs by repository. What the delta's own repository has not is looked for in the others of
//! the bundle, then in all that the registry lists, and is mounted from there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::push::PushOptions;
use hod_bundle::{Content, Header};
use hod_engine::copy::{CopyError, Engine};
use hod_engine::endpoint::{self, BlobReader, EndpointError, Place, Sink as _, Source};
use hod_image::base::{MissingBase, lacking};
use hod_oci::{Descriptor, Digest, MediaType, NameError, RepositoryName, Version};
use hod_registry::{Registries, Repository};

/// The repositories of a registry in which contents were found.
pub type Homes = HashMap<Digest, Arc<Repository>>;

/// The errors of finding the base of a delta.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// It is not there.
    #[error("the bundle requires {} that {host} does not have", hod_engine::count(.lacking.contents.len(), "blob"))]
    Required {
        /// The registry.
        host: String,
        /// The missing content, and what has it.
        lacking: MissingBase,
    },
    /// The registry cannot be asked.
    #[error("cannot ask for {digest}")]
    Ask {
        /// The content.
        digest: Digest,
        /// The reason.
        #[source]
        source: EndpointError,
    },
    /// A name that is too long below the destination's path.
    #[error("an image has no valid name at the destination")]
    Name(#[from] NameError),
    /// The existing content cannot be used.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Finds each of the contents that a bundle requires and that is needed; asks for that only where it requires any.
pub async fn find_base(
    engine: &Engine,
    registries: &Registries,
    header: &Header,
    is_needed: impl Fn(&Digest) -> bool,
    options: &PushOptions,
) -> Result<Homes, BaseError> {
    let required = header.requires().iter().filter(|content| is_needed(&content.digest));
    let required: Vec<Content> = required.copied().collect();
    if required.is_empty() {
        return Ok(Homes::new());
    }
    let own: Vec<(HashSet<Digest>, RepositoryName)> = header
        .repositories()
        .iter()
        .map(|links| Ok((links.layers.iter().copied().collect(), options.destination.repository(&links.name)?)))
        .collect::<Result<_, NameError>>()?;
    let search = Search {
        engine,
        registries,
        host: &options.destination.host,
        own,
        others: tokio::sync::OnceCell::new(),
        lucky: Mutex::default(),
    };
    let mut running = futures_util::stream::iter(required)
        .map(|content| search.find(content))
        .buffer_unordered(engine.limits().lookups);
    let (mut homes, mut missing) = (Homes::new(), BTreeSet::new());
    while let Some(found) = running.next().await {
        match found? {
            (digest, Some(home)) => {
                homes.insert(digest, home);
            }
            (digest, None) => {
                missing.insert(digest);
            }
        }
    }
    drop(running);
    if missing.is_empty() {
        return Ok(homes);
    }
    Err(BaseError::Required { host: options.destination.to_string(), lacking: lacking(header, &missing) })
}

struct Search<'a> {
    engine: &'a Engine,
    registries: &'a Registries,
    host: &'a str,
    /// The repositories of the bundle at the destination, with what each needs.
    own: Vec<(HashSet<Digest>, RepositoryName)>,
    /// All repositories that the registry lists, asked for once and only if need be.
    others: tokio::sync::OnceCell<Vec<RepositoryName>>,
    /// Repositories where something was found that its own did not have.
    lucky: Mutex<Vec<RepositoryName>>,
}

impl Search<'_> {
    async fn find(&self, content: Content) -> Result<(Digest, Option<Arc<Repository>>), BaseError> {
        let mut asked = HashSet::new();
        let own = self.own.iter().filter(|(needs, _)| needs.contains(&content.digest)).map(|(_, name)| name.clone());
        for name in own {
            if let Some(home) = self.ask(&content, &name, &mut asked).await? {
                return Ok((content.digest, Some(home)));
            }
        }
        let lucky = self.lucky.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rest = self.own.iter().map(|(_, name)| name);
        for name in lucky.iter().chain(rest).chain(self.others().await) {
            if let Some(home) = self.ask(&content, name, &mut asked).await? {
                let mut lucky = self.lucky.lock().unwrap_or_else(PoisonError::into_inner);
                if !lucky.contains(name) {
                    lucky.push(name.clone());
                }
                return Ok((content.digest, Some(home)));
            }
        }
        Ok((content.digest, None))
    }

    /// The repositories that the registry lists; one that lists none is taken at its word.
    async fn others(&self) -> &[RepositoryName] {
        self.others.get_or_init(|| async { self.registries.catalog(self.host).await.unwrap_or_default() }).await
    }

    async fn ask(
        &self,
        content: &Content,
        name: &RepositoryName,
        asked: &mut HashSet<RepositoryName>,
    ) -> Result<Option<Arc<Repository>>, BaseError> {
        if !asked.insert(name.clone()) {
            return Ok(None);
        }
        let home = Arc::new(self.registries.repository(self.host, name));
        let blob = Descriptor::new(MediaType::Other("".into()), content.digest, content.size);
        let found = home.contains(&blob).await;
        if !found.map_err(|source| BaseError::Ask { digest: content.digest, source })? {
            return Ok(None);
        }
        // So the engine knows whence to mount it.
        let source: Arc<dyn Source> = home.clone();
        self.engine.place(&source, &*home, &blob).await?;
        Ok(Some(home))
    }
}

/// A delta together with its base: what the bundle does not hold is read where it was found.
pub struct CompletedDelta {
    bundle: Arc<dyn Source>,
    homes: Arc<Homes>,
}

impl CompletedDelta {
    /// A source of a delta, and what was found of its base.
    pub fn new(bundle: Arc<dyn Source>, homes: Arc<Homes>) -> Self {
        Self { bundle, homes }
    }
}

#[async_trait]
impl Source for CompletedDelta {
    fn place(&self) -> &Place {
        self.bundle.place()
    }

    async fn resolve(&self, version: &Version) -> endpoint::Result<Descriptor> {
        self.bundle.resolve(version).await
    }

    async fn manifest(&self, version: &Version) -> endpoint::Result<(Descriptor, Bytes)> {
        self.bundle.manifest(version).await
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> endpoint::Result<BlobReader> {
        match self.homes.get(&content.digest) {
            Some(home) => home.open(content, offset).await,
            None => self.bundle.open(content, offset).await,
        }
    }

    async fn size(&self, content: &Descriptor) -> endpoint::Result<Option<u64>> {
        match self.homes.get(&content.digest) {
            Some(home) => home.size(content).await,
            None => self.bundle.size(content).await,
        }
    }
}

impl std::fmt::Debug for CompletedDelta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completed").field("homes", &self.homes.len()).finish_non_exhaustive()
    }
}
