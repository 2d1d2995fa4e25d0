//! A registry that does exactly what a test wants, and remembers every request.
//!
//! ```no_run
//! let registry = Faulty::new(content)
//!     .bearer("me", "secret")
//!     .fault(On::blob(&layer).once(), Effect::Cut { after: 1000 })
//!     .fault(On::manifest("1.0").skip(1).times(2), Effect::Later { status: 429, after: "1".into() })
//!     .start();
//! hod(["pull", "app:1.0", "--from", registry.host(), "--store", "s"]).ok();
//! assert_eq!(registry.count(|seen| seen.is_blob(&layer)), 2);
//! ```
//!
//! It speaks the distribution API over plain HTTP, for pull and push, from memory. A second port plays the other
//! host: blobs are redirected there, and tokens can be had there.

mod auth;
mod connection;
mod fault;
mod pull;
mod push;
mod reply;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hod_oci::{Descriptor, Digest};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub use fault::{Effect, On};
pub use seen::{Route, Seen};

use super::images::{Content, Image};
use auth::Auth;
use connection::{Body, Ending, Link};
use fault::Fault;
use reply::Reply;

/// A faulty registry that is being prepared.
#[derive(Debug)]
pub struct Faulty {
    auth: Auth,
    sparse: bool,
    /// Whether a tag `sha256-HEX` that is not there stands for the manifest of that digest, as at GitLab.
    tags_as_digests: bool,
    phantoms: Vec<Descriptor>,
    referrers: Option<usize>,
    state: State,
}

/// A faulty registry that runs until the value is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What does not change while the registry runs, and the lock around what does.
#[derive(Debug)]
struct Shared {
    host: String,
    other_host: String,
    auth: Auth,
    sparse: bool,
    /// Whether a tag `sha256-HEX` that is not there stands for the manifest of that digest, as at GitLab.
    tags_as_digests: bool,
    phantoms: Vec<Descriptor>,
    /// How many referrers are on a page, where they are listed.
    referrers: Option<usize>,
    state: Mutex<State>,
    seen_more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    tokens: Vec<auth::Token>,
    uploads: HashMap<String, Vec<u8>>,
    next_upload: usize,
}

impl Faulty {
    /// A registry without faults that holds this.
    pub fn new(content: Content) -> Self {
        let state = State { content, ..State::default() };
        Self { auth: Auth::None, sparse: true, tags_as_digests: false, phantoms: Vec::new(), referrers: None, state }
    }

    /// Adds a fault. Of several that fit a request, the first that is not used up applies.
    pub fn fault(mut self, on: On, effect: Effect) -> Self {
        self.state.faults.push(Fault { on, effect });
        self
    }

    /// Asks for user name and password with each request.
    pub fn basic(mut self, name: &str, password: &str) -> Self {
        self.auth = Auth::Basic(auth::User::new(name, password));
        self
    }

    /// Asks for a token, which anyone gets.
    pub fn anonymous_tokens(mut self) -> Self {
        self.auth = Auth::Bearer(auth::Bearer::default());
        self
    }

    /// Asks for a token, which this user gets.
    pub fn bearer(mut self, name: &str, password: &str) -> Self {
        self.auth = Auth::Bearer(auth::Bearer { user: Some(auth::User::new(name, password)), ..Default::default() });
        self
    }

    /// Lets each token expire after so many requests.
    pub fn token_uses(mut self, uses: usize) -> Self {
        self.auth.bearer().uses = uses;
        self
    }

    /// Gives tokens on the other host.
    pub fn tokens_elsewhere(mut self) -> Self {
        self.auth.bearer().elsewhere = true;
        self
    }

    /// It takes the tag `sha256-HEX` for the digest, where it has no such tag.
    pub fn takes_tags_for_digests(mut self) -> Self {
        self.tags_as_digests = true;
        self
    }

    /// Refuses indexes with absent children, as distribution does.
    pub fn refuse_sparse(mut self) -> Self {
        self.sparse = false;
        self
    }

    /// Lists referrers, so many on a page, and says so when one is pushed.
    pub fn lists_referrers(mut self, page: usize) -> Self {
        self.referrers = Some(page);
        self
    }

    /// Answers HEAD for this manifest as if it were there, as after an interrupted push.
    pub fn phantom(mut self, image: &Image) -> Self {
        self.phantoms.push(image.descriptor.clone());
        self
    }

