//! Deleting: tags, manifests and blobs of one repository. Content that others link stays for them.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::answer::{Answer, Refusal, blocking};
use super::push_store::PushStore;
use super::referrers::{fallback_tag, rewrite};
use hod_oci::{Digest, Manifest, MediaType, RepositoryName, Version};
use hod_store::{Links, StoreError, TagLink};

/// Answers DELETE of a tag, or of a manifest with all tags that point to it.
pub(super) async fn manifest(store: Arc<PushStore>, name: RepositoryName, version: Version) -> Answer {
    blocking(format!("cannot delete {version} of {name}"), move || {
        let was_there = match &version {
            Version::Tag(tag) => store.store.remove_tag(&name, tag)?,
            Version::Digest(digest) => store.remove_manifest(&name, digest)?,
        };
        was_there.then(accepted).ok_or_else(|| Refusal::manifest_unknown(&name, version))
    })
    .await
}

/// Answers DELETE of a blob.
pub(super) async fn blob(store: Arc<PushStore>, name: RepositoryName, digest: Digest) -> Answer {
    blocking(format!("cannot delete blob {digest} of {name}"), move || {
        let was_there = store.store.remove_layer(&name, &digest)?;
        was_there.then(accepted).ok_or_else(|| Refusal::blob_unknown(&name, &digest))
    })
    .await
}

fn accepted() -> Response {
    StatusCode::ACCEPTED.into_response()
}

impl PushStore {
    fn remove_manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, Refusal> {
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
        let struck = digest.to_string();
        if let Some(index) = rewrite(&self.store, name, &tag, |index| index.retain(|entry| entry != struck))? {
            let tags = vec![TagLink { name: tag, digest: index }];
            self.store.commit(&[Links { revisions: vec![index], tags, ..Links::none(name.clone()) }])?;
        }
        Ok(self.store.remove_revision(name, digest)?)
    }
}
