//! The pages at `/`: the list of repositories, a repository, an image.
//!
//! Each page reads only what it shows, so that a server with thousands of tags answers fast.

mod context;
mod image;
mod list;
mod setup;

use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::answer::{Answer, blocking};
use super::html::Document;
use hod_engine::endpoint::Result;

pub(super) use context::Context;

/// The page that the query asks for.
fn document(context: &Context) -> Result<Response> {
    if context.parameter("repository").is_none() {
        return list::repositories(context);
    }
    let asks_for_image = context.parameter("tag").or_else(|| context.parameter("digest")).is_some();
    let found = match (context.name(), context.version()) {
        (Some(name), Some(version)) => image::page(context, &name, &version)?,
        (Some(name), None) if !asks_for_image => list::repository(context, &name)?,
        _ => None,
    };
    Ok(found.unwrap_or_else(|| missing(context)))
}

fn missing(context: &Context) -> Response {
    let title = format!("Not found on {}", context.site.host);
    let main = html! {
        h1 { "Not found" }
        p { "This server does not have this image. " a href="?" { "Show all images" } }
    };
    Document { site: &context.site, title: &title, words: "", main }.answer(StatusCode::NOT_FOUND)
}

/// Answers with the page that the query asks for.
pub(super) async fn page(context: Context) -> Answer {
    blocking("cannot list the images".to_owned(), move || Ok(document(&context)?)).await
}
