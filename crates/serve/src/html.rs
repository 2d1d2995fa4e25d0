//! Pieces of HTML that all pages share: the frame, links, sizes, commands to copy.
//!
//! The template escapes all stored and sent text. The policy lets a page run its own script and style only.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytesize::ByteSize;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use url::form_urlencoded::Serializer;

use super::site::{Access, Site};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A page may use its style and its script, by their hashes, and search on this server. It may do nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// A page with its title and the text of the search field.
pub(super) struct Document<'a> {
    pub(super) site: &'a Site,
    pub(super) title: &'a str,
    pub(super) words: &'a str,
    pub(super) main: Markup,
}

impl Document<'_> {
    /// The page as an answer.
    pub(super) fn answer(self, status: StatusCode) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY.as_str()),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
        ];
        (status, headers, self.markup().into_string()).into_response()
    }

    fn markup(self) -> Markup {
        let Self { site, title, words, main } = self;
        let access = match site.access {
            Access::ReadOnly => "read-only",
            Access::Writable => "writable",
            Access::Deletable => "writable, with deletes",
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width,initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        a.home href="?" { "Images on " (site.host) }
                        span.badge { (access) }
                        form method="get" role="search" {
                            input type="search" name="q" value=(words) placeholder="Repository, tag or group" aria-label="Search images" autocomplete="off" maxlength="200";
                            button type="submit" { "Search" }
                        }
                    }
                    main { (main) }
                    footer { "hod " (VERSION) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }
}

/// A link to another page of this server. Parameters without a value are left out.
pub(super) fn link(parameters: &[(&str, &str)]) -> String {
    let mut query = Serializer::for_suffix(String::from("?"), 1);
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}

/// A command or another text that people copy.
pub(super) fn copied(text: &str) -> Markup {
    html! { code.copy { (text) } }
}

/// The page before and the page after, if there are any. `parameters` are the other parts of the link.
pub(super) fn pages(parameters: &[(&str, &str)], pages: &Pages) -> Markup {
    let to = |page: usize| {
        let page = page.to_string();
        link(&[parameters, &[("page", page.as_str())]].concat())
    };
    html! {
        @if pages.count() > 1 {
            nav.pages aria-label="Pages" {
                @if pages.page > 1 { a rel="prev" href=(to(pages.page - 1)) { "Previous" } }
                span { "Page " (pages.page) " of " (pages.count()) }
                @if pages.page < pages.count() { a rel="next" href=(to(pages.page + 1)) { "Next" } }
            }
        }
    }
}

/// A long list in pages, of which one is shown.
pub(super) struct Pages {
    total: usize,
    size: usize,
    page: usize,
}

impl Pages {
    /// The page that a client asks for; the first or last one if there is no such page.
    pub(super) fn new(total: usize, size: usize, wanted: Option<&str>) -> Self {
        let page = wanted.and_then(|page| page.parse().ok()).unwrap_or(1);
        Self { total, size, page: page.clamp(1, total.div_ceil(size).max(1)) }
    }

    /// The items of the page.
    pub(super) fn of<'a, T>(&self, items: &'a [T]) -> &'a [T] {
        let start = (self.page - 1) * self.size;
        items.get(start..items.len().min(start + self.size)).unwrap_or_default()
    }

    const fn count(&self) -> usize {
        self.total.div_ceil(self.size)
    }
}

/// A number of bytes as people read it.
pub(super) fn bytes(count: u64) -> String {
    ByteSize::b(count).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_stay_in_their_range() {
        let items: Vec<usize> = (0..25).collect();
        for (wanted, first, count) in [
            (None, 0, 10),
            (Some("2"), 10, 10),
            (Some("3"), 20, 5),
            (Some("9"), 20, 5),
            (Some("0"), 0, 10),
            (Some("x"), 0, 10),
        ] {
            let shown = Pages::new(items.len(), 10, wanted).of(&items).to_vec();
            assert_eq!((shown[0], shown.len()), (first, count), "{wanted:?}");
        }
        assert!(Pages::new(0, 10, Some("4")).of(&items[..0]).is_empty());
    }

    #[test]
    fn links_are_encoded() {
        assert_eq!(link(&[("q", "a b&c"), ("group", ""), ("page", "2")]), "?q=a+b%26c&page=2");
    }
}
