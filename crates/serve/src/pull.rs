//! Pulling: manifests and blobs, whole or in part.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse as _;

use super::answer::{Answer, CONTENT_DIGEST, Refusal, blocking};
use super::body::{BlobStream, Checks};
use super::range::{Selection, is_known};
use super::repositories::{BlobReader, Repositories};
use hod_engine::endpoint::{EndpointError, Fault, Mismatch};
use hod_oci::{Digest, Manifest, MediaType, RepositoryName, Version};

/// What was stored under a digest does not change, so whoever has it need not ask again.
const FOREVER: &str = "max-age=31536000, immutable";
/// What a tag points to may change.
const FOR_NOW: &str = "no-cache";

/// A request for content of a repository.
pub(super) struct Pull {
    pub(super) repositories: Arc<dyn Repositories>,
    pub(super) checks: Checks,
    pub(super) name: RepositoryName,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
}

/// Answers with a manifest, in the form in which it is stored.
pub(super) async fn manifest(pull: Pull, version: Version) -> Answer {
    blocking(format!("cannot read manifest {version} of {}", pull.name), move || {
        let Pull { repositories, checks, name, headers, .. } = &pull;
        let unknown = || Refusal::manifest_unknown(name, &version);
        let (digest, caching) = match &version {
            Version::Digest(digest) => (*digest, FOREVER),
            Version::Tag(tag) => (repositories.tag(name, tag)?.ok_or_else(unknown)?, FOR_NOW),
        };
        let bytes = repositories.manifest(name, &digest)?.ok_or_else(unknown)?;
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != digest {
            let mismatch = Mismatch::Digest { expected: digest, found };
            checks.damage.note(digest, None, &repositories.place(&digest), &mismatch);
            return Err(EndpointError::new(Fault::Corrupt, mismatch).into());
        }
        let any = MediaType::Other("".into());
        let manifest = Manifest::parse(&any, &bytes).map_err(|error| EndpointError::new(Fault::Rejected, error))?;
        let (entity_tag, head) = content_head(&digest, caching);
        if is_known(headers, &entity_tag) {
            return Ok((StatusCode::NOT_MODIFIED, head).into_response());
        }
        Ok((head, [(CONTENT_TYPE, manifest.media_type.as_str())], bytes).into_response())
    })
    .await
}

/// Answers with a blob, or with the part of it that is asked for.
pub(super) async fn blob(pull: Pull, digest: Digest) -> Answer {
    blocking(format!("cannot read blob {digest} of {}", pull.name), move || match pull.blob(&digest) {
        // Somebody deleted it between the two looks.
        Err(refusal) if refusal.fault() == Some(Fault::Missing) => Err(Refusal::blob_unknown(&pull.name, &digest)),
        answer => answer,
    })
    .await
}

impl Pull {
    fn blob(&self, digest: &Digest) -> Answer {
        let Self { repositories, checks, name, method, headers } = self;
        let size = repositories.blob(name, digest)?.ok_or_else(|| Refusal::blob_unknown(name, digest))?;
        let (entity_tag, head) = content_head(digest, FOREVER);
        let head = (head, [(ACCEPT_RANGES, "bytes")]);
        if is_known(headers, &entity_tag) {
            return Ok((StatusCode::NOT_MODIFIED, head).into_response());
        }
        let damage = &checks.damage;
        if damage.lists(digest) && damage.knows(digest, repositories.open(name, digest, 0)?.stamp.as_ref()) {
            return Err(EndpointError::new(Fault::Corrupt, format!("{digest} was found damaged before")).into());
        }
        let kind = (CONTENT_TYPE, "application/octet-stream".to_owned());
        let whole = [kind.clone(), (CONTENT_LENGTH, size.to_string())];
        // A range means something in a GET only (RFC 9110 §14.2).
        if *method == Method::HEAD {
            return Ok((head, whole).into_response());
        }
        match Selection::of(headers, size, &entity_tag) {
            Selection::Unsatisfiable => {
                let message = format!("blob {digest} has {size} bytes, and the range lies outside of them");
                Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", message)
                    .with_headers([(CONTENT_RANGE, format!("bytes */{size}"))]))
            }
            Selection::Whole => Ok((head, whole, self.whole(digest, size)?).into_response()),
            Selection::Part { start, length } => {
                let body = if length == size { self.whole(digest, size)? } else { self.part(digest, start, length)? };
                let range = (CONTENT_RANGE, format!("bytes {start}-{}/{size}", start + length - 1));
                let part = [kind, (CONTENT_LENGTH, length.to_string()), range];
                Ok((StatusCode::PARTIAL_CONTENT, head, part, body).into_response())
            }
        }
    }

    /// The bytes of the whole blob, hashed on their way unless its file is known to be right.
    fn whole(&self, digest: &Digest, size: u64) -> Result<Body, EndpointError> {
        let BlobReader { reader, stamp } = self.repositories.open(&self.name, digest, 0)?;
        if stamp.is_some_and(|stamp| self.checks.hashed.knows(digest, &stamp)) {
            return BlobStream::part(reader, *digest, size).body();
        }
        let place = self.repositories.place(digest);
        BlobStream::whole(reader, *digest, size).noting(self.checks.clone(), stamp, place).body()
    }

    fn part(&self, digest: &Digest, start: u64, length: u64) -> Result<Body, EndpointError> {
        BlobStream::part(self.repositories.open(&self.name, digest, start)?.reader, *digest, length).body()
    }
}

/// The entity tag of some content, and the headers of every answer about it.
fn content_head(digest: &Digest, caching: &str) -> (String, [(HeaderName, String); 3]) {
    let entity_tag = format!("\"{digest}\"");
    let caching = (CACHE_CONTROL, caching.to_owned());
    (entity_tag.clone(), [(CONTENT_DIGEST, digest.to_string()), (ETAG, entity_tag), caching])
}
