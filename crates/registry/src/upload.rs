//! Uploads blobs to a repository: a session, then one `PUT` with the whole body.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Access;
use super::error::RegistryError;
use super::repository::Repository;
use super::request::{Payload, Request};
use super::response::{Response, TAKEN};
use super::sink::check_digest;
use super::subject::Subject;
use super::transfer::UploadBody;
use hod_engine::endpoint::Verified;
use hod_oci::{Digest, RepositoryName};

/// Blobs up to this size are read before they are sent, so that they can be sent again after a challenge.
const SMALL: u64 = 64 * 1024;
/// How long the end of a failed upload may take.
const CANCEL: Duration = Duration::from_secs(5);

impl Repository {
    fn upload_request(&self, method: Method, url: Url, digest: Digest) -> Request {
        let subject = Subject::Upload(self.place.clone(), digest);
        Request::new(method, url, subject).access(Access::push(&self.name))
    }

    /// The URL at which an accepted upload continues.
    async fn session(&self, response: Response) -> Result<Url, RegistryError> {
        let connection = self.host.connection().await?;
        let location = response.location().map(|location| connection.at_registry(location));
        let error = response.protocol_error("202 without a usable Location for the upload");
        response.drain().await;
        location.filter(|location| connection.objection(&connection.base, location).is_none()).ok_or(error)
    }

