//! Pushing blobs: uploads in one request or many, and mounts from other repositories.
//!
//! A blob is to be had when its upload is answered with 201, and then for good: its bytes were
//! checked, they are on the disk, and the repository links them.

use std::sync::Arc;
use std::time::Instant;

use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::answer::{Answer, Refusal, blocking, created_at, parameter};
use super::push_store::PushStore;
use super::request_body::{DRAIN_LIMIT, RequestBody, UploadGuard};
use super::uploads::Owner;
use hod_engine::endpoint::Fault;
use hod_oci::{Digest, RepositoryName};
use hod_store::{Links, Store, StoreError, Upload};

/// Answers POST: mounts a blob, takes one whole, or opens an upload.
pub(super) async fn begin(
    store: Arc<PushStore>,
    name: RepositoryName,
    query: Option<&str>,
    owner: Owner,
    body: RequestBody,
) -> Answer {
    let (mounted, whole) = (digest_in(query, "mount")?, digest_in(query, "digest")?);
    if let Some(digest) = mounted
        // A repository to mount from that cannot exist is none.
        && mount(&store.store, &name, digest, parameter(query, "from").and_then(|from| from.parse().ok())).await?
    {
        return Ok(created(&name, &digest));
    }
    let opening = store.store.clone();
    let upload = blocking("cannot begin an upload".to_owned(), move || Ok(opening.upload()?)).await?;
    if let Some(digest) = whole {
        let upload = Arc::new(tokio::sync::Mutex::new(Some(upload))).lock_owned().await;
        let upload = body.append(upload).await?;
        return complete(&store.store, name, upload, digest).await;
    }
    let id = store.uploads.keep(Instant::now(), name.clone(), owner, upload)?;
    Ok(Session { store, name, id }.progress(StatusCode::ACCEPTED, 0))
}

/// One upload of a repository, as a request names it.
pub(super) struct Session {
    pub(super) store: Arc<PushStore>,
    pub(super) name: RepositoryName,
    pub(super) id: String,
}

impl Session {
    /// Answers PATCH: takes the next part of a blob.
    pub(super) async fn append(self, headers: &HeaderMap, body: RequestBody) -> Answer {
        let upload = self.hold().await?;
        let upload = self.receive(upload, headers, body).await?;
        Ok(self.progress(StatusCode::ACCEPTED, written(&upload)))
    }

    /// Answers PUT: takes the last part of a blob, if there is one, and its digest.
    pub(super) async fn end(self, query: Option<&str>, headers: &HeaderMap, body: RequestBody) -> Answer {
        let upload = self.hold().await?;
        let digest = digest_in(query, "digest")?;
        let digest =
            digest.ok_or_else(|| Refusal::digest_invalid("the last request of an upload must name its digest"))?;
        let upload = self.receive(upload, headers, body).await?;
        let answer = complete(&self.store.store, self.name, upload, digest).await;
        self.store.uploads.end(&self.id);
        answer
    }

    /// Answers GET: how much of a blob has come.
    pub(super) async fn status(self) -> Answer {
        let upload = self.hold().await?;
        Ok(self.progress(StatusCode::NO_CONTENT, written(&upload)))
    }

    /// Answers DELETE: throws away what has come.
    pub(super) async fn cancel(self) -> Answer {
        let mut upload = self.hold().await?;
        self.store.uploads.end(&self.id);
        *upload = None;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    async fn hold(&self) -> Result<UploadGuard, Refusal> {
        self.store.uploads.hold(&self.name, &self.id).await
    }

    /// Takes a part of a blob, and refuses one that does not begin where the part before it ended.
    async fn receive(
        &self,
        upload: UploadGuard,
        headers: &HeaderMap,
        body: RequestBody,
    ) -> Result<UploadGuard, Refusal> {
        let written = written(&upload);
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let range = headers.get(CONTENT_RANGE).map(|range| range.to_str().ok().and_then(parse_range));
        let refusal = match range {
            Some(Some((first, last))) if first == written => {
                length.filter(|length| last - first + 1 != *length).map(|length| {
                    let message = format!("the range has {} bytes, and the body {length}", last - first + 1);
                    Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)
                })
            }
            Some(_) => {
                let message = format!("{written} bytes have come: the next part must begin at {written}");
                let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message);
                Some(refusal.with_headers(self.head(written)))
            }
            None => None,
        };
        let Some(refusal) = refusal else { return body.append(upload).await };
        body.drain(DRAIN_LIMIT).await;
        Err(refusal)
    }

    /// Where the upload is continued, and the range of the bytes that have come. It has no form for none of them;
    /// registries say `0-0`.
    fn head(&self, written: u64) -> [(HeaderName, String); 2] {
        let place = format!("/v2/{}/blobs/uploads/{}", self.name, self.id);
        [(LOCATION, place), (RANGE, format!("0-{}", written.saturating_sub(1)))]
    }

    fn progress(&self, status: StatusCode, written: u64) -> Response {
        (status, self.head(written), [("Docker-Upload-UUID", &self.id)]).into_response()
    }
}

/// A digest in a query.
fn digest_in(query: Option<&str>, name: &str) -> Result<Option<Digest>, Refusal> {
    parameter(query, name).map(|text| text.parse().map_err(Refusal::digest_invalid)).transpose()
}

/// Links a blob that another repository has, if any has it.
async fn mount(
    store: &Store,
    name: &RepositoryName,
    digest: Digest,
    from: Option<RepositoryName>,
) -> Result<bool, Refusal> {
    let (store, name) = (store.clone(), name.clone());
    blocking(format!("cannot mount {digest}"), move || {
        let repositories = from.map_or_else(|| store.repositories(), |from| Ok(vec![from]))?;
        for repository in repositories {
            if store.has_layer(&repository, &digest)? && store.size(&digest)?.is_some() {
                link(&store, name, digest)?;
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await
}

fn link(store: &Store, name: RepositoryName, digest: Digest) -> Result<(), StoreError> {
    store.commit(&[Links { layers: vec![digest], ..Links::none(name) }]).map(drop)
}

/// Takes an upload as the blob with that digest.
async fn complete(store: &Store, name: RepositoryName, mut upload: UploadGuard, digest: Digest) -> Answer {
    let upload = upload.take().ok_or_else(Refusal::upload_unknown)?;
    let store = store.clone();
    blocking(format!("cannot store {digest}"), move || {
        upload.complete(&digest).map_err(|error| match Refusal::from(error) {
            refusal if refusal.fault() == Some(Fault::Corrupt) => {
                Refusal::digest_invalid(format!("the bytes that came do not have the digest {digest}"))
            }
            refusal => refusal,
        })?;
        link(&store, name.clone(), digest)?;
        Ok(created(&name, &digest))
    })
    .await
}

fn written(upload: &UploadGuard) -> u64 {
    upload.as_ref().map_or(0, Upload::written)
}

/// Reads `first-last`, as the specification has it, or as HTTP does in `Content-Range`.
fn parse_range(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let (range, _) = text.split_once('/').unwrap_or((text, ""));
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < u64::MAX).then_some((first, last))
}

fn created(name: &RepositoryName, digest: &Digest) -> Response {
    (StatusCode::CREATED, created_at(&format!("/v2/{name}/blobs/{digest}"), digest)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_ranges() {
        for text in ["2-5", "bytes 2-5/*", "bytes=2-5", " 2-5 ", "bytes 2-5/10"] {
            assert_eq!(parse_range(text), Some((2, 5)), "{text}");
        }
        for text in ["", "2", "2-", "-5", "5-2", "a-b", "0-18446744073709551615", "99999999999999999999-1"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
