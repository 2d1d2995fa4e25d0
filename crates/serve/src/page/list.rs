//! The list of repositories, and the list of the tags of one repository.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::super::catalog::{Catalog, Images, Row, Search, Usage, newest_first, untagged};
use super::super::details::read_created;
use super::super::html::{Document, Pages, bytes, link, pages};
use super::super::image::{Image, Kind};
use super::super::site::Version;
use super::context::Context;
use super::setup::setup;
use hod_engine::count;
use hod_engine::endpoint::Result;
use hod_oci::{RepositoryName, Tag, is_companion_tag};

/// Repositories on a page.
const REPOSITORIES: usize = 50;
/// Tags of a repository in its row.
const TAGS_OF_ROW: usize = 6;
/// Tags on a page of a repository.
const TAGS: usize = 100;

/// The list of the repositories that match a search.
pub(super) fn repositories(context: &Context) -> Result<Response> {
    let search = Search { words: context.parameter("q").unwrap_or_default(), group: context.parameter("group") };
    let catalog = Catalog::of(&*context.repositories, &search)?;
    let usage = Usage::of(&*context.repositories)?;
    let shown = Pages::new(catalog.rows.len(), REPOSITORIES, context.parameter("page").as_deref());
    let group = search.group.as_deref().unwrap_or_default();
    let is_search = !search.words.trim().is_empty() || !group.is_empty();
    let main = html! {
        p.summary {
            (count_of(catalog.repositories, "repository", "repositories")) ", " (count(catalog.tags, "tag"))
            @if let Some(usage) = &usage { ", " (bytes(usage.bytes)) " in all" }
            @if catalog.attachments > 0 {
                ", and " (count(catalog.attachments, "tag")) " of attachments such as signatures"
            }
        }
        @if !catalog.groups.is_empty() {
            nav.groups aria-label="Groups" {
                @let words = search.words.as_str();
                a.chosen[group.is_empty()] href=(link(&[("q", words)])) { "All" }
                @for known in &catalog.groups {
                    a.chosen[known == group] href=(link(&[("q", words), ("group", known)])) { (known) }
                }
            }
        }
        @if catalog.repositories == 0 {
            p { "There is nothing to pull yet." }
        } @else if catalog.rows.is_empty() {
            p { "No repository, tag or group matches. " a href="?" { "Show all images" } }
        } @else {
            @if is_search { p { (count_of(catalog.rows.len(), "repository matches", "repositories match")) } }
            ul.rows { @for row in shown.of(&catalog.rows) { (entry(row, usage.as_ref())) } }
            (pages(&[("q", &search.words), ("group", group)], &shown))
            (setup(&context.site))
        }
    };
    let title = format!("Images on {}", context.site.host);
    Ok(Document { site: &context.site, title: &title, words: &search.words, main }.answer(StatusCode::OK))
}

/// The row of a repository.
fn entry(row: &Row, usage: Option<&Usage>) -> Markup {
    let name = row.name.as_str();
    let repository = link(&[("repository", name)]);
    html! {
        li {
            a.name href=(repository) { (name) }
            span.tags {
                @for tag in row.tags.iter().take(TAGS_OF_ROW) {
                    a.tag href=(link(&[("repository", name), ("tag", tag.as_str())])) { (tag.as_str()) }
                }
                @if row.tags.len() > TAGS_OF_ROW {
                    a.more href=(repository) { (row.tags.len() - TAGS_OF_ROW) " more" }
                }
                @if row.tags.is_empty() { span.dim { "no tags" } }
            }
            @if !row.groups.is_empty() {
                span.group { (row.groups.iter().map(String::as_str).collect::<Vec<_>>().join(", ")) }
            }
            span.size { (usage.and_then(|usage| usage.by_repository.get(&row.name)).map_or_else(String::new, |size| bytes(*size))) }
        }
    }
}

/// The tags of a repository; `None` if there is no such repository.
pub(super) fn repository(context: &Context, name: &RepositoryName) -> Result<Option<Response>> {
    let repositories = &*context.repositories;
    let Some(tags) = repositories.tags(name)? else { return Ok(None) };
    let (companions, mut tags): (Vec<Tag>, Vec<Tag>) = tags.into_iter().partition(is_companion_tag);
    tags.sort_by(|one, other| newest_first(one.as_str(), other.as_str()));
    let mut versions: Vec<Version> = tags.into_iter().map(Version::Tag).collect();
    if versions.is_empty() {
        versions = untagged(repositories, name)?.into_iter().map(Version::Digest).collect();
    }
    let shown = Pages::new(versions.len(), TAGS, context.parameter("page").as_deref());
    let mut images = Images::default();
    let main = html! {
        h1 { (name.as_str()) }
        p.summary {
            (count(versions.len(), if companions.len() == versions.len() { "image" } else { "tag" }))
            @if !companions.is_empty() { ", and " (count(companions.len(), "tag")) " of attachments such as signatures" }
        }
        ul.rows {
            @for version in shown.of(&versions) {
                @let digest = match version {
                    Version::Tag(tag) => repositories.tag(name, tag).ok().flatten(),
                    Version::Digest(digest) => Some(*digest),
                };
                @let image = digest.and_then(|digest| images.read(repositories, name, digest));
                (version_row(context, name, version, image))
            }
        }
        (pages(&[("repository", name.as_str())], &shown))
    };
    let title = format!("{name} on {}", context.site.host);
    Ok(Some(Document { site: &context.site, title: &title, words: "", main }.answer(StatusCode::OK)))
}

fn version_row(context: &Context, name: &RepositoryName, version: &Version, image: Option<&Image>) -> Markup {
    let (key, text) = match version {
        Version::Tag(tag) => ("tag", tag.to_string()),
        Version::Digest(digest) => ("digest", digest.to_string()),
    };
    let created = image
        .and_then(|image| image.instance(None))
        .and_then(|instance| read_created(&*context.repositories, name, &instance.digest));
    html! {
        li {
            a.name href=(link(&[("repository", name.as_str()), (key, &text)])) { (text) }
            @match image {
                Some(image) => {
                    span.tags { (kind(image)) }
                    span.created { (created.unwrap_or_default()) }
                    span.size { (bytes(image.bytes())) }
                }
                None => span.unreadable.dim { "This image cannot be read. Run hod verify on the server." },
            }
        }
    }
}

/// The platforms of an image, or the kind of something else.
pub(super) fn kind(image: &Image) -> String {
    match &image.kind {
        Kind::Container => image.platforms(),
        Kind::Chart => "Helm chart".to_owned(),
        Kind::Artifact(kind) => kind.clone(),
    }
}

fn count_of(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
