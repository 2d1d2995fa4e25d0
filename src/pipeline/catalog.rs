//! The images of a registry: what its lists of repositories and tags lead to.
//!
//! A child of an index that the registry does not have is absent, as in a sparse index of a store; any other failure
//! is one. Untagged images are not found: registries do not list them.

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::contents::Held;
use super::list::StoredName;
use super::push::Destination;
use crate::endpoint::{EndpointError, Fault, Source as _};
use crate::oci::{Descriptor, Graph, GraphWidth, Manifest, ManifestError, Node, RepositoryName, Version, WideGraph};
use crate::registry::{Registries, RegistryError, Repository};

/// How deep indexes may nest.
const DEPTH: usize = 8;
/// Repositories and tags asked for at the same time.
const LOOKUPS: usize = 16;

/// Why the images of a registry cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A list.
    #[error("the registry {host} does not list what it has")]
    List {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// A manifest.
    #[error("cannot read {name}")]
    Read {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: EndpointError,
    },
    /// Indexes that name too much.
    #[error("{name} has an index that cannot be used")]
    Wide {
        /// The image.
        name: String,
        /// The limit.
        #[source]
        source: WideGraph,
    },
    /// A manifest that makes no sense.
    #[error("{name} has a manifest that cannot be used")]
    Manifest {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
}

/// The tagged images of a registry, or of the path there; their names are those below it.
pub async fn catalog(registries: &Registries, place: &Destination) -> Result<Vec<Held>, CatalogError> {
    let failed = |source| CatalogError::List { host: place.host.to_string(), source: Box::new(source) };
    let prefix = place.prefix.as_ref().map(|prefix| format!("{prefix}/"));
    let repositories = registries.catalog(&place.host).await.map_err(failed)?;
    let named = repositories.into_iter().filter_map(|name| {
        let own: RepositoryName = match &prefix {
            Some(prefix) => name.as_str().strip_prefix(prefix.as_str())?.parse().ok()?,
            None => name.clone(),
        };
        Some((name, own))
    });
    let images = futures_util::stream::iter(named)
        .map(|(name, own)| async move {
            let tags = registries.tags(&place.host, &name).await.map_err(failed)?;
            let repository = registries.repository(&place.host, &name);
            let mut images = Vec::with_capacity(tags.len());
            for tag in tags {
                let stored = StoredName { repository: own.clone(), tag: Some(tag.clone()) };
                let root =
                    node(&repository, (&stored.to_string(), &GraphWidth::default()), Version::Tag(tag), None, DEPTH)
                        .await?;
                // A tag may be deleted while it is being looked at.
                images.extend(root.map(|root| Held {
                    name: stored,
                    graph: Graph { root },
                    group: None,
                    source: None,
                    pinned: false,
                    referrers: None,
                }));
            }
            Ok::<_, CatalogError>(images)
        })
        .buffer_unordered(LOOKUPS)
        .try_collect::<Vec<_>>()
        .await?;
    let mut images: Vec<Held> = images.into_iter().flatten().collect();
    images.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(images)
}

/// A manifest with its children, or `None` where the registry does not have it.
fn node<'a>(
    repository: &'a Repository,
    (name, width): (&'a str, &'a GraphWidth),
    version: Version,
    named: Option<Descriptor>,
    depth: usize,
) -> BoxFuture<'a, Result<Option<Node>, CatalogError>> {
    async move {
        let (mut descriptor, bytes) = match repository.manifest(&version).await {
            Ok(found) => found,
            Err(error) if error.fault() == Fault::Missing => return Ok(None),
            Err(source) => return Err(CatalogError::Read { name: name.to_owned(), source }),
        };
        let manifest = Manifest::parse(&descriptor.media_type, &bytes)
            .map_err(|source| CatalogError::Manifest { name: name.to_owned(), source })?;
        width.add(&manifest).map_err(|source| CatalogError::Wide { name: name.to_owned(), source })?;
        if let Some(named) = named {
            descriptor = Descriptor { size: descriptor.size, ..named };
        }
        let (mut children, mut absent) = (Vec::new(), Vec::new());
        for child in manifest.children() {
            let found = if depth > 0 {
                node(repository, (name, width), Version::Digest(child.digest), Some(child.clone()), depth - 1).await?
            } else {
                None
            };
            match found {
                Some(found) => children.push(found),
                None => absent.push(child.clone()),
            }
        }
        Ok(Some(Node::new(descriptor, bytes, manifest, children, absent)))
    }
    .boxed()
}
