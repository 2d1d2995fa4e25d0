//! Sends one request, with authorization, redirects and timeouts.
//!
//! Redirects are followed by hand, because the rules are about security: credentials go to the registry
//! alone, and an encrypted way stays encrypted. Nothing is retried here except that a request
//! is sent once more when the registry asks who is there.

use std::sync::atomic::Ordering;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Body, Method, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::auth::Authorization;
use super::challenge::Challenge;
use super::connection::Connection;
use super::error::RegistryError;
use super::host::Host;
use super::request::{Payload, Request};
use super::response::Response;
use hod_io::secret::redacted;

/// How many redirects are followed.
const REDIRECTS: usize = 10;

/// How much of a body that is sent in one piece may take as long as an answer, in bytes.
const WHOLE: u32 = 64 * 1024;

/// What a registry asks for who it lets in, where none of it is a login that this client knows.
fn not_understood(headers: &HeaderMap, base: &Url) -> Option<String> {
    let offers = || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let is_unknown = offers().next().is_some() && Challenge::parse(offers(), base).is_none();
    is_unknown.then(|| offers().collect::<Vec<_>>().join(", ").chars().take(200).collect())
}

impl Request {
    /// Where an answer sends this request, if it does.
    fn redirect(&self, response: &Response) -> Option<Url> {
        let follow = match response.status.as_u16() {
            301..=303 => matches!(self.method, Method::GET | Method::HEAD),
            307 | 308 => self.can_be_sent_again(),
            _ => false,
        };
        if follow { response.location() } else { None }
    }
}

impl Host {
    /// Sends a request, and once more if the registry wants to know who asks. Every status is an answer.
    pub(super) async fn send(&self, mut request: Request) -> Result<Response, RegistryError> {
        let connection = self.connection().await?;
        let home = &connection.base;
        let known = self.known_authorization(connection, &request.access).await?;
        let response = self.follow(connection, &mut request, known.as_ref(), home).await?;
        if response.status != StatusCode::UNAUTHORIZED || response.redirected {
            return Ok(response);
        }
        let answer = self.answer_challenge(connection, &response.headers, &request.access, known.as_ref()).await?;
        let Some(authorization) = answer else {
            return match not_understood(&response.headers, home) {
                Some(offer) => Err(response.protocol_error(&format!(
                    "401 Unauthorized, and hod does not support the login that it asks for: {offer}"
                ))),
                None => Ok(response),
            };
        };
        response.drain().await;
        if request.can_be_sent_again() {
            self.follow(connection, &mut request, Some(&authorization), home).await
        } else {
            let subject = Box::new(request.subject);
            Err(RegistryError::Expired { subject, host: self.name.clone() })
        }
    }

    /// Sends a request and follows redirects. The authorization is for the origin of `home` alone.
    pub(super) async fn follow(
        &self,
        connection: &Connection,
        request: &mut Request,
        authorization: Option<&Authorization>,
        home: &Url,
    ) -> Result<Response, RegistryError> {
        let start = request.url.clone();
        for _ in 0..=REDIRECTS {
            let at_home = request.url.origin() == home.origin();
            let header = authorization.filter(|_| at_home).map(Authorization::header);
            let mut response = self.execute(connection, request, header).await?;
            response.redirected = !at_home;
            response.login = authorization.and_then(Authorization::origin).map(Into::into);
            let Some(target) = request.redirect(&response) else {
                request.url = start;
                return Ok(response);
            };
            if let Some(reason) = connection.objection(&request.url, &target) {
                return Err(request.redirect_error(&target, reason));
            }
            response.drain().await;
            request.url = target;
        }
        Err(request.redirect_error(&start, "too many redirects"))
    }

