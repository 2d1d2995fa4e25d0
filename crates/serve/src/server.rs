//! Listening, connections, and their end.
//!
//! Each connection is a task of its own with bounded buffers. A stop closes the listeners, lets
//! what is being answered end, and after a while cuts off what has not.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fmt, io};

use axum::{BoxError, Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use super::access::{AccessLog, Recorder, TraceLog};
use super::auth::{Admission, Authenticator};
use super::body::Checks;
use super::connections::{Connection, Connections, Slot};
use super::error::ServeError;
use super::metrics::Metrics;
use super::push_store::PushStore;
use super::referrers::ReferrerCache;
use super::repositories::Repositories;
use super::service::{Service, router};
use super::site::Scheme;
use super::tls::{Tls, acceptor};
use super::uploads::Uploads;
use hod_engine::endpoint::blocking;

/// The most bytes of a request's head; a token of a large identity provider has its place in it.
const HEAD_LIMIT: usize = 32 * 1024;
/// The most bytes that a connection buffers for reading and, beside one piece of a body, for writing.
const BUFFER_LIMIT: usize = 64 * 1024;
/// How long to wait when the system has no file left for a connection.
const BREATH: Duration = Duration::from_millis(100);
/// What a connection hears that has no place and may not wait for one.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
/// How often abandoned uploads are looked for.
const EXPIRY: Duration = Duration::from_secs(60);

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// Connections at the same time; more have to wait. Each takes a socket, and a file while it
    /// sends a blob.
    pub connections: usize,
    /// Connections from one address at the same time; half of all where none is given. A proxy is one address.
    pub connections_per_address: Option<usize>,
    /// How long a connection may be quiet before and between requests, and how long a request's head may take.
    pub idle: Duration,
    /// How long a connection may take to ask for something that it may have, from its first byte on.
    pub greeting: Duration,
    /// How long a client may take nothing of an answer, or send nothing of a body.
    pub stall: Duration,
    /// How long answers may go on after a stop.
    pub drain: Duration,
    /// Whether clients may push; only to a store that was opened for writing.
    pub writable: bool,
    /// Whether they may delete as well.
    pub deletes: bool,
    /// Whether an index may be pushed without some of its children.
    pub sparse: bool,
    /// Uploads at the same time. Each takes a file.
    pub uploads: usize,
    /// How long an upload is kept after its client's last request.
    pub upload_idle: Duration,
    /// Who may use it; without users, everybody.
    pub admission: Admission,
    /// How it speaks TLS; plain HTTP without.
    pub tls: Option<Tls>,
    /// Sockets that listen already, and come before the addresses.
    pub sockets: Vec<Arc<std::net::TcpListener>>,
    /// Where answers are recorded.
    pub log: Arc<dyn AccessLog>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5000))],
            // Both files of each stay below 1024, which is what most systems let a process have.
            connections: 400,
            connections_per_address: None,
            idle: Duration::from_secs(60),
            greeting: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            writable: false,
            deletes: false,
            sparse: false,
            admission: Admission::default(),
            tls: None,
            sockets: Vec::new(),
            uploads: 100,
            upload_idle: Duration::from_secs(3600),
            log: Arc::new(TraceLog),
        }
    }
}

/// A registry that listens.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    authority: Option<String>,
    shared: Arc<Shared>,
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Connections that were cut off because they took too long to end.
    pub cut: usize,
}

/// What all connections have in common.
struct Shared {
    router: Router,
    acceptor: Option<TlsAcceptor>,
    connections: Arc<Connections>,
    metrics: Arc<Metrics>,
    store: Option<Arc<PushStore>>,
    options: Options,
    tasks: TaskTracker,
    /// No more requests.
    stop: CancellationToken,
    /// No more bytes.
    cut: CancellationToken,
}

