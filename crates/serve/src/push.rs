//! Pushing manifests: nothing is taken that could not be pulled again.
//!
//! A manifest's config, layers and children must be in its repository first, as the CNCF registry
//! asks by default. A manifest with a subject is entered in the subject's fallback tag as well,
//! for readers of the same root that have no referrers API.

use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse as _};
use bytes::Bytes;

use super::answer::{Answer, Refusal, blocking, created_at};
use super::push_store::PushStore;
use super::referrers::{fallback_tag, rewrite};
use super::request_body::RequestBody;
use hod_engine::endpoint::EndpointError;
use hod_oci::{
    Descriptor, Digest, MANIFEST_LIMIT, Manifest, ManifestError, MediaType, RepositoryName, Version, referrer,
};
use hod_store::{Links, ReferrersLock, TagLink};

/// What the manifest that was pushed is about.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// How often an index of referrers is written that somebody else has replaced.
const TRIES: usize = 5;

/// A manifest that a client sends.
struct PushedManifest {
    name: RepositoryName,
    version: Version,
    digest: Digest,
    bytes: Bytes,
    manifest: Manifest,
}

/// Answers PUT of a manifest.
pub(super) async fn manifest(
    store: Arc<PushStore>,
    name: RepositoryName,
    version: Version,
    headers: &HeaderMap,
    body: RequestBody,
) -> Answer {
    let announced = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let announced = MediaType::parse(announced);
    let bytes = body.small(MANIFEST_LIMIT).await?;
    let digest = match &version {
        Version::Digest(digest) => *digest,
        Version::Tag(_) => Digest::sha256(&bytes),
    };
    blocking(format!("cannot store manifest {digest} of {name}"), move || {
        if Digest::of(digest.algorithm(), &bytes) != digest {
            let message = format!("the manifest that came does not have the digest {digest}");
            return Err(Refusal::digest_invalid(message));
        }
        let manifest = Manifest::parse(&announced, &bytes).map_err(|error| invalid(&error))?;
        let head = created_at(&format!("/v2/{name}/manifests/{digest}"), &digest);
        let subject = manifest.subject.as_ref().map(|subject| (SUBJECT, subject.digest.to_string()));
        store.check(&name, &manifest)?;
        store.store_manifest(&PushedManifest { name, version, digest, bytes, manifest })?;
        Ok((StatusCode::CREATED, head, AppendHeaders(subject)).into_response())
    })
    .await
}

impl PushStore {
    /// Refuses a manifest that names what is not in its repository.
    fn check(&self, name: &RepositoryName, manifest: &Manifest) -> Result<(), Refusal> {
        for blob in manifest.blobs() {
            if blob.media_type.is_foreign_layer() && !blob.urls.is_empty() {
                continue;
            }
            let size = if self.store.has_layer(name, &blob.digest)? { self.store.size(&blob.digest)? } else { None };
            let size = size.ok_or_else(|| Refusal::incomplete(name, &blob.digest))?;
            if size != blob.size {
                let message = format!("the manifest gives {} bytes to {}, which has {size}", blob.size, blob.digest);
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message));
            }
        }
        for child in manifest.children().iter().filter(|_| !self.sparse) {
            if !self.store.has_revision(name, &child.digest)? || self.store.size(&child.digest)?.is_none() {
                return Err(Refusal::incomplete(name, &child.digest));
            }
        }
        Ok(())
    }

    /// Makes a manifest durable and visible, and its referrer's entry with it.
    fn store_manifest(&self, pushed: &PushedManifest) -> Result<(), Refusal> {
        let PushedManifest { name, version, digest, bytes, manifest } = pushed;
        self.store.add(digest, bytes)?;
        let mut links = Links { revisions: vec![*digest], ..Links::none(name.clone()) };
        if let Version::Tag(tag) = version {
            links.tags.push(TagLink { name: tag.clone(), digest: *digest });
        }
        let Some(subject) = &manifest.subject else { return Ok(self.store.commit(&[links]).map(drop)?) };
        // One at a time, or of two referrers that come at once one would be missing.
        let alone = self.store.lock_referrers()?;
        self.settle(&alone)?;
        let tag = fallback_tag(&subject.digest)?;
        if let Some(found) = self.store.foreign_at(name, &tag)? {
            return Err(Refusal::tag_taken(name, &tag, &found));
        }
        alone.note(name, &subject.digest)?;
        let own = Descriptor::new(manifest.media_type.clone(), *digest, bytes.len() as u64);
        self.enter_referrers(&subject.digest, Some(&referrer(&own, manifest)), links)?;
        Ok(alone.forget()?)
    }

    /// Writes the index of referrers that was to be written when a server was killed. The manifest may be there already,
    /// so that no client pushes it again.
    pub(super) fn finish_referrers(&self) -> Result<(), EndpointError> {
        self.settle(&self.store.lock_referrers()?)
    }

    fn settle(&self, alone: &ReferrersLock) -> Result<(), EndpointError> {
        let Some((name, subject)) = alone.noted()? else { return Ok(()) };
        if self.store.foreign_at(&name, &fallback_tag(&subject)?)?.is_none() {
            self.enter_referrers(&subject, None, Links::none(name))?;
        }
        Ok(alone.forget()?)
    }

    /// Commits links of a repository, and the index of all referrers of a manifest there, with one that is new.
    fn enter_referrers(
        &self,
        subject: &Digest,
        own: Option<&Descriptor>,
        mut links: Links,
    ) -> Result<(), EndpointError> {
        let (name, tag) = (links.name.clone(), fallback_tag(subject)?);
        for _ in 0..TRIES {
            // They are all that the repository has, so that one that somebody else has lost comes back.
            let all = self.referrers.of(&self.store, &name, subject)?;
            let index = rewrite(&self.store, &name, &tag, |index| {
                // What somebody else has written of a referrer stays.
                for referrer in all.iter().chain(own) {
                    if !index.names(&referrer.digest) {
                        index.add(referrer);
                    }
                }
            })?;
            if let Some(index) = index {
                links.revisions.push(index);
                links.tags.push(TagLink { name: tag.clone(), digest: index });
            }
            self.store.commit(&[std::mem::replace(&mut links, Links::none(name.clone()))])?;
            // Another registry on the same root knows no lock, and may have written its own at the same moment.
            if index.is_none() || self.store.tag(&name, &tag).ok().flatten() == index {
                break;
            }
        }
        Ok(())
    }
}

fn invalid(error: &ManifestError) -> Refusal {
    let status = match error {
        ManifestError::Large(_) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    Refusal::new(status, "MANIFEST_INVALID", format!("{error}{source}"))
}
