//! How a repository is read (OCI distribution-spec, "Pull").

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Method, StatusCode};

use super::auth::Access;
use super::error::RegistryError;
use super::repository::{Repository, Routes};
use super::request::Request;
use super::response::Response;
use super::route::is_digest;
use super::subject::Subject;
use hod_engine::endpoint::{BlobReader, FirstFormat, Place, Result, Source};
use hod_oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, ManifestError, MediaType, Schema1, Version};

impl Repository {
    /// A request about a manifest, with all types that are understood acceptable.
    pub(super) async fn ask_manifest(
        &self,
        method: Method,
        version: &Version,
        access: Access,
    ) -> std::result::Result<Response, RegistryError> {
        self.host.send(self.manifest_request(method, version).await?.access(access)).await
    }

    /// A request for a manifest, in whatever form.
    pub(super) async fn manifest_request(
        &self,
        method: Method,
        version: &Version,
    ) -> std::result::Result<Request, RegistryError> {
        let url = self.url(&format!("manifests/{version}")).await?;
        let subject = Subject::Manifest(self.place.clone(), version.clone());
        Ok(Request::new(method, url, subject).header(ACCEPT, &accepted()))
    }

    /// What a `HEAD` says of a manifest; `None` where it leaves something out that a `GET` shows.
    async fn head(&self, version: &Version) -> std::result::Result<Option<Descriptor>, RegistryError> {
        let response = self.ask_manifest(Method::HEAD, version, Access::pull(&self.name)).await?;
        // Some registries answer `GET` alone; whatever else this means, its answer says it, too.
        if response.is_no() {
            return Ok(None);
        }
        let response = response.accept(&[StatusCode::OK]).await?;
        let media_type = response.header(CONTENT_TYPE.as_str()).map(MediaType::parse);
        let media_type = media_type.filter(|found| MediaType::MANIFESTS.contains(found));
        let complete = media_type.zip(response.digest()).zip(response.length());
        let Some(((media_type, digest), size)) = complete else { return Ok(None) };
        match version {
            Version::Digest(wanted) if *wanted != digest => Ok(None),
            _ => Ok(Some(Descriptor::new(media_type, digest, size))),
        }
    }

    /// Asks for something by one way after the other, until one answers.
    async fn by_any_way<'a, T, F>(
        &'a self,
        by_digest: bool,
        ask: impl Fn(&'a Self) -> F,
    ) -> std::result::Result<T, RegistryError>
    where
        F: Future<Output = std::result::Result<T, RegistryError>>,
    {
        let Some(routes) = &self.routes else { return ask(self).await };
        let mut attempts = routes.attempts(by_digest);
        while let Some(repository) = attempts.next() {
            match ask(repository).await {
                Ok(found) => {
                    attempts.succeeded();
                    return Ok(found);
                }
                Err(error) => attempts.failed(error),
            }
        }
        Err(attempts.error())
    }

    /// Fetches a manifest by any route, and determines its descriptor.
    pub(super) async fn get(&self, version: &Version) -> std::result::Result<(Descriptor, Bytes), RegistryError> {
        self.by_any_way(is_digest(version), |repository| repository.own_manifest(version)).await
    }

    /// Resolves a tag or digest by any route.
    async fn find(&self, version: &Version) -> std::result::Result<Descriptor, RegistryError> {
        self.by_any_way(is_digest(version), |repository| repository.own_descriptor(version)).await
    }

    /// Opens content by any route.
    async fn content(&self, content: &Descriptor, offset: u64) -> std::result::Result<(Response, u64), RegistryError> {
        self.by_any_way(true, |repository| repository.begin(content, offset)).await
    }

    async fn own_descriptor(&self, version: &Version) -> std::result::Result<Descriptor, RegistryError> {
        match self.head(version).await? {
            Some(descriptor) => Ok(descriptor),
            None => Ok(self.own_manifest(version).await?.0),
        }
    }

