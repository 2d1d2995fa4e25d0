//! Pulling: manifests and blobs, whole or in part.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use hyper::http::response::Builder;
use hyper::{HeaderMap, StatusCode};

use super::answer::{Answer, Refusal, finish, response};
use super::body::{Body, Checks, Reading, Transfer, blocking};
use super::range::{Selection, is_known};
use super::repositories::Repositories;
use hod_engine::endpoint::{EndpointError, Fault, Mismatch};
use hod_oci::{Digest, Manifest, MediaType, RepositoryName, Version};

/// What was stored under a digest does not change, so whoever has it need not ask again.
const FOREVER: &str = "max-age=31536000, immutable";

/// A request for content: its headers, and whether only the head of the answer is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) headers: HeaderMap,
    pub(super) head: bool,
}

/// Answers with a manifest, in the form in which it is stored.
pub(super) async fn manifest(
    repositories: Arc<dyn Repositories>,
    name: RepositoryName,
    version: Version,
    (wanted, checks): (Wanted, Checks),
) -> Answer {
    let asked = (name.clone(), version.clone());
    let found = blocking(move || stored_manifest(&*repositories, &asked.0, &asked.1, &checks)).await;
    let found = found.map_err(|cause| Refusal::failed(format!("cannot read manifest {version} of {name}"), cause))?;
    let (digest, bytes, media_type) = found.ok_or_else(|| Refusal::manifest_unknown(&name, &version))?;
    let head = content_head(&digest, matches!(version, Version::Digest(_)));
    if is_known(&wanted.headers, &entity_tag(&digest)) {
        return Ok(finish(head.status(StatusCode::NOT_MODIFIED), Body::empty()));
    }
    let head = head.header(CONTENT_TYPE, media_type.as_str()).header(CONTENT_LENGTH, bytes.len());
    Ok(finish(head, if wanted.head { Body::empty() } else { Body::bytes(bytes) }))
}

/// A manifest that the repository has: its digest, its bytes, and what they say they are.
fn stored_manifest(
    repositories: &dyn Repositories,
    name: &RepositoryName,
    version: &Version,
    checks: &Checks,
) -> Result<Option<(Digest, Bytes, MediaType)>, EndpointError> {
    let digest = match version {
        Version::Digest(digest) => *digest,
        Version::Tag(tag) => match repositories.tag(name, tag)? {
            Some(digest) => digest,
            None => return Ok(None),
        },
    };
    let Some(bytes) = repositories.manifest(name, &digest)? else { return Ok(None) };
    let found = Digest::of(digest.algorithm(), &bytes);
    if found != digest {
        let mismatch = Mismatch::Digest { expected: digest, found };
        checks.damaged.note(digest, None, &repositories.place(&digest), &mismatch);
        return Err(EndpointError::new(Fault::Corrupt, mismatch));
    }
    let any = MediaType::Other("".into());
    let manifest = Manifest::parse(&any, &bytes).map_err(|error| EndpointError::new(Fault::Rejected, error))?;
    Ok(Some((digest, bytes, manifest.media_type)))
}

/// What is found of a blob, and how much of it is going to be sent.
enum Found {
    Known,
    Head(u64),
    Unsatisfiable(u64),
    Whole(u64, Transfer),
    Part { size: u64, start: u64, length: u64, transfer: Transfer },
}

/// Answers with a blob, or with the part of it that is asked for.
pub(super) async fn blob(
    repositories: Arc<dyn Repositories>,
    name: RepositoryName,
    digest: Digest,
    (wanted, checks): (Wanted, Checks),
) -> Answer {
    let asked = name.clone();
    let found = match blocking(move || stored_blob(&*repositories, &asked, &digest, (&wanted, &checks))).await {
        Ok(found) => found,
        // Somebody deleted it between the two looks.
        Err(error) if error.fault() == Fault::Missing => None,
        Err(error) => return Err(Refusal::failed(format!("cannot read blob {digest} of {name}"), error)),
    };
    let head = content_head(&digest, true).header(ACCEPT_RANGES, "bytes");
    let whole = |size: u64| [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_LENGTH, size.to_string())];
    let with = |head: Builder, headers: [(hyper::header::HeaderName, String); 2]| {
        headers.into_iter().fold(head, |head, (name, value)| head.header(name, value))
    };
    match found {
        None => Err(Refusal::blob_unknown(&name, &digest)),
        Some(Found::Known) => Ok(finish(head.status(StatusCode::NOT_MODIFIED), Body::empty())),
        Some(Found::Head(size)) => Ok(finish(with(head, whole(size)), Body::empty())),
        Some(Found::Whole(size, transfer)) => Ok(finish(with(head, whole(size)), Body::blob(transfer))),
        Some(Found::Part { size, start, length, transfer }) => {
            let range = format!("bytes {start}-{}/{size}", start + length - 1);
            let head = with(head, whole(length)).header(CONTENT_RANGE, range).status(StatusCode::PARTIAL_CONTENT);
            Ok(finish(head, Body::blob(transfer)))
        }
        Some(Found::Unsatisfiable(size)) => {
            let message = format!("blob {digest} has {size} bytes, and the range lies outside of them");
            Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", message)
                .with_header(CONTENT_RANGE, format!("bytes */{size}")))
        }
    }
}

/// Finds a blob and begins to read what is wanted of it.
fn stored_blob(
    repositories: &dyn Repositories,
    name: &RepositoryName,
    digest: &Digest,
    (wanted, checks): (&Wanted, &Checks),
) -> Result<Option<Found>, EndpointError> {
    let Some(size) = repositories.blob(name, digest)? else { return Ok(None) };
    let entity_tag = entity_tag(digest);
    if is_known(&wanted.headers, &entity_tag) {
        return Ok(Some(Found::Known));
    }
    if checks.damaged.lists(digest) && checks.damaged.knows(digest, repositories.open(name, digest, 0)?.stamp.as_ref())
    {
        return Err(EndpointError::new(Fault::Corrupt, format!("{digest} was found damaged before")));
    }
    // A range means something in a GET only (RFC 9110 §14.2).
    if wanted.head {
        return Ok(Some(Found::Head(size)));
    }
    let whole = || {
        let opened = repositories.open(name, digest, 0)?;
        let reading = match opened.stamp {
            Some(stamp) if checks.verified.knows(digest, &stamp) => Reading::part(opened.reader, *digest, size),
            stamp => {
                let place = repositories.place(digest);
                Reading::whole(opened.reader, *digest, size).noting(checks.clone(), stamp, place)
            }
        };
        Transfer::begin(reading)
    };
    Ok(Some(match Selection::of(&wanted.headers, size, &entity_tag) {
        Selection::Unsatisfiable => Found::Unsatisfiable(size),
        Selection::Whole => Found::Whole(size, whole()?),
        Selection::Part { start, length } if length == size => Found::Part { size, start, length, transfer: whole()? },
        Selection::Part { start, length } => {
            let reading = Reading::part(repositories.open(name, digest, start)?.reader, *digest, length);
            Found::Part { size, start, length, transfer: Transfer::begin(reading)? }
        }
    }))
}

/// The head of an answer about some content. `fixed` says that the URL names the content by digest.
fn content_head(digest: &Digest, fixed: bool) -> Builder {
    response(StatusCode::OK)
        .header("Docker-Content-Digest", digest.to_string())
        .header(ETAG, entity_tag(digest))
        .header(CACHE_CONTROL, if fixed { FOREVER } else { "no-cache" })
}

fn entity_tag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}
