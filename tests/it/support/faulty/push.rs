//! The writing half of the distribution API.

use bytes::Bytes;
use hod_oci::Digest;
use hyper::Method;
use serde_json::Value;

use super::reply::Reply;
use super::seen::{Route, Seen};
use super::{Shared, State};

impl State {
    /// Answers POST, PATCH, PUT and DELETE.
    pub(super) fn push(&mut self, seen: &Seen, body: Bytes, shared: &Shared) -> Reply {
        match (&seen.method, &seen.route) {
            (&Method::POST, Route::Upload(name, id)) if id.is_empty() => self.begin(name, seen, &body),
            (&Method::PATCH, Route::Upload(name, id)) => self.append(name, id, seen, &body),
            (&Method::PUT, Route::Upload(name, id)) => self.commit(name, id, seen, &body),
            (&Method::DELETE, Route::Upload(_, id)) => match self.uploads.remove(id) {
                Some(_) => Reply::status(204),
                None => unknown_upload(),
            },
            (&Method::PUT, Route::Manifest(name, version)) => self.put_manifest(name, version, seen, body, shared),
            _ => Reply::error(405, "UNSUPPORTED", "the operation is unsupported"),
        }
    }

    /// Begins an upload, or mounts, or takes the whole at once.
    fn begin(&mut self, name: &str, seen: &Seen, body: &[u8]) -> Reply {
        if let Some(digest) = seen.parameter("mount").and_then(|digest| digest.parse::<Digest>().ok()) {
            let from = seen.parameter("from").and_then(|from| self.content.repositories.get(&from));
            if let Some(bytes) = from.and_then(|from| from.blobs.get(&digest)).cloned() {
                return self.store(name, &digest, bytes);
            }
        }
        if seen.parameter("digest").is_some() {
            let id = self.new_upload();
            return self.commit(name, &id, seen, body);
        }
        let id = self.new_upload();
        self.accepted(name, &id)
    }

    fn new_upload(&mut self) -> String {
        self.next_upload += 1;
        let id = format!("upload-{}", self.next_upload);
        self.uploads.insert(id.clone(), Vec::new());
        id
    }

    /// What an upload has so far, and where it goes on: at an address with a query, which clients must keep.
    fn accepted(&self, name: &str, id: &str) -> Reply {
        let length = self.uploads.get(id).map_or(0, Vec::len);
        Reply::status(202)
            .header("Location", &format!("/v2/{name}/blobs/uploads/{id}?state={length}"))
            .header("Range", &format!("0-{}", length.saturating_sub(1)))
            .header("Docker-Upload-UUID", id)
    }

    fn append(&mut self, name: &str, id: &str, seen: &Seen, body: &[u8]) -> Reply {
        let Some(upload) = self.uploads.get_mut(id) else { return unknown_upload() };
        if seen.parameter("state") != Some(upload.len().to_string()) {
            return Reply::error(400, "BLOB_UPLOAD_INVALID", "the address of an upload before this one");
        }
        let first = seen.header("content-range").split('-').next().and_then(|first| first.parse().ok());
        if first.is_some_and(|first: usize| first != upload.len()) {
            return Reply::error(416, "RANGE_INVALID", "the chunk does not follow the last");
        }
        upload.extend_from_slice(body);
        self.accepted(name, id)
    }

    fn commit(&mut self, name: &str, id: &str, seen: &Seen, body: &[u8]) -> Reply {
        let Some(mut bytes) = self.uploads.remove(id) else { return unknown_upload() };
        bytes.extend_from_slice(body);
        match seen.parameter("digest").and_then(|digest| digest.parse::<Digest>().ok()) {
            Some(digest) if Digest::of(digest.algorithm(), &bytes) == digest => self.store(name, &digest, bytes.into()),
            _ => Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content"),
        }
    }

    fn store(&mut self, name: &str, digest: &Digest, bytes: Bytes) -> Reply {
        self.content.repositories.entry(name.to_owned()).or_default().blobs.insert(*digest, bytes);
        Reply::status(201)
            .header("Location", &format!("/v2/{name}/blobs/{digest}"))
            .header("Docker-Content-Digest", &digest.to_string())
    }

    fn put_manifest(&mut self, name: &str, version: &str, seen: &Seen, body: Bytes, shared: &Shared) -> Reply {
        let Ok(manifest) = serde_json::from_slice::<Value>(&body) else {
            return Reply::error(400, "MANIFEST_INVALID", "the manifest is not JSON");
        };
        let media_type = seen.header("content-type");
        if manifest["mediaType"].as_str().is_some_and(|named| named != media_type) {
            return Reply::error(400, "MANIFEST_INVALID", "mediaType is not the Content-Type");
        }
        let digest = Digest::sha256(&body);
        if version.parse::<Digest>().is_ok_and(|named| named != digest) {
            return Reply::error(400, "DIGEST_INVALID", "the digest is not that of the manifest");
        }
        let repository = self.content.repositories.entry(name.to_owned()).or_default();
        let digests = |field: &str| -> Vec<Digest> {
            let entries = manifest[field]
                .as_array()
                .into_iter()
                .flatten()
                .chain(manifest[field].as_object().map(|_| &manifest[field]));
            let here = entries.filter(|entry| entry["urls"].as_array().is_none_or(Vec::is_empty));
            here.filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
        };
        let blobs = [digests("config"), digests("layers")].concat();
        let lacks_blob = blobs.iter().any(|digest| !repository.blobs.contains_key(digest));
        let lacks_child = digests("manifests").iter().any(|digest| !repository.manifests.contains_key(digest));
        if lacks_blob || (lacks_child && !shared.sparse) {
            return Reply::error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
        }
        repository.manifests.insert(digest, (media_type.to_owned(), body));
        if version.parse::<Digest>().is_err() {
            repository.tags.insert(version.to_owned(), digest);
        }
        let reply = Reply::status(201)
            .header("Location", &format!("/v2/{name}/manifests/{digest}"))
            .header("Docker-Content-Digest", &digest.to_string());
        match manifest["subject"]["digest"].as_str().filter(|_| shared.referrers.is_some()) {
            Some(subject) => reply.header("OCI-Subject", subject),
            None => reply,
        }
    }
}

fn unknown_upload() -> Reply {
    Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
}