    /// Fetches a manifest from here and finds out what it is.
    async fn own_manifest(&self, version: &Version) -> std::result::Result<(Descriptor, Bytes), RegistryError> {
        let subject = Box::new(Subject::Manifest(self.place.clone(), version.clone()));
        let response = self.ask_manifest(Method::GET, version, Access::pull(&self.name)).await?;
        let response = response.accept(&[StatusCode::OK]).await?;
        let (announced_digest, length) = (response.digest(), response.length().unwrap_or(MANIFEST_LIMIT + 1));
        let announced = MediaType::parse(response.header(CONTENT_TYPE.as_str()).unwrap_or_default());
        let unusable = |source| RegistryError::Manifest { subject: subject.clone(), source };
        let limit = usize::try_from(MANIFEST_LIMIT).unwrap_or(usize::MAX);
        let bytes = response.bytes(limit).await?.ok_or_else(|| unusable(ManifestError::Large(length)))?;
        let media_type = match Manifest::parse(&announced, &bytes) {
            Ok(manifest) => manifest.media_type,
            // The bytes say what they are. Proxies and storage servers have been seen to send another type.
            Err(ManifestError::Mismatch { found, .. }) => {
                tracing::info!("{subject} has the Content-Type {announced}, but is {found}");
                found
            }
            Err(_) if MediaType::MANIFESTS.contains(&announced) => announced,
            // Schema 1 is refused here: its digest is not that of its bytes, which would be a worse message.
            Err(error) => return Err(unusable(error)),
        };
        let wanted = match version {
            Version::Digest(digest) => Some(*digest),
            Version::Tag(_) => None,
        };
        for announced in [announced_digest, wanted].into_iter().flatten() {
            let found = Digest::of(announced.algorithm(), &bytes);
            if found != announced {
                let digests = Box::new((announced, found));
                return Err(RegistryError::Digest { subject, digests });
            }
        }
        let digest = wanted.or(announced_digest).unwrap_or_else(|| Digest::sha256(&bytes));
        Ok((Descriptor::new(media_type, digest, bytes.len() as u64), bytes))
    }

    /// Fetches a manifest of Docker's first format; `None` where it is of another.
    async fn get_first(&self, version: &Version) -> std::result::Result<Option<FirstFormat>, RegistryError> {
        let subject = Box::new(Subject::Manifest(self.place.clone(), version.clone()));
        let response = self.ask_manifest(Method::GET, version, Access::pull(&self.name)).await?;
        let response = response.accept(&[StatusCode::OK]).await?;
        let announced = response.digest();
        let unusable = |source| RegistryError::Manifest { subject: subject.clone(), source };
        let limit = usize::try_from(MANIFEST_LIMIT).unwrap_or(usize::MAX);
        let bytes = response.bytes(limit).await?.ok_or_else(|| unusable(ManifestError::Large(MANIFEST_LIMIT + 1)))?;
        if !Schema1::is(&bytes) {
            return Ok(None);
        }
        let manifest = Schema1::parse(&bytes).map_err(unusable)?;
        let wanted = if let Version::Digest(digest) = version { Some(*digest) } else { None };
        if let Some(wanted) = [announced, wanted].into_iter().flatten().find(|wanted| *wanted != manifest.digest) {
            return Err(RegistryError::Digest { subject, digests: Box::new((wanted, manifest.digest)) });
        }
        let mut sizes = HashMap::new();
        for layer in manifest.layers.iter().filter(|layer| !layer.is_empty) {
            // Without a length the first bytes too many end the transfer, and say so.
            sizes.insert(layer.blob, self.length(layer.blob).await?.unwrap_or_default());
        }
        Ok(Some(FirstFormat { bytes, manifest, sizes }))
    }

    /// The length of a blob, where the registry says it.
    async fn length(&self, digest: Digest) -> std::result::Result<Option<u64>, RegistryError> {
        let subject = Subject::Blob(self.place.clone(), digest);
        let url = self.url(&format!("blobs/{digest}")).await?;
        let request = |method| Request::new(method, url.clone(), subject.clone()).access(Access::pull(&self.name));
        let mut response = self.host.send(request(Method::HEAD)).await?;
        if response.is_no() {
            response = self.host.send(request(Method::GET)).await?;
        }
        Ok(response.accept(&[StatusCode::OK]).await?.length())
    }

