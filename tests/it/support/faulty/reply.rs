//! Answers, before they are sent.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::connection::{Body, Ending};

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    headers: HeaderMap,
    /// What `Content-Length` says, whatever is sent.
    length: usize,
    end: End,
}

/// What follows the bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The end, as announced.
    Whole,
    /// The end of the connection.
    Closed,
    /// Nothing, for ever.
    Silent,
    /// The rest, of which so many bytes come at once and each of the others after a pause.
    Slow(usize),
}

impl Reply {
    /// An answer without a body.
    pub(super) fn status(status: u16) -> Self {
        Self { status, body: Bytes::new(), headers: HeaderMap::new(), length: 0, end: End::Whole }
    }

    /// An error as the distribution specification writes it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!({"errors": [{"code": code, "message": message}]}))
    }

    /// An answer in JSON.
    pub(super) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::status(status).header("Content-Type", "application/json").body(value.to_string().into())
    }

    /// Adds a body.
    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.replace(body);
        self
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.set_header(name, value);
        self
    }

    pub(super) fn set_header(&mut self, name: &'static str, value: &str) {
        self.headers.insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }

    pub(super) fn remove_header(&mut self, name: &str) {
        self.headers.remove(name);
    }

    /// Sends another body, with its length.
    pub(super) fn replace(&mut self, body: Bytes) {
        self.length = body.len();
        self.body = body;
    }

    /// Sends only so many bytes of what is announced.
    pub(super) fn stop(&mut self, after: usize, end: End) {
        self.body.truncate(after);
        self.end = end;
    }

    /// Sends all of it, a byte at a time behind so many bytes.
    pub(super) fn trickle(&mut self, after: usize) {
        self.end = End::Slow(after);
    }

    /// Keeps the part of the body that a `Range` header asks for.
    pub(super) fn range(self, range: &str) -> Self {
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return self;
        };
        let whole = self.body.len();
        let Ok(first) = first.parse::<usize>() else { return self };
        let last = last.parse::<usize>().unwrap_or(usize::MAX).min(whole.saturating_sub(1));
        if first >= whole || last < first {
            return Self::error(416, "RANGE_INVALID", "there are no such bytes")
                .header("Content-Range", &format!("bytes */{whole}"));
        }
        let part = self.body.slice(first..=last);
        let content_range = format!("bytes {first}-{last}/{whole}");
        Self { status: 206, ..self }.body(part).header("Content-Range", &content_range)
    }

    pub(super) fn into_response(self, ending: Arc<Ending>) -> hyper::Response<Body> {
        let mut response = hyper::Response::new(Body::new(self.body, self.end, ending));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(header::CONTENT_LENGTH, self.length.into());
        response
            .headers_mut()
            .insert("docker-distribution-api-version", header::HeaderValue::from_static("registry/2.0"));
        response
    }
}
