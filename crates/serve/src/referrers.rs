//! Referrers: the manifests of a repository that are about another one, such as signatures.
//!
//! The API is answered from the manifests themselves, so it is right for whatever root is served,
//! whoever wrote it. Readers without the API look at a tag named after the subject's digest
//! (distribution-spec, "Referrers Tag Schema"), whose index is kept here as well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{Answer, Refusal, finish, response};
use super::body::{Body, blocking};
use super::repositories::Repositories;
use hod_engine::endpoint::{EndpointError, Fault};
use hod_oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, MediaType, RepositoryName, Tag};
use hod_store::Store;

/// How many manifests are remembered before all are forgotten.
const REMEMBERED: usize = 100_000;

/// What manifests are about, as far as anyone has asked. A digest always means the same bytes, so
/// what is remembered never changes.
#[derive(Default)]
pub(super) struct Subjects {
    known: Mutex<HashMap<Digest, Option<Arc<Referrer>>>>,
}

/// A manifest with a subject.
struct Referrer {
    subject: Digest,
    descriptor: Descriptor,
}

impl Subjects {
    fn referrer(
        &self,
        repositories: &dyn Repositories,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arc<Referrer>>, EndpointError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(digest) {
            return Ok(found.clone());
        }
        let bytes = match repositories.manifest(name, digest) {
            Ok(Some(bytes)) if Digest::of(digest.algorithm(), &bytes) == *digest => bytes,
            // A damaged manifest tells nothing, and is damaged for `verify` to find.
            Ok(_) => return Ok(None),
            Err(error) if error.fault() == Fault::Corrupt => return Ok(None),
            Err(error) => return Err(error),
        };
        let referrer = Manifest::parse(&MediaType::Other("".into()), &bytes).ok().and_then(|manifest| {
            let subject = manifest.subject.as_ref()?.digest;
            let descriptor = descriptor(*digest, &manifest, bytes.len() as u64);
            Some(Arc::new(Referrer { subject, descriptor }))
        });
        let mut known = known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(*digest, referrer.clone());
        Ok(referrer)
    }
}

impl Subjects {
    /// The referrers of a manifest among the manifests of a repository, sorted by digest.
    pub(super) fn of(
        &self,
        repositories: &dyn Repositories,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, EndpointError> {
        let mut found = Vec::new();
        for digest in repositories.manifests(name)? {
            let referrer = self.referrer(repositories, name, &digest)?;
            found.extend(referrer.filter(|it| it.subject == *subject).map(|it| it.descriptor.clone()));
        }
        found.sort_by_key(|descriptor| descriptor.digest);
        Ok(found)
    }
}

/// Answers with an index of the referrers of a manifest; an empty one where there are none.
pub(super) async fn list(
    repositories: Arc<dyn Repositories>,
    subjects: Arc<Subjects>,
    (name, subject): (RepositoryName, Digest),
    query: Option<&str>,
) -> Answer {
    let filter = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, value)| key == "artifactType" && !value.is_empty())
        .map(|(_, value)| value.into_owned());
    let (asked, wanted) = (name.clone(), filter.clone());
    let found = blocking(move || {
        let mut found = subjects.of(&*repositories, &asked, &subject)?;
        found.retain(|referrer| wanted.as_deref().is_none_or(|it| referrer.artifact_type.as_deref() == Some(it)));
        Ok(found)
    });
    let found =
        found.await.map_err(|cause| Refusal::failed(format!("cannot list the referrers of {subject}"), cause))?;
    let text = index(&json!(found)).to_string();
    let head =
        response(StatusCode::OK).header(CONTENT_TYPE, MediaType::OciIndex.as_str()).header(CONTENT_LENGTH, text.len());
    let head = if filter.is_some() { head.header("OCI-Filters-Applied", "artifactType") } else { head };
    Ok(finish(head, Body::bytes(text.into())))
}

/// How a referrer is listed: with what it says of itself.
pub(super) fn descriptor(digest: Digest, manifest: &Manifest, size: u64) -> Descriptor {
    let config = manifest.config().map(|config| config.media_type.as_str().into());
    Descriptor {
        artifact_type: manifest.artifact_type.clone().filter(|text| !text.is_empty()).or(config),
        annotations: manifest.annotations.clone(),
        ..Descriptor::new(manifest.media_type.clone(), digest, size)
    }
}

fn index(manifests: &Value) -> Value {
    json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": manifests })
}

/// The tag under which readers without the API look for the referrers of a manifest.
pub(super) fn fallback_tag(subject: &Digest) -> Result<Tag, EndpointError> {
    let hex = subject.hex();
    let hex = hex.get(..64).unwrap_or(&hex);
    let tag = format!("{}-{hex}", subject.algorithm().name()).parse();
    tag.map_err(|error: hod_oci::NameError| EndpointError::new(Fault::Other, error))
}

/// Writes the index that a fallback tag is to point to next, with all these referrers; `None` where it has them.
///
/// They are all that the repository has, so that one that somebody else has lost comes back.
pub(super) fn enter(
    store: &Store,
    name: &RepositoryName,
    tag: &Tag,
    referrers: &[Descriptor],
) -> Result<Option<Digest>, EndpointError> {
    let mut entries = entries(store, name, tag)?;
    let before = entries.len();
    for referrer in referrers {
        if !entries.iter().any(|entry| names(entry, &referrer.digest)) {
            entries.push(json!(referrer));
        }
    }
    if entries.len() == before { Ok(None) } else { write(store, &entries) }
}

/// Writes the index that a fallback tag is to point to next, without a referrer; `None` where it has it not.
pub(super) fn strike(
    store: &Store,
    name: &RepositoryName,
    tag: &Tag,
    digest: &Digest,
) -> Result<Option<Digest>, EndpointError> {
    let mut entries = entries(store, name, tag)?;
    let before = entries.len();
    entries.retain(|entry| !names(entry, digest));
    if entries.len() == before { Ok(None) } else { write(store, &entries) }
}

fn names(entry: &Value, digest: &Digest) -> bool {
    entry.get("digest").and_then(Value::as_str) == Some(digest.to_string().as_str())
}

/// What the fallback index lists now, as written, whoever wrote it.
fn entries(store: &Store, name: &RepositoryName, tag: &Tag) -> Result<Vec<Value>, EndpointError> {
    let Some(bytes) = store.kept_referrers(name, tag)? else { return Ok(Vec::new()) };
    let index: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// Writes an index; `None` where it would be larger than any client reads, and the old one must do.
fn write(store: &Store, entries: &[Value]) -> Result<Option<Digest>, EndpointError> {
    let bytes = index(&json!(entries)).to_string().into_bytes();
    if bytes.len() as u64 > MANIFEST_LIMIT {
        return Ok(None);
    }
    let digest = Digest::sha256(&bytes);
    store.add(&digest, &bytes)?;
    Ok(Some(digest))
}