    /// Asks the registry to take a blob over from another repository; `false` where it does not. To send the blob is
    /// always possible, so that only a registry that wants to be asked later ends it.
    pub(super) async fn mount(&self, digest: Digest, from: &RepositoryName) -> Result<bool, RegistryError> {
        let mut url = self.url("blobs/uploads/").await?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.as_str());
        let request = self.upload_request(Method::POST, url, digest).access(Access::mount(&self.name, from));
        let response = match self.host.send(request.payload(Payload::Bytes(Bytes::new()))).await {
            // The token server does not know `from`, or not with these credentials: then no mount.
            Err(RegistryError::Refused(refusal)) if refusal.answer.status.is_client_error() => return Ok(false),
            other => other?,
        };
        match response.status {
            StatusCode::CREATED => {
                check_digest(response, digest).await?;
                Ok(true)
            }
            StatusCode::ACCEPTED => {
                if let Ok(session) = self.session(response).await {
                    self.uploads.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, session);
                }
                Ok(false)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(response.refusal().await),
            _ => {
                response.drain().await;
                Ok(false)
            }
        }
    }

    /// Sends a blob.
    pub(super) async fn upload(&self, digest: Digest, body: Verified) -> Result<(), RegistryError> {
        let begun = self.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        let session = match begun {
            Some(session) => session,
            None => self.begin_upload(digest).await?,
        };
        let outcome = self.send_blob(digest, session.clone(), body).await;
        if outcome.is_err() {
            self.cancel(digest, session).await;
        }
        outcome
    }

    async fn begin_upload(&self, digest: Digest) -> Result<Url, RegistryError> {
        let url = self.url("blobs/uploads/").await?;
        let request = self.upload_request(Method::POST, url, digest).payload(Payload::Bytes(Bytes::new()));
        let response = self.host.send(request).await?.accept(&[StatusCode::ACCEPTED]).await?;
        self.session(response).await
    }

    async fn send_blob(&self, digest: Digest, session: Url, body: Verified) -> Result<(), RegistryError> {
        let mut url = session;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let (length, is_hashed) = (body.remaining(), body.is_hashed());
        let payload = if length <= SMALL {
            Payload::Bytes(body.collect().await.map_err(RegistryError::Content)?)
        } else {
            Payload::Stream(Box::new(UploadBody::new(body, self.host.shared.settings.stall_timeout)))
        };
        let request = self
            .upload_request(Method::PUT, url, digest)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, &length.to_string())
            .payload(payload);
        let response = self.host.send(request).await?;
        let response = response.accept(&TAKEN).await?;
        let said = response.digest();
        if said.is_none() && !is_hashed {
            self.host.finds_digests.store(false, Ordering::Relaxed);
            return Err(response.protocol_error("it accepted a blob, but did not return the digest that it found"));
        }
        check_digest(response, digest).await?;
        self.host.finds_digests.fetch_or(said.is_some(), Ordering::Relaxed);
        Ok(())
    }

    /// Ends an upload, if the registry can be reached; it clears away by itself what this leaves.
    pub(super) async fn cancel(&self, digest: Digest, session: Url) {
        let request = self.upload_request(Method::DELETE, session, digest);
        let _ = tokio::time::timeout(CANCEL, self.host.send(request)).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::stream;

    use super::super::Settings;
    use super::super::testing::{Seen, Server, reply};
    use super::*;
    use hod_engine::endpoint::{Fault, Placement, Prefix, Sink as _};
    use hod_oci::{Descriptor, MediaType};

    fn content(size: usize) -> (Descriptor, Bytes) {
        let bytes = Bytes::from(vec![b'x'; size]);
        (Descriptor::of(MediaType::parse("x"), &bytes), bytes)
    }

    /// A registry that begins uploads, mounts from `known`, and takes whatever is sent.
    async fn registry(location: &'static str) -> Server {
        Server::start(move |seen: &Seen| match seen.method.as_str() {
            "POST" if seen.target.contains("from=known") => reply(201, &[], ""),
            "POST" if seen.target.contains("from=secret") => reply(403, &[], ""),
            "POST" => reply(202, &[("location", location)], ""),
            "DELETE" => reply(204, &[], ""),
            "PUT" if seen.header("content-length") == seen.body.len().to_string() => reply(201, &[], ""),
            _ => reply(500, &[], ""),
        })
        .await
    }

    #[tokio::test]
    async fn a_blob_is_sent_in_one_piece() {
        let server = registry("/elsewhere?_state=a%3Db").await;
        let (_, repository) = server.repository("a", Settings::default());
        for size in [0, 5, 1024 * 1024] {
            let (blob, bytes) = content(size);
            let placed = repository.put(&blob, Verified::bytes(&blob, bytes.clone())).await.unwrap();
            assert_eq!(placed, Placement::Written);
            let seen = server.seen().last().unwrap().clone();
            let digest = blob.digest.to_string().replace(':', "%3A");
            assert_eq!(seen.target, format!("/elsewhere?_state=a%3Db&digest={digest}"));
            assert_eq!(seen.body, bytes);
            assert_eq!(seen.header("content-type"), "application/octet-stream");
        }
        assert_eq!(server.seen().len(), 6);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_never_complete() {
        let server = registry("/session").await;
        let (_, repository) = server.repository("a", Settings::default());
        let (blob, bytes) = content(1024 * 1024);
        let wrong = vec![Ok(bytes.slice(1..)), Ok(Bytes::from_static(b"y"))];
        let short = vec![Ok(bytes.slice(1..))];
        for (chunks, ended) in [(wrong, 1), (short, 2)] {
            let none = Prefix::none(blob.digest.algorithm());
            let body = Verified::new(&blob, none, stream::iter(chunks).boxed());
            let error = repository.put(&blob, body).await.unwrap_err();
            assert_eq!(error.fault(), Fault::Corrupt, "{error}");
            // The server notices the end of the one connection before the other, or after it.
            assert_eq!(server.lines().iter().filter(|line| *line == "DELETE /session").count(), ended);
        }
        let complete = server.seen().iter().filter(|seen| seen.body.len() as u64 == blob.size).count();
        assert_eq!(complete, 0);
    }

    /// A registry that says of some uploads what it found has shown that it does; of the others it must say it too.
    #[tokio::test]
    async fn a_digest_is_left_only_to_who_finds_it() {
        let server = Server::start(|seen: &Seen| {
            let said = seen.target.split_once("digest=").map_or_else(String::new, |(_, said)| said.replace("%3A", ":"));
            match (seen.method.as_str(), seen.body.len()) {
                ("POST", _) => reply(202, &[("location", "/session")], ""),
                ("PUT", 100_000) => reply(201, &[], ""),
                ("PUT", _) => reply(201, &[("docker-content-digest", &said)], ""),
                _ => reply(200, &[], ""),
            }
        })
        .await;
        let (_, repository) = server.repository("a", Settings::default());
        let put = async |size: usize| {
            let (blob, bytes) = content(size);
            let chunks = stream::iter([Ok(bytes)]).boxed();
            let none = Prefix::none(blob.digest.algorithm());
            let finds = repository.finds_digests();
            let body = if finds { Verified::left_to_sink(&blob, chunks) } else { Verified::new(&blob, none, chunks) };
            (finds, repository.put(&blob, body).await)
        };
        assert!(matches!(put(100_000).await, (false, Ok(_))));
        assert!(matches!(put(5).await, (false, Ok(_))));
        assert!(matches!(put(90_000).await, (true, Ok(_))));
        let (finds, refused) = put(100_000).await;
        assert!(finds);
        assert!(refused.unwrap_err().to_string().contains("did not return the digest that it found"));
        assert!(matches!(put(100_000).await, (false, Ok(_))));
    }

    #[tokio::test]
    async fn an_upload_that_nobody_reads_ends() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_and_fall_silent(stream));
            }
        });
        let limit = Duration::from_millis(200);
        let settings = Settings { stall_timeout: limit, ..Settings::default() };
        let repository = super::super::Registries::new(settings).repository(&host, &"a".parse().unwrap());
        let (blob, bytes) = content(64 * 1024 * 1024);
        let chunks: Vec<_> = bytes.chunks(64 * 1024).map(|chunk| Ok(bytes.slice_ref(chunk))).collect();
        let body = Verified::new(&blob, Prefix::none(blob.digest.algorithm()), stream::iter(chunks).boxed());
        let error = repository.put(&blob, body).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Unreachable);
        assert!(error.to_string().contains("less than 1 KiB moved to or from"), "{error}");
    }

    /// Begins an upload and does not read a byte of its body.
    async fn answer_and_fall_silent(mut stream: tokio::net::TcpStream) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut head = Vec::new();
        while let Ok(byte) = stream.read_u8().await {
            head.push(byte);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let answer: &[u8] = match head.first() {
                Some(b'G') => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                Some(b'P') if head.starts_with(b"POST") => {
                    b"HTTP/1.1 202 Accepted\r\nlocation: /session\r\ncontent-length: 0\r\n\r\n"
                }
                Some(b'P') => std::future::pending().await,
                _ => return,
            };
            stream.write_all(answer).await.unwrap();
            head.clear();
        }
    }

    #[tokio::test]
    async fn a_mount_that_fails_becomes_an_upload() {
        let server = registry("/session").await;
        let (_, repository) = server.repository("a", Settings::default());
        let (blob, bytes) = content(5);
        let from = |name: &str| name.parse::<RepositoryName>().unwrap();
        assert_eq!(repository.adopt(&blob, None).await.unwrap(), None);
        assert_eq!(repository.adopt(&blob, Some(&from("a"))).await.unwrap(), None);
        assert_eq!(server.seen().len(), 0);
        assert_eq!(repository.adopt(&blob, Some(&from("known"))).await.unwrap(), Some(Placement::Mounted));
        assert_eq!(repository.adopt(&blob, Some(&from("secret"))).await.unwrap(), None);
        assert_eq!(repository.adopt(&blob, Some(&from("other"))).await.unwrap(), None);
        repository.put(&blob, Verified::bytes(&blob, bytes)).await.unwrap();
        let lines = server.lines();
        assert_eq!(lines.len(), 4, "the session of the mount is used: {lines:?}");
        assert!(lines.last().unwrap().starts_with("PUT /session?digest="));
        let (other, _) = content(6);
        assert_eq!(repository.adopt(&other, Some(&from("other"))).await.unwrap(), None);
        let manifest = Bytes::from_static(b"{}");
        let root = Descriptor::of(MediaType::OciIndex, &manifest);
        repository.publish(&root, manifest, &["1".parse().unwrap()]).await.unwrap();
        let lines = server.lines();
        assert_eq!(lines.get(5..).unwrap(), ["DELETE /session", "PUT /v2/a/manifests/1"]);
    }

    #[tokio::test]
    async fn a_registry_without_what_a_manifest_names_says_so() {
        let refusal = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
        let server =
            Server::start(move |seen| reply(if seen.target == "/v2/" { 200 } else { 400 }, &[], refusal)).await;
        let (_, repository) = server.repository("a", Settings::default());
        let manifest = Bytes::from_static(b"{}");
        let root = Descriptor::of(MediaType::OciIndex, &manifest);
        let error = repository.publish(&root, manifest, &[]).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Incomplete);
        assert_eq!(server.lines(), [format!("PUT /v2/a/manifests/{}", root.digest)]);
    }
}
