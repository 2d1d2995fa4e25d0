//! Pushes referrers to a registry (OCI distribution-spec, "Pushing Manifests with Subject").
//!
//! A registry that lists referrers says so when it takes one. For any other, the client keeps the list:
//! the index under the tag is read, merged and put back, so that what others have put there stays.

use std::sync::Arc;

use bytes::Bytes;

use super::push::{OutboundImage, PushError, PushOptions, PushedImage};
use hod_engine::copy::{CopySummary, Engine};
use hod_engine::endpoint::{EndpointError, Source};
use hod_image::attached::{ReferrersApi, index_of, listed_referrers};
use hod_image::contents::StoredImage;
use hod_oci::{
    Digest, Foreign, Graph, MergeError, Node, ReferrerIndex, RepositoryName, Tag, is_referrers_tag, merged, referrer,
    referrers_tag,
};
use hod_registry::{Registries, Repository};

/// Returns true if an image is an index of referrers, to be merged and not just pushed.
pub(super) fn is_index(image: &OutboundImage) -> bool {
    image.held.name.tag.as_ref().is_some_and(is_referrers_tag) && image.held.graph.root.manifest.media_type.is_index()
}

/// Pushes the referrers that an index names, and the index where the registry needs it.
pub(super) async fn push_index(
    engine: &Engine,
    registries: &Registries,
    image: OutboundImage,
    options: &PushOptions,
) -> Result<PushedImage, PushError> {
    let OutboundImage { held, source } = image;
    let name = options.destination.repository(&held.name.repository)?;
    let root = &held.graph.root;
    let (label, digest) = (held.label(), root.descriptor.digest);
    let mut total = CopySummary { unchanged: true, ..CopySummary::default() };
    let unusable = |source| PushError::Index { digest, source };
    let mut index = ReferrerIndex::parse(&root.bytes).map_err(unusable)?;
    let mut unlisted = Vec::new();
    for child in &root.children {
        let repository = Arc::new(registries.repository(&options.destination.host, &name));
        let graph = Arc::new(Graph { root: child.clone() });
        let copied = engine.copy(source.clone(), options.sink(&repository), graph, &[]).await?;
        total.add_all(&copied);
        if !is_listed(engine, &repository, child).await? {
            unlisted.push(child.descriptor.digest.to_string());
        }
    }
    let is_whole = root.absent.is_empty() && unlisted.len() == root.children.len();
    index.retain(|digest| unlisted.iter().any(|unlisted| unlisted == digest));
    // A list of which nothing is left out keeps its bytes.
    let bytes = if is_whole { root.bytes.clone() } else { index.to_bytes() };
    let destination = match &held.name.tag {
        Some(tag) => {
            if !index.is_empty() {
                let copied = put_index(engine, registries, (options, &name, tag), bytes).await?;
                total.add_all(&copied);
            }
            format!("{}/{name}:{tag}", options.destination.host)
        }
        None => format!("{}/{name}", options.destination.host),
    };
    Ok(PushedImage { label, destination, digest, changed_to: None, copied: total, is_companion: true })
}

/// Sees to it that the registry knows of a referrer that was pushed by itself, without an index.
pub(super) async fn announce(
    engine: &Engine,
    registries: &Registries,
    repository: &Repository,
    node: &Node,
    options: &PushOptions,
) -> Result<(), PushError> {
    let Some(subject) = &node.manifest.subject else { return Ok(()) };
    let Some(tag) = referrers_tag(&subject.digest) else { return Ok(()) };
    if is_listed(engine, repository, node).await? {
        return Ok(());
    }
    let Some(name) = Source::place(repository).repository() else { return Ok(()) };
    let mut index = ReferrerIndex::default();
    index.add(&referrer(&node.descriptor, &node.manifest));
    let place = registries.repository(&options.destination.host, name);
    let old = kept_index(engine, &place, &tag, node.descriptor.digest).await?;
    // A list that names it stays as it is, whatever else it says of it.
    if old.and_then(|bytes| ReferrerIndex::parse(&bytes).ok()).is_some_and(|old| old.names_all_of(&index)) {
        return Ok(());
    }
    put_index(engine, registries, (options, name, &tag), index.to_bytes()).await?;
    Ok(())
}

/// Refuses an image that has the tag of an index of referrers, where the registry has such an index: all that it lists
/// would be lost.
pub(super) async fn spare_index(engine: &Engine, there: &Repository, image: &StoredImage) -> Result<(), PushError> {
    let Some(tag) = image.name.tag.as_ref().filter(|tag| is_referrers_tag(tag)) else { return Ok(()) };
    // Large, and for few: so that not every image on its way holds room for it.
    let old = Box::pin(kept_index(engine, there, tag, image.graph.root.descriptor.digest)).await?;
    let is_list = old.is_some_and(|old| Foreign::of(&old).is_none());
    if is_list { Err(PushError::Listed(format!("{}:{tag}", Source::place(there)))) } else { Ok(()) }
}

/// Returns true if the registry lists a referrer: it said so when it took it, or it says so now.
async fn is_listed(engine: &Engine, repository: &Repository, node: &Node) -> Result<bool, PushError> {
    let digest = node.descriptor.digest;
    let Some(subject) = &node.manifest.subject else { return Ok(false) };
    if let Some(taken) = repository.took_subject(&digest) {
        return Ok(taken);
    }
    let listed = listed_referrers(engine, repository, &subject.digest, ReferrersApi::Optional).await;
    let listed = listed.map_err(|source| refused(subject.digest, source))?;
    Ok(listed.is_some_and(|listed| listed.iter().any(|found| found.digest == digest)))
}

/// Merges an index into the one that the registry has under the tag.
async fn put_index(
    engine: &Engine,
    registries: &Registries,
    (options, name, tag): (&PushOptions, &RepositoryName, &Tag),
    bytes: Bytes,
) -> Result<CopySummary, PushError> {
    let host = &options.destination.host;
    let repository = Arc::new(registries.repository(host, name));
    let old = kept_index(engine, &repository, tag, Digest::sha256(&bytes)).await?;
    let union = merged(old.as_ref(), &bytes).map_err(|error| match error {
        MergeError::Existing(found) => PushError::Foreign { name: format!("{host}/{name}:{tag}"), found },
        MergeError::Incoming(source) => PushError::Index { digest: Digest::sha256(&bytes), source },
    })?;
    // Its children are there: they were pushed just now, or the registry has named them itself.
    let graph = Arc::new(index_of(union, Vec::new()));
    let sink = options.sink(&repository);
    Ok(engine.copy(repository, sink, graph, std::slice::from_ref(tag)).await?)
}

/// The index that the registry has under the tag.
async fn kept_index(
    engine: &Engine,
    repository: &Repository,
    tag: &Tag,
    about: Digest,
) -> Result<Option<Bytes>, PushError> {
    let place = Source::place(repository);
    let what = format!("{tag} in {place}");
    let ask = || async { Ok(repository.kept_referrers(tag).await?) };
    engine.question(&what, place, ask).await.map_err(|source| refused(about, source))
}

fn refused(digest: Digest, source: EndpointError) -> PushError {
    PushError::Referrers { digest, source }
}
