//! The access log: one record for every answer, made when its body has ended.
//!
//! Only then is it known how many bytes went out and whether the client got everything. What went wrong behind an answer
//! is told here and not to the client.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, USER_AGENT};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::answer::Failure;
use super::connections::{Connection, RequestGuard};
use super::metrics::Metrics;

/// What is known of a request when its answer has ended.
#[derive(Debug)]
pub struct Access {
    /// Who asked.
    pub peer: SocketAddr,
    /// How.
    pub method: String,
    /// For what: path and query, as sent.
    pub target: String,
    /// Who says so: the name of a user, where the server asks for one.
    pub user: Option<String>,
    /// The client's name for itself.
    pub agent: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the body that were handed to the connection.
    pub sent: u64,
    /// Whether that was all of it.
    pub complete: bool,
    /// The time from the request's head to the end of the answer.
    pub elapsed: Duration,
    /// What went wrong on this side, if anything did.
    pub failure: Option<Arc<dyn Error + Send + Sync>>,
}

/// Receives a record for every answer.
pub trait AccessLog: fmt::Debug + Send + Sync {
    /// Takes note of an answer; must return at once.
    fn on(&self, access: &Access);
}

/// An access log of `tracing` events: failures are errors, the rest are for information.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceLog;

impl AccessLog for TraceLog {
    fn on(&self, access: &Access) {
        let Access { peer, method, target, status, sent, complete, .. } = access;
        if let Some(failure) = &access.failure {
            let failure: &(dyn Error + 'static) = &**failure;
            tracing::error!(%peer, method, target, status, sent, complete, failure, "answer failed");
        } else {
            let milliseconds = access.elapsed.as_millis();
            tracing::info!(%peer, method, target, status, sent, complete, milliseconds, "answered");
        }
    }
}

/// Where answers are recorded and counted.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) log: Arc<dyn AccessLog>,
    pub(super) metrics: Arc<Metrics>,
}

/// The name of a user, for a response's extensions.
#[derive(Debug, Clone)]
pub(super) struct User(pub(super) String);

/// Ties a record to the answer of a request.
pub(super) async fn record(
    State(recorder): State<Recorder>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Response {
    let (begun, guard) = (Instant::now(), connection.begin_request());
    let target = request.uri().path_and_query().map_or_else(|| request.uri().path(), |target| target.as_str());
    let (method, target) = (request.method().as_str().to_owned(), target.to_owned());
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    let mut response = next.run(request).await;
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.or_else(|| response.body().size_hint().exact()).filter(|_| method != "HEAD");
    let access = Access {
        peer: connection.peer,
        method,
        target,
        user: response.extensions_mut().remove().map(|User(name)| name),
        agent,
        status: response.status().as_u16(),
        sent: 0,
        complete: false,
        elapsed: Duration::ZERO,
        failure: response.extensions_mut().remove::<Failure>(),
    };
    let length = length.unwrap_or_default();
    response.map(|body| Body::new(RecordedBody { body, length, begun, access, recorder, _guard: guard }))
}

/// A body that makes a record when it ends.
struct RecordedBody {
    body: Body,
    length: u64,
    begun: Instant,
    access: Access,
    recorder: Recorder,
    _guard: RequestGuard,
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => {
                self.access.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                Ok(frame)
            }
            Err(error) => {
                let failure = Failure::from(error.into_inner());
                self.access.failure = Some(Arc::clone(&failure));
                Err(axum::Error::new(failure))
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

impl Drop for RecordedBody {
    fn drop(&mut self) {
        self.access.complete = self.access.sent == self.length;
        self.access.elapsed = self.begun.elapsed();
        let Self { access, recorder: Recorder { log, metrics }, .. } = self;
        metrics.answered(&access.method, access.status, access.sent);
        metrics.broken.fetch_add(u64::from(!access.complete), Ordering::Relaxed);
        log.on(access);
    }
}
