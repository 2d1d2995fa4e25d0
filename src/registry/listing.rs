//! Lists that a registry gives in pages: tags and repositories (OCI distribution-spec, "Content Discovery").

use std::str::FromStr;

use reqwest::header::LINK;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Registries;
use super::auth::Access;
use super::client::Request;
use super::error::RegistryError;
use super::host::{Connection, Host};
use super::repository::Repository;
use super::response::Response;
use super::subject::Subject;
use crate::oci::{RepositoryName, Tag};
use crate::secret::redacted;

/// The largest page that is read.
const PAGE_LIMIT: usize = 32 * 1024 * 1024;
/// How many pages are read, against registries that never come to an end. Tests cannot wait for so many.
const PAGES: usize = if cfg!(test) { 100 } else { 100_000 };
/// What is said of a list with more of them.
const ENDLESS: &str = "with more pages than any list has";

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
    repositories: Option<Vec<String>>,
}

impl Registries {
    /// Asks whether the registry speaks the API and takes the credentials.
    pub async fn ping(&self, host: &str) -> Result<(), RegistryError> {
        let host = self.whole_host(host)?;
        let url = host.connection().await?.url("/v2/");
        let request = Request::new(Method::GET, url, Subject::Api(host.name.clone()));
        host.send(request).await?.accept(&[StatusCode::OK]).await?.drain().await;
        Ok(())
    }

    /// All tags of a repository at the registry itself, in its order. What is no valid tag is left out.
    pub async fn tags(&self, host: &str, name: &RepositoryName) -> Result<Vec<Tag>, RegistryError> {
        self.repository(host, name).tags().await
    }

    /// All repositories of a registry, in its order. What is no valid name is left out.
    pub async fn catalog(&self, host: &str) -> Result<Vec<RepositoryName>, RegistryError> {
        let host = self.whole_host(host)?;
        let url = host.connection().await?.url("/v2/_catalog");
        let subject = Subject::Catalog(host.name.clone());
        let request = Request::new(Method::GET, url, subject).access(Access::catalog());
        host.list(request, |page| page.repositories).await
    }
}

impl Repository {
    /// All tags, in the order of the registry or mirror that lists them. What is no valid tag is left out.
    pub async fn tags(&self) -> Result<Vec<Tag>, RegistryError> {
        let Some(routes) = &self.routes else { return self.own_tags().await };
        let mut attempts = routes.attempts(false);
        while let Some(repository) = attempts.next() {
            match repository.own_tags().await {
                Ok(found) => return Ok(found),
                Err(error) => attempts.failed(error),
            }
        }
        Err(attempts.error())
    }

    async fn own_tags(&self) -> Result<Vec<Tag>, RegistryError> {
        let request = Request::new(Method::GET, self.url("tags/list").await?, Subject::Tags(self.place.clone()));
        self.host.list(request.access(Access::pull(&self.name)), |page| page.tags).await
    }
}

impl Host {
    /// Reads a list page by page.
    async fn list<T: FromStr>(
        &self,
        first: Request,
        names: impl Fn(Page) -> Option<Vec<String>>,
    ) -> Result<Vec<T>, RegistryError> {
        let connection = self.connection().await?;
        let (mut pages, subject, access) = (Pages::from(first.url), first.subject, first.access);
        let mut found = Vec::new();
        loop {
            let request = Request::new(Method::GET, pages.url.clone(), subject.clone()).access(access.clone());
            let response = self.send(request).await?.accept(&[StatusCode::OK]).await?;
            let is_last = !pages.turn(&response, connection)?;
            let error = response.protocol_error("with something that is no list");
            let page = response.bytes(PAGE_LIMIT).await?.and_then(|body| serde_json::from_slice(&body).ok());
            let listed = names(page.ok_or(error)?).unwrap_or_default();
            found.extend(listed.iter().filter_map(|name| name.parse().ok()));
            if is_last {
                return Ok(found);
            }
        }
    }
}

/// The way through the pages of a list. Of a list that goes on where it cannot be followed the end is not known, and a
/// part of it must not be taken for all.
pub(super) struct Pages {
    /// The page to ask for.
    pub(super) url: Url,
    read: usize,
}

impl From<Url> for Pages {
    fn from(url: Url) -> Self {
        Self { url, read: 0 }
    }
}

impl Pages {
    /// Goes on to the page that a `Link` header with `rel="next"` points to (RFC 8288); says whether there is one.
    pub(super) fn turn(&mut self, response: &Response, connection: &Connection) -> Result<bool, RegistryError> {
        let mut links = response.headers.get_all(LINK).iter().map(|link| String::from_utf8_lossy(link.as_bytes()));
        let Some(target) = links.find_map(|link| Some(targets(&link).next()?.to_owned())) else {
            return Ok(false);
        };
        let nowhere = |_| response.protocol_error("with a link to a next page that leads nowhere");
        let next = connection.at_registry(self.url.join(&target).map_err(nowhere)?);
        // Some registries name the last page as the one that comes after it.
        if next == self.url {
            return Ok(false);
        }
        if !connection.is_own(&next) {
            let problem = format!("with a list that goes on at {}, which is not this registry", redacted(&next));
            return Err(response.protocol_error(&problem));
        }
        self.read += 1;
        if self.read == PAGES {
            return Err(response.protocol_error(ENDLESS));
        }
        self.url = next;
        Ok(true)
    }
}

