//! Pushing blobs: uploads in one request or many, and mounts from other repositories.
//!
//! A blob is to be had when its upload is answered with 201, and then for good: its bytes were
//! checked, they are on the disk, and the repository links them.

use std::sync::Arc;

use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use hyper::http::response::Builder;
use hyper::{HeaderMap, Response, StatusCode};
use url::form_urlencoded;

use super::answer::{Answer, Refusal, finish, response};
use super::body::{Body, blocking};
use super::receive::{Receiving, Slot};
use super::uploads::Owner;
use super::writing::Writing;
use hod_engine::endpoint::{EndpointError, Fault};
use hod_oci::{Digest, RepositoryName};
use hod_store::{Links, Store, Upload};

/// What the query of an upload's request says.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    digest: Option<Digest>,
    mount: Option<Digest>,
    from: Option<RepositoryName>,
}

impl Wishes {
    /// Reads a query. A repository to mount from that cannot exist is none.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let mut wishes = Self::default();
        let digest = |text: &str| text.parse().map_err(Refusal::digest_invalid);
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "digest" => wishes.digest = Some(digest(&value)?),
                "mount" => wishes.mount = Some(digest(&value)?),
                "from" => wishes.from = value.parse().ok(),
                _ => {}
            }
        }
        Ok(wishes)
    }
}

/// Answers POST: mounts a blob, takes one whole, or opens an upload.
pub(super) async fn begin(
    writing: Arc<Writing>,
    name: RepositoryName,
    query: Option<&str>,
    (owner, body): (Owner, Receiving),
) -> Answer {
    let wishes = Wishes::parse(query)?;
    if let Some(digest) = wishes.mount
        && mount(&writing.store, &name, digest, wishes.from).await?
    {
        return Ok(created(&name, &digest));
    }
    let store = writing.store.clone();
    let upload = blocking(move || Ok(store.upload()?)).await;
    let upload = upload.map_err(|cause| Refusal::failed("cannot begin an upload", cause))?;
    if let Some(digest) = wishes.digest {
        let slot = Arc::new(tokio::sync::Mutex::new(Some(upload))).lock_owned().await;
        let slot = body.append(slot).await?;
        return complete(&writing.store, name, slot, digest).await;
    }
    let session = writing.uploads.keep(name.clone(), owner, upload)?;
    Ok(progress(StatusCode::ACCEPTED, &name, &session, 0))
}

/// Answers PATCH: takes the next part of a blob.
pub(super) async fn append(
    writing: Arc<Writing>,
    name: RepositoryName,
    session: String,
    headers: &HeaderMap,
    body: Receiving,
) -> Answer {
    let slot = writing.uploads.hold(&name, &session).await?;
    if let Err(refusal) = check_range(headers, &name, &session, written(&slot)) {
        body.drain().await;
        return Err(refusal);
    }
    let slot = body.append(slot).await?;
    Ok(progress(StatusCode::ACCEPTED, &name, &session, written(&slot)))
}

/// Answers PUT: takes the last part of a blob, if there is one, and its digest.
pub(super) async fn end(
    writing: Arc<Writing>,
    name: RepositoryName,
    session: String,
    query: Option<&str>,
    (headers, body): (HeaderMap, Receiving),
) -> Answer {
    let slot = writing.uploads.hold(&name, &session).await?;
    let digest = Wishes::parse(query)?.digest;
    let digest = digest.ok_or_else(|| Refusal::digest_invalid("the last request of an upload must name its digest"))?;
    if let Err(refusal) = check_range(&headers, &name, &session, written(&slot)) {
        body.drain().await;
        return Err(refusal);
    }
    let slot = body.append(slot).await?;
    let answer = complete(&writing.store, name, slot, digest).await;
    writing.uploads.end(&session);
    answer
}

/// Answers GET: how much of a blob has come.
pub(super) async fn status(writing: Arc<Writing>, name: RepositoryName, session: String) -> Answer {
    let slot = writing.uploads.hold(&name, &session).await?;
    Ok(progress(StatusCode::NO_CONTENT, &name, &session, written(&slot)))
}

