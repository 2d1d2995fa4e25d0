//! A server is killed while clients push to it, again and again; what is visible is whole each time.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use hod_oci::Digest;
use hod_serve::{Options, Server};
use hod_store::Store;
use serde_json::json;

use super::push::{MANIFEST, image};
use crate::store::assert_sound;
use crate::support::raw::Request;

/// Where the killed process finds its root.
const ROOT: &str = "HOD_TEST_SERVED_ROOT";

/// The process to be killed: this test, run by the next one. By itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn server() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let store = Arc::new(Store::create(root.as_ref()).unwrap());
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let server = Server::bind(store, Options { listen, writable: true, ..Options::default() }).await.unwrap();
    println!("\nlistening {}", server.addresses()[0]);
    server.run(std::future::pending()).await;
}

/// Pushes images until the server is gone; says how many were answered well.
fn push_until_the_end(host: &str, client: usize) -> usize {
    (0..1000)
        .take_while(|number| {
            let config = vec![u8::try_from(number % 250).unwrap(); 1 + (client * 7919 + number * 104_729) % 2_000_000];
            let digest = Digest::sha256(&config);
            let upload = Request::new("POST", &format!("/v2/a{client}/blobs/uploads/?digest={digest}")).body(&*config);
            let manifest = image(&config, &json!({ "annotations": { "n": number.to_string() } }));
            let target = format!("/v2/a{client}/manifests/{number}");
            let push = Request::new("PUT", &target).header("Content-Type", MANIFEST).body(manifest);
            [upload, push].into_iter().all(|request| request.status(host) == Some(201))
        })
        .count()
}

#[test]
fn a_kill_while_clients_push_leaves_nothing_half() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..6_usize {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "serve::kill::server", "--nocapture"]).env(ROOT, root.path());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let host = lines.find_map(|line| line.strip_prefix("listening ").map(str::to_owned)).unwrap();
        let answered: usize = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|client| {
                    let host = &host;
                    scope.spawn(move || push_until_the_end(host, client))
                })
                .collect();
            // The moment is one of many: when the root holds so many tags more, and mid-way to the next.
            let store = Store::open(root.path()).unwrap();
            let tags =
                || -> usize { store.repositories().unwrap().iter().map(|name| store.tags(name).unwrap().len()).sum() };
            let enough = tags() + round;
            while tags() < enough {
                std::thread::yield_now();
            }
            process.kill().unwrap();
            process.wait().unwrap();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        assert_sound(root.path());
        let store = Store::open(root.path()).unwrap();
        let tags: usize = store.repositories().unwrap().iter().map(|name| store.tags(name).unwrap().len()).sum();
        assert!(tags >= answered, "{answered} pushes were answered well, and {tags} tags are there");
    }
    drop(Store::create(root.path()).unwrap());
    let left = walkdir::WalkDir::new(root.path().join(".hod/staged"))
        .into_iter()
        .filter(|entry| entry.as_ref().unwrap().file_type().is_file());
    assert_eq!(left.count(), 0);
}
