//! Listening, connections, and their end.
//!
//! Each connection is a task of its own with bounded buffers. A stop closes the listeners, lets
//! what is being answered end, and after a while cuts off what has not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{fmt, io};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{AccessLog, Traced};
use super::auth::{Admission, Door};
use super::body::{Checks, blocking};
use super::connections::{Connections, Knock, Place, Seat};
use super::error::ServeError;
use super::metrics::Metrics;
use super::origin::Origin;
use super::referrers::Subjects;
use super::repositories::Repositories;
use super::service::Service;
use super::stall::Stalling;
use super::tls::{Secured, Tls};
use super::uploads::Uploads;
use super::writing::Writing;

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
            log: Arc::new(Traced),
        }
    }
}

/// A registry that listens.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    authority: Option<String>,
    shared: Shared,
    drain: Duration,
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were cut off because they took too long to end.
    pub cut: usize,
}

/// What all connections have in common.
#[derive(Clone)]
struct Shared {
    service: Service,
    acceptor: Option<TlsAcceptor>,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    idle: Duration,
    greeting: Duration,
    stall: Duration,
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
        let secured = options.tls.as_ref().map(Secured::new).transpose()?;
        let door = Door::new(&options.admission)?.map(Arc::new);
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for socket in options.sockets {
            let listener = adopt(&socket).map_err(ServeError::Socket)?;
            addresses.push(listener.local_addr().map_err(ServeError::Socket)?);
            listeners.push(listener);
        }
        for address in options.listen {
            let failed = |source: io::Error| ServeError::Bind { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let subjects = Arc::<Subjects>::default();
        let writing = match repositories.store().filter(|_| options.writable) {
            Some(store) => {
                let uploads = Uploads::new(options.uploads, options.upload_idle);
                let writing = Arc::new(Writing::new(store.clone(), uploads, Arc::clone(&subjects), options.sparse));
                let noted = Arc::clone(&writing);
                blocking(move || noted.finish_referrers()).await.map_err(ServeError::Referrers)?;
                Some(writing)
            }
            None if options.writable => return Err(ServeError::NoStore),
            None => None,
        };
        let metrics = Arc::<Metrics>::default();
        let service = Service {
            repositories,
            subjects,
            writing,
            deletes: options.deletes,
            door,
            checks: Checks { verified: Arc::default(), damaged: Arc::default(), metrics: Arc::clone(&metrics) },
            metrics,
            local: None,
            secure: secured.is_some(),
            patience: options.stall,
            log: options.log,
        };
        let (acceptor, authority) = secured.map(|secured| (secured.acceptor, secured.authority)).unzip();
        let shared = Shared {
            service,
            acceptor,
            connections: Connections::new(
                options.connections,
                options.connections_per_address.unwrap_or(options.connections.div_ceil(2)),
            ),
            tasks: TaskTracker::new(),
            idle: options.idle,
            greeting: options.greeting,
            stall: options.stall,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        Ok(Self { listeners, addresses, authority: authority.flatten(), shared, drain: options.drain })
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
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Stopped {
        let Self { listeners, shared, drain, .. } = self;
        let _stopped = shared.stop.clone().drop_guard();
        let _cut = shared.cut.clone().drop_guard();
        for listener in listeners {
            shared.tasks.spawn(accept(listener, shared.clone()));
        }
        if let Some(writing) = shared.service.writing.clone() {
            shared.tasks.spawn(expire(writing, shared.stop.clone()));
        }
        shutdown.await;
        shared.stop.cancel();
        shared.tasks.close();
        if timeout(drain, shared.tasks.wait()).await.is_ok() {
            return Stopped { cut: 0 };
        }
        let cut = shared.tasks.len();
        shared.cut.cancel();
        shared.tasks.wait().await;
        Stopped { cut }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Throws away what was begun and never continued, now and then until the stop.
async fn expire(writing: Arc<Writing>, stop: CancellationToken) {
    while timeout(EXPIRY, stop.cancelled()).await.is_err() {
        writing.uploads.expire();
    }
}

/// Takes connections from one listener until the stop.
async fn accept(listener: TcpListener, shared: Shared) {
    let stop = shared.stop.clone();
    let connections = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match shared.connections.knock(Origin::of(peer)) {
                    Knock::Welcome(share) => {
                        // Where all places are taken, the rest waits in the system's queue.
                        let Some(place) = share.place().await else { return };
                        let connection = welcome(stream, peer, (place, shared.clone()));
                        shared.tasks.spawn(connection);
                    }
                    Knock::Wait(share, waiting) => {
                        let shared = shared.clone();
                        shared.tasks.clone().spawn(async move {
                            let stop = shared.stop.clone();
                            let place = tokio::select! {
                                place = share.place() => place,
                                () = stop.cancelled() => None,
                            };
                            drop(waiting);
                            if let Some(place) = place {
                                welcome(stream, peer, (place, shared)).await;
                            }
                        });
                    }
                    Knock::Refused => {
                        tracing::debug!(%peer, "too many connections from this address");
                        if shared.acceptor.is_none() {
                            let _ = stream.try_write(REFUSAL);
                        }
                    }
                },
                // Most often a client that went away before it was let in; where files have run
                // out, some of the connections have to end first.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                    sleep(BREATH).await;
                }
            }
        }
    };
    tokio::select! {
        () = connections => {}
        () = stop.cancelled() => {}
    }
}

/// Makes a listener of a socket that listens already.
fn adopt(socket: &std::net::TcpListener) -> io::Result<TcpListener> {
    let socket = socket.try_clone()?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Serves a connection that has a place.
async fn welcome(stream: TcpStream, peer: SocketAddr, (place, shared): (Place, Shared)) {
    let metrics = Arc::clone(&shared.service.metrics);
    metrics.connections.fetch_add(1, Ordering::Relaxed);
    metrics.connected.fetch_add(1, Ordering::Relaxed);
    prepare(stream, (peer, Arc::clone(place.seat())), shared).await;
    metrics.connected.fetch_sub(1, Ordering::Relaxed);
}

/// Prepares a connection, with TLS where the server speaks it, and answers its requests.
async fn prepare(stream: TcpStream, (peer, seat): (SocketAddr, Arc<Seat>), mut shared: Shared) {
    shared.service.local = stream.local_addr().ok();
    // Answers are written in one go, so waiting for more to send only costs time.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "cannot set TCP_NODELAY");
    }
    let Some(acceptor) = shared.acceptor.clone() else { return converse(stream, (peer, seat), shared).await };
    let secured = tokio::select! {
        secured = acceptor.accept(stream) => secured,
        () = seat.left(shared.greeting) => return tracing::debug!(%peer, "no TLS in time"),
        () = shared.stop.cancelled() => return,
    };
    match secured {
        Ok(stream) => Box::pin(converse(stream, (peer, seat), shared)).await,
        Err(error) => tracing::debug!(%peer, error = &error as &dyn std::error::Error, "no TLS"),
    }
}

/// Answers the requests of one connection.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    (peer, seat): (SocketAddr, Arc<Seat>),
    shared: Shared,
) {
    let Shared { service, idle, greeting, stall, stop, cut, .. } = shared;
    let asking = Arc::clone(&seat);
    let answer = service_fn(move |request| {
        let (service, seat) = (service.clone(), Arc::clone(&asking));
        async move { Ok::<_, Infallible>(service.answer((peer, seat), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_header_size(HEAD_LIMIT)
        .max_buf_size(BUFFER_LIMIT)
        .serve_connection(TokioIo::new(Stalling::new(stream, stall)), answer);
    let mut connection = pin!(connection);
    let last = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = seat.left(greeting) => {}
        }
    };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = last => {
            // A head that has begun and never ends would be waited for.
            if !seat.has_asked() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection.as_mut() => result,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection ended early");
    }
}
