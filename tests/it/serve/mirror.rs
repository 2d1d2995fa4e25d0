//! Mirrors: an image is found under the name that a client has for it; and what is counted on the way.

use fs_err as fs;
use hod_serve::Options;
use hod_store::Entry;
use serde_json::json;

use super::push::push_image;
use super::serving::{Serving, code};
use super::{busybox_layer, stored};
use crate::support::fixtures;

/// A store with images under names of every style, served for reading.
fn mirror() -> (Serving, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let writer = Serving::writable(root.path());
    for (name, config) in [
        ("alpine", &b"1"[..]),
        ("library/busybox", b"2"),
        ("docker.io/library/nginx", b"3"),
        ("quay.io/coreos/etcd", b"4"),
        ("coreos/etcd", b"5"),
        ("host-5000/tool", b"6"),
    ] {
        push_image(&writer, name, "1", config, &json!({}));
    }
    drop(writer);
    (Serving::root(root.path()), root)
}

#[test]
fn containerd_finds_images_under_any_style_of_name() {
    let (serving, _root) = mirror();
    for (name, host, stored) in [
        ("library/alpine", "docker.io", "alpine"),
        ("library/busybox", "docker.io", "library/busybox"),
        ("library/nginx", "docker.io", "docker.io/library/nginx"),
        ("coreos/etcd", "quay.io", "quay.io/coreos/etcd"),
        ("coreos/etcd", "ghcr.io", "coreos/etcd"),
        ("tool", "host%3A5000", "host-5000/tool"),
        ("busybox", "", "library/busybox"),
        ("library/alpine", "", "alpine"),
    ] {
        let own = serving.get(&format!("/v2/{stored}/manifests/1"));
        assert_eq!(own.status, 200, "{stored}");
        let query = if host.is_empty() { String::new() } else { format!("?ns={host}") };
        let config = own.json()["config"]["digest"].as_str().unwrap().to_owned();
        let digest = own.header("docker-content-digest").to_owned();
        for version in ["1", &digest] {
            let found = serving.get(&format!("/v2/{name}/manifests/{version}{query}"));
            assert_eq!((found.status, &found.body), (200, &own.body), "{name} of {host}");
        }
        assert_eq!(serving.get(&format!("/v2/{name}/blobs/{config}{query}")).status, 200, "{name} of {host}");
        let range = serving.request("GET", &format!("/v2/{name}/blobs/{config}{query}"), &[("Range", "bytes=0-0")]);
        assert_eq!(range.status, 206);
    }
    let none = serving.get("/v2/library/none/manifests/1?ns=docker.io");
    assert_eq!((none.status, &*code(&none)), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(serving.get("/v2/library/tool/manifests/1?ns=quay.io").status, 404);
    assert_eq!(serving.get("/v2/library/alpine/tags/list?ns=docker.io").json()["tags"], json!(["1"]));
}

#[test]
fn where_images_are_pushed_one_name_is_one_repository() {
    let (_, root) = mirror();
    let serving = Serving::writable(root.path());
    assert_eq!(serving.get("/v2/library/alpine/manifests/1").status, 404);
    assert_eq!(serving.get("/v2/library/alpine/manifests/1?ns=docker.io").status, 200);
}

#[test]
fn metrics_count_what_was_answered() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::writable(root.path());
    let digest = serving.push_blob("a", b"brick");
    serving.send("POST", "/v2/a/blobs/uploads/", &[], b"");
    serving.get(&format!("/v2/a/blobs/{digest}"));
    serving.get("/v2/a/manifests/none");
    for what in [format!("GET /v2/a/blobs/{digest}"), "GET /v2/a/manifests/none".to_owned()] {
        serving.journal.line(&what);
    }
    let response = serving.get("/metrics");
    assert_eq!((response.status, response.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(response.body).unwrap();
    for line in [
        "hod_http_requests_total{method=\"GET\",status=\"2xx\"} 1",
        "hod_http_requests_total{method=\"GET\",status=\"4xx\"} 1",
        "hod_http_requests_total{method=\"POST\",status=\"2xx\"} 2",
        "hod_http_received_bytes_total 5",
        "hod_connections_total 5",
        "hod_uploads 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[test]
fn a_blob_is_hashed_once_until_its_file_changes() {
    let root = fixtures::copy();
    let serving = Serving::root(root.path());
    let digest = busybox_layer();
    let hashed = || -> u64 {
        let text = String::from_utf8(serving.get("/metrics").body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("hod_http_hashed_bytes_total "));
        line.unwrap().parse().unwrap()
    };
    let target = format!("/v2/base/busybox/blobs/{digest}");
    // The copy has just been made, and is hashed until it is old enough to be sure of.
    let mut before = hashed();
    loop {
        assert_eq!(serving.get(&target).body, stored(&digest));
        let now = hashed();
        if now == before {
            break;
        }
        before = now;
    }
    let path = Entry::Data(digest).under(root.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = serving.get(&target);
    assert!(damaged.status == 500 || damaged.body.len() < stored(&digest).len());
}

#[test]
fn a_socket_that_listens_already_is_served() {
    let root = tempfile::tempdir().unwrap();
    let socket = std::sync::Arc::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = socket.local_addr().unwrap();
    let serving = Serving::with(root.path(), |options| {
        *options =
            Options { listen: Vec::new(), sockets: vec![socket], log: options.log.clone(), ..Options::default() };
    });
    assert_eq!(serving.addresses, [address]);
    assert_eq!(serving.get("/v2/").status, 200);
}
