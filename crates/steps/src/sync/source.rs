//! Resolves a source to images: asks repositories for their tags, many at a time.

use std::sync::Arc;

use futures_util::StreamExt as _;
use regex::Regex;

use super::constraint::{Constraint, version_of_tag};
use super::{NamedLocation, Origin};
use hod_engine::copy::Engine;
use hod_engine::endpoint::{EndpointError, Source as _};
use hod_engine::observe::Event;
use hod_image::open::Places;
use hod_oci::{DOCKER_IO, Reference, Tag, Version};
use hod_transport::Location;

/// Which images of a repository.
#[derive(Debug, Clone)]
pub enum TagChoice {
    /// Those of all tags.
    All,
    /// These.
    These(Vec<Version>),
    /// Those whose tag has a match of this expression, anywhere unless it is anchored.
    Matching(Regex),
    /// Those whose tag is a version that satisfies this.
    Satisfying(Constraint),
}

/// A repository whose images are wanted.
#[derive(Debug, Clone)]
pub struct Request {
    /// The repository, with its registry.
    pub repository: Reference,
    /// Which of its images.
    pub choice: TagChoice,
    /// How to reach the registry.
    pub places: Arc<Places>,
}

/// A repository whose tags cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the tags of {repository}")]
pub struct TagsError {
    /// The repository.
    pub repository: String,
    /// The reason.
    #[source]
    pub source: EndpointError,
}

impl TagChoice {
    fn takes(&self, tag: &Tag) -> bool {
        match self {
            Self::All => true,
            Self::These(versions) => versions.iter().any(|version| matches!(version, Version::Tag(it) if it == tag)),
            Self::Matching(expression) => expression.is_match(tag.as_str()),
            Self::Satisfying(constraint) => {
                version_of_tag(tag.as_str()).is_some_and(|version| constraint.matches(&version))
            }
        }
    }
}

impl Request {
    /// The image or images of a reference: one where it has a tag or digest, else all tags.
    pub fn of(reference: &Reference, places: Arc<Places>) -> Self {
        let choice = match (&reference.tag, &reference.digest) {
            (None, None) => TagChoice::All,
            _ => TagChoice::These(vec![reference.version()]),
        };
        Self { repository: Reference { tag: None, digest: None, ..reference.clone() }, choice, places }
    }

    async fn versions(&self, engine: &Engine) -> Result<Vec<Version>, EndpointError> {
        if let TagChoice::These(versions) = &self.choice {
            return Ok(versions.clone());
        }
        let (host, name) = (self.repository.host.as_deref().unwrap_or(DOCKER_IO), &self.repository.name);
        let what = format!("the tags of {}", self.repository);
        let repository = self.places.registries().source(host, name);
        let ask = || async { Ok(repository.tags().await?) };
        let tags = engine.question(&what, repository.place(), ask).await?;
        Ok(tags.into_iter().filter(|tag| self.choice.takes(tag)).map(Version::Tag).collect())
    }

    fn origin(self, versions: Vec<Version>) -> Origin {
        let images = versions.into_iter().map(|version| {
            let mut reference = self.repository.clone();
            match version {
                Version::Tag(tag) => reference.tag = Some(tag),
                Version::Digest(digest) => reference.digest = Some(digest),
            }
            NamedLocation { name: reference.to_string(), location: Location::Docker(reference) }
        });
        Origin { images: images.collect(), name: self.repository.to_string(), places: self.places }
    }
}

/// The images of repositories, in their order. One that cannot be listed hides no other.
pub async fn origins(engine: &Engine, requests: Vec<Request>) -> Vec<Result<Origin, TagsError>> {
    engine.observer().on(&Event::Step { name: "list", images: requests.len(), bytes: 0 });
    futures_util::stream::iter(requests)
        .map(|request| async move {
            match request.versions(engine).await {
                Ok(versions) => Ok(request.origin(versions)),
                Err(source) => Err(TagsError { repository: request.repository.to_string(), source }),
            }
        })
        .buffered(engine.limits().lookups)
        .collect()
        .await
}
