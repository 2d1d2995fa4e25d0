//! Paged lists of a registry: tags and repositories (OCI distribution-spec, "Content Discovery").

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use reqwest::{Method, StatusCode};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Registries;
use super::auth::Access;
use super::error::RegistryError;
use super::host::Host;
use super::pages::{Limit, Pages};
use super::repository::Repository;
use super::request::Request;
use super::subject::Subject;
use hod_oci::{RepositoryName, Tag};

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
        host.list(request, "repositories", Limit::WHOLE, &|_| true).await
    }
}

impl Repository {
    /// All tags, in the order of the registry or mirror that lists them. What is no valid tag is left out.
    pub async fn tags(&self) -> Result<Vec<Tag>, RegistryError> {
        self.tags_by_any_way(Limit::WHOLE, &|_| true).await
    }

    /// The tags that are looked for. In a list that is too long for that, an error says so
    /// ([`RegistryError::Endless`]): then each has to be asked for by its name.
    pub async fn search_tags(&self, wanted: impl Fn(&Tag) -> bool + Sync) -> Result<Vec<Tag>, RegistryError> {
        self.tags_by_any_way(Limit::SEARCH, &wanted).await
    }

    async fn tags_by_any_way(&self, limit: Limit, wanted: EntryFilter<'_, Tag>) -> Result<Vec<Tag>, RegistryError> {
        let Some(routes) = &self.routes else { return self.own_tags(limit, wanted).await };
        let mut attempts = routes.attempts(false);
        while let Some(repository) = attempts.next() {
            match repository.own_tags(limit, wanted).await {
                Ok(found) => return Ok(found),
                Err(error) => attempts.failed(error),
            }
        }
        Err(attempts.error())
    }

    async fn own_tags(&self, limit: Limit, wanted: EntryFilter<'_, Tag>) -> Result<Vec<Tag>, RegistryError> {
        let request = Request::new(Method::GET, self.url("tags/list").await?, Subject::Tags(self.place.clone()));
        self.host.list(request.access(Access::pull(&self.name)), "tags", limit, wanted).await
    }
}

/// Which entries of a list are kept.
type EntryFilter<'a, T> = &'a (dyn Fn(&T) -> bool + Sync);

impl Host {
    /// Reads a list page by page: the names in this field of each.
    async fn list<T: FromStr>(
        &self,
        first: Request,
        field: &'static str,
        limit: Limit,
        wanted: EntryFilter<'_, T>,
    ) -> Result<Vec<T>, RegistryError> {
        let connection = self.connection().await?;
        let (mut pages, subject, access) = (Pages::new(first.url, limit), first.subject, first.access);
        let mut found = Vec::new();
        loop {
            let request = Request::new(Method::GET, pages.url.clone(), subject.clone()).access(access.clone());
            let response = self.send(request).await?.accept(&[StatusCode::OK]).await?;
            let url = pages.url.clone();
            let is_last = !pages.turn(&response, connection)?;
            let error = response.protocol_error("with something other than a list");
            let endless = |problem| RegistryError::endless(&subject, &url, problem);
            let body = pages.body(response, usize::MAX).await?;
            let mut page = Page { field, room: pages.room(), count: 0, found: &mut found, wanted };
            let read = body.is_some_and(|body| page.read(&body));
            let count = page.count;
            if !read && count <= pages.room() {
                return Err(error);
            }
            pages.count(count).map_err(endless)?;
            if is_last {
                return Ok(found);
            }
        }
    }
}

/// A page that is being read. Of its names only those are kept that are wanted: a page may have millions.
struct Page<'a, T> {
    field: &'static str,
    /// How many names there may be.
    room: usize,
    /// How many there were.
    count: usize,
    found: &'a mut Vec<T>,
    wanted: EntryFilter<'a, T>,
}

impl<T: FromStr> Page<'_, T> {
    /// Returns true if it is a list, and not too long.
    fn read(&mut self, body: &[u8]) -> bool {
        let mut json = serde_json::Deserializer::from_slice(body);
        self.deserialize(&mut json).is_ok() && json.end().is_ok()
    }
}

/// The page itself.
impl<'de, T: FromStr> DeserializeSeed<'de> for &mut Page<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T: FromStr> Visitor<'de> for &mut Page<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.field {
                map.next_value_seed(Names(self))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The names on a page, or `null`.
struct Names<'a, 'p, T>(&'a mut Page<'p, T>);

