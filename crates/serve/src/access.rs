//! The access log: one record for every answer, made when its body has ended.
//!
//! Only then is it known how many bytes went out and whether the client got everything. What went
//! wrong behind an answer is told here and not to the client.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::USER_AGENT;
use hyper::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::connections::Asking;
use super::metrics::Metrics;
use hod_engine::endpoint::EndpointError;

/// What is known of a request when its answer has ended.
#[derive(Debug)]
pub struct Access<'a> {
    /// Who asked.
    pub peer: SocketAddr,
    /// How.
    pub method: &'a str,
    /// For what: path and query, as sent.
    pub target: &'a str,
    /// Who says so: the name of a user, where the server asks for one.
    pub user: Option<&'a str>,
    /// The client's name for itself.
    pub agent: Option<&'a str>,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the body that were handed to the connection.
    pub sent: u64,
    /// Whether that was all of it.
    pub complete: bool,
    /// The time from the request's head to the end of the answer.
    pub elapsed: Duration,
    /// What went wrong on this side, if anything did.
    pub failure: Option<&'a (dyn Error + 'static)>,
}

impl<'a> Access<'a> {
    /// A record of a request that has no answer yet.
    pub const fn new(peer: SocketAddr, method: &'a str, target: &'a str) -> Self {
        Self {
            peer,
            method,
            target,
            user: None,
            agent: None,
            status: 0,
            sent: 0,
            complete: false,
            elapsed: Duration::ZERO,
            failure: None,
        }
    }
}

/// Receives a record for every answer.
pub trait AccessLog: fmt::Debug + Send + Sync {
    /// Takes note of an answer; must return at once.
    fn on(&self, access: &Access<'_>);
}

/// An access log of `tracing` events: failures are errors, the rest are for information.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traced;

impl AccessLog for Traced {
    fn on(&self, access: &Access<'_>) {
        let &Access { peer, method, target, status, sent, complete, .. } = access;
        let milliseconds = access.elapsed.as_millis();
        if let Some(failure) = access.failure {
            tracing::error!(%peer, method, target, status, sent, complete, failure, "answer failed");
        } else {
            tracing::info!(%peer, method, target, status, sent, complete, milliseconds, "answered");
        }
    }
}

/// A record that is being made.
pub(super) struct Record {
    log: Arc<dyn AccessLog>,
    peer: SocketAddr,
    method: Method,
    target: String,
    agent: Option<String>,
    user: Option<String>,
    metrics: Arc<Metrics>,
    started: Instant,
    status: StatusCode,
    sent: u64,
    failure: Option<EndpointError>,
    _asking: Asking,
}

impl Record {
    /// Begins a record with a request.
    pub(super) fn begin<B>(
        (log, metrics): (Arc<dyn AccessLog>, Arc<Metrics>),
        (peer, asking): (SocketAddr, Asking),
        request: &Request<B>,
    ) -> Self {
        let target = request.uri().path_and_query().map_or_else(|| request.uri().path(), |target| target.as_str());
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Self {
            log,
            peer,
            method: request.method().clone(),
            target: target.to_owned(),
            agent: agent.map(str::to_owned),
            user: None,
            metrics,
            started: Instant::now(),
            status: StatusCode::OK,
            sent: 0,
            failure: None,
            _asking: asking,
        }
    }

    /// Notes who it is.
    pub(super) fn by(&mut self, user: Option<String>) {
        self.user = user;
    }

    /// Ties the record to its answer, whose end is the record's.
    pub(super) fn follow(mut self, response: Response<Body>, failure: Option<EndpointError>) -> Response<Recorded> {
        self.status = response.status();
        self.failure = failure;
        response.map(|body| Recorded { body, record: self })
    }
}

/// A body that makes a record when it ends.
pub(super) struct Recorded {
    body: Body,
    record: Record,
}

/// A body that cannot be finished. Why is in its record.
#[derive(Debug, thiserror::Error)]
#[error("the answer cannot be finished")]
pub(super) struct Broken;

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => {
                self.record.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                Ok(frame)
            }
            Err(error) => {
                self.record.failure = Some(error);
                Err(Broken)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let Record { peer, method, target, agent, user, status, sent, failure, .. } = &self.record;
        let bodiless = *method == Method::HEAD;
        let complete = bodiless || self.body.remaining() == 0;
        self.record.metrics.answered(method.as_str(), status.as_u16(), *sent, complete);
        self.record.log.on(&Access {
            peer: *peer,
            method: method.as_str(),
            target,
            user: user.as_deref(),
            agent: agent.as_deref(),
            status: status.as_u16(),
            sent: *sent,
            complete,
            elapsed: self.record.started.elapsed(),
            failure: failure.as_ref().map(|failure| failure as &(dyn Error + 'static)),
        });
    }
}
