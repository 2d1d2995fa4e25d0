//! An in-process server for unit tests, with responses that each test sets.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{Registries, Repository, Settings};

/// A request that has come in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    /// The body, as far as it came.
    pub(super) body: Bytes,
}

impl Seen {
    /// A header, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An answer.
pub(super) type Reply = Response<BoxBody<Bytes, io::Error>>;

/// An answer with a status, headers and a body.
pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed()).unwrap()
}

/// An answer whose body breaks off after some bytes of those that it promises.
pub(super) fn cut(status: u16, promised: usize, body: &'static [u8]) -> Reply {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(body)))]);
    // What has been written so far goes out while the body is not ready.
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::other("cut"))
    });
    let body = BoxBody::new(StreamBody::new(first.chain(end)));
    Response::builder().status(status).header("content-length", promised).body(body).unwrap()
}

/// A server on a free port of this machine, speaking plain HTTP.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts a server that answers with `handler`. It lives as long as the test's runtime.
    pub(super) async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, handler) = (seen.clone(), Arc::new(handler));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, handler.clone(), log.clone()));
            }
        });
        Self { address, seen }
    }

    /// The name under which a client asks it.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// A repository of the server, for a client with these settings.
    pub(super) fn repository(&self, name: &str, settings: Settings) -> (Registries, Repository) {
        let registries = Registries::new(settings);
        let repository = registries.repository(&self.host(), &name.parse().unwrap());
        (registries, repository)
    }

    /// All requests so far but those that only find out whether anybody is there.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|request| request.target != "/v2/").cloned().collect()
    }

    /// The requests as lines of method and target.
    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }
}

async fn connection<H>(stream: TcpStream, handler: Arc<H>, log: Arc<Mutex<Vec<Seen>>>)
where
    H: Fn(&Seen) -> Reply + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, log) = (handler.clone(), log.clone());
        async move {
            let (head, mut incoming) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(frame)) = incoming.frame().await {
                body.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            }
            let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let seen = Seen { method: head.method.to_string(), target, headers: head.headers, body: body.into() };
            log.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
            Ok::<_, Infallible>(handler(&seen))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
