//! Pushing manifests: nothing is taken that could not be pulled again.
//!
//! A manifest's config, layers and children must be in its repository first, as the CNCF registry
//! asks by default. A manifest with a subject is entered in the subject's fallback tag as well,
//! for readers of the same root that have no referrers API.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};

use super::answer::{Answer, Refusal, finish};
use super::body::{Body, blocking};
use super::receive::Receiving;
use super::referrers::{descriptor, enter, fallback_tag};
use super::upload::created_at;
use super::writing::Writing;
use hod_engine::endpoint::EndpointError;
use hod_oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, ManifestError, MediaType, RepositoryName, Version};
use hod_store::{Links, ReferrersLock, TagLink};

/// How often an index of referrers is written that somebody else has replaced.
const TRIES: usize = 5;

/// Answers PUT of a manifest.
pub(super) async fn manifest(
    writing: Arc<Writing>,
    name: RepositoryName,
    version: Version,
    headers: &HeaderMap,
    body: Receiving,
) -> Answer {
    let announced = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let announced = MediaType::parse(announced);
    let bytes = body.small(MANIFEST_LIMIT).await?;
    let digest = match &version {
        Version::Digest(digest) => *digest,
        Version::Tag(_) => Digest::sha256(&bytes),
    };
    let asked = name.clone();
    let stored = blocking(move || {
        if Digest::of(digest.algorithm(), &bytes) != digest {
            let message = format!("the manifest that came does not have the digest {digest}");
            return Ok(Err(Refusal::digest_invalid(message)));
        }
        let manifest = match Manifest::parse(&announced, &bytes) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Err(invalid(&error))),
        };
        if let Err(refusal) = writing.check(&asked, &manifest)? {
            return Ok(Err(refusal));
        }
        let pushed = Pushed { name: &asked, version: &version, digest, bytes: &bytes, manifest: &manifest };
        if let Err(refusal) = writing.store_manifest(&pushed)? {
            return Ok(Err(refusal));
        }
        Ok(Ok(manifest.subject.map(|subject| subject.digest)))
    });
    let stored = stored.await;
    let subject =
        stored.map_err(|cause| Refusal::failed(format!("cannot store manifest {digest} of {name}"), cause))??;
    let head = created_at(&format!("/v2/{name}/manifests/{digest}"), &digest);
    let head = match subject {
        Some(subject) => head.header("OCI-Subject", subject.to_string()),
        None => head,
    };
    Ok(finish(head, Body::empty()))
}

/// A manifest that may be stored.
struct Pushed<'a> {
    name: &'a RepositoryName,
    version: &'a Version,
    digest: Digest,
    bytes: &'a Bytes,
    manifest: &'a Manifest,
}

impl Writing {
    /// Whether everything that a manifest names is in its repository.
    fn check(&self, name: &RepositoryName, manifest: &Manifest) -> Result<Result<(), Refusal>, EndpointError> {
        for blob in manifest.blobs() {
            if blob.media_type.is_foreign_layer() && !blob.urls.is_empty() {
                continue;
            }
            let size = if self.store.has_layer(name, &blob.digest)? { self.store.size(&blob.digest)? } else { None };
            match size {
                None => return Ok(Err(Refusal::incomplete(name, &blob.digest))),
                Some(size) if size != blob.size => {
                    let message =
                        format!("the manifest gives {} bytes to {}, which has {size}", blob.size, blob.digest);
                    return Ok(Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)));
                }
                Some(_) => {}
            }
        }
        for child in manifest.children() {
            let there = self.store.has_revision(name, &child.digest)? && self.store.size(&child.digest)?.is_some();
            if !there && !self.sparse {
                return Ok(Err(Refusal::incomplete(name, &child.digest)));
            }
        }
        Ok(Ok(()))
    }

    /// Makes a manifest durable and visible, and its referrer's entry with it.
    fn store_manifest(&self, pushed: &Pushed<'_>) -> Result<Result<(), Refusal>, EndpointError> {
        self.store.add(&pushed.digest, pushed.bytes)?;
        let mut links = Links { revisions: vec![pushed.digest], ..Links::none(pushed.name.clone()) };
        if let Version::Tag(tag) = pushed.version {
            links.tags.push(TagLink { name: tag.clone(), digest: pushed.digest });
        }
        let Some(subject) = pushed.manifest.subject.as_ref().map(|subject| subject.digest) else {
            self.store.commit(&[links])?;
            return Ok(Ok(()));
        };
        // One at a time, or of two referrers that come at once one would be missing.
        let alone = self.store.lock_referrers()?;
        self.settle(&alone)?;
        let tag = fallback_tag(&subject)?;
        if let Some(found) = self.store.foreign_at(pushed.name, &tag)? {
            return Ok(Err(Refusal::taken(pushed.name, &tag, &found)));
        }
        alone.note(pushed.name, &subject)?;
        let own = descriptor(pushed.digest, pushed.manifest, pushed.bytes.len() as u64);
        self.enter_referrers(&subject, Some(&own), links)?;
        alone.forget()?;
        Ok(Ok(()))
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
            let mut all = self.subjects.of(&self.store, &name, subject)?;
            all.extend(own.cloned());
            let index = enter(&self.store, &name, &tag, &all)?;
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