    /// Sends a request once, as it is.
    pub(super) async fn execute(
        &self,
        connection: &Connection,
        request: &mut Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let limit = self.shared.settings.stall_timeout;
        let mut sent = reqwest::Request::new(request.method.clone(), request.url.clone());
        sent.headers_mut().clone_from(&request.headers);
        if let Some(header) = authorization {
            sent.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        let (mut progress, mut length) = (None, 0);
        match std::mem::take(&mut request.payload) {
            Payload::Nothing => {}
            Payload::Bytes(bytes) => {
                length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                // Some registries insist on the length of an empty body, which is left out otherwise (RFC 9110, 8.6).
                sent.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
                *sent.body_mut() = Some(Body::from(bytes.clone()));
                request.payload = Payload::Bytes(bytes);
            }
            Payload::Stream(body) => {
                progress = Some(body.progress());
                *sent.body_mut() = Some(Body::wrap_stream(*body));
                request.payload = Payload::Spent;
            }
            Payload::Spent => request.payload = Payload::Spent,
        }
        let answer = connection.client(&request.url).execute(sent);
        let outcome = match &progress {
            // What is sent in one piece cannot be watched, and gets as much more time as it is large.
            None => timeout(limit.saturating_mul(1 + length / WHOLE), answer).await.ok(),
            Some(progress) => tokio::select! {
                outcome = answer => Some(outcome),
                () = progress.stalled(limit) => None,
            },
        };
        if let Some(failure) = progress.and_then(|progress| progress.failure()) {
            return Err(RegistryError::Content(failure));
        }
        let url = redacted(&request.url);
        match outcome {
            Some(Ok(inner)) => {
                tracing::debug!(method = %request.method, %url, status = %inner.status(), "answer");
                Ok(Response::new(inner, request, limit))
            }
            Some(Err(error)) => {
                tracing::debug!(method = %request.method, %url, "no answer");
                Err(RegistryError::transport(&request.subject, &request.url, &error, || connection.is_without_roots()))
            }
            None => Err(RegistryError::stalled(&request.subject, &request.url, limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, cut, reply};
    use super::super::{CredentialSources, Credentials, Settings};
    use super::*;
    use bytes::Bytes;
    use futures_util::TryStreamExt as _;
    use hod_engine::endpoint::{Fault, Source as _};
    use hod_oci::{Descriptor, MediaType};

    fn brick() -> Descriptor {
        Descriptor::of(MediaType::parse("x"), b"brick")
    }

    fn with_password() -> Settings {
        let given = Some(Credentials::from_flag("me:hunter2"));
        Settings { credentials: CredentialSources { given, ..CredentialSources::default() }, ..Settings::default() }
    }

    #[tokio::test]
    async fn credentials_stay_with_the_registry() {
        let storage = Server::start(|_| reply(200, &[], "brick")).await;
        let location = format!("http://{}/blob?signature=1", storage.address);
        let registry = Server::start(move |seen| match seen.header("authorization") {
            "" => reply(401, &[("www-authenticate", "Basic realm=x")], ""),
            _ => reply(307, &[("location", &location)], "elsewhere"),
        })
        .await;
        let (registries, repository) = registry.repository("a", with_password());
        let body: Vec<Bytes> = repository.open(&brick(), 0).await.unwrap().try_collect().await.unwrap();
        assert_eq!(body.concat(), b"brick");
        assert_eq!(registry.seen().len(), 2);
        assert_eq!(registry.seen().last().unwrap().header("authorization"), "Basic bWU6aHVudGVyMg==");
        assert_eq!(storage.lines(), ["GET /blob?signature=1"]);
        assert_eq!(storage.seen().first().unwrap().header("authorization"), "");
        // One to find out that there is no TLS, two to the registry, one to the storage.
        assert_eq!(registries.requests(), 4);
    }

    #[tokio::test]
    async fn a_redirect_within_the_registry_keeps_them() {
        let registry = Server::start(|seen| match (seen.header("authorization"), seen.target.as_str()) {
            ("", _) => reply(401, &[("www-authenticate", "Basic realm=x")], ""),
            (_, "/moved") => reply(200, &[], "brick"),
            _ => reply(302, &[("location", "/moved")], ""),
        })
        .await;
        let (_, repository) = registry.repository("a", with_password());
        assert!(repository.open(&brick(), 0).await.is_ok());
    }

    #[tokio::test]
    async fn redirects_end() {
        let registry = Server::start(|seen| reply(302, &[("location", &format!("{}x", seen.target))], "")).await;
        let (_, repository) = registry.repository("a", Settings::default());
        let error = repository.open(&brick(), 0).await.err().unwrap();
        assert!(error.to_string().contains("too many redirects"), "{error}");
        assert_eq!(registry.seen().len(), REDIRECTS + 1);
        let registry = Server::start(|_| reply(302, &[("location", "http://storage.invalid/x?sign=1")], "")).await;
        let (_, repository) = registry.repository("a", Settings::default());
        let error = repository.open(&brick(), 0).await.err().unwrap();
        assert!(error.to_string().ends_with("redirects to http://storage.invalid/x?…, which is not encrypted"));
        assert_eq!(error.fault(), Fault::Rejected);
    }

    #[tokio::test]
    async fn statuses_and_broken_bodies_are_told_apart() {
        let registry = Server::start(|seen| match seen.target.split('/').nth(2) {
            Some("busy") => reply(429, &[("retry-after", "7")], r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#),
            Some("down") => reply(502, &[], "<html>"),
            Some("cut") => cut(200, 5, b"bri"),
            _ => reply(404, &[], r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#),
        })
        .await;
        let fault = async |name: &str| match registry.repository(name, Settings::default()).1.open(&brick(), 0).await {
            Ok(body) => body.try_collect::<Vec<_>>().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(fault("busy").await.fault(), Fault::Busy(Some(std::time::Duration::from_secs(7))));
        assert_eq!(fault("down").await.fault(), Fault::Unreachable);
        assert_eq!(fault("cut").await.fault(), Fault::Unreachable);
        let missing = fault("absent").await;
        assert_eq!(missing.fault(), Fault::Missing);
        let digest = brick().digest;
        let host = registry.host();
        assert_eq!(
            missing.to_string(),
            format!(
                "blob {digest} in {host}/absent does not exist: GET http://{host}/v2/absent/blobs/{digest} answered 404 Not Found (BLOB_UNKNOWN: blob unknown)"
            )
        );
    }

    #[tokio::test]
    async fn silence_has_an_end() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let limit = std::time::Duration::from_millis(50);
        let settings = Settings { stall_timeout: limit, connect_timeout: limit, ..Settings::default() };
        let repository = super::super::Registries::new(settings).repository(&host, &"a".parse().unwrap());
        let error = repository.open(&brick(), 0).await.err().unwrap();
        assert_eq!(error.fault(), Fault::Unreachable);
        // Nobody listens on the port of tcpmux.
        let registries = super::super::Registries::new(Settings::default());
        let repository = registries.repository("127.0.0.1:1", &"a".parse().unwrap());
        let error = repository.open(&brick(), 0).await.err().unwrap();
        assert_eq!(error.fault(), Fault::Unreachable);
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("refused"), "{error}");
    }
}