/// Answers DELETE: throws away what has come.
pub(super) async fn cancel(writing: Arc<Writing>, name: RepositoryName, session: String) -> Answer {
    let mut slot = writing.uploads.hold(&name, &session).await?;
    writing.uploads.end(&session);
    *slot = None;
    Ok(finish(response(StatusCode::NO_CONTENT), Body::empty()))
}

/// Links a blob that another repository has, if any has it.
async fn mount(
    store: &Store,
    name: &RepositoryName,
    digest: Digest,
    from: Option<RepositoryName>,
) -> Result<bool, Refusal> {
    let (store, name) = (store.clone(), name.clone());
    let mounted = blocking(move || {
        let repositories = from.map_or_else(|| store.repositories(), |from| Ok(vec![from]))?;
        for repository in repositories {
            if store.has_layer(&repository, &digest)? && store.size(&digest)?.is_some() {
                link(&store, name, digest)?;
                return Ok(true);
            }
        }
        Ok(false)
    });
    mounted.await.map_err(|cause| Refusal::failed(format!("cannot mount {digest}"), cause))
}

fn link(store: &Store, name: RepositoryName, digest: Digest) -> Result<(), EndpointError> {
    store.commit(&[Links { layers: vec![digest], ..Links::none(name) }])?;
    Ok(())
}

/// Takes an upload as the blob with that digest.
async fn complete(store: &Store, name: RepositoryName, mut slot: Slot, digest: Digest) -> Answer {
    let Some(upload) = slot.take() else { return Err(Refusal::upload_unknown()) };
    let (store, repository) = (store.clone(), name.clone());
    let completed = blocking(move || {
        upload.complete(&digest)?;
        link(&store, repository, digest)
    });
    match completed.await {
        Ok(()) => Ok(created(&name, &digest)),
        Err(error) if error.fault() == Fault::Corrupt => {
            Err(Refusal::digest_invalid(format!("the bytes that came do not have the digest {digest}")))
        }
        Err(cause) => Err(Refusal::failed(format!("cannot store {digest}"), cause)),
    }
}

fn written(slot: &Slot) -> u64 {
    slot.as_ref().map_or(0, Upload::written)
}

/// Refuses a part that does not begin where the one before it ended.
fn check_range(headers: &HeaderMap, name: &RepositoryName, session: &str, written: u64) -> Result<(), Refusal> {
    let Some(range) = headers.get(CONTENT_RANGE) else { return Ok(()) };
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let parsed = range.to_str().ok().and_then(parse_range);
    match parsed {
        Some((first, last)) if first == written => match length {
            Some(length) if last - first + 1 != length => {
                let message = format!("the range has {} bytes, and the body {length}", last - first + 1);
                Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message))
            }
            _ => Ok(()),
        },
        _ => {
            let message = format!("{written} bytes have come: the next part must begin at {written}");
            Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
                .with_header(LOCATION, place(name, session))
                .with_header(RANGE, so_far(written)))
        }
    }
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

fn place(name: &RepositoryName, session: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{session}")
}

/// The range of the bytes that have come. It has no form for none of them; registries say `0-0`.
fn so_far(written: u64) -> String {
    format!("0-{}", written.saturating_sub(1))
}

fn progress(status: StatusCode, name: &RepositoryName, session: &str, written: u64) -> Response<Body> {
    let head = response(status)
        .header(LOCATION, place(name, session))
        .header(RANGE, so_far(written))
        .header("Docker-Upload-UUID", session);
    finish(head, Body::empty())
}

fn created(name: &RepositoryName, digest: &Digest) -> Response<Body> {
    finish(created_at(&format!("/v2/{name}/blobs/{digest}"), digest), Body::empty())
}

/// The head of an answer about content that was made.
pub(super) fn created_at(location: &str, digest: &Digest) -> Builder {
    response(StatusCode::CREATED)
        .header(LOCATION, location)
        .header("Docker-Content-Digest", digest.to_string())
        .header(CONTENT_LENGTH, 0)
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