    /// Starts it on free ports of loopback.
    pub fn start(self) -> Running {
        let listen = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let host = listener.local_addr().unwrap().to_string();
            (listener, host)
        };
        let ((registry, host), (other, other_host)) = (listen(), listen());
        let shared = Arc::new(Shared {
            host,
            other_host,
            auth: self.auth,
            sparse: self.sparse,
            tags_as_digests: self.tags_as_digests,
            phantoms: self.phantoms,
            referrers: self.referrers,
            state: Mutex::new(self.state),
            seen_more: Condvar::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        // A thread and runtime of its own: tests are sync or async, and some block.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::spawn(accept(registry, Arc::clone(&serving)));
                tokio::spawn(accept(other, serving));
                let _ = stopped.await;
            });
        });
        Running { shared, stop: Some(stop), thread: Some(thread) }
    }
}

impl Running {
    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// The host that blobs are redirected to.
    pub fn other_host(&self) -> &str {
        &self.shared.other_host
    }

    /// Adds a fault from now on.
    pub fn fault(&self, on: On, effect: Effect) {
        self.shared.state.lock().unwrap().faults.push(Fault { on, effect });
    }

    /// Changes what it holds.
    pub fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.shared.state.lock().unwrap().content);
    }

    /// What it holds now.
    pub fn content(&self) -> Content {
        self.shared.state.lock().unwrap().content.clone()
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// How many requests so far were such.
    pub fn count(&self, such: impl Fn(&Seen) -> bool) -> usize {
        self.requests().iter().filter(|seen| such(seen)).count()
    }

    /// Waits for a request that is such; stops the test where none comes.
    #[track_caller]
    pub fn wait_for(&self, such: impl Fn(&Seen) -> bool) {
        let state = self.shared.state.lock().unwrap();
        let none = |state: &mut State| !state.seen.iter().any(&such);
        let (state, waited) = self.shared.seen_more.wait_timeout_while(state, Duration::from_secs(60), none).unwrap();
        assert!(!waited.timed_out(), "the request did not come; these did: {:#?}", state.seen);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let on_other_host = stream.local_addr().is_ok_and(|address| address.to_string() == shared.other_host);
    let ending = Arc::new(Ending::default());
    let link = Link::new(stream, Arc::clone(&ending));
    let service = hyper::service::service_fn(|request| {
        let (shared, ending) = (Arc::clone(&shared), Arc::clone(&ending));
        async move { shared.answer(request, on_other_host, &ending).await }
    });
    // An error here is a fault that was asked for, or a client that went away.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(link, service).await;
}

impl Shared {
    /// Answers a request; an error makes the connection end without an answer.
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        on_other_host: bool,
        ending: &Arc<Ending>,
    ) -> std::io::Result<hyper::Response<Body>> {
        let (head, body) = request.into_parts();
        let mut seen = Seen::new(&head, on_other_host);
        let position = self.note(&seen);
        let refused = self.state.lock().unwrap().refuse(&seen, self);
        let effect = if refused.is_some() { None } else { self.state.lock().unwrap().effect(&seen) };
        let effect = match effect {
            Some(effect) => Some(effect.due().await),
            None => None,
        };
        if matches!(effect, Some(Effect::Reset)) {
            ending.reset();
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        if matches!(effect, Some(Effect::Silence)) {
            return std::future::pending().await;
        }
        if matches!(effect, Some(Effect::IgnoreRange)) {
            seen.headers.remove(hyper::header::RANGE);
        }
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let mut reply = match refused {
            Some(refusal) => refusal,
            None if effect.as_ref().is_some_and(Effect::prevents) => Reply::status(500),
            None => self.state.lock().unwrap().reply(&seen, body, self),
        };
        if let Some(effect) = effect {
            effect.change(&mut reply, &seen, self);
        }
        self.state.lock().unwrap().seen[position].status = Some(reply.status);
        Ok(reply.into_response(Arc::clone(ending)))
    }

    fn note(&self, seen: &Seen) -> usize {
        let mut state = self.state.lock().unwrap();
        state.seen.push(seen.clone());
        self.seen_more.notify_all();
        state.seen.len() - 1
    }

    /// Where a blob can be had on the other host, by an address as storage services sign it.
    fn storage_url(&self, digest: &Digest) -> String {
        format!("http://{}/storage/{digest}?signature=secret", self.other_host)
    }
}

impl State {
    /// The effect of the first fault that fits and is not used up.
    fn effect(&mut self, seen: &Seen) -> Option<Effect> {
        self.faults.iter_mut().find_map(|fault| fault.on.strikes(seen).then(|| fault.effect.clone()))
    }

    /// What a registry without faults answers.
    fn reply(&mut self, seen: &Seen, body: Bytes, shared: &Shared) -> Reply {
        match &seen.route {
            Route::Token => self.token(seen, &body, shared),
            Route::Upload(..) | Route::Manifest(..) if seen.is_write() => self.push(seen, body, shared),
            _ => self.pull(seen, shared),
        }
    }
}
