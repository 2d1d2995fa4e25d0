//! Lists referrers by the registry's API (OCI distribution-spec, "Listing Referrers").

use std::sync::PoisonError;

use reqwest::{Method, StatusCode};

use super::auth::Access;
use super::error::RegistryError;
use super::pages::{Limit, Pages};
use super::repository::{Repository, Routes};
use super::request::Request;
use super::response::Response;
use super::subject::Subject;
use hod_oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, MediaType, Tag, Version, referrers_tag};

/// The header by which a registry says that it has taken note of a manifest's subject.
const TAKEN: &str = "oci-subject";

impl Repository {
    /// The referrers of a manifest, or `None` where the registry does not list them.
    ///
    /// 404 says that it does not, and what one repository of a host says holds for all. Any other answer is an error, with
    /// which the caller decides; see [`Repository::give_up_referrers`].
    pub async fn referrers(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let Some(routes) = &self.routes else { return self.own_referrers(subject).await };
        // Where the image came from is where its signatures are.
        if let Some(repository) = routes.preferred() {
            return repository.own_referrers(subject).await;
        }
        let mut attempts = routes.attempts(true);
        while let Some(repository) = attempts.next() {
            match repository.own_referrers(subject).await {
                Ok(found) => return Ok(found),
                Err(error) => attempts.failed(error),
            }
        }
        Err(attempts.error())
    }

    async fn own_referrers(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let _first = match self.host.lists_referrers.get() {
            Some(_) => None,
            None => Some(self.host.asking_for_referrers.lock().await),
        };
        if self.host.lists_referrers.get() == Some(&false) {
            return Ok(None);
        }
        let connection = self.host.connection().await?;
        let mut pages = Pages::new(self.url(&format!("referrers/{subject}")).await?, Limit::REFERRERS);
        let mut found = Vec::new();
        loop {
            let what = Subject::Referrers(self.place.clone(), *subject);
            let url = pages.url.clone();
            let request = Request::new(Method::GET, url.clone(), what.clone()).access(Access::pull(&self.name));
            let response = self.host.send(request).await?;
            if response.status == StatusCode::NOT_FOUND && !response.redirected {
                response.drain().await;
                // A registry that lists them for others has no such repository.
                let lists = *self.host.lists_referrers.get_or_init(|| false);
                return Ok(lists.then_some(found));
            }
            let response = response.accept(&[StatusCode::OK]).await?;
            let is_last = !pages.turn(&response, connection)?;
            let page = listed(&mut pages, response).await?;
            pages.count(page.len()).map_err(|problem| RegistryError::endless(&what, &url, problem))?;
            found.extend(page);
            if is_last {
                break;
            }
        }
        self.host.lists_referrers.get_or_init(|| true);
        Ok(Some(found))
    }

    /// Asks for no more lists of referrers here, after an answer that is none. Returns true if it was not known before that
    /// the API is of no use.
    pub fn give_up_referrers(&self) -> bool {
        let mut is_news = false;
        let ways = self.routes.iter().flat_map(Routes::hosts);
        for host in ways.chain([&self.host]) {
            is_news |= host.lists_referrers.set(false).is_ok();
        }
        is_news
    }