    /// Begins to read content, from `offset` if the registry can do that, and says where it begins.
    async fn begin(&self, content: &Descriptor, offset: u64) -> std::result::Result<(Response, u64), RegistryError> {
        let request = self.content_request(content).await?;
        if offset == 0 {
            return Ok((self.host.send(request).await?.accept(&[StatusCode::OK]).await?, 0));
        }
        let response = self.host.send(request.header(RANGE, &format!("bytes={offset}-"))).await?;
        let start = match response.status {
            StatusCode::OK => return Ok((response, 0)),
            StatusCode::PARTIAL_CONTENT => response.header(CONTENT_RANGE.as_str()).and_then(range_start),
            StatusCode::RANGE_NOT_SATISFIABLE => None,
            _ => return Err(response.refusal().await),
        };
        if let Some(start) = start.filter(|start| *start <= offset) {
            return Ok((response, start));
        }
        // Whatever it makes of ranges, the whole is something that every registry can send.
        let request = self.content_request(content).await?;
        Ok((self.host.send(request).await?.accept(&[StatusCode::OK]).await?, 0))
    }

    async fn content_request(&self, content: &Descriptor) -> std::result::Result<Request, RegistryError> {
        let digest = content.digest;
        let request = if content.media_type.is_manifest() {
            let subject = Subject::Manifest(self.place.clone(), Version::Digest(digest));
            Request::new(Method::GET, self.url(&format!("manifests/{digest}")).await?, subject)
                .header(ACCEPT, &accepted())
        } else {
            let subject = Subject::Blob(self.place.clone(), digest);
            Request::new(Method::GET, self.url(&format!("blobs/{digest}")).await?, subject)
        };
        Ok(request.access(Access::pull(&self.name)))
    }
}

#[async_trait]
impl Source for Repository {
    async fn signatures(&self, manifest: &Digest) -> Result<Vec<Bytes>> {
        let repository = self.routes.as_ref().and_then(Routes::preferred).unwrap_or(self);
        Ok(repository.own_signatures(manifest).await?)
    }

    fn place(&self) -> &Place {
        &self.place
    }

    async fn resolve(&self, version: &Version) -> Result<Descriptor> {
        Ok(self.find(version).await?)
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        Ok(self.get(version).await?)
    }

    async fn first_format(&self, version: &Version) -> Result<Option<FirstFormat>> {
        Ok(self.by_any_way(is_digest(version), |repository| repository.get_first(version)).await?)
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        Ok(self.by_any_way(true, |repository| repository.length(content.digest)).await?)
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        if offset > 0 && offset >= content.size {
            return Ok(stream::empty().boxed());
        }
        match self.content(content, offset).await {
            Ok((response, start)) => Ok(response.stream(offset - start)),
            Err(error) => Ok(self.elsewhere(content, error).await?.stream(offset)),
        }
    }
}

/// The `Accept` header for manifests. Schema 1 is in it so that it is known for what it is.
fn accepted() -> String {
    let types = MediaType::MANIFESTS.into_iter().chain([MediaType::DockerSchema1]);
    let types: Vec<_> = types.map(|media_type| media_type.to_string()).collect();
    types.join(", ")
}

