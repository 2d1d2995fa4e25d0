//! Connections: many, slow, silent and cut off.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hod_oci::Digest;
use hod_serve::{Options, ServeError, Server, Shutdown};
use hod_store::Store;

use super::serving::{Serving, plant_blob};
use crate::support::raw;

/// A root with one blob that no socket buffer holds: its bytes, its path, and the folder.
fn large_blob() -> (Vec<u8>, String, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..32_u32 << 20).map(|position| (position % 253) as u8).collect();
    let digest = Digest::sha256(&bytes);
    plant_blob(root.path(), "a", &digest, &bytes);
    (bytes, format!("/v2/a/blobs/{digest}"), root)
}

/// Writes a request and does not wait for its answer.
fn send(stream: &mut TcpStream, method: &str, target: &str, connection: &str) {
    let text = format!("{method} {target} HTTP/1.1\r\nHost: registry\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
}

/// Asks for a blob and takes only the beginning of the answer.
fn begin(serving: &Serving, target: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(serving.address).unwrap();
    send(&mut stream, "GET", target, "keep-alive");
    let mut begun = vec![0; 1000];
    stream.read_exact(&mut begun).unwrap();
    (stream, begun)
}

#[test]
#[ignore = "takes long"]
fn many_clients_pull_one_blob_at_once() {
    let (bytes, target, root) = large_blob();
    let serving = Serving::root(root.path());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(serving.get(&target).body == bytes));
        }
    });
}

#[test]
fn a_connection_is_kept_and_used_again() {
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"brick");
    plant_blob(root.path(), "a", &digest, b"brick");
    let serving = Serving::root(root.path());
    let mut stream = TcpStream::connect(serving.address).unwrap();
    let target = format!("/v2/a/blobs/{digest}");
    send(&mut stream, "GET", &target, "keep-alive");
    send(&mut stream, "HEAD", &target, "keep-alive");
    send(&mut stream, "GET", &target, "close");
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(all.matches("brick").count(), 2);
}

#[test]
fn a_stop_lets_transfers_end() {
    let (bytes, target, root) = large_blob();
    let mut serving = Serving::root(root.path());
    let address = serving.address;
    let idle = TcpStream::connect(address).unwrap();
    let (mut stream, mut answer) = begin(&serving, &target);
    serving.stop();
    // The listener goes first; a connection that was accepted before may still be closed unanswered.
    while let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.write_all(b"GET /v2/ HTTP/1.1\r\n\r\n");
        let _ = stream.read(&mut [0; 1]);
    }
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&bytes));
    assert_eq!(serving.end(), Shutdown { cut: 0 });
    drop(idle);
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let (bytes, target, root) = large_blob();
    let mut serving = Serving::with(root.path(), |options| options.drain = Duration::from_millis(50));
    let (mut stream, mut answer) = begin(&serving, &target);
    serving.stop();
    let journal = std::sync::Arc::clone(&serving.journal);
    assert_eq!(serving.end(), Shutdown { cut: 1 });
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < bytes.len());
    assert!(!journal.line(&format!("GET {target}")).complete);
}

#[test]
fn who_takes_nothing_is_cut_off() {
    let (_, target, root) = large_blob();
    let serving = Serving::with(root.path(), |options| options.stall = Duration::from_millis(50));
    let (stream, _) = begin(&serving, &target);
    let line = serving.journal.line(&format!("GET {target}"));
    assert!(!line.complete && line.failure.is_none(), "{line:?}");
    drop(stream);
}

#[test]
fn who_says_nothing_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::with(root.path(), |options| options.idle = Duration::from_millis(50));
    for text in ["", "GET /v2/ HTTP/1.1\r\nHost: regi"] {
        assert_eq!(said_until_the_end(&serving, text), "");
    }
    let serving = Serving::with(root.path(), |options| options.idle = Duration::from_secs(2));
    let answer = said_until_the_end(&serving, "GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// What the server says to a text before it closes the connection of its own accord.
fn said_until_the_end(serving: &Serving, text: &str) -> String {
    let mut stream = TcpStream::connect(serving.address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn heads_have_a_limit() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::root(root.path());
    let token = "x".repeat(16 * 1024);
    assert_eq!(serving.request("GET", "/v2/", &[("Authorization", &token)]).status, 200);
    let token = "x".repeat(40 * 1024);
    assert_eq!(serving.request("GET", "/v2/", &[("Authorization", &token)]).status, 431);
}

#[test]
fn more_connections_than_allowed_have_to_wait() {
    let (_, target, root) = large_blob();
    let serving = Serving::with(root.path(), |options| options.connections = 1);
    let (first, _) = begin(&serving, &target);
    let mut second = TcpStream::connect(serving.address).unwrap();
    send(&mut second, "GET", "/v2/", "close");
    second.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(second.read(&mut [0; 1]).is_err(), "the second connection was answered beside the first");
    drop(first);
    second.set_read_timeout(None).unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn several_addresses_are_listened_on() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::with(root.path(), |options| {
        options.listen = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()];
    });
    assert_eq!(serving.addresses.len(), 2);
    for address in &serving.addresses {
        assert_eq!(raw::Request::get("/v2/").send(&address.to_string()).status, 200);
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(Store::create(root.path()).unwrap());
    let bind = |listen: Vec<SocketAddr>| {
        let options = Options { listen, ..Options::default() };
        Server::bind(store.clone(), options)
    };
    let error = bind(vec![address]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    assert!(std::error::Error::source(&error).is_some());
    assert!(matches!(bind(Vec::new()).await.unwrap_err(), ServeError::NoAddress));
}
