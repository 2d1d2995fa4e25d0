//! Lists: the tags of a repository and the repositories, in pages where a client asks for them.
//!
//! A page is asked for with `n` and `last`, and tells with a `Link` header that there are more
//! (distribution-spec, "Listing Tags"). The order is total, so that pages of a list that changes
//! meanwhile neither repeat nor lose what stays.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LINK};
use serde_json::json;
use url::form_urlencoded;

use super::answer::{Answer, Refusal, json_response};
use super::body::blocking;
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
        let mut page = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "n" => page.limit = Some(value.parse().map_err(|_| invalid_number(&value))?),
                "last" if !value.is_empty() => page.after = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(page)
    }

    /// Sorts a list and cuts the page out of it; says whether there is more behind it.
    fn cut<K: Ord>(&self, mut list: Vec<String>, key: impl Fn(&str) -> K) -> (Vec<String>, bool) {
        list.sort_by_cached_key(|entry| key(entry));
        if let Some(after) = &self.after {
            let after = key(after);
            list.retain(|entry| key(entry) > after);
        }
        let more = self.limit.is_some_and(|limit| limit < list.len());
        list.truncate(self.limit.unwrap_or(usize::MAX));
        (list, more)
    }
}

fn invalid_number(value: &str) -> Refusal {
    let message = format!("n={value:?} is not a number of entries: use a whole number from 0 on");
    Refusal::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
}

/// Answers with the tags of a repository.
pub(super) async fn tags(repositories: Arc<dyn Repositories>, name: RepositoryName, query: Option<&str>) -> Answer {
    let page = Page::parse(query)?;
    let asked = name.clone();
    let tags = blocking(move || repositories.tags(&asked)).await;
    let tags = tags.map_err(|cause| Refusal::failed(format!("cannot list the tags of {name}"), cause))?;
    let tags = tags.ok_or_else(|| Refusal::name_unknown(&name))?;
    let tags = tags.iter().map(|tag| tag.as_str().to_owned()).collect();
    // The specification wants an order without regard to case; the tag itself makes it total.
    let (tags, more) = page.cut(tags, |tag| (tag.to_ascii_lowercase(), tag.to_owned()));
    let link = next(&format!("/v2/{name}/tags/list"), &page, &tags, more);
    Ok(listed(&json!({ "name": name, "tags": tags }), link))
}

/// Answers with the names of the repositories.
pub(super) async fn catalog(repositories: Arc<dyn Repositories>, query: Option<&str>) -> Answer {
    let page = Page::parse(query)?;
    let names = blocking(move || repositories.names()).await;
    let names = names.map_err(|cause| Refusal::failed("cannot list the repositories", cause))?;
    let names = names.iter().map(|name| name.as_str().to_owned()).collect();
    let (names, more) = page.cut(names, str::to_owned);
    let link = next("/v2/_catalog", &page, &names, more);
    Ok(listed(&json!({ "repositories": names }), link))
}

/// The value of the `Link` header (RFC 8288) that leads to the next page, if there is one.
fn next(path: &str, page: &Page, entries: &[String], more: bool) -> Option<String> {
    let (limit, last) = (page.limit?, entries.last()?);
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("n", &limit.to_string())
        .append_pair("last", last)
        .finish();
    more.then(|| format!("<{path}?{query}>; rel=\"next\""))
}

fn listed(document: &serde_json::Value, link: Option<String>) -> hyper::Response<super::body::Body> {
    let mut response = json_response(StatusCode::OK, document);
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    response
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
        let cut = |query: &str| page(query).cut(all.clone(), key);
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cut(""), (list("1 A a b C"), false));
        assert_eq!(cut("n=2"), (list("1 A"), true));
        assert_eq!(cut("n=2&last=A"), (list("a b"), true));
        assert_eq!(cut("n=2&last=b"), (list("C"), false));
        assert_eq!(cut("n=5"), (list("1 A a b C"), false));
        assert_eq!(cut("last=aa"), (list("b C"), false));
        assert_eq!(cut("n=0").0, list(""));
    }

    #[test]
    fn zero_entries_lead_nowhere() {
        let page = page("n=0");
        let (entries, more) = page.cut(vec!["a".to_owned()], str::to_owned);
        assert_eq!(next("/x", &page, &entries, more), None);
    }
}
