//! Deleting: tags, manifests and blobs of one repository. Content that others link stays for them.

use std::sync::Arc;

use hyper::StatusCode;

use super::answer::{Answer, Refusal, finish, response};
use super::body::{Body, blocking};
use super::referrers::{fallback_tag, strike};
use super::writing::Writing;
use hod_engine::endpoint::EndpointError;
use hod_oci::{Digest, Manifest, MediaType, RepositoryName, Version};
use hod_store::{Links, StoreError, TagLink};

/// Answers DELETE of a tag, or of a manifest with all tags that point to it.
pub(super) async fn manifest(writing: Arc<Writing>, name: RepositoryName, version: Version) -> Answer {
    let (repository, asked) = (name.clone(), version.clone());
    let removed = blocking(move || match &asked {
        Version::Tag(tag) => Ok(writing.store.remove_tag(&repository, tag)?),
        Version::Digest(digest) => writing.remove_manifest(&repository, digest),
    });
    let removed =
        removed.await.map_err(|cause| Refusal::failed(format!("cannot delete {version} of {name}"), cause))?;
    if removed { Ok(accepted()) } else { Err(Refusal::manifest_unknown(&name, version)) }
}

/// Answers DELETE of a blob.
pub(super) async fn blob(writing: Arc<Writing>, name: RepositoryName, digest: Digest) -> Answer {
    let repository = name.clone();
    let removed = blocking(move || Ok(writing.store.remove_layer(&repository, &digest)?)).await;
    let removed = removed.map_err(|cause| Refusal::failed(format!("cannot delete blob {digest} of {name}"), cause))?;
    if removed { Ok(accepted()) } else { Err(Refusal::blob_unknown(&name, &digest)) }
}

fn accepted() -> hyper::Response<Body> {
    finish(response(StatusCode::ACCEPTED), Body::empty())
}

impl Writing {
    fn remove_manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, EndpointError> {
        let subject = match self.store.read_manifest(digest) {
            Ok(bytes) => Manifest::parse(&MediaType::Other("".into()), &bytes).ok().and_then(|found| found.subject),
            // What cannot be read any more can still be deleted.
            Err(StoreError::Absent { .. } | StoreError::Corrupt { .. } | StoreError::Manifest { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(subject) = subject.filter(|_| !matches!(self.store.has_revision(name, digest), Ok(false))) else {
            return Ok(self.store.remove_revision(name, digest)?);
        };
        // It leaves the list before it is gone: who is told that it is not there would never take it from there. Until
        // it is gone, nobody enters it again.
        let _alone = self.store.lock_referrers()?;
        let tag = fallback_tag(&subject.digest)?;
        if let Some(index) = strike(&self.store, name, &tag, digest)? {
            let tags = vec![TagLink { name: tag, digest: index }];
            self.store.commit(&[Links { revisions: vec![index], tags, ..Links::none(name.clone()) }])?;
        }
        Ok(self.store.remove_revision(name, digest)?)
    }
}