/// Where `bytes 5-9/10` starts (RFC 9110, section 14.4).
fn range_start(header: &str) -> Option<u64> {
    header.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::super::Settings;
    use super::super::testing::{Reply, Seen, Server, cut, reply};
    use super::*;
    use hod_engine::endpoint::Fault;

    #[test]
    fn reads_where_a_range_starts() {
        assert_eq!(range_start("bytes 5-9/10"), Some(5));
        assert_eq!(range_start("bytes 0-9/*"), Some(0));
        for header in ["", "bytes */10", "bytes=5-9", "items 5-9/10", "bytes -5-9/10"] {
            assert_eq!(range_start(header), None, "{header:?}");
        }
    }

    const EMPTY_INDEX: &str =
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

    async fn opened(offset: u64, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (String, Vec<String>) {
        let server = Server::start(handler).await;
        let brick = Descriptor::of(MediaType::parse("x"), b"brick");
        let (_, repository) = server.repository("a", Settings::default());
        let body: Vec<Bytes> = repository.open(&brick, offset).await.unwrap().try_collect().await.unwrap();
        let ranges = server.seen().iter().map(|seen| seen.header("range").to_owned()).collect();
        (String::from_utf8(body.concat()).unwrap(), ranges)
    }

    #[tokio::test]
    async fn a_blob_goes_on_where_it_should() {
        let part = |range: &'static str, body: &'static str| {
            move |seen: &Seen| match seen.header("range") {
                "" => reply(200, &[], "brick"),
                _ => reply(206, &[("content-range", range)], body),
            }
        };
        assert_eq!(opened(0, part("", "")).await, ("brick".to_owned(), vec![String::new()]));
        let asked = vec!["bytes=2-".to_owned()];
        let twice = vec!["bytes=2-".to_owned(), String::new()];
        assert_eq!(opened(2, part("bytes 2-4/5", "ick")).await, ("ick".to_owned(), asked.clone()));
        assert_eq!(opened(2, part("bytes 1-4/5", "rick")).await, ("ick".to_owned(), asked.clone()));
        assert_eq!(opened(2, part("bytes 3-4/5", "ck")).await, ("ick".to_owned(), twice.clone()));
        assert_eq!(opened(2, part("", "ick")).await, ("ick".to_owned(), twice.clone()));
        assert_eq!(opened(2, |_| reply(200, &[], "brick")).await, ("ick".to_owned(), asked));
        let never = |seen: &Seen| reply(if seen.header("range").is_empty() { 200 } else { 416 }, &[], "brick");
        assert_eq!(opened(2, never).await, ("ick".to_owned(), twice));
        assert_eq!(opened(5, |_| reply(500, &[], "")).await, (String::new(), vec![]));
    }

    async fn fetched(headers: &'static [(&str, &str)], body: &'static str, version: &str) -> Result<Descriptor> {
        let server = Server::start(move |_| reply(200, headers, body)).await;
        let version = version.parse().map_or_else(|_| Version::Tag(version.parse().unwrap()), Version::Digest);
        let (_, repository) = server.repository("a", Settings::default());
        let (descriptor, bytes) = repository.manifest(&version).await?;
        assert_eq!(bytes, body);
        assert_eq!(server.seen().len(), 1, "one request for a manifest");
        assert_eq!(repository.resolve(&version).await?, descriptor);
        Ok(descriptor)
    }

    #[tokio::test]
    async fn a_manifest_is_what_its_bytes_say() {
        let digest = Digest::sha256(EMPTY_INDEX.as_bytes());
        let index = Descriptor::new(MediaType::OciIndex, digest, EMPTY_INDEX.len() as u64);
        let typed = &[("content-type", "application/vnd.oci.image.index.v1+json")];
        let vague = &[("content-type", "application/json")];
        assert_eq!(fetched(typed, EMPTY_INDEX, "1").await.unwrap(), index);
        assert_eq!(fetched(vague, EMPTY_INDEX, "1").await.unwrap(), index);
        assert_eq!(fetched(&[], EMPTY_INDEX, &digest.to_string()).await.unwrap(), index);
        let long = Digest::of(hod_oci::Algorithm::Sha512, EMPTY_INDEX.as_bytes());
        assert_eq!(fetched(&[], EMPTY_INDEX, &long.to_string()).await.unwrap().digest, long);
    }

    #[tokio::test]
    async fn lies_about_manifests_are_found() {
        let lie: &[(&str, &str)] =
            &[("docker-content-digest", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")];
        let error = fetched(lie, EMPTY_INDEX, "1").await.unwrap_err();
        assert_eq!(error.fault(), Fault::Corrupt);
        assert!(error.to_string().contains("tag 1 in 127.0.0.1:"), "{error}");
        let other = Digest::sha256(b"").to_string();
        assert_eq!(fetched(&[], EMPTY_INDEX, &other).await.unwrap_err().fault(), Fault::Corrupt);
        let old = &[("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws")];
        let error = fetched(old, r#"{"schemaVersion":1}"#, &other).await.unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("schema 1"), "{error}");
        assert_eq!(error.fault(), Fault::Rejected);
    }

    #[tokio::test]
    async fn large_manifests_are_refused_unread() {
        let length = (MANIFEST_LIMIT + 1).to_string();
        let promised = Server::start(move |seen| match seen.target.as_str() {
            "/v2/" => reply(200, &[], ""),
            _ => cut(200, length.parse().unwrap(), b"{"),
        })
        .await;
        let endless =
            Server::start(|_| reply(200, &[], vec![b' '; usize::try_from(MANIFEST_LIMIT).unwrap() + 1])).await;
        for server in [promised, endless] {
            let (_, repository) = server.repository("a", Settings::default());
            let error = repository.manifest(&Version::Tag(hod_oci::Tag::latest())).await.unwrap_err();
            assert!(std::error::Error::source(&error).unwrap().to_string().contains("4194305 bytes"), "{error}");
        }
    }
}
