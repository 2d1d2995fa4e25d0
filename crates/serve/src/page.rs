//! The page at `/`: what there is and how to pull it, in one document without scripts or other resources.
//!
//! Names and tags are safe by their grammar; everything else that was stored or sent is escaped, and the
//! page may load nothing, whatever is in it.

use std::fmt::Write as _;
use std::sync::Arc;

use bytesize::ByteSize;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

use super::answer::{Answer, Refusal, finish, response};
use super::body::{Body, blocking};
use super::overview::{Image, Overview};
use super::repositories::Repositories;
use hod_engine::count;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--dim:light-dark(#5a6472,#9aa5b1);--code:light-dark(#f2f4f7,#1d232b);\
--link:light-dark(#8a3b12,#f0a878)}\
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem;\
background:light-dark(#fff,#12161b);color:light-dark(#1b222b,#dde4ec)}\
h1{font-size:1.4rem;margin:0}p{margin:.3rem 0 1rem;color:var(--dim)}\
details{border-top:1px solid var(--line);padding:.55rem 0}details:last-of-type{border-bottom:1px solid var(--line)}\
summary{cursor:pointer;display:flex;flex-wrap:wrap;gap:.2rem 1rem;align-items:baseline}\
summary b{flex:1 1 16rem;overflow-wrap:anywhere;color:var(--link)}summary span{color:var(--dim);white-space:nowrap}summary span:last-child{min-width:6rem;text-align:right}\
summary::before{content:\"\\25b8\";color:var(--dim);width:.6rem}details[open]>summary::before{content:\"\\25be\"}\
summary .tags{flex:2 1 12rem;white-space:normal;overflow-wrap:anywhere}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem;margin:.7rem 0 .4rem}dt{color:var(--dim)}\
dd{margin:0;overflow-wrap:anywhere}\
code{font:.875rem/1.5 ui-monospace,monospace;background:var(--code);padding:.1rem .35rem;border-radius:4px;\
user-select:all;overflow-wrap:anywhere}\
@media(max-width:34rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}";

/// Answers with the page. `host` is what the client calls this server.
pub(super) async fn page(repositories: Arc<dyn Repositories>, host: String, head: bool) -> Answer {
    let overview = blocking(move || Overview::of(&*repositories)).await;
    let overview = overview.map_err(|cause| Refusal::failed("cannot list the images", cause))?;
    let text = html(&overview, &host);
    let head_of = response(StatusCode::OK)
        .header(CONTENT_TYPE, "text/html; charset=utf-8")
        .header(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        .header(REFERRER_POLICY, "no-referrer")
        .header(CACHE_CONTROL, "no-cache")
        .header(CONTENT_LENGTH, text.len());
    Ok(finish(head_of, if head { Body::empty() } else { Body::bytes(text.into()) }))
}

fn html(overview: &Overview, host: &str) -> String {
    let host = escaped(host);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Images on {host}</title><style>{STYLE}</style></head><body>\n<h1>Images on {host}</h1>\n<p>{}, {} in all{}</p>\n",
        count(overview.images.len(), "image"),
        bytes(overview.bytes),
        match overview.attachments {
            0 => String::new(),
            number => format!(", and {} of attachments such as signatures", count(number, "tag")),
        },
    );
    for image in &overview.images {
        entry(&mut text, image, &host);
    }
    if overview.images.is_empty() {
        text.push_str("<p>There is nothing to pull yet.</p>\n");
    }
    text.push_str("</body></html>\n");
    text
}

/// One image: a line, and below it what one needs to pull it.
fn entry(text: &mut String, image: &Image, host: &str) {
    let (name, digest) = (&image.name, &image.digest);
    let tags: Vec<&str> = image.tags.iter().map(hod_oci::Tag::as_str).collect();
    let reference = match tags.first() {
        Some(tag) => format!("{host}/{name}:{tag}"),
        None => format!("{host}/{name}@{digest}"),
    };
    let _ = write!(
        text,
        "<details><summary><b>{name}</b><span class=\"tags\">{}</span><span>{}</span></summary><dl>",
        tags.join(", "),
        bytes(image.bytes)
    );
    let mut row = |head: &str, value: &str| {
        let _ = write!(text, "<dt>{head}</dt><dd>{value}</dd>");
    };
    match &image.artifact {
        Some(kind) => row("Kind", &escaped(kind)),
        None => row("Platforms", &escaped(&image.platforms.join(", "))),
    }
    row("Digest", &format!("<code>{digest}</code>"));
    if image.shared > 0 {
        let rest = image.bytes.saturating_sub(image.shared);
        row("Shared", &format!("{} with other images here; {} of its own", bytes(image.shared), bytes(rest)));
    }
    if image.partial {
        row("Note", "parts of it are not here, such as other platforms");
    }
    if image.artifact.is_none() {
        row("Docker", &format!("<code>docker pull {reference}</code>"));
        row("podman", &format!("<code>podman pull {reference}</code>"));
        row("containerd", &format!("<code>ctr images pull {reference}</code>"));
    }
    row("skopeo", &format!("<code>skopeo copy --all docker://{reference} dir:image</code>"));
    text.push_str("</dl></details>\n");
}

fn bytes(count: u64) -> String {
    ByteSize::b(count).display().si().to_string()
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stored_can_add_to_the_page() {
        assert_eq!(escaped("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }
}
