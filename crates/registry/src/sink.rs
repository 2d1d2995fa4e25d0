//! Writes a repository of a registry (OCI distribution-spec, "Push").
//!
//! A registry makes a manifest visible only after it has what the manifest names, and a blob only after
//! it has checked its digest: what is here merely keeps the order and reads the answers.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};

use super::auth::Access;
use super::error::RegistryError;
use super::repository::Repository;
use super::request::{Payload, Request};
use super::response::{Response, TAKEN};
use super::subject::Subject;
use hod_engine::endpoint::{Place, Placement, Result, Sink, Verified};
use hod_oci::{Descriptor, Digest, Graph, RepositoryName, Tag, Version};

impl Repository {
    /// Whether a tag or digest is there, and is exactly this manifest. Of a tag the registry's word is taken for it
    /// (RFC 9110, section 13.1.2): whether the manifest can still be read, it need not look.
    ///
    /// Who may write need not be allowed to read; then the answer is no, and the upload's own
    /// answer says what is wrong, if anything is.
    async fn has_manifest(&self, version: Version, content: &Descriptor) -> std::result::Result<bool, RegistryError> {
        let digest = content.digest;
        let mut request = self.manifest_request(Method::HEAD, &version).await?.access(Access::push(&self.name));
        if let Version::Tag(_) = version {
            // A registry that compares the tag with it need not read the manifest. What is asked for by its digest would
            // always be the same, there or not.
            request = request.header(IF_NONE_MATCH, &format!("\"{digest}\""));
        }
        let response = self.host.send(request).await?;
        match response.status {
            StatusCode::NOT_MODIFIED => Ok(response.digest().is_none_or(|found| found == digest)),
            StatusCode::OK => Ok(match (response.digest(), version) {
                (Some(found), _) => found == digest,
                (None, Version::Digest(_)) => has_length(&response, content.size),
                (None, Version::Tag(_)) => false,
            }),
            _ if response.is_no() && !response.redirected => Ok(false),
            _ => Err(response.refusal().await),
        }
    }

    async fn has_blob(&self, content: &Descriptor) -> std::result::Result<bool, RegistryError> {
        let digest = content.digest;
        let subject = Subject::Blob(self.place.clone(), digest);
        let request = Request::new(Method::HEAD, self.url(&format!("blobs/{digest}")).await?, subject);
        let response = self.host.send(request.access(Access::push(&self.name))).await?;
        match response.status {
            StatusCode::OK => Ok(has_length(&response, content.size)),
            _ if response.is_no() && !response.redirected => Ok(false),
            _ => Err(response.refusal().await),
        }
    }

    /// Puts a manifest and checks what the registry says it has become.
    async fn put_manifest(
        &self,
        content: &Descriptor,
        bytes: Bytes,
        version: Version,
    ) -> std::result::Result<(), RegistryError> {
        let subject = Subject::Publication(self.place.clone(), version.clone());
        let request = Request::new(Method::PUT, self.url(&format!("manifests/{version}")).await?, subject)
            .access(Access::push(&self.name))
            .header(CONTENT_TYPE, content.media_type.as_str())
            .payload(Payload::Bytes(bytes));
        let response = self.host.send(request).await?;
        let response = response.accept(&TAKEN).await?;
        self.note_subject(content.digest, &response);
        check_digest(response, content.digest).await
    }

    /// Deletes a manifest, and with it all tags that point to it.
    pub async fn delete(&self, digest: &Digest) -> std::result::Result<(), RegistryError> {
        let version = Version::Digest(*digest);
        let response = self.ask_manifest(Method::DELETE, &version, Access::everything(&self.name)).await?;
        response.accept(&[StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT]).await?.drain().await;
        Ok(())
    }

    /// Removes a tag and leaves what it points to. Many registries cannot, and say so.
    pub async fn delete_tag(&self, tag: &Tag) -> std::result::Result<(), RegistryError> {
        let version = Version::Tag(tag.clone());
        let response = self.ask_manifest(Method::DELETE, &version, Access::everything(&self.name)).await?;
        response.accept(&[StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT]).await?.drain().await;
        Ok(())
    }
}

