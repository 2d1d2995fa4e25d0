//! The reading half of the distribution API.

use bytes::Bytes;
use hod_oci::{Descriptor, Digest};
use serde_json::json;

use super::reply::Reply;
use super::seen::{Route, Seen};
use super::{Shared, State};

impl State {
    /// Answers GET and HEAD.
    pub(super) fn pull(&self, seen: &Seen, shared: &Shared) -> Reply {
        match &seen.route {
            Route::Ping => Reply::json(200, &json!({})),
            Route::Catalog => {
                let names = self.content.repositories.keys().cloned().collect();
                page(seen, "repositories", names, &json!({}))
            }
            Route::Tags(name) => match self.content.repositories.get(name) {
                Some(repository) => {
                    page(seen, "tags", repository.tags.keys().cloned().collect(), &json!({"name": name}))
                }
                None => Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
            },
            Route::Manifest(name, version) => self.manifest(name, version, shared, seen),
            Route::Blob(name, digest) => self.blob(name, digest, seen),
            Route::Referrers(name, digest) if shared.referrers.is_some() => {
                self.referrers(name, digest, shared.referrers.unwrap(), seen)
            }
            Route::Storage(digest) => self.storage(digest, seen),
            _ => Reply::status(404).header("Content-Type", "text/plain").body("404 page not found\n".into()),
        }
    }

    fn manifest(&self, name: &str, version: &str, shared: &Shared, seen: &Seen) -> Reply {
        let found = self.content.repositories.get(name).and_then(|repository| {
            let as_digest = || version.replacen('-', ":", 1).parse().ok().filter(|_| shared.tags_as_digests);
            let digest = version.parse().ok().or_else(|| repository.tags.get(version).copied()).or_else(as_digest)?;
            let (media_type, bytes) = repository.manifests.get(&digest)?;
            Some((digest, media_type.clone(), bytes.clone()))
        });
        if let Some((digest, media_type, bytes)) = found {
            return Reply::status(200)
                .header("Content-Type", &media_type)
                .header("Docker-Content-Digest", &digest.to_string())
                .body(bytes);
        }
        let promised = |phantom: &&Descriptor| phantom.digest.to_string() == version;
        match shared.phantoms.iter().find(promised) {
            Some(phantom) if seen.method == hyper::Method::HEAD => Reply::status(200)
                .header("Content-Type", phantom.media_type.as_str())
                .header("Docker-Content-Digest", version)
                .body(Bytes::from(vec![0; usize::try_from(phantom.size).unwrap()])),
            _ => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    /// The manifests of a repository that have a subject, a page of them.
    fn referrers(&self, name: &str, subject: &str, page: usize, seen: &Seen) -> Reply {
        let manifests = self.content.repositories.get(name).into_iter().flat_map(|repository| &repository.manifests);
        let about = manifests.filter_map(|(digest, (media_type, bytes))| {
            let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            let kind = manifest["artifactType"].as_str().or(manifest["config"]["mediaType"].as_str())?.to_owned();
            (manifest["subject"]["digest"] == subject)
                .then(|| json!({"mediaType": media_type, "digest": digest, "size": bytes.len(), "artifactType": kind}))
        });
        let start: usize = seen.parameter("page").and_then(|start| start.parse().ok()).unwrap_or(0);
        let found: Vec<_> = about.skip(start).collect();
        let more = found.len() > page;
        let found: Vec<_> = found.into_iter().take(page).collect();
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found
        });
        let reply = Reply::json(200, &index);
        if more { reply.header("Link", &format!("<{}?page={}>; rel=\"next\"", seen.path, start + page)) } else { reply }
    }

    fn blob(&self, name: &str, digest: &str, seen: &Seen) -> Reply {
        let repository = self.content.repositories.get(name);
        let found = digest.parse().ok().and_then(|digest| repository?.blobs.get(&digest));
        match found {
            Some(bytes) => sent(bytes, seen).header("Docker-Content-Digest", digest),
            None => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        }
    }

    /// A blob at the other host, which knows of no repositories and wants no credentials.
    fn storage(&self, digest: &str, seen: &Seen) -> Reply {
        let digest: Option<Digest> = digest.parse().ok();
        let mut repositories = self.content.repositories.values();
        match digest.and_then(|digest| repositories.find_map(|repository| repository.blobs.get(&digest))) {
            Some(_) if seen.query.is_empty() => Reply::status(403),
            // S3 answers so when a request is signed twice.
            Some(_) if seen.headers.contains_key("authorization") => Reply::status(400),
            Some(bytes) => sent(bytes, seen),
            None => Reply::status(404),
        }
    }
}

fn sent(bytes: &Bytes, seen: &Seen) -> Reply {
    let reply = Reply::status(200).header("Content-Type", "application/octet-stream").header("Accept-Ranges", "bytes");
    reply.body(bytes.clone()).range(seen.header("range"))
}

/// A list with `n` and `last`, and a `Link` to what follows.
fn page(seen: &Seen, field: &str, mut names: Vec<String>, rest: &serde_json::Value) -> Reply {
    if let Some(last) = seen.parameter("last") {
        names.retain(|name| *name > last);
    }
    let limit = seen.parameter("n").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let more = names.len() > limit;
    names.truncate(limit);
    let mut value = rest.clone();
    value[field] = json!(names);
    let reply = Reply::json(200, &value);
    match names.last().filter(|_| more) {
        Some(last) => reply.header("Link", &format!("<{}?n={limit}&last={last}>; rel=\"next\"", seen.path)),
        None => reply,
    }
}
