//! Referrers: the manifests of a repository that are about another one, such as signatures.
//!
//! The API is answered from the manifests themselves, so it is right for whatever root is served,
//! whoever wrote it. Readers without the API look at a tag named after the subject's digest
//! (distribution-spec, "Referrers Tag Schema"), whose index is kept here as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{AppendHeaders, IntoResponse as _};

use super::answer::{Answer, blocking};
use super::cache::Cache;
use super::repositories::Repositories;
use hod_engine::endpoint::{EndpointError, Fault};
use hod_oci::{
    Descriptor, Digest, MANIFEST_LIMIT, Manifest, MediaType, ReferrerIndex, RepositoryName, Tag, referrer,
    referrers_tag,
};
use hod_store::Store;

/// Which filters an answer has applied.
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// How many manifests are remembered before all are forgotten.
const REMEMBERED: usize = 100_000;

/// What manifests are about, as far as anyone has asked. A digest always means the same bytes, so
/// what is remembered never changes.
#[derive(Default)]
pub(super) struct ReferrerCache(Cache<Digest, Option<Arc<Referrer>>, REMEMBERED>);

/// A manifest with a subject.
struct Referrer {
    subject: Digest,
    descriptor: Descriptor,
}

impl ReferrerCache {
    fn referrer(
        &self,
        repositories: &dyn Repositories,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arc<Referrer>>, EndpointError> {
        if let Some(found) = self.0.get(digest) {
            return Ok(found);
        }
        let bytes = match repositories.manifest(name, digest) {
            Ok(Some(bytes)) if Digest::of(digest.algorithm(), &bytes) == *digest => bytes,
            // A damaged manifest tells nothing, and is damaged for `verify` to find.
            Ok(_) => return Ok(None),
            Err(error) if error.fault() == Fault::Corrupt => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = Manifest::parse(&MediaType::Other("".into()), &bytes).ok().and_then(|manifest| {
            let subject = manifest.subject.as_ref()?.digest;
            let own = Descriptor::new(manifest.media_type.clone(), *digest, bytes.len() as u64);
            Some(Arc::new(Referrer { subject, descriptor: referrer(&own, &manifest) }))
        });
        self.0.insert(*digest, found.clone());
        Ok(found)
    }

    /// The referrers of a manifest among the manifests of a repository.
    pub(super) fn of(
        &self,
        repositories: &dyn Repositories,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, EndpointError> {
        self.of_any(repositories, name, &BTreeSet::from([*subject]))
    }

    /// The referrers of any of these manifests among the manifests of a repository.
    pub(super) fn of_any(
        &self,
        repositories: &dyn Repositories,
        name: &RepositoryName,
        subjects: &BTreeSet<Digest>,
    ) -> Result<Vec<Descriptor>, EndpointError> {
        let mut found = Vec::new();
        for digest in repositories.manifests(name)? {
            let referrer = self.referrer(repositories, name, &digest)?;
            found.extend(referrer.filter(|it| subjects.contains(&it.subject)).map(|it| it.descriptor.clone()));
        }
        Ok(found)
    }
}

/// Answers with an index of the referrers of a manifest, all or those of one `kind`; an empty one where there are none.
pub(super) async fn list(
    repositories: Arc<dyn Repositories>,
    cache: Arc<ReferrerCache>,
    name: RepositoryName,
    subject: Digest,
    kind: Option<String>,
) -> Answer {
    let kind = kind.filter(|kind| !kind.is_empty());
    blocking(format!("cannot list the referrers of {subject}"), move || {
        let mut index = ReferrerIndex::default();
        for referrer in cache.of(&*repositories, &name, &subject)? {
            if kind.is_none() || referrer.artifact_type.as_deref() == kind.as_deref() {
                index.add(&referrer);
            }
        }
        let filter = kind.as_ref().map(|_| (FILTERS, "artifactType"));
        let head = [(CONTENT_TYPE, MediaType::OciIndex.as_str())];
        Ok((AppendHeaders(filter), head, index.to_bytes()).into_response())
    })
    .await
}

/// The tag under which readers without the API look for the referrers of a manifest.
pub(super) fn fallback_tag(subject: &Digest) -> Result<Tag, EndpointError> {
    referrers_tag(subject).ok_or_else(|| EndpointError::new(Fault::Other, format!("no tag can stand for {subject}")))
}

/// Writes the index that a fallback tag is to point to next, whoever wrote the one before.
///
/// `None` where nothing changes, or where it would be larger than any client reads, and the old one must do.
pub(super) fn rewrite(
    store: &Store,
    name: &RepositoryName,
    tag: &Tag,
    change: impl FnOnce(&mut ReferrerIndex),
) -> Result<Option<Digest>, EndpointError> {
    let before = store.kept_referrers(name, tag)?;
    let before = before.and_then(|bytes| ReferrerIndex::parse(&bytes).ok()).unwrap_or_default();
    let mut index = before.clone();
    change(&mut index);
    let bytes = index.to_bytes();
    if index == before || bytes.len() as u64 > MANIFEST_LIMIT {
        return Ok(None);
    }
    let digest = Digest::sha256(&bytes);
    store.add(&digest, &bytes)?;
    Ok(Some(digest))
}