#[async_trait]
impl Sink for Repository {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, graph: &Graph, tags: &[Tag]) -> Result<bool> {
        let root = &graph.root.descriptor;
        for tag in tags {
            if !self.has_manifest(Version::Tag(tag.clone()), root).await? {
                return Ok(false);
            }
        }
        for node in graph.manifests() {
            let content = &node.descriptor;
            let known = content.digest == root.digest && !tags.is_empty();
            if !known && !self.has_manifest(Version::Digest(content.digest), content).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        if content.media_type.is_manifest() {
            Ok(self.has_manifest(Version::Digest(content.digest), content).await?)
        } else {
            Ok(self.has_blob(content).await?)
        }
    }

    async fn adopt(&self, content: &Descriptor, from: Option<&RepositoryName>) -> Result<Option<Placement>> {
        match from.filter(|from| **from != self.name && !content.media_type.is_manifest()) {
            Some(from) => Ok(self.mount(content.digest, from).await?.then_some(Placement::Mounted)),
            None => Ok(None),
        }
    }

    fn finds_digests(&self) -> bool {
        self.host.finds_digests.load(Ordering::Relaxed)
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        if content.media_type.is_manifest() {
            let bytes = body.collect().await?;
            self.put_manifest(content, bytes, Version::Digest(content.digest)).await?;
        } else {
            self.upload(content.digest, body).await?;
        }
        Ok(Placement::Written)
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        self.cancel_uploads().await;
        if tags.is_empty() {
            self.put_manifest(root, bytes.clone(), Version::Digest(root.digest)).await?;
        }
        for tag in tags {
            self.put_manifest(root, bytes.clone(), Version::Tag(tag.clone())).await?;
        }
        Ok(())
    }

    async fn keep_signatures(&self, manifest: &Digest, _: bool, signatures: &[Bytes]) -> Result<bool> {
        match self.staging()? {
            Some(folder) => Ok(folder.keep(manifest, signatures).await?),
            None => Ok(false),
        }
    }
}

impl Repository {
    /// Ends the uploads that were begun and never needed.
    async fn cancel_uploads(&self) {
        let begun = std::mem::take(&mut *self.uploads.lock().unwrap_or_else(PoisonError::into_inner));
        for (digest, session) in begun {
            self.cancel(digest, session).await;
        }
    }
}

/// Returns true unless an answer gives the length of something else. A proxy may answer in the place of the registry, and
/// some registries give no length for `HEAD`, or 0.
fn has_length(response: &Response, size: u64) -> bool {
    response.length().is_none_or(|length| length == size || length == 0)
}

/// Compares the digest that a registry gives for what it has taken, if it gives one, with the right one.
pub(super) async fn check_digest(response: Response, digest: Digest) -> std::result::Result<(), RegistryError> {
    let found = response.digest();
    let error = found.filter(|found| *found != digest).map(|found| response.digest_error(found, digest));
    response.drain().await;
    error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::testing::{Server, reply};
    use super::*;
    use hod_oci::MediaType;

    /// A page of a proxy is not the content, whatever its status says.
    #[tokio::test]
    async fn an_answer_of_another_length_is_not_the_content() {
        let manifest = Descriptor::of(MediaType::OciManifest, b"{}");
        let blob = Descriptor::of(MediaType::parse("x"), b"brick");
        for (body, manifest_is_there, blob_is_there) in [
            ("<html>Log in</html>", false, false),
            ("{}", true, false),
            ("BRICK", false, true),
            // Some registries say nothing of the length.
            ("", true, true),
        ] {
            let server = Server::start(move |_| reply(200, &[], body)).await;
            let (_, repository) = server.repository("a", Settings::default());
            assert_eq!(repository.contains(&manifest).await.unwrap(), manifest_is_there, "{body}");
            assert_eq!(repository.contains(&blob).await.unwrap(), blob_is_there, "{body}");
        }
    }
}
