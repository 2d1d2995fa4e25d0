//! The page at `/`: what there is and how to pull it, in one document without scripts or other resources.
//!
//! The template escapes whatever was stored or sent, and the page may load nothing, whatever is in it.

use std::sync::Arc;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::IntoResponse as _;
use bytesize::ByteSize;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::answer::{Answer, blocking};
use super::overview::{Image, Overview};
use super::repositories::Repositories;
use hod_engine::count;
use hod_oci::Tag;

const STYLE: &str = include_str!("page.css");

/// What the page may do: be styled by itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers with the page. `host` is what the client calls this server.
pub(super) async fn page(repositories: Arc<dyn Repositories>, host: String) -> Answer {
    blocking("cannot list the images".to_owned(), move || {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
        ];
        Ok((headers, document(&Overview::of(&*repositories)?, &host).into_string()).into_response())
    })
    .await
}

fn document(overview: &Overview, host: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "Images on " (host) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Images on " (host) }
                p {
                    (count(overview.images.len(), "image")) ", " (bytes(overview.bytes)) " in all"
                    @if overview.attachments > 0 {
                        ", and " (count(overview.attachments, "tag")) " of attachments such as signatures"
                    }
                }
                @for image in &overview.images { (entry(image, host)) }
                @if overview.images.is_empty() { p { "There is nothing to pull yet." } }
            }
        }
    }
}

/// One image: a line, and below it what one needs to pull it.
fn entry(image: &Image, host: &str) -> Markup {
    let Image { name, digest, shared, .. } = image;
    let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
    let platforms: Vec<&str> = image.platforms.iter().map(String::as_str).collect();
    let reference = match tags.first() {
        Some(tag) => format!("{host}/{name}:{tag}"),
        None => format!("{host}/{name}@{digest}"),
    };
    html! {
        details {
            summary { b { (name) } span.tags { (tags.join(", ")) } span { (bytes(image.bytes)) } }
            dl {
                @match &image.artifact {
                    Some(kind) => { dt { "Kind" } dd { (kind) } }
                    None => { dt { "Platforms" } dd { (platforms.join(", ")) } }
                }
                dt { "Digest" } dd { code { (digest) } }
                @if *shared > 0 {
                    dt { "Shared" }
                    dd { (bytes(*shared)) " with other images here; " (bytes(image.bytes.saturating_sub(*shared))) " of its own" }
                }
                @if image.partial { dt { "Note" } dd { "parts of it are not here, such as other platforms" } }
                @if image.artifact.is_none() {
                    dt { "Docker" } dd { code { "docker pull " (reference) } }
                    dt { "podman" } dd { code { "podman pull " (reference) } }
                    dt { "containerd" } dd { code { "ctr images pull " (reference) } }
                }
                dt { "skopeo" } dd { code { "skopeo copy --all docker://" (reference) " dir:image" } }
            }
        }
    }
}

fn bytes(count: u64) -> String {
    ByteSize::b(count).display().si().to_string()
}