    /// Returns true if the registry has taken note of the subject of a manifest that was put through this value; `None`
    /// where none was put.
    pub fn took_subject(&self, manifest: &Digest) -> Option<bool> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner).get(manifest).copied()
    }

    /// Remembers what the answer to an upload says about its subject.
    pub(super) fn note_subject(&self, manifest: Digest, response: &Response) {
        let taken = response.header(TAKEN).is_some_and(|subject| !subject.is_empty());
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner).insert(manifest, taken);
    }

    /// The index of referrers that clients keep under a tag, with its bytes; `None` where there is none.
    ///
    /// GitLab takes the tag `sha256-HEX` for the digest `sha256:HEX`, and answers with the subject itself: that is none.
    pub async fn kept_referrers(&self, tag: &Tag) -> Result<Option<bytes::Bytes>, RegistryError> {
        match self.get(&Version::Tag(tag.clone())).await {
            Ok((found, _)) if referrers_tag(&found.digest).as_ref() == Some(tag) => Ok(None),
            Ok((_, bytes)) => Ok(Some(bytes)),
            Err(error) if error.fault() == hod_engine::endpoint::Fault::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Reads one page, which is an image index.
async fn listed(pages: &mut Pages, response: Response) -> Result<Vec<Descriptor>, RegistryError> {
    let error = response.protocol_error("with something other than a list of referrers");
    let limit = usize::try_from(MANIFEST_LIMIT).unwrap_or(usize::MAX);
    let Some(bytes) = pages.body(response, limit).await? else { return Err(error) };
    let index = Manifest::parse(&MediaType::OciIndex, &bytes).map_err(|_| error)?;
    Ok(index.children().to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::testing::{Server, reply};
    use super::*;
    use hod_engine::endpoint::Fault;

    fn page(name: &str) -> String {
        let digest = Digest::sha256(name.as_bytes());
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1,"artifactType":"x/{name}"}}]}}"#
        )
    }

    #[tokio::test]
    async fn pages_are_read_to_the_end() {
        let server = Server::start(|seen| match seen.target.split_once('?') {
            None => reply(200, &[("link", "<?page=2>; rel=\"next\"")], page("a")),
            Some(_) => reply(200, &[], page("b")),
        })
        .await;
        let (_, repository) = server.repository("app", Settings::default());
        let found = repository.referrers(&Digest::sha256(b"")).await.unwrap().unwrap();
        let kinds: Vec<_> = found.iter().filter_map(|found| found.artifact_type.as_deref()).collect();
        assert_eq!(kinds, ["x/a", "x/b"]);
    }

    #[tokio::test]
    async fn all_pages_have_one_limit() {
        let server = Server::start(|seen| {
            let number = seen.target.rsplit('=').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let next = format!("<?page={}>; rel=\"next\"", number + 1);
            let long = seen.target.contains("/long/");
            let note = if long { "x".repeat(3 << 20) } else { String::new() };
            let entry = page("a").split_once(r#""manifests":["#).unwrap().1.strip_suffix("]}").unwrap().to_owned();
            let entries = vec![entry; if long { 1 } else { 1001 }].join(",");
            let body = format!(r#"{{"schemaVersion":2,"annotations":{{"x":"{note}"}},"manifests":[{entries}]}}"#);
            reply(200, &[("link", &next)], body)
        })
        .await;
        for (name, says, requests) in [("long", "of more than 16 MiB", 6), ("many", "with more than 10000 entries", 10)]
        {
            let (_, repository) = server.repository(name, Settings::default());
            let text = repository.referrers(&Digest::sha256(b"")).await.unwrap_err().to_string();
            assert!(text.starts_with("list of referrers of ") && text.ends_with(says), "{text}");
            let asked = server.seen().iter().filter(|seen| seen.target.contains(name)).count();
            assert_eq!(asked, requests);
        }
    }

    #[tokio::test]
    async fn a_host_without_the_list_is_asked_once() {
        let server = Server::start(|_| reply(404, &[], "404 page not found")).await;
        let (registries, repository) = server.repository("app", Settings::default());
        assert_eq!(repository.referrers(&Digest::sha256(b"a")).await.unwrap(), None);
        let other = registries.repository(&server.host(), &"other".parse().unwrap());
        assert_eq!(other.referrers(&Digest::sha256(b"b")).await.unwrap(), None);
        assert_eq!(server.seen().iter().filter(|seen| seen.target.contains("/referrers/")).count(), 1);
    }

    #[tokio::test]
    async fn only_not_found_means_none() {
        for (status, fault) in
            [(401, Fault::Denied), (403, Fault::Denied), (429, Fault::Busy(None)), (500, Fault::Unreachable)]
        {
            let server = Server::start(move |_| reply(status, &[], "")).await;
            let (_, repository) = server.repository("app", Settings::default());
            let error = repository.referrers(&Digest::sha256(b"")).await.unwrap_err();
            assert_eq!(error.fault(), fault, "{error}");
        }
        let server = Server::start(|_| reply(200, &[], "<html>")).await;
        let (_, repository) = server.repository("app", Settings::default());
        let error = repository.referrers(&Digest::sha256(b"")).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Rejected, "{error}");
    }
}
