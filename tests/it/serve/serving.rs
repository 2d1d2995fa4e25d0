//! A running server, and what a test puts into the root that it serves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fs_err as fs;
use hod_oci::Digest;
use hod_serve::{Access, AccessLog, Options, Server, Shutdown};
use hod_store::layout::REGISTRY;
use hod_store::{Entry, Store};

use crate::support::raw::{Request, Response};

/// A server on a thread of its own.
pub struct Serving {
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    pub journal: Arc<Journal>,
    /// The certificate of the server's own authority.
    pub authority: Option<String>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Shutdown>>,
}

impl Serving {
    /// Serves a root with the options' defaults.
    pub fn root(root: &Path) -> Self {
        Self::with(root, |_| {})
    }

    /// Serves a root that clients may push to and delete from.
    pub fn writable(root: &Path) -> Self {
        Self::with(root, |options| (options.writable, options.deletes) = (true, true))
    }

    /// Serves a root, an empty one where there is none.
    pub fn with(root: &Path, adjust: impl FnOnce(&mut Options)) -> Self {
        fs::create_dir_all(root.join(REGISTRY)).unwrap();
        let journal = Arc::new(Journal::default());
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut options = Options { listen, log: Arc::clone(&journal) as Arc<dyn AccessLog>, ..Options::default() };
        adjust(&mut options);
        let store = if options.writable { Store::create(root) } else { Store::open(root) };
        let repositories = Arc::new(store.unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(repositories, options)).unwrap();
        let addresses = server.addresses().to_vec();
        let authority = server.authority().map(str::to_owned);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(server.run(async {
                let _ = stopped.await;
            }))
        });
        Self { address: addresses[0], addresses, journal, authority, stop: Some(stop), thread: Some(thread) }
    }

    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[])
    }

    /// Sends a request, and waits however long the answer takes.
    pub fn request(&self, method: &'static str, target: &str, headers: &[(&str, &str)]) -> Response {
        let request = Request::new(method, target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send(&self.address.to_string())
    }

    /// Sends a request with a body.
    pub fn send(&self, method: &'static str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let request = Request::new(method, target).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send(&self.address.to_string())
    }

    /// Pushes a blob in one request.
    #[track_caller]
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let response = self.send("POST", &target, &[], bytes);
        assert_eq!(response.status, 201, "{response:?}");
        digest
    }

    /// Pushes a manifest under a tag or digest.
    pub fn push_manifest(&self, repository: &str, version: &str, media_type: &str, bytes: &[u8]) -> Response {
        let headers: &[(&str, &str)] = if media_type.is_empty() { &[] } else { &[("Content-Type", media_type)] };
        self.send("PUT", &format!("/v2/{repository}/manifests/{version}"), headers, bytes)
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// Tells the server to stop; [`Serving::end`] waits until it has.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub fn end(mut self) -> Shutdown {
        if self.stop.is_some() {
            self.stop();
        }
        self.thread.take().unwrap().join().unwrap()
    }
}

/// What the access log was told.
#[derive(Debug, Default)]
pub struct Journal {
    records: Mutex<Vec<Line>>,
    grown: Condvar,
}

/// One record of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub what: String,
    pub user: Option<String>,
    pub status: u16,
    pub sent: u64,
    pub complete: bool,
    pub failure: Option<String>,
}

impl AccessLog for Journal {
    fn on(&self, access: &Access) {
        let line = Line {
            what: format!("{} {}", access.method, access.target),
            user: access.user.clone(),
            status: access.status,
            sent: access.sent,
            complete: access.complete,
            failure: access.failure.as_ref().map(ToString::to_string),
        };
        self.records.lock().unwrap().push(line);
        self.grown.notify_all();
    }
}

impl Journal {
    /// Waits for the record of a request.
    pub fn line(&self, what: &str) -> Line {
        let records = self.records.lock().unwrap();
        let absent = |records: &mut Vec<Line>| !records.iter().any(|line| line.what == what);
        let (records, late) = self.grown.wait_timeout_while(records, Duration::from_secs(60), absent).unwrap();
        assert!(!late.timed_out(), "{what} was never recorded: {records:?}");
        records.iter().find(|line| line.what == what).unwrap().clone()
    }
}

/// Puts a blob into a root and links it into a repository, whatever its bytes are.
pub fn plant_blob(root: &Path, repository: &str, digest: &Digest, bytes: &[u8]) {
    plant(root, &Entry::Data(*digest), bytes);
    plant(root, &Entry::Layer(repository.parse().unwrap(), *digest), digest.to_string().as_bytes());
}

/// Puts a manifest into a root, whatever its bytes are, and lets a tag point to it.
pub fn plant_manifest(root: &Path, repository: &str, tag: &str, digest: &Digest, bytes: &[u8]) {
    plant(root, &Entry::Data(*digest), bytes);
    plant(root, &Entry::Revision(repository.parse().unwrap(), *digest), digest.to_string().as_bytes());
    let tag = Entry::TagCurrent(repository.parse().unwrap(), tag.parse().unwrap());
    plant(root, &tag, digest.to_string().as_bytes());
}

pub fn plant(root: &Path, entry: &Entry, bytes: &[u8]) {
    let path = entry.under(root);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The code of a refusal in the specification's form.
#[track_caller]
pub fn code(response: &Response) -> String {
    let error = &response.json()["errors"][0];
    assert!(!error["message"].as_str().unwrap().is_empty());
    error["code"].as_str().unwrap().to_owned()
}
