//! Reads paged lists within limits (RFC 8288, `Link` with `rel="next"`).
//!
//! A registry decides how many pages there are, how long they are, and where each leads. So all of a list is bounded,
//! and not only each page of it. Of a list that goes on where it cannot be followed the end is not known, and a part of
//! it must not be taken for all.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use reqwest::header::LINK;
use url::Url;

use super::connection::Connection;
use super::endless::ListProblem;
use super::error::RegistryError;
use super::response::Response;

/// How many pages without anything in them may follow one another: some registries filter a page after cutting it.
const EMPTY_PAGES: usize = 100;

/// How much of a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// Requests.
    pub(super) pages: usize,
    /// The bytes of all pages.
    pub(super) bytes: usize,
    /// The entries of all pages.
    pub(super) entries: usize,
}

impl Limit {
    /// For lists that are wanted whole. The largest repositories have some hundred thousand tags; tests cannot wait for
    /// so many pages.
    pub(super) const WHOLE: Self =
        Self { pages: if cfg!(test) { 200 } else { 10_000 }, bytes: 32 * 1024 * 1024, entries: 500_000 };
    /// For lists in which little is looked for that can be asked for by name, too.
    pub(super) const SEARCH: Self = Self { pages: 100, bytes: 4 * 1024 * 1024, entries: usize::MAX };
    /// For lists of referrers, each of which is an image index.
    pub(super) const REFERRERS: Self = Self { pages: 1000, bytes: 16 * 1024 * 1024, entries: 10_000 };
}

/// The way through the pages of a list.
pub(super) struct Pages {
    /// The page to ask for.
    pub(super) url: Url,
    limit: Limit,
    /// The pages that were read, by a hash: their addresses may be long.
    read: HashSet<u64>,
    hasher: RandomState,
    bytes: usize,
    entries: usize,
    empty: usize,
}

impl Pages {
    /// The way that begins here.
    pub(super) fn new(url: Url, limit: Limit) -> Self {
        let (read, hasher, bytes, entries, empty) = Default::default();
        Self { url, limit, read, hasher, bytes, entries, empty }
    }

    /// Goes on to the next page, if an answer names one. To be called before [`Pages::body`] takes the answer.
    pub(super) fn turn(&mut self, response: &Response, connection: &Connection) -> Result<bool, RegistryError> {
        let mut links = response.headers.get_all(LINK).iter().map(|link| String::from_utf8_lossy(link.as_bytes()));
        let Some(target) = links.find_map(|link| Some(next_page(&link)?.to_owned())) else {
            return Ok(false);
        };
        let nowhere = |_| response.protocol_error("with an invalid link to the next page");
        let next = connection.at_registry(self.url.join(&target).map_err(nowhere)?);
        // Some registries name the last page as the one that comes after it.
        if next == self.url {
            return Ok(false);
        }
        // Behind a proxy, a registry may not know its own name: its pages are where its list is.
        let next = if connection.is_own(&next) { next } else { at(&connection.base, &next) };
        self.read.insert(self.hasher.hash_one(self.url.as_str()));
        if self.read.len() >= self.limit.pages {
            return Err(response.endless(ListProblem::Pages(self.limit.pages)));
        }
        if self.read.contains(&self.hasher.hash_one(next.as_str())) {
            return Err(response.endless(ListProblem::Circle));
        }
        self.url = next;
        Ok(true)
    }

    /// The body of a page, as far as the list may be that long; `page` is the most that one page has.
    pub(super) async fn body(&mut self, response: Response, page: usize) -> Result<Option<Bytes>, RegistryError> {
        let left = self.limit.bytes.saturating_sub(self.bytes);
        let endless = response.endless(ListProblem::Bytes(self.limit.bytes));
        match response.bytes(page.min(left)).await? {
            Some(body) => {
                self.bytes += body.len();
                Ok(Some(body))
            }
            None if left <= page => Err(endless),
            None => Ok(None),
        }
    }

    /// How many entries the next page may have.
    pub(super) const fn room(&self) -> usize {
        self.limit.entries.saturating_sub(self.entries)
    }

    /// Counts the entries of a page, of which there may be more than there is room for.
    pub(super) fn count(&mut self, entries: usize) -> Result<(), ListProblem> {
        if entries > self.room() {
            return Err(ListProblem::Entries(self.limit.entries));
        }
        self.entries += entries;
        self.empty = if entries == 0 { self.empty + 1 } else { 0 };
        if self.empty >= EMPTY_PAGES { Err(ListProblem::Empty(EMPTY_PAGES)) } else { Ok(()) }
    }
}

/// The path and query of an address, at another host.
fn at(base: &Url, address: &Url) -> Url {
    let mut url = base.clone();
    url.set_path(address.path());
    url.set_query(address.query());
    url
}

/// The next page that a `Link` header names.
///
/// It is public for the fuzzer, since only a network leads to it otherwise.
pub fn next_page(header: &str) -> Option<&str> {
    targets(header).next()
}

/// The targets of the links in a header that lead to a next page. A link may have several relations (RFC 8288, section
/// 3.3); some registries give it none.
fn targets(header: &str) -> impl Iterator<Item = &str> {
    header.split('<').filter_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let relations = |parameter: &str| {
            let (name, value) = parameter.split_once('=')?;
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel").then(|| value.to_ascii_lowercase())
        };
        let relations = parameters.split(';').find_map(relations);
        relations.is_none_or(|all| all.split_ascii_whitespace().any(|one| one == "next")).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        let next = next_page;
        assert_eq!(next(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#), Some("/v2/a/tags/list?last=b&n=2"));
        assert_eq!(next("<https://r.example/x>;title=a;rel=next"), Some("https://r.example/x"));
        assert_eq!(next(r#"</a>; rel="prev", </b,c>; rel="next", </d>; rel="last""#), Some("/b,c"));
        for several in [r#"</b>; rel="next last""#, r#"</b>; rel="last NEXT""#, "</b>", "</b>; title=x", "</b>;"] {
            assert_eq!(next(several), Some("/b"), "{several}");
        }
        assert_eq!(next(r#"</a>; rel="prev first", </b>; rel=next"#), Some("/b"));
        for header in ["", r#"</a>; rel="prev""#, r#"</a>; rel="nextish""#, "/a; rel=next", "</a; rel=next"] {
            assert_eq!(next(header), None, "{header:?}");
        }
    }
}
