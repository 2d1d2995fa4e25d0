//! What the requirements ask with, and what they find.

use std::cell::OnceCell;

use hod_oci::Digest;
use serde_json::{Value, json};

use super::super::push::MANIFEST;
use super::{BLOB, CONFIG, LAYER, NAME};
use crate::support::raw::{Request, Response};

pub(super) fn ask(host: &str, method: &'static str, path: &str) -> Response {
    Request::new(method, &format!("/v2/{path}")).send(host)
}

pub(super) fn send(host: &str, method: &'static str, path: &str, kind: &str, body: &[u8]) -> Response {
    Request::new(method, &format!("/v2/{path}")).header("Content-Type", kind).body(body).send(host)
}

#[track_caller]
pub(super) fn is(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
}

/// The place that an answer names, as a path below `/v2/`.
#[track_caller]
pub(super) fn place(response: &Response) -> String {
    let location = response.header("location");
    location.split_once("/v2/").unwrap_or_else(|| panic!("no place: {response:?}")).1.to_owned()
}

pub(super) fn with_digest(place: &str, content: &[u8]) -> String {
    let sign = if place.contains('?') { '&' } else { '?' };
    format!("{place}{sign}digest={}", Digest::sha256(content))
}

#[track_caller]
pub(super) fn push_blob(host: &str, name: &str, content: &[u8]) -> Value {
    let begun = ask(host, "POST", &format!("{name}/blobs/uploads/"));
    is(&begun, 202);
    let put = send(host, "PUT", &with_digest(&place(&begun), content), "application/octet-stream", content);
    is(&put, 201);
    json!({ "digest": Digest::sha256(content), "size": content.len() })
}

pub(super) fn typed(mut descriptor: Value, kind: &str) -> Value {
    descriptor["mediaType"] = kind.into();
    descriptor
}

/// Pushes what a manifest with a config of its own needs, and returns its bytes.
pub(super) fn manifest(host: &str, seed: &str, more: &Value) -> Vec<u8> {
    let config = json!({ "os": "linux", "architecture": "amd64", "author": seed }).to_string();
    let config = typed(push_blob(host, NAME, config.as_bytes()), CONFIG);
    let layer = typed(push_blob(host, NAME, BLOB), LAYER);
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    manifest.to_string().into_bytes()
}

#[track_caller]
pub(super) fn push_manifest(host: &str, version: &str, content: &[u8]) -> Response {
    let put = send(host, "PUT", &format!("{NAME}/manifests/{version}"), MANIFEST, content);
    is(&put, 201);
    put
}

/// What the requirements that only read find: two manifests, four tags, and three referrers of the first manifest.
pub(super) struct Sample {
    pub(super) first: Vec<u8>,
    pub(super) second: Vec<u8>,
}

thread_local!(static SAMPLE: OnceCell<Sample> = const { OnceCell::new() });

pub(super) fn sample() -> (Digest, Digest) {
    SAMPLE.with(|sample| {
        let sample = sample.get().unwrap();
        (Digest::sha256(&sample.first), Digest::sha256(&sample.second))
    })
}

pub(super) fn push_sample(host: &str) {
    let (first, second) = (manifest(host, "first", &json!({})), manifest(host, "second", &json!({})));
    for tag in ["test3", "test0", "test2", "test1"] {
        push_manifest(host, tag, &first);
    }
    push_manifest(host, &Digest::sha256(&second).to_string(), &second);
    let subject = json!({ "mediaType": MANIFEST, "digest": Digest::sha256(&first), "size": first.len() });
    for (seed, kind) in [("a", "application/vnd.test.a"), ("b", "application/vnd.test.b"), ("c", "")] {
        let mut more = json!({ "subject": subject, "annotations": { "org.test": seed } });
        if !kind.is_empty() {
            more["artifactType"] = kind.into();
        }
        let referrer = manifest(host, seed, &more);
        push_manifest(host, &Digest::sha256(&referrer).to_string(), &referrer);
    }
    SAMPLE.with(|sample| {
        let _ = sample.set(Sample { first, second });
    });
}
