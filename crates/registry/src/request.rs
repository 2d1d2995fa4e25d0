//! A request to a registry, before it is sent.

use std::fmt;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::auth::Access;
use super::error::RegistryError;
use super::subject::Subject;
use super::transfer::UploadBody;
use hod_io::secret::redacted;

/// The content of a request.
#[derive(Default)]
pub(super) enum Payload {
    /// Nothing.
    #[default]
    Nothing,
    /// Bytes that can be sent again.
    Bytes(Bytes),
    /// Bytes that can be sent once.
    Stream(Box<UploadBody>),
    /// The rest of a stream.
    Spent,
}

/// The bytes stay out of it: a request for a token holds a secret.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(body) => body.fmt(f),
            Self::Spent => f.write_str("Spent"),
        }
    }
}

/// A request to a registry.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) access: Access,
    pub(super) subject: Subject,
}

impl Request {
    pub(super) fn new(method: Method, url: Url, subject: Subject) -> Self {
        let (headers, payload, access) = Default::default();
        Self { method, url, headers, payload, access, subject }
    }

    pub(super) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Sets a header. A value that headers cannot have is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    pub(super) const fn can_be_sent_again(&self) -> bool {
        matches!(self.payload, Payload::Nothing | Payload::Bytes(_))
    }

    pub(super) fn redirect_error(&self, to: &Url, reason: &'static str) -> RegistryError {
        let subject = Box::new(self.subject.clone());
        RegistryError::Redirect { subject, from: redacted(&self.url), to: redacted(to), reason }
    }
}