impl<'de, T: FromStr> DeserializeSeed<'de> for Names<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: FromStr> Visitor<'de> for Names<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<(), A::Error> {
        while let Some(name) = names.next_element::<Cow<'de, str>>()? {
            self.0.count += 1;
            if self.0.count > self.0.room {
                return Err(A::Error::custom("too many names"));
            }
            self.0.found.extend(name.parse().ok().filter(self.0.wanted));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::testing::{Server, reply};
    use super::*;

    #[tokio::test]
    async fn a_list_goes_on_at_its_registry_whatever_that_calls_itself() {
        let server = Server::start(|seen| match seen.target.as_str() {
            "/v2/other/tags/list" => {
                let link = "<https://registry.internal/v2/other/tags/list?last=y&n=2>; rel=\"next last\"";
                reply(200, &[("link", link)], r#"{"tags":["x","y"]}"#)
            }
            "/v2/other/tags/list?last=y&n=2" => reply(200, &[], r#"{"tags":["z"]}"#),
            "/v2/none/tags/list" => reply(200, &[("link", "<http://[>; rel=next")], r#"{"tags":["x"]}"#),
            _ => reply(200, &[("link", "<https://127.0.0.1/>; rel=next")], r#"{"repositories":["a"]}"#),
        })
        .await;
        let registries = Registries::new(Settings::default());
        let tags = async |name: &str| registries.tags(&server.host(), &name.parse().unwrap()).await;
        let found: Vec<String> = tags("other").await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["x", "y", "z"]);
        let error = tags("none").await.unwrap_err();
        assert_eq!(error.fault(), hod_engine::endpoint::Fault::Rejected);
        let text = error.to_string();
        assert!(text.starts_with("list of tags in "), "{text}");
        assert!(text.ends_with("answered with an invalid link to the next page"), "{text}");
        registries.catalog(&server.host()).await.unwrap_err();
    }

    /// A registry whose list of tags has this page behind page `number`, at this address.
    async fn endless(page: impl Fn(usize) -> (String, String) + Send + Sync + 'static) -> (Server, String) {
        let server = Server::start(move |seen| {
            let number = seen.target.rsplit('=').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let (next, body) = page(number);
            reply(200, &[("link", &format!("<{next}>; rel=next"))], body)
        })
        .await;
        let (_, repository) = server.repository("app", Settings::default());
        let error = repository.tags().await.unwrap_err();
        assert_eq!(error.fault(), hod_engine::endpoint::Fault::Rejected);
        let text = error.to_string();
        assert!(text.starts_with(&format!("list of tags in {0}/app: {0} returned a list ", server.host())), "{text}");
        (server, text)
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_no_list() {
        let next = |number| format!("?page={}", number + 1);
        let (server, text) = endless(move |number| (next(number), r#"{"tags":["x"]}"#.to_owned())).await;
        assert!(text.ends_with("with more than 200 pages"), "{text}");
        assert_eq!(server.seen().len(), 200);
        let (server, text) = endless(move |number| (next(number), r#"{"tags":[]}"#.to_owned())).await;
        assert!(text.ends_with("with 100 empty pages in a row"), "{text}");
        assert_eq!(server.seen().len(), 100);
        let circle = |number: usize| format!("?page={}", 2 + number % 3);
        let (server, text) = endless(move |number| (circle(number), r#"{"tags":["x"]}"#.to_owned())).await;
        assert!(text.ends_with("whose pages form a loop"), "{text}");
        assert_eq!(server.seen().len(), 4);
    }

    #[tokio::test]
    async fn all_pages_of_a_list_have_one_limit() {
        let next = |number| format!("?page={}", number + 1);
        let long = format!(r#"{{"tags":["x"],"more":"{}"}}"#, "x".repeat(10 << 20));
        let (server, text) = endless(move |number| (next(number), long.clone())).await;
        assert!(text.ends_with("of more than 32 MiB"), "{text}");
        assert_eq!(server.seen().len(), 4);
        let many = format!(r#"{{"tags":[{}"x"]}}"#, r#""x","#.repeat(199_999));
        let (server, text) = endless(move |number| (next(number), many.clone())).await;
        assert!(text.ends_with("with more than 500000 entries"), "{text}");
        assert_eq!(server.seen().len(), 3);
    }

    #[tokio::test]
    async fn a_search_gives_up_sooner_and_keeps_what_it_looks_for() {
        let server = Server::start(|seen| match seen.target.as_str() {
            "/v2/short/tags/list" => reply(200, &[], r#"{"tags":["a","b","a"]}"#),
            _ => reply(200, &[], format!(r#"{{"tags":["a"],"more":"{}"}}"#, "x".repeat(5 << 20))),
        })
        .await;
        let search = async |name: &str| {
            let (_, repository) = server.repository(name, Settings::default());
            repository.search_tags(|tag| tag.as_str() == "a").await
        };
        assert_eq!(search("short").await.unwrap().len(), 2);
        let error = search("long").await.unwrap_err();
        assert!(matches!(error, RegistryError::Endless { .. }), "{error}");
        let (_, repository) = server.repository("long", Settings::default());
        assert_eq!(repository.tags().await.unwrap().len(), 1);
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
        assert!(error.ends_with("answered with something other than a list"), "{error}");
        let names = registries.catalog(&server.host()).await.unwrap();
        assert_eq!(names.iter().map(RepositoryName::as_str).collect::<Vec<_>>(), ["b", "a/c"]);
        registries.ping(&server.host()).await.unwrap();
    }
}
