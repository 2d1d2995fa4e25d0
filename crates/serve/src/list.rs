//! Lists: the tags of a repository and the repositories, in pages where a client asks for them.
//!
//! A page is asked for with `n` and `last`, and tells with a `Link` header that there are more
//! (distribution-spec, "Listing Tags"). The order is total, so that pages of a list that changes
//! meanwhile neither repeat nor lose what stays.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::LINK;
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{Answer, Refusal, blocking, json, parameter};
use super::repositories::Repositories;
use hod_oci::RepositoryName;

/// Which part of a list is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    /// How many entries at the most; all, where the client does not say.
    limit: Option<usize>,
    /// The entry after which the page begins; it need not exist.
    after: Option<String>,
}

impl Page {
    fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let limit = parameter(query, "n").map(|limit| {
            limit.parse().map_err(|_| {
                let message = format!("n={limit:?} is not a number of entries: use a whole number from 0 on");
                Refusal::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
            })
        });
        let after = parameter(query, "last").filter(|last| !last.is_empty());
        Ok(Self { limit: limit.transpose()?, after })
    }

    /// Sorts a list and cuts the page out of it; says what leads to the next one, if there is more.
    fn cut<K: Ord>(&self, path: &str, mut list: Vec<String>, key: impl Fn(&str) -> K) -> (Vec<String>, Option<String>) {
        list.sort_by_cached_key(|entry| key(entry));
        if let Some(after) = &self.after {
            let after = key(after);
            list.retain(|entry| key(entry) > after);
        }
        let Some(limit) = self.limit.filter(|limit| *limit < list.len()) else { return (list, None) };
        list.truncate(limit);
        // The value of a `Link` header (RFC 8288).
        let link = list.last().map(|last| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            let query = query.append_pair("n", &limit.to_string()).append_pair("last", last).finish();
            format!("<{path}?{query}>; rel=\"next\"")
        });
        (list, link)
    }
}

/// Answers with the tags of a repository.
pub(super) async fn tags(repositories: Arc<dyn Repositories>, name: RepositoryName, query: Option<&str>) -> Answer {
    let page = Page::parse(query)?;
    blocking(format!("cannot list the tags of {name}"), move || {
        let tags = repositories.tags(&name)?.ok_or_else(|| Refusal::name_unknown(&name))?;
        let tags = tags.iter().map(|tag| tag.as_str().to_owned()).collect();
        // The specification wants an order without regard to case; the tag itself makes it total.
        let key = |tag: &str| (tag.to_ascii_lowercase(), tag.to_owned());
        let (tags, link) = page.cut(&format!("/v2/{name}/tags/list"), tags, key);
        Ok(listed(link, &json!({ "name": name, "tags": tags })))
    })
    .await
}

/// Answers with the names of the repositories.
pub(super) async fn catalog(repositories: Arc<dyn Repositories>, query: Option<&str>) -> Answer {
    let page = Page::parse(query)?;
    blocking("cannot list the repositories".to_owned(), move || {
        let names = repositories.names()?.iter().map(|name| name.as_str().to_owned()).collect();
        let (names, link) = page.cut("/v2/_catalog", names, str::to_owned);
        Ok(listed(link, &json!({ "repositories": names })))
    })
    .await
}

fn listed(link: Option<String>, document: &Value) -> Response {
    (AppendHeaders(link.map(|link| (LINK, link))), json(document)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Page {
        Page::parse(Some(query)).unwrap()
    }

    #[test]
    fn reads_the_query() {
        assert_eq!(page(""), Page::default());
        assert_eq!(page("n=3&last=a%2Fb&x=y"), Page { limit: Some(3), after: Some("a/b".into()) });
        assert_eq!(page("n=0&last="), Page { limit: Some(0), after: None });
        for query in ["n=", "n=-1", "n=x", "n=1.5", "n=99999999999999999999999"] {
            assert!(Page::parse(Some(query)).is_err(), "{query} was accepted");
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let all: Vec<String> = ["b", "A", "a", "C", "1"].map(str::to_owned).to_vec();
        let key = |tag: &str| (tag.to_ascii_lowercase(), tag.to_owned());
        let cut = |query: &str| {
            let (list, link) = page(query).cut("/x", all.clone(), key);
            (list.join(" "), link.unwrap_or_default())
        };
        for (query, list, link) in [
            ("", "1 A a b C", ""),
            ("n=2", "1 A", "</x?n=2&last=A>; rel=\"next\""),
            ("n=2&last=A", "a b", "</x?n=2&last=b>; rel=\"next\""),
            ("n=2&last=b", "C", ""),
            ("n=5", "1 A a b C", ""),
            ("last=aa", "b C", ""),
            // Zero entries lead nowhere.
            ("n=0", "", ""),
        ] {
            assert_eq!(cut(query), (list.to_owned(), link.to_owned()), "{query}");
        }
    }
}