/// The targets of the links in a header that lead to a next page.
fn targets(header: &str) -> impl Iterator<Item = &str> {
    header.split('<').filter_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let next = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_end_matches(',').trim().trim_matches('"').eq_ignore_ascii_case("next")
        };
        parameters.split(';').any(next).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::testing::{Server, reply};
    use super::*;

    fn next(header: &str) -> Option<&str> {
        targets(header).next()
    }

    #[test]
    fn finds_the_next_page() {
        assert_eq!(next(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#), Some("/v2/a/tags/list?last=b&n=2"));
        assert_eq!(next("<https://r.example/x>;title=a;rel=next"), Some("https://r.example/x"));
        assert_eq!(next(r#"</a>; rel="prev", </b,c>; rel="next", </d>; rel="last""#), Some("/b,c"));
        for header in ["", "</a>", r#"</a>; rel="prev""#, "/a; rel=next", "<<<>>>", "</a; rel=next"] {
            assert_eq!(next(header), None, "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_list_that_goes_on_where_nobody_may_follow_has_no_known_end() {
        let server = Server::start(|seen| {
            let port = seen.header("host").rsplit(':').next().unwrap_or_default().to_owned();
            match seen.target.as_str() {
                "/v2/other/tags/list" => {
                    let link = format!("<http://localhost:{port}/v2/other/tags/list?last=y&secret=x>; rel=next");
                    reply(200, &[("link", &link)], r#"{"tags":["x","y"]}"#)
                }
                "/v2/none/tags/list" => reply(200, &[("link", "<http://[>; rel=next")], r#"{"tags":["x"]}"#),
                _ => reply(200, &[("link", "<https://127.0.0.1/>; rel=next")], r#"{"repositories":["a"]}"#),
            }
        })
        .await;
        let registries = Registries::new(Settings::default());
        let tags = async |name: &str| registries.tags(&server.host(), &name.parse().unwrap()).await.unwrap_err();
        let error = tags("other").await;
        let (text, port) = (error.to_string(), server.address.port());
        assert!(text.starts_with("list of tags in "), "{text}");
        assert!(text.contains(&format!("with a list that goes on at http://localhost:{port}/")), "{text}");
        assert!(text.ends_with(", which is not this registry") && !text.contains("secret=x"), "{text}");
        assert_eq!(error.fault(), crate::endpoint::Fault::Rejected);
        let text = tags("none").await.to_string();
        assert!(text.ends_with("answered with a link to a next page that leads nowhere"), "{text}");
        registries.catalog(&server.host()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_no_list() {
        let pages = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::start(move |_| {
            let page = pages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            reply(200, &[("link", &format!("<?page={page}>; rel=next"))], r#"{"tags":["x"]}"#)
        })
        .await;
        let (_, repository) = server.repository("app", Settings::default());
        let text = repository.tags().await.unwrap_err().to_string();
        assert!(text.ends_with(ENDLESS), "{text}");
        assert_eq!(server.seen().iter().filter(|seen| seen.target.contains("/tags/list")).count(), PAGES);
    }

    #[tokio::test]
    async fn lists_are_read_to_the_end() {
        let server = Server::start(|seen| match seen.target.as_str() {
            "/v2/a/tags/list" => {
                reply(200, &[("link", "</v2/a/tags/list?last=y>; rel=\"next\"")], r#"{"tags":["x","y"]}"#)
            }
            "/v2/a/tags/list?last=y" => reply(200, &[("link", "<?last=y>; rel=next")], r#"{"tags":["z","not a tag"]}"#),
            "/v2/empty/tags/list" => reply(200, &[], r#"{"name":"empty","tags":null}"#),
            "/v2/_catalog" => reply(200, &[], r#"{"repositories":["b","a/c"]}"#),
            _ => reply(200, &[], "<html>"),
        })
        .await;
        let registries = Registries::new(Settings::default());
        let tags = async |name: &str| {
            let tags = registries.tags(&server.host(), &name.parse().unwrap()).await;
            tags.map(|tags| tags.iter().map(Tag::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(tags("a").await.unwrap(), "x y z");
        assert_eq!(tags("empty").await.unwrap(), "");
        let error = tags("other").await.unwrap_err().to_string();
        assert!(error.ends_with("answered with something that is no list"), "{error}");
        let names = registries.catalog(&server.host()).await.unwrap();
        assert_eq!(names.iter().map(RepositoryName::as_str).collect::<Vec<_>>(), ["b", "a/c"]);
        registries.ping(&server.host()).await.unwrap();
    }
}
