//! Clients that mean harm: what one address can take of a server, and that the others get theirs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use fs_err as fs;
use hod_oci::Digest;
use hod_serve::{Admission, Tls};

use super::command::Served;
use super::serving::{Serving, plant_blob};
use crate::support::raw::Request;
use crate::support::tls::Certificates;

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(3600);
/// An attacker's address; the tests' own is 127.0.0.1.
const ATTACKER: [u8; 4] = [127, 0, 0, 2];

/// A connection from another address of loopback.
fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

fn send(to: SocketAddr, text: &str) -> TcpStream {
    let mut stream = connect(ATTACKER, to);
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

/// A root with users who have a password each: the name backwards.
fn guarded(adjust: impl FnOnce(&mut hod_serve::Options)) -> (Serving, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, format!("ann:{}\n", bcrypt::hash("nna", 4).unwrap())).unwrap();
    let serving = Serving::with(&folder.path().join("root"), |options| {
        options.writable = true;
        options.admission = Admission { writers: Some(users), ..Admission::default() };
        adjust(options);
    });
    (serving, folder)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn busy_connections_of_one_address_leave_room_for_others() {
    let root = tempfile::tempdir().unwrap();
    let bytes = vec![1; 32 << 20];
    let digest = Digest::sha256(&bytes);
    plant_blob(root.path(), "a", &digest, &bytes);
    let serving = Serving::with(root.path(), |options| (options.connections, options.stall) = (4, LONG));
    let request = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut greedy: Vec<TcpStream> = (0..4).map(|_| send(serving.address, &request)).collect();
    assert_eq!(serving.get("/v2/").status, 200);
    // Those that wait are not lost.
    let last = greedy.pop().unwrap();
    drop(greedy);
    let mut answer = Vec::new();
    (&last).read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&bytes));
}

#[test]
fn idle_connections_make_room() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::with(root.path(), |options| {
        (options.connections, options.connections_per_address) = (3, Some(3));
        (options.idle, options.greeting) = (LONG, LONG);
    });
    let again = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/ HTTP/1.1\r\nHo";
    let idle = ["", "GET /v2/ HTTP/1.1\r\nHo", again].map(|text| send(serving.address, text));
    for _ in 0..3 {
        assert_eq!(serving.get("/v2/").status, 200);
    }
    drop(idle);
    // So they do where an address has its share.
    let serving = Serving::with(root.path(), |options| {
        (options.connections, options.connections_per_address) = (100, Some(1));
        (options.idle, options.greeting) = (LONG, LONG);
    });
    let idle = send(serving.address, "GET /v2/ HTTP/1.1\r\nHo");
    let asking = send(serving.address, "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(rest(asking).starts_with("HTTP/1.1 200"));
    assert_eq!(rest(idle), "");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_handshake_that_never_ends_makes_room() {
    let root = tempfile::tempdir().unwrap();
    let certificates = Certificates::new();
    let serving = Serving::with(root.path(), |options| {
        options.tls =
            Some(Tls::Files { certificate: certificates.server_certificate(), key: certificates.server_key() });
        (options.connections, options.idle, options.greeting) = (1, LONG, LONG);
    });
    let _silent = send(serving.address, "");
    let curl = Command::new("curl")
        .args(["-sSf", "--max-time", "60", "--cacert"])
        .arg(certificates.authority())
        .arg(format!("https://{}/v2/", serving.address))
        .output()
        .unwrap();
    assert!(curl.status.success(), "{curl:?}");
}

#[test]
fn who_asks_for_nothing_that_it_may_is_cut_off() {
    let (serving, _folder) = guarded(|options| (options.idle, options.greeting) = (LONG, Duration::from_millis(50)));
    for text in ["", "GET /v2/ HTTP/1.1\r\nHost: regi"] {
        assert_eq!(rest(send(serving.address, text)), "", "{text:?}");
    }
    let (serving, _folder) = guarded(|options| (options.idle, options.greeting) = (LONG, Duration::from_secs(2)));
    let refused = rest(send(serving.address, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
}

#[test]
fn a_body_without_credentials_is_not_waited_for() {
    let (serving, _folder) = guarded(|options| options.stall = LONG);
    let head = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n";
    let (silent, asking) =
        (send(serving.address, &format!("{head}\r\n")), format!("{head}Expect: 100-continue\r\n\r\n"));
    let asked = rest(send(serving.address, &asking));
    assert!(asked.starts_with("HTTP/1.1 401"), "{asked}");
    let refused = rest(silent);
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
}

#[test]
fn guesses_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    // A password of this cost takes days to check.
    let endless = format!("$2y$31${}", &bcrypt::hash("x", 4).unwrap()[7..]);
    let lines = ["ann", "bob"].map(|name| format!("{name}:{}\n", bcrypt::hash(name, 4).unwrap())).concat();
    fs::write(&users, format!("{lines}slow:{endless}\n")).unwrap();
    let served = Served::start([folder.path(), "--writable".as_ref(), "--htpasswd".as_ref(), &users]);
    let log_in =
        |user: &str| Request::get("/v2/").header("Authorization", &basic(user, user)).send(&served.host).status;
    assert_eq!(log_in("ann"), 200);

    let (sender, refused) = mpsc::channel();
    for number in 0..66 {
        let request = format!(
            "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
            basic("slow", &number.to_string())
        );
        let stream = send(served.host.parse().unwrap(), &request);
        let sender = sender.clone();
        std::thread::spawn(move || sender.send(rest(stream)));
    }
    for _ in 0..2 {
        let answer = refused.recv_timeout(Duration::from_secs(60)).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 429") && answer.contains("\r\nretry-after: "), "{answer}");
    }
    // All the others of that address wait, now and until the end.
    assert_eq!(log_in("ann"), 200, "she is known");
    assert_eq!(log_in("bob"), 200, "he comes from another address");
}

#[test]
fn heads_of_many_lines_are_refused() {
    let (serving, _folder) = guarded(|_| {});
    let lines = "X: y\r\n".repeat(500);
    let answer = rest(send(serving.address, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{lines}\r\n")));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let ranges = "1-1,".repeat(3000);
    let target = format!("/v2/a/blobs/{}", serving_blob(&serving));
    let headers = [("Authorization", &*basic("ann", "nna")), ("Range", &format!("bytes={ranges}9000-"))];
    let answer = serving.request("GET", &target, &headers);
    assert_eq!((answer.status, &*answer.body), (200, &b"brick"[..]), "many ranges are the whole, once");
}

fn serving_blob(serving: &Serving) -> Digest {
    let digest = Digest::sha256(b"brick");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    let pushed = serving.send("POST", &target, &[("Authorization", &basic("ann", "nna"))], b"brick");
    assert_eq!(pushed.status, 201);
    digest
}
