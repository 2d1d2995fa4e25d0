//! Responses of a registry: status and headers at once, the body in bounded chunks.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::answer::{ANSWER_LIMIT, Answer};
use super::endless::ListProblem;
use super::error::{Refusal, RegistryError};
use super::request::Request;
use super::subject::Subject;
use super::transfer::Pace;
use hod_engine::endpoint::BlobReader;
use hod_io::secret::redacted;
use hod_oci::Digest;

/// What registries answer that have taken a blob or a manifest. The specification has 201 alone.
pub(super) const TAKEN: [StatusCode; 4] =
    [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED, StatusCode::NO_CONTENT];

/// An answer whose body has not been read.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where the credentials came from that the registry was given, if it was.
    pub(super) login: Option<Box<str>>,
    /// True if it comes from another host than the one that was asked.
    pub(super) redirected: bool,
    body: reqwest::Response,
    method: Method,
    /// The URL after redirects.
    url: Url,
    subject: Subject,
    pace: Pace,
}

impl Response {
    pub(super) fn new(mut body: reqwest::Response, request: &Request, limit: Duration) -> Self {
        Self {
            status: body.status(),
            headers: std::mem::take(body.headers_mut()),
            login: None,
            redirected: false,
            body,
            method: request.method.clone(),
            url: request.url.clone(),
            subject: request.subject.clone(),
            pace: Pace::new(limit),
        }
    }

    /// Returns true if the answer to `HEAD` says that something is not there, or not for us to see, or that the registry
    /// does not answer `HEAD`.
    pub(super) fn is_no(&self) -> bool {
        let is_passing = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        self.status.is_client_error() && !is_passing || self.status == StatusCode::NOT_IMPLEMENTED
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The digest that the registry gives for the content, where it gives a valid one.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.header("docker-content-digest")?.trim().parse().ok()
    }

    /// The `Content-Length` header, where it is a number.
    pub(super) fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// The `Location` header, made absolute.
    pub(super) fn location(&self) -> Option<Url> {
        self.url.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()
    }

    /// Takes the answers that are meant as a yes; of others, makes an error with the registry's words.
    pub(super) async fn accept(self, wanted: &[StatusCode]) -> Result<Self, RegistryError> {
        if wanted.contains(&self.status) { Ok(self) } else { Err(self.refusal().await) }
    }

    /// The error that an unwanted status is.
    pub(super) async fn refusal(self) -> RegistryError {
        let (method, status, url) = (self.method.clone(), self.status, redacted(&self.url));
        let (headers, subject) = (self.headers.clone(), self.subject.clone());
        let (login, redirected) = (self.login.clone(), self.redirected);
        let body = self.read(ANSWER_LIMIT).await.map(|(body, _)| body).unwrap_or_default();
        let answer = Answer::new(method, url, status, &headers, &body);
        RegistryError::Refused(Box::new(Refusal { subject, answer, login, redirected }))
    }

    /// An error about what the registry answered.
    pub(super) fn protocol_error(&self, problem: &str) -> RegistryError {
        RegistryError::protocol(&self.subject, &self.url, problem)
    }

    /// An error about a list.
    pub(super) fn endless(&self, problem: ListProblem) -> RegistryError {
        RegistryError::endless(&self.subject, &self.url, problem)
    }

    /// An error about a digest: `announced` is what the registry says of content that has the digest `found`.
    pub(super) fn digest_error(&self, announced: Digest, found: Digest) -> RegistryError {
        if announced.algorithm() != found.algorithm() {
            let algorithm = found.algorithm().name();
            return self.protocol_error(&format!("{announced} for {found}: it does not support {algorithm}"));
        }
        RegistryError::Digest { subject: Box::new(self.subject.clone()), digests: Box::new((announced, found)) }
    }

    /// Reads a small body that does not matter, so that the connection can be used again.
    pub(super) async fn drain(self) {
        let _ = self.read(ANSWER_LIMIT).await;
    }

    /// The body, if it has at most `limit` bytes.
    pub(super) async fn bytes(self, limit: usize) -> Result<Option<Bytes>, RegistryError> {
        if self.body.content_length().is_some_and(|length| length > limit as u64) {
            return Ok(None);
        }
        let (body, complete) = self.read(limit).await?;
        Ok(complete.then_some(body))
    }

    /// The first `limit` bytes of the body, and whether that is all.
    async fn read(mut self, limit: usize) -> Result<(Bytes, bool), RegistryError> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            let room = limit - all.len();
            if chunk.len() > room {
                all.extend_from_slice(&chunk.slice(..room));
                return Ok((all.freeze(), false));
            }
            all.extend_from_slice(&chunk);
        }
        Ok((all.freeze(), true))
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let asked = Instant::now();
        match timeout_at(self.pace.deadline(asked), self.body.chunk()).await {
            Ok(Ok(chunk)) => {
                self.pace.moved(asked, chunk.as_ref().map_or(0, Bytes::len));
                Ok(chunk)
            }
            Ok(Err(error)) => Err(RegistryError::transport(&self.subject, &self.url, &error, || false)),
            Err(_) => Err(RegistryError::stalled(&self.subject, &self.url, self.pace.limit)),
        }
    }

    /// The body without its first `skip` bytes.
    pub(super) fn stream(self, skip: u64) -> BlobReader {
        let step = |state: Option<(Self, u64)>| async move {
            let (mut response, mut skip) = state?;
            loop {
                match response.chunk().await {
                    Ok(Some(mut chunk)) => {
                        let dropped = skip.min(chunk.len() as u64);
                        skip -= dropped;
                        let _ = chunk.split_to(usize::try_from(dropped).unwrap_or(chunk.len()));
                        if !chunk.is_empty() {
                            return Some((Ok(chunk), Some((response, skip))));
                        }
                    }
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error.into()), None)),
                }
            }
        };
        stream::unfold(Some((self, skip)), step).boxed()
    }
}
