//! The page of one image: its commands, platforms, layers, settings and attachments.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::super::attachments::attachments;
use super::super::catalog::Usage;
use super::super::details::Details;
use super::super::html::{Document, bytes, copied, link};
use super::super::image::{Image, Instance, Kind, Shape, State};
use super::super::site::{Scheme, Version};
use super::context::Context;
use super::list::kind;
use super::setup::setup;
use hod_engine::count;
use hod_engine::endpoint::Result;
use hod_oci::{Digest, RepositoryName, Tag, is_companion_tag};

/// The most platforms, and the most attachments of a kind, that a page shows.
const ROWS: usize = 100;
/// With more tags than this, other tags of the same image are not looked up.
const TAGS: usize = 500;

/// The page of an image; `None` if there is no such image.
pub(super) fn page(context: &Context, name: &RepositoryName, version: &Version) -> Result<Option<Response>> {
    let repositories = &*context.repositories;
    let digest = match version {
        Version::Tag(tag) => repositories.tag(name, tag)?,
        Version::Digest(digest) => Some(*digest),
    };
    let Some(image) = digest.and_then(|digest| Image::read(repositories, name, digest)) else { return Ok(None) };
    let wanted = context.parameter("platform");
    let instance = image.instance(wanted.as_deref());
    let details = instance.map(|instance| Details::read(repositories, name, &instance.digest)).unwrap_or_default();
    let attached = attachments(repositories, &context.referrers, name, &image)?;
    let label = match version {
        Version::Tag(tag) => format!("{name}:{tag}"),
        Version::Digest(digest) => format!("{name}@{digest}"),
    };
    let main = html! {
        p.path { a href=(link(&[("repository", name.as_str())])) { (name.as_str()) } }
        h1 { (label) }
        (facts(context, name, version, &image, &details)?)
        (commands(context, name, version, &image, wanted.as_deref()))
        @if image.instances.len() > 1 { (platforms(name, version, &image, instance)) }
        @if !attached.is_empty() {
            h2 { "Attachments" }
            dl {
                @for (kind, found) in &attached {
                    dt { (kind) }
                    @for attachment in found.iter().take(ROWS) {
                        dd {
                            a.digest href=(link(&[("repository", name.as_str()), ("digest", &attachment.digest.to_string())])) {
                                (attachment.digest.to_string())
                            }
                            " " span.dim { (attachment.kind) }
                        }
                    @if found.len() > ROWS { dd { (found.len() - ROWS) " more" } }
                    }
                }
            }
        }
        @if !details.steps.is_empty() { (layers(&image, instance, &details)) }
        @if !details.settings.is_empty() {
            h2 { "Config" (of_platform(&image, instance)) }
            dl { @for setting in &details.settings { dt { (setting.name) } dd { code.wrap { (setting.value) } } } }
        }
    };
    let title = format!("{label} on {}", context.site.host);
    Ok(Some(Document { site: &context.site, title: &title, words: "", main }.answer(StatusCode::OK)))
}

fn facts(
    context: &Context,
    name: &RepositoryName,
    version: &Version,
    image: &Image,
    details: &Details,
) -> Result<Markup> {
    let repositories = &*context.repositories;
    let shared = Usage::of(repositories)?.map_or(0, |usage| usage.shared(image));
    let (group, others) = match version {
        Version::Tag(tag) => (repositories.group(name, tag), same_tags(context, name, tag, image.digest)?),
        Version::Digest(_) => (None, Vec::new()),
    };
    Ok(html! {
        dl {
            dt { @if image.kind == Kind::Container { "Platforms" } @else { "Kind" } }
            dd { (kind(image)) }
            @if let Some(created) = &details.created { dt { "Created" } dd { (created) } }
            dt { "Size" }
            dd {
                (bytes(image.bytes()))
                @if shared > 0 { ", of which other images here share " (bytes(shared)) }
            }
            dt { "Digest" } dd { (copied(&image.digest.to_string())) }
            @if !others.is_empty() {
                dt { "Other tags" }
                dd.tags {
                    @for tag in &others { a.tag href=(link(&[("repository", name.as_str()), ("tag", tag.as_str())])) { (tag.as_str()) } }
                }
            }
            @if let Some(group) = group { dt { "Group" } dd { a href=(link(&[("group", group)])) { (group) } } }
        }
    })
}

