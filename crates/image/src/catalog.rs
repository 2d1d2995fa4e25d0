//! Lists the images of a registry, from its repositories and tags.
//!
//! Untagged images are not found: registries do not list them.

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::contents::StoredImage;
use super::list::StoredName;
use super::whole::{WholeError, whole};
use hod_engine::endpoint::Fault;
use hod_oci::{RegistryPath, RepositoryName, Version};
use hod_registry::{Registries, RegistryError};

/// Repositories and tags asked for at the same time.
const LOOKUPS: usize = 16;

/// The errors of listing the images of a registry.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A list.
    #[error("the registry {host} does not list its repositories")]
    List {
        /// The registry.
        host: String,
        /// The reason.
        #[source]
        source: Box<RegistryError>,
    },
    /// An image.
    #[error("cannot read {name}")]
    Read {
        /// The image.
        name: String,
        /// The reason.
        #[source]
        source: WholeError,
    },
}

/// The tagged images of a registry, or of the path there; their names are those below it.
pub async fn catalog(registries: &Registries, place: &RegistryPath) -> Result<Vec<StoredImage>, CatalogError> {
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
                match whole(&repository, &Version::Tag(tag)).await {
                    Ok(graph) => images.push(StoredImage {
                        name: stored,
                        graph,
                        group: None,
                        source: None,
                        pinned: false,
                        referrers: None,
                    }),
                    // A tag may be deleted while it is being looked at.
                    Err(WholeError::Source(error)) if error.fault() == Fault::Missing => {}
                    Err(source) => return Err(CatalogError::Read { name: stored.to_string(), source }),
                }
            }
            Ok::<_, CatalogError>(images)
        })
        .buffer_unordered(LOOKUPS)
        .try_collect::<Vec<_>>()
        .await?;
    let mut images: Vec<StoredImage> = images.into_iter().flatten().collect();
    images.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(images)
}
