//! Answers: responses that every request can have, and refusals in the specification's JSON form.
//!
//! A refusal's message goes to a stranger: it names what was asked for and never a path of this
//! machine. The cause is for the access log.

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::response::Builder;
use hyper::{Response, StatusCode};
use serde_json::json;

use super::body::Body;
use hod_engine::endpoint::{EndpointError, Fault};
use hod_oci::{Digest, Foreign, RepositoryName, Tag};

/// What every part of the server gives back.
pub(super) type Answer = Result<Response<Body>, Refusal>;

/// A request that is not fulfilled: the status, and the error in the specification's form.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, String)>,
    cause: Option<EndpointError>,
}

impl Refusal {
    /// A refusal with one of the codes of distribution-spec ("Error Codes") or the CNCF registry.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new(), cause: None }
    }

    /// A path that is no part of the API.
    pub(super) fn no_such_endpoint() -> Self {
        Self::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is no such endpoint")
    }

    /// A repository that does not exist.
    pub(super) fn name_unknown(name: &RepositoryName) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("there is no repository {name}"))
    }

    /// A text that is no repository name.
    pub(super) fn name_invalid(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.to_string())
    }

    /// A text that is no digest.
    pub(super) fn digest_invalid(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string())
    }

    /// A manifest that the repository does not have.
    pub(super) fn manifest_unknown(name: &RepositoryName, version: impl std::fmt::Display) -> Self {
        let message = format!("repository {name} has no manifest {version}");
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    /// A blob that the repository does not have.
    pub(super) fn blob_unknown(name: &RepositoryName, digest: &Digest) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("repository {name} has no blob {digest}"))
    }

    /// A method that the endpoint does not have.
    pub(super) fn method(allowed: &str) -> Self {
        let message = format!("this endpoint takes only {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).with_header(ALLOW, allowed)
    }

    /// A write where nothing can be written.
    pub(super) fn read_only() -> Self {
        let message = "this registry is read-only: images can be pulled from it, not pushed or deleted";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).with_header(ALLOW, "GET, HEAD")
    }

    /// A delete where nothing can be deleted.
    pub(super) fn no_deletes() -> Self {
        let message = "this registry deletes nothing: it was started without leave to";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).with_header(ALLOW, "GET, HEAD, PUT")
    }

    /// An upload that is not under way.
    pub(super) fn upload_unknown() -> Self {
        let message = "there is no such upload: it has ended, was cancelled, or nothing came for too long";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)
    }

    /// Something that a manifest names and its repository does not have.
    pub(super) fn incomplete(name: &RepositoryName, digest: &Digest) -> Self {
        let message = format!("the manifest names {digest}, which repository {name} does not have: push that first");
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message)
    }

    /// A referrer that cannot be entered in its subject's list, since that has no tag.
    pub(super) fn taken(name: &RepositoryName, tag: &Tag, found: &Foreign) -> Self {
        let message = format!(
            "the manifest would be listed under {name}:{tag}, which is {found}: take that tag away, and push it again"
        );
        Self::new(StatusCode::CONFLICT, "MANIFEST_INVALID", message)
    }

    /// A failure behind the API: `what` is what could not be done.
    pub(super) fn failed(what: impl Into<String>, cause: EndpointError) -> Self {
        let (status, why) = match cause.fault() {
            Fault::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, ": the stored bytes are damaged"),
            Fault::Full => (StatusCode::INSUFFICIENT_STORAGE, ": the registry's disk is full"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, ""),
        };
        let mut refusal = Self::new(status, "UNKNOWN", format!("{}{why}", what.into()));
        refusal.cause = Some(cause);
        refusal
    }

    /// Adds a header to the answer.
    pub(super) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The response, and what went wrong behind the API for the log.
    pub(super) fn into_parts(self) -> (Response<Body>, Option<EndpointError>) {
        let body = json!({ "errors": [{ "code": self.code, "message": self.message }] });
        let mut response = json_response(self.status, &body);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        (response, self.cause)
    }
}

/// A JSON document as an answer.
pub(super) fn json_response(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let text = Bytes::from(document.to_string());
    let response = response(status).header(CONTENT_TYPE, "application/json").header(CONTENT_LENGTH, text.len());
    finish(response, Body::bytes(text))
}

/// The head of an answer, with what all answers carry.
pub(super) fn response(status: StatusCode) -> Builder {
    Response::builder()
        .status(status)
        // Docker's client takes a server without it for no registry at all.
        .header("Docker-Distribution-Api-Version", "registry/2.0")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// The answer of a head and a body.
///
/// A head fails only on a header that HTTP cannot carry, and the server makes none from foreign text.
pub(super) fn finish(head: Builder, body: Body) -> Response<Body> {
    head.body(body).unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
