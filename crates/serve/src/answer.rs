//! Answers: what a handler gives back, and refusals in the specification's JSON form.
//!
//! A refusal's message goes to a stranger: it names what was asked for and never a path of this machine. The cause is
//! for the access log.

use std::fmt::Display;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use url::form_urlencoded;

use hod_engine::endpoint::{EndpointError, Fault};
use hod_oci::{Digest, Foreign, RepositoryName, Tag};
use hod_store::StoreError;

/// The digest of the content that an answer is about.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// What is not answered to a client, for its response's extensions.
pub(super) type Failure = Arc<dyn std::error::Error + Send + Sync>;

/// What every handler gives back.
pub(super) type Answer = Result<Response, Refusal>;

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
    pub(super) fn name_invalid(error: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.to_string())
    }

    /// A text that is no digest.
    pub(super) fn digest_invalid(error: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string())
    }

    /// A manifest that the repository does not have.
    pub(super) fn manifest_unknown(name: &RepositoryName, version: impl Display) -> Self {
        let message = format!("repository {name} has no manifest {version}");
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    /// A blob that the repository does not have.
    pub(super) fn blob_unknown(name: &RepositoryName, digest: &Digest) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("repository {name} has no blob {digest}"))
    }

    /// A method that the endpoint does not have.
    pub(super) fn method(allowed: &str) -> Self {
        Self::not_allowed(allowed, format!("this endpoint takes only {allowed}"))
    }

    /// A write where nothing can be written.
    pub(super) fn read_only() -> Self {
        Self::not_allowed(
            "GET, HEAD",
            "this registry is read-only: images can be pulled from it, not pushed or deleted",
        )
    }

    /// A delete where nothing can be deleted.
    pub(super) fn no_deletes() -> Self {
        Self::not_allowed("GET, HEAD, PUT", "this registry deletes nothing: it was started without leave to")
    }

    fn not_allowed(allowed: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).with_headers([(ALLOW, allowed.to_owned())])
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
    pub(super) fn tag_taken(name: &RepositoryName, tag: &Tag, found: &Foreign) -> Self {
        let message = format!(
            "the manifest would be listed under {name}:{tag}, which is {found}: take that tag away, and push it again"
        );
        Self::new(StatusCode::CONFLICT, "MANIFEST_INVALID", message)
    }

    /// Too much of something at a time; the client may come back in so many seconds.
    pub(super) fn too_many(message: impl Into<String>, seconds: u8) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
            .with_headers([(RETRY_AFTER, seconds.to_string())])
    }

    /// Adds headers to the answer.
    pub(super) fn with_headers<const N: usize>(mut self, headers: [(HeaderName, String); N]) -> Self {
        self.headers.extend(headers);
        self
    }

    /// What kind of failure it was, where it is one of this side.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.cause.as_ref().map(EndpointError::fault)
    }

    /// Says what could not be done, where something has failed on this side.
    fn during(mut self, what: String) -> Self {
        let why = match self.fault() {
            None => return self,
            Some(Fault::Corrupt) => ": the stored bytes are damaged",
            Some(Fault::Full) => ": the registry's disk is full",
            Some(_) => "",
        };
        self.message = what + why;
        self
    }
}

impl From<EndpointError> for Refusal {
    fn from(cause: EndpointError) -> Self {
        let full = cause.fault() == Fault::Full;
        let status = if full { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self { cause: Some(cause), ..Self::new(status, "UNKNOWN", "the registry has failed") }
    }
}

impl From<StoreError> for Refusal {
    fn from(cause: StoreError) -> Self {
        EndpointError::from(cause).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json(&json!({ "errors": [{ "code": self.code, "message": self.message }] }));
        let mut response = (self.status, AppendHeaders(self.headers), body).into_response();
        if let Some(cause) = self.cause {
            response.extensions_mut().insert::<Failure>(Arc::new(cause));
        }
        response
    }
}

/// A JSON document as an answer.
pub(super) fn json(document: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

/// The headers of an answer about content that was made.
pub(super) fn created_at(location: &str, digest: &Digest) -> [(HeaderName, String); 2] {
    [(LOCATION, location.to_owned()), (CONTENT_DIGEST, digest.to_string())]
}

/// A parameter of a query.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    parameters.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Runs what may block on a disk on a thread made for that. Where it fails, the client is told `what` could not be done.
pub(super) async fn blocking<T: Send + 'static>(
    what: String,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|stopped| Err(EndpointError::new(Fault::Other, stopped).into()))
        .map_err(|refusal| refusal.during(what))
}
