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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bytes::Bytes;
    use serde_json::json;

    use super::super::repositories::{BlobReader, Repositories};
    use super::super::site::{Access, Scheme, Site};
    use super::*;
    use hod_engine::endpoint::{EndpointError, Fault};
    use hod_oci::{Digest, MediaType, RepositoryName, Tag};

    /// A thousand repositories with ten thousand tags, of which one has nine thousand. All stand for one image.
    struct Many(Bytes);

    impl Many {
        fn new() -> Self {
            let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::sha256(b"c"), "size": 2});
            let image =
                json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config, "layers": []});
            Self(image.to_string().into())
        }
    }

    impl Repositories for Many {
        fn names(&self) -> Result<Vec<RepositoryName>> {
            let names = (0..999).map(|number| format!("team-{}/app-{number}", number % 10));
            Ok(names.chain(["many/tags".to_owned()]).map(|name| name.parse().unwrap()).collect())
        }

        fn tags(&self, name: &RepositoryName) -> Result<Option<Vec<Tag>>> {
            let count = if name.as_str() == "many/tags" { 9_001 } else { 1 };
            Ok(Some((0..count).map(|number| format!("1.{number}").parse().unwrap()).collect()))
        }

        fn tag(&self, _: &RepositoryName, _: &Tag) -> Result<Option<Digest>> {
            Ok(Some(Digest::sha256(&self.0)))
        }

        fn manifest(&self, _: &RepositoryName, _: &Digest) -> Result<Option<Bytes>> {
            Ok(Some(self.0.clone()))
        }

        fn manifests(&self, _: &RepositoryName) -> Result<Vec<Digest>> {
            Ok(vec![Digest::sha256(&self.0)])
        }

        fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<u64>> {
            Ok(Some(2))
        }

        fn open(&self, _: &RepositoryName, _: &Digest, _: u64) -> Result<BlobReader> {
            Err(EndpointError::new(Fault::Missing, "no blobs"))
        }

        fn place(&self, _: &Digest) -> PathBuf {
            PathBuf::new()
        }
    }

    async fn shown(query: &str) -> String {
        let site = Site { host: "h".to_owned(), scheme: Scheme::Http, user: None, access: Access::ReadOnly };
        let context = Context {
            repositories: std::sync::Arc::new(Many::new()),
            referrers: std::sync::Arc::default(),
            site,
            query: Some(query.to_owned()),
        };
        let response = page(context).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.into()).unwrap()
    }

    #[tokio::test]
    async fn ten_thousand_tags_make_small_pages() {
        for (query, first, count) in [
            ("", "many/tags", 50),
            ("page=2", "team-0/app-530", 50),
            ("page=20", "team-9/app-559", 50),
            ("q=app-98", "team-0/app-980", 11),
            ("repository=many%2Ftags", "1.9000", 100),
            ("repository=many%2Ftags&page=2", "1.8900", 100),
        ] {
            let text = shown(query).await;
            let rows: Vec<&str> = text.split("<li><a class=\"name\"").skip(1).collect();
            let name = rows[0].split_once('>').unwrap().1.split('<').next().unwrap();
            assert_eq!((name, rows.len()), (first, count), "{query}");
            assert!(text.len() < 32 * 1024, "{query} has {} bytes", text.len());
        }
        let text = shown("").await;
        for part in ["1000 repositories, 10000 tags<", ">8995 more</a>", "Page 1 of 20", "?page=2"] {
            assert!(text.contains(part), "{part}");
        }
        let text = shown("q=many+1.8999").await;
        assert!(text.contains("1 repository matches") && text.contains("tag=1.8999"));
        assert!(shown("repository=many%2Ftags&tag=1.8999").await.contains("docker pull"));
    }
}
