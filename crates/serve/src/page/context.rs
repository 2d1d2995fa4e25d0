//! The input of a page: the repositories, the address of the server, and the query.

use std::sync::Arc;

use super::super::answer::parameter;
use super::super::referrers::ReferrerCache;
use super::super::repositories::Repositories;
use super::super::site::{Site, Version};
use hod_oci::RepositoryName;

/// The input of a page.
pub(crate) struct Context {
    pub(crate) repositories: Arc<dyn Repositories>,
    pub(crate) referrers: Arc<ReferrerCache>,
    pub(crate) site: Site,
    /// The query of the request.
    pub(crate) query: Option<String>,
}

impl Context {
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.query.as_deref(), name).filter(|value| !value.is_empty())
    }

    pub(crate) fn name(&self) -> Option<RepositoryName> {
        self.parameter("repository")?.parse().ok()
    }

    pub(crate) fn version(&self) -> Option<Version> {
        let tag = self.parameter("tag").and_then(|tag| tag.parse().ok()).map(Version::Tag);
        tag.or_else(|| self.parameter("digest")?.parse().ok().map(Version::Digest))
    }
}