/// The other tags of an image in its repository.
fn same_tags(context: &Context, name: &RepositoryName, own: &Tag, digest: Digest) -> Result<Vec<Tag>> {
    let mut tags = context.repositories.tags(name)?.unwrap_or_default();
    tags.retain(|tag| tag != own && !is_companion_tag(tag));
    if tags.len() > TAGS {
        return Ok(Vec::new());
    }
    tags.retain(|tag| context.repositories.tag(name, tag).ok().flatten() == Some(digest));
    tags.sort();
    Ok(tags)
}

fn commands(
    context: &Context,
    name: &RepositoryName,
    version: &Version,
    image: &Image,
    wanted: Option<&str>,
) -> Markup {
    let site = &context.site;
    let commands = site.commands(name, version, image, wanted);
    let instance = image.instance(wanted);
    let is_docker_over_http =
        matches!(site.scheme, Scheme::Http) && !site.is_loopback() && image.kind == Kind::Container;
    html! {
        h2 { "Pull" }
        @match instance.map(|instance| (instance, instance.state)) {
            Some((instance, State::Absent)) => p { (instance.label()) " is not on this server. Choose another platform." },
            Some((_, State::Partial { missing })) => p {
                (count(missing, "blob")) " of this image is not on this server. If this is a delta bundle, also serve its base."
            },
            Some((instance, State::Complete)) if !image.has_all_platforms() => p {
                "This server has only some of the platforms. The commands pull " (instance.label()) "."
            },
            Some(_) => {},
            None => p { "No platform of this image is on this server." },
        }
        @if !commands.is_empty() {
            dl.commands {
                @for command in &commands { dt { (command.tool) } dd { (copied(&command.text)) } }
            }
            @if is_docker_over_http { p { "Docker needs a setting for HTTP: see " a href="#docker-http" { "Set up a client" } "." } }
            @if image.kind == Kind::Container || !matches!(site.scheme, Scheme::Http) || site.user.is_some() { (setup(site)) }
        }
    }
}

fn platforms(name: &RepositoryName, version: &Version, image: &Image, chosen: Option<&Instance>) -> Markup {
    let (key, text) = match version {
        Version::Tag(tag) => ("tag", tag.to_string()),
        Version::Digest(digest) => ("digest", digest.to_string()),
    };
    html! {
        h2 { "Platforms" }
        ul.rows.platforms {
            @for instance in image.instances.iter().take(ROWS) {
                li {
                    @if instance.state == State::Absent {
                        span.name.dim { (instance.label()) }
                    } @else {
                        @let to = if image.shape == Shape::Nested {
                            link(&[("repository", name.as_str()), ("digest", &instance.digest.to_string())])
                        } else {
                            link(&[("repository", name.as_str()), (key, &text), ("platform", &instance.platform)])
                        };
                        a.name.chosen[chosen == Some(instance)] href=(to) { (instance.label()) }
                    }
                    span.digest { (instance.digest.to_string()) }
                    span.size {
                        @match instance.state {
                            State::Complete => (bytes(instance.bytes)),
                            State::Partial { missing } => { (count(missing, "blob")) " not here" },
                            State::Absent => "not here",
                        }
                    }
                }
            }
        }
        @if image.instances.len() > ROWS { p { (image.instances.len() - ROWS) " more" } }
    }
}

fn layers(image: &Image, instance: Option<&Instance>, details: &Details) -> Markup {
    let layers = details.steps.iter().filter_map(|step| step.layer.as_ref());
    let (title, noun) = if image.kind == Kind::Container { ("Layers", "layer") } else { ("Files", "file") };
    html! {
        h2 { (title) (of_platform(image, instance)) }
        p.summary { (count(layers.clone().count(), noun)) ", " (bytes(layers.map(|layer| layer.bytes).sum())) }
        ol.steps {
            @for step in &details.steps {
                li {
                    code.wrap { (step.text) }
                    span.created { (step.created) }
                    @match &step.layer {
                        Some(layer) => span.size title=(layer.digest.to_string()) {
                            (bytes(layer.bytes)) @if !layer.is_here { " (not here)" }
                        },
                        None => span.size.dim { "config only" },
                    }
                }
            }
        }
        @if details.left_out > 0 { p { (count(details.left_out, "more step")) } }
    }
}

/// The platform that a section is about, if the image has several.
fn of_platform(image: &Image, instance: Option<&Instance>) -> String {
    let instance = instance.filter(|instance| image.instances.len() > 1 && !instance.platform.is_empty());
    instance.map_or_else(String::new, |instance| format!(" of {}", instance.platform))
}