impl Server {
    /// Listens on every address, or fails. Nothing is answered until [`Server::run`].
    pub async fn bind(repositories: Arc<dyn Repositories>, options: Options) -> Result<Self, ServeError> {
        if options.listen.is_empty() && options.sockets.is_empty() {
            return Err(ServeError::NoAddress);
        }
        let (acceptor, authority) = options.tls.as_ref().map(acceptor).transpose()?.unzip();
        let auth = Authenticator::new(&options.admission, options.tls.as_ref())?;
        let listeners = options.sockets.iter().map(|socket| adopt(socket)).collect::<Result<Vec<_>, _>>();
        let mut listeners = listeners.map_err(ServeError::Socket)?;
        for &address in &options.listen {
            let listener = TcpListener::bind(address).await;
            listeners.push(listener.map_err(|source| ServeError::Bind { address, source })?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
        let addresses = addresses.map_err(ServeError::Socket)?;
        let referrers = Arc::<ReferrerCache>::default();
        let store = match repositories.store().filter(|_| options.writable) {
            Some(store) => {
                let uploads = Uploads::new(options.uploads, options.upload_idle);
                let (store, referrers) = (store.clone(), Arc::clone(&referrers));
                let store = Arc::new(PushStore { store, uploads, referrers, sparse: options.sparse });
                let writer = Arc::clone(&store);
                blocking(move || writer.finish_referrers()).await.map_err(ServeError::Referrers)?;
                Some(store)
            }
            None if options.writable => return Err(ServeError::NoStore),
            None => None,
        };
        let metrics = Arc::<Metrics>::default();
        let checks = Checks { metrics: Arc::clone(&metrics), ..Checks::default() };
        let recorder = Recorder { log: Arc::clone(&options.log), metrics: Arc::clone(&metrics) };
        let service = Service {
            repositories,
            referrers,
            checks,
            store: store.clone(),
            deletes: options.deletes,
            auth,
            stall: options.stall,
            scheme: match (&options.tls, authority.clone().flatten()) {
                (None, _) => Scheme::Http,
                (Some(_), None) => Scheme::Https,
                (Some(_), Some(authority)) => Scheme::OwnAuthority(authority.into()),
            },
            has_login: !options.admission.anonymous_read,
        };
        let per_address = options.connections_per_address.unwrap_or(options.connections.div_ceil(2));
        let shared = Shared {
            router: router(service, recorder),
            acceptor,
            connections: Connections::new(options.connections, per_address),
            metrics,
            store,
            options,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        Ok(Self { listeners, addresses, authority: authority.flatten(), shared: Arc::new(shared) })
    }

    /// Where it listens, with the ports that were chosen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The certificate of the server's own authority as PEM, for clients to trust.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Answers until `shutdown` is done, and then until the answers under way have ended.
    ///
    /// A caller that drops this future cuts everything off.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Shutdown {
        let Self { listeners, shared, .. } = self;
        let _stopped = shared.stop.clone().drop_guard();
        let _cut = shared.cut.clone().drop_guard();
        for listener in listeners {
            shared.tasks.spawn(accept(listener, Arc::clone(&shared)));
        }
        if let Some(store) = shared.store.clone() {
            shared.tasks.spawn(expire(store, shared.stop.clone()));
        }
        shutdown.await;
        shared.stop.cancel();
        shared.tasks.close();
        if timeout(shared.options.drain, shared.tasks.wait()).await.is_ok() {
            return Shutdown { cut: 0 };
        }
        let cut = shared.tasks.len();
        shared.cut.cancel();
        shared.tasks.wait().await;
        Shutdown { cut }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Throws away what was begun and never continued, now and then until the stop.
async fn expire(store: Arc<PushStore>, stop: CancellationToken) {
    while timeout(EXPIRY, stop.cancelled()).await.is_err() {
        store.uploads.expire(Instant::now());
    }
}

/// Takes connections from one listener until the stop.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let connections = async {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                // Most often a client that went away before it was let in; where files have run
                // out, some of the connections have to end first.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "cannot accept a connection");
                    sleep(BREATH).await;
                    continue;
                }
            };
            let (task, local) = (Arc::clone(&shared), stream.local_addr().ok());
            match shared.connections.meet(peer) {
                Some(share) if share.is_full() => {
                    shared.tasks.spawn(async move {
                        if let Some(Some(slot)) = task.stop.run_until_cancelled(share.slot(local)).await {
                            task.serve(stream, slot).await;
                        }
                    });
                }
                Some(share) => {
                    // Where all slots are taken, the rest waits in the system's queue.
                    let Some(slot) = share.slot(local).await else { return };
                    shared.tasks.spawn(async move { task.serve(stream, slot).await });
                }
                None => {
                    tracing::debug!(%peer, "too many connections from this address");
                    if shared.acceptor.is_none() {
                        let _ = stream.try_write(REFUSAL);
                    }
                }
            }
        }
    };
    shared.stop.run_until_cancelled(connections).await;
}

/// Makes a listener of a socket that listens already.
fn adopt(socket: &std::net::TcpListener) -> io::Result<TcpListener> {
    let socket = socket.try_clone()?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

impl Shared {
    /// Serves a connection that has a slot.
    async fn serve(&self, stream: TcpStream, slot: Slot) {
        let (Metrics { connections, connected, .. }, connection) = (&*self.metrics, &slot.connection);
        connections.fetch_add(1, Ordering::Relaxed);
        connected.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.prepare(stream, connection).await {
            tracing::debug!(peer = %connection.peer, error = &*error as &dyn Error, "connection ended early");
        }
        connected.fetch_sub(1, Ordering::Relaxed);
    }

    /// Prepares a connection, with TLS where the server speaks it, and answers its requests.
    async fn prepare(&self, stream: TcpStream, connection: &Arc<Connection>) -> Result<(), BoxError> {
        // Answers are written in one go, so waiting for more to send only costs time.
        stream.set_nodelay(true)?;
        let Some(acceptor) = &self.acceptor else { return self.answer(stream, connection).await };
        tokio::select! {
            secured = acceptor.accept(stream) => Box::pin(self.answer(secured?, connection)).await,
            () = connection.left(self.options.greeting) => Err("no TLS in time".into()),
            () = self.stop.cancelled() => Ok(()),
        }
    }

    /// Answers the requests of one connection.
    async fn answer<S: AsyncRead + AsyncWrite>(&self, stream: S, client: &Arc<Connection>) -> Result<(), BoxError> {
        let service = TowerToHyperService::new(Extension(Arc::clone(client)).layer(self.router.clone()));
        // Without this, a client that stops reading holds an open file and two pieces of a blob for as long as it likes.
        let mut stream = pin!(TimeoutWriter::new(stream));
        stream.as_mut().set_timeout_pinned(Some(self.options.stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.idle)
            .max_header_size(HEAD_LIMIT)
            .max_buf_size(BUFFER_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            result = connection.as_mut() => return Ok(result?),
            () = self.stop.cancelled() => {}
            () = client.left(self.options.greeting) => {}
        }
        // A head that has begun and never ends would be waited for.
        if client.has_asked() {
            connection.as_mut().graceful_shutdown();
            self.cut.run_until_cancelled(connection).await.transpose()?;
        }
        Ok(())
    }
}
