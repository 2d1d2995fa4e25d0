//! The push workflow of distribution-spec 1.1, a test per requirement, and what pushes leave on disk.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use fs_err as fs;
use hod_oci::{Algorithm, Digest};
use hod_store::{Entry, Store};
use serde_json::{Value, json};

use super::serving::{Serving, code};
use crate::support::raw::Response;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An empty root that is served for writing.
pub fn registry() -> (Serving, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    (Serving::writable(root.path()), root)
}

/// A manifest whose only content is a config, with more fields.
pub fn image(config: &[u8], more: &Value) -> Vec<u8> {
    let descriptor = json!({ "mediaType": CONFIG, "digest": Digest::sha256(config), "size": config.len() });
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": [] });
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    manifest.to_string().into_bytes()
}

/// Pushes an image with a config of its own.
#[track_caller]
pub fn push_image(serving: &Serving, repository: &str, tag: &str, config: &[u8], more: &Value) -> Digest {
    serving.push_blob(repository, config);
    let manifest = image(config, more);
    let response = serving.push_manifest(repository, tag, MANIFEST, &manifest);
    assert_eq!(response.status, 201, "{response:?}");
    Digest::sha256(&manifest)
}

/// Opens an upload and returns its place.
#[track_caller]
fn begin(serving: &Serving, repository: &str) -> String {
    let response = serving.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
    assert_eq!(response.status, 202);
    assert_eq!((response.header("range"), response.header("content-length")), ("0-0", "0"));
    let place = response.header("location").to_owned();
    assert!(place.starts_with(&format!("/v2/{repository}/blobs/uploads/")), "{place}");
    assert!(place.ends_with(response.header("docker-upload-uuid")));
    place
}

#[track_caller]
fn is_created(response: &Response, location: &str, digest: &Digest) {
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(response.header("location"), location);
    assert_eq!(response.header("docker-content-digest"), digest.to_string());
}

#[track_caller]
fn is_refused(response: &Response, status: u16, expected: &str) {
    assert_eq!((response.status, &*code(response)), (status, expected), "{response:?}");
}

/// The files below hod's own folder, except for the lock.
fn unfinished(root: &Path) -> usize {
    let entries = walkdir::WalkDir::new(root.join(".hod")).into_iter().map(Result::unwrap);
    let stays = |name: &str| matches!(name, "lock" | "referrers") || name.starts_with("hashed-");
    entries.filter(|entry| entry.file_type().is_file() && !stays(&entry.file_name().to_string_lossy())).count()
}

#[test]
fn a_blob_is_pushed_with_post_then_put() {
    let (serving, root) = registry();
    for content in [b"brick".to_vec(), Vec::new(), vec![3; 5 << 20]] {
        let digest = Digest::sha256(&content);
        let put = serving.send("PUT", &format!("{}?digest={digest}", begin(&serving, "a/b")), &[], &content);
        is_created(&put, &format!("/v2/a/b/blobs/{digest}"), &digest);
        assert!(serving.get(put.header("location")).body == content);
        let link = Entry::Layer("a/b".parse().unwrap(), digest).under(root.path());
        assert_eq!(fs::read_to_string(link).unwrap(), digest.to_string());
    }
    assert_eq!(unfinished(root.path()), 0);
}

#[test]
fn a_blob_is_pushed_in_a_single_post() {
    let (serving, _root) = registry();
    let digest = Digest::sha256(b"brick");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    is_created(&serving.send("POST", &target, &[], b"brick"), &format!("/v2/a/blobs/{digest}"), &digest);
    assert_eq!(serving.get(&format!("/v2/a/blobs/{digest}")).body, b"brick");
}

#[test]
fn a_blob_is_pushed_in_chunks() {
    let (serving, _root) = registry();
    let place = begin(&serving, "a");
    let first = serving.send("PATCH", &place, &[("Content-Range", "0-3")], b"abcd");
    assert_eq!((first.status, first.header("range"), first.header("location")), (202, "0-3", &*place));
    let second = serving.send("PATCH", first.header("location"), &[("Content-Range", "4-5")], b"ef");
    assert_eq!((second.status, second.header("range")), (202, "0-5"));
    let digest = Digest::sha256(b"abcdefg");
    let last = serving.send("PUT", &format!("{place}?digest={digest}"), &[("Content-Range", "6-6")], b"g");
    is_created(&last, &format!("/v2/a/blobs/{digest}"), &digest);
    assert_eq!(serving.get(&format!("/v2/a/blobs/{digest}")).body, b"abcdefg");
    is_refused(&serving.send("PATCH", &place, &[], b"more"), 404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_blob_is_pushed_as_a_stream_and_ended_with_an_empty_put() {
    let (serving, _root) = registry();
    let place = begin(&serving, "a");
    let mut stream = TcpStream::connect(serving.address).unwrap();
    let head = format!("PATCH {place} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"3\r\nbri\r\n2\r\nck\r\n0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let digest = Digest::sha256(b"brick");
    let put = serving.send("PUT", &format!("{place}?digest={digest}"), &[], b"");
    is_created(&put, &format!("/v2/a/blobs/{digest}"), &digest);
}

#[test]
fn a_chunk_out_of_order_is_416_and_the_upload_goes_on() {
    let (serving, _root) = registry();
    let place = begin(&serving, "a");
    is_refused(&serving.send("PATCH", &place, &[("Content-Range", "3-5")], b"def"), 416, "BLOB_UPLOAD_INVALID");
    assert_eq!(serving.send("PATCH", &place, &[("Content-Range", "0-2")], b"abc").status, 202);
    for range in ["0-2", "2-4", "9-11", "x-y", "5-3"] {
        let refused = serving.send("PATCH", &place, &[("Content-Range", range)], b"def");
        is_refused(&refused, 416, "BLOB_UPLOAD_INVALID");
        assert_eq!((refused.header("range"), refused.header("location")), ("0-2", &*place));
    }
    let digest = Digest::sha256(b"abcdef");
    let target = format!("{place}?digest={digest}");
    is_refused(&serving.send("PUT", &target, &[("Content-Range", "4-6")], b"def"), 416, "BLOB_UPLOAD_INVALID");
    is_refused(&serving.send("PATCH", &place, &[("Content-Range", "3-9")], b"def"), 400, "SIZE_INVALID");
    let status = serving.get(&place);
    assert_eq!((status.status, status.header("range"), status.header("location")), (204, "0-2", &*place));
    assert_eq!(serving.send("PUT", &target, &[("Content-Range", "3-5")], b"def").status, 201);
}

#[test]
fn an_upload_that_broke_off_goes_on_where_it_was() {
    let (serving, _root) = registry();
    let place = begin(&serving, "a");
    let content = vec![5; 1 << 20];
    let mut stream = TcpStream::connect(serving.address).unwrap();
    let head = format!("PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&content[..1000]).unwrap();
    drop(stream);
    let line = serving.journal.line(&format!("PATCH {place}"));
    assert!(!line.complete || line.status == 400, "{line:?}");
    let status = serving.get(&place);
    let range = status.header("range").to_owned();
    let come: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
    let come = if come == 0 { 0 } else { come + 1 };
    assert!(come <= 1000);
    let digest = Digest::sha256(&content);
    let rest = format!("{come}-{}", content.len() - 1);
    let put = serving.send("PUT", &format!("{place}?digest={digest}"), &[("Content-Range", &rest)], &content[come..]);
    is_created(&put, &format!("/v2/a/blobs/{digest}"), &digest);
}

#[test]
fn an_upload_is_cancelled_with_delete() {
    let (serving, root) = registry();
    let place = begin(&serving, "a");
    serving.send("PATCH", &place, &[], b"brick");
    assert_eq!(unfinished(root.path()), 1);
    assert_eq!(serving.send("DELETE", &place, &[], b"").status, 204);
    assert_eq!(unfinished(root.path()), 0);
    for method in ["GET", "PATCH", "PUT", "DELETE"] {
        is_refused(&serving.send(method, &place, &[], b""), 404, "BLOB_UPLOAD_UNKNOWN");
    }
}

#[test]
fn a_wrong_digest_is_refused_and_nothing_stays() {
    let (serving, root) = registry();
    let other = Digest::sha256(b"other");
    let target = format!("{}?digest={other}", begin(&serving, "a"));
    is_refused(&serving.send("PUT", &target, &[], b"brick"), 400, "DIGEST_INVALID");
    is_refused(
        &serving.send("POST", &format!("/v2/a/blobs/uploads/?digest={other}"), &[], b"brick"),
        400,
        "DIGEST_INVALID",
    );
    for digest in ["", "?digest=sha256:abc", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let target = format!("{}{digest}", begin(&serving, "b"));
        is_refused(&serving.send("PUT", &target, &[], b"brick"), 400, "DIGEST_INVALID");
    }
    assert_eq!(serving.get(&format!("/v2/a/blobs/{other}")).status, 404);
    assert_eq!(serving.get("/v2/_catalog").json(), json!({ "repositories": [] }));
    drop(serving);
    drop(Store::create(root.path()).unwrap());
}

#[test]
fn an_upload_belongs_to_its_repository() {
    let (serving, _root) = registry();
    let place = begin(&serving, "a").replace("/v2/a/", "/v2/b/");
    is_refused(&serving.get(&place), 404, "BLOB_UPLOAD_UNKNOWN");
    is_refused(&serving.get("/v2/a/blobs/uploads/..%2f..%2flock"), 404, "UNSUPPORTED");
    is_refused(&serving.get("/v2/a/blobs/uploads/none"), 404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_blob_is_mounted_from_another_repository() {
    let (serving, root) = registry();
    let digest = serving.push_blob("a/b", b"brick");
    let mount = |query: &str| serving.send("POST", &format!("/v2/c/blobs/uploads/?{query}"), &[], b"");
    for query in [format!("mount={digest}&from=none"), format!("mount={digest}&from=UPPER%2F..")] {
        let response = mount(&query);
        let expected = if query.contains("UPPER") { 201 } else { 202 };
        assert_eq!(response.status, expected, "{query}");
    }
    assert_eq!(mount(&format!("mount={}&from=a/b", Digest::sha256(b"none"))).status, 202);
    is_created(&mount(&format!("mount={digest}&from=a/b")), &format!("/v2/c/blobs/{digest}"), &digest);
    assert_eq!(serving.get(&format!("/v2/c/blobs/{digest}")).body, b"brick");
    assert!(Entry::Layer("c".parse().unwrap(), digest).under(root.path()).exists());
}

#[test]
fn a_blob_is_mounted_without_from() {
    let (serving, _root) = registry();
    let digest = serving.push_blob("a/b", b"brick");
    let mount = |digest: &Digest| serving.send("POST", &format!("/v2/c/blobs/uploads/?mount={digest}"), &[], b"");
    is_created(&mount(&digest), &format!("/v2/c/blobs/{digest}"), &digest);
    assert_eq!(mount(&Digest::sha256(b"none")).status, 202);
}

#[test]
fn a_manifest_is_pushed_by_tag_and_by_digest() {
    let (serving, root) = registry();
    let digest = push_image(&serving, "a/b", "1.0", b"{}", &json!({}));
    let bytes = image(b"{}", &json!({}));
    let by_digest = serving.push_manifest("a/b", &digest.to_string(), MANIFEST, &bytes);
    is_created(&by_digest, &format!("/v2/a/b/manifests/{digest}"), &digest);
    for version in ["1.0".to_owned(), digest.to_string()] {
        let get = serving.get(&format!("/v2/a/b/manifests/{version}"));
        assert_eq!((get.body, get.status), (bytes.clone(), 200));
    }
    let (name, tag) = ("a/b".parse::<hod_oci::RepositoryName>().unwrap(), "1.0".parse::<hod_oci::Tag>().unwrap());
    for entry in [
        Entry::Revision(name.clone(), digest),
        Entry::TagIndex(name.clone(), tag.clone(), digest),
        Entry::TagCurrent(name, tag),
    ] {
        assert_eq!(fs::read_to_string(entry.under(root.path())).unwrap(), digest.to_string());
    }
    let other = Digest::sha256(b"other").to_string();
    is_refused(&serving.push_manifest("a/b", &other, MANIFEST, &bytes), 400, "DIGEST_INVALID");
    // Without a type the bytes say what they are.
    assert_eq!(serving.push_manifest("a/b", "2", "", &bytes).status, 201);
}

#[test]
fn a_tag_moves_to_what_was_pushed_last() {
    let (serving, _root) = registry();
    let first = push_image(&serving, "a", "1", b"{}", &json!({}));
    let second = push_image(&serving, "a", "1", b"{ }", &json!({}));
    let get = serving.get("/v2/a/manifests/1");
    assert_eq!(get.header("docker-content-digest"), second.to_string());
    assert_eq!(serving.get(&format!("/v2/a/manifests/{first}")).status, 200);
}

#[test]
fn a_manifest_needs_its_blobs_and_children_in_the_same_repository() {
    let (serving, _root) = registry();
    let bytes = image(b"{}", &json!({}));
    is_refused(&serving.push_manifest("a", "1", MANIFEST, &bytes), 400, "MANIFEST_BLOB_UNKNOWN");
    serving.push_blob("elsewhere", b"{}");
    is_refused(&serving.push_manifest("a", "1", MANIFEST, &bytes), 400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(serving.get("/v2/a/manifests/1").status, 404);

    let child = push_image(&serving, "elsewhere", "1", b"{}", &json!({}));
    let index = |digest: Digest| {
        let child = json!({ "mediaType": MANIFEST, "digest": digest, "size": bytes.len() });
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] }).to_string().into_bytes()
    };
    is_refused(&serving.push_manifest("a", "i", INDEX, &index(child)), 400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(serving.push_manifest("elsewhere", "i", INDEX, &index(child)).status, 201);

    let root = tempfile::tempdir().unwrap();
    let sparse = Serving::with(root.path(), |options| (options.writable, options.sparse) = (true, true));
    assert_eq!(sparse.push_manifest("a", "i", INDEX, &index(child)).status, 201);
}

#[test]
fn a_manifest_that_could_not_be_pulled_is_refused() {
    let (serving, _root) = registry();
    serving.push_blob("a", b"{}");
    let wrong_size = String::from_utf8(image(b"{}", &json!({}))).unwrap().replace("\"size\":2", "\"size\":3");
    is_refused(&serving.push_manifest("a", "1", MANIFEST, wrong_size.as_bytes()), 400, "SIZE_INVALID");
    for text in [
        "",
        "{",
        "[]",
        "{\"schemaVersion\":1}",
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\"}",
    ] {
        is_refused(&serving.push_manifest("a", "1", "", text.as_bytes()), 400, "MANIFEST_INVALID");
    }
    is_refused(&serving.push_manifest("a", "1", INDEX, &image(b"{}", &json!({}))), 400, "MANIFEST_INVALID");
    let large = vec![b' '; (4 << 20) + 1];
    is_refused(&serving.push_manifest("a", "1", MANIFEST, &large), 413, "MANIFEST_INVALID");
    assert_eq!(serving.push_manifest("a", ".bad", MANIFEST, b"{}").status, 404);
    assert_eq!(serving.get("/v2/a/tags/list").json()["tags"], json!([]));
}

#[test]
fn a_foreign_layer_may_lie_elsewhere() {
    let (serving, _root) = registry();
    let layer = |urls: Value| {
        let media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        json!({ "layers": [{ "mediaType": media_type, "size": 9, "digest": Digest::sha256(b"far away"), "urls": urls }] })
    };
    serving.push_blob("a", b"{}");
    let push = |urls| serving.push_manifest("a", "1", MANIFEST, &image(b"{}", &layer(urls)));
    is_refused(&push(json!([])), 400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(push(json!(["https://example.com/layer"])).status, 201);
}

#[test]
fn sha512_is_pushed_as_well() {
    let (serving, root) = registry();
    let digest = Digest::of(Algorithm::Sha512, b"brick");
    let put = serving.send("PUT", &format!("{}?digest={digest}", begin(&serving, "a")), &[], b"brick");
    is_created(&put, &format!("/v2/a/blobs/{digest}"), &digest);
    assert!(Entry::Data(digest).under(root.path()).exists());
    serving.push_blob("a", b"{}");
    let bytes = image(b"{}", &json!({}));
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    assert_eq!(serving.push_manifest("a", &digest.to_string(), MANIFEST, &bytes).status, 201);
    assert_eq!(serving.get(&format!("/v2/a/manifests/{digest}")).body, bytes);
}

#[test]
fn uploads_have_a_limit_and_an_end() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::with(root.path(), |options| (options.writable, options.uploads) = (true, 4));
    let places = [begin(&serving, "a"), begin(&serving, "a")];
    let third = serving.send("POST", "/v2/a/blobs/uploads/", &[], b"");
    is_refused(&third, 429, "TOOMANYREQUESTS");
    assert_ne!(third.header("retry-after"), "");
    serving.send("DELETE", &places[0], &[], b"");
    begin(&serving, "a");

    let serving = Serving::with(root.path(), |options| {
        (options.writable, options.upload_idle) = (true, std::time::Duration::ZERO);
    });
    let first = begin(&serving, "a");
    begin(&serving, "a");
    is_refused(&serving.get(&first), 404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn who_sends_nothing_of_a_body_is_given_up() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::with(root.path(), |options| {
        (options.writable, options.stall) = (true, std::time::Duration::from_millis(50));
    });
    let place = begin(&serving, "a");
    let mut stream = TcpStream::connect(serving.address).unwrap();
    stream.write_all(format!("PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbri").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(serving.get(&place).header("range"), "0-2");
}

#[test]
fn the_same_blob_from_many_clients_is_one() {
    let (serving, root) = registry();
    let content = vec![9; 3 << 20];
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (serving, content) = (&serving, &content);
            scope.spawn(move || {
                serving.push_blob(&format!("a/{}", client % 3), content);
                push_image(serving, &format!("b/{client}"), "1", b"{}", &json!({}));
            });
        }
    });
    assert_eq!(unfinished(root.path()), 0);
    assert_eq!(serving.get("/v2/_catalog").json()["repositories"].as_array().unwrap().len(), 11);
}

#[test]
fn what_cannot_be_written_to_is_not_served_for_writing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join(hod_store::layout::REGISTRY)).unwrap();
    let store = std::sync::Arc::new(Store::open(root.path()).unwrap());
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let options = hod_serve::Options { listen, writable: true, ..Default::default() };
    let error = runtime.block_on(hod_serve::Server::bind(store, options)).unwrap_err();
    assert!(matches!(error, hod_serve::ServeError::NoStore), "{error}");
}
