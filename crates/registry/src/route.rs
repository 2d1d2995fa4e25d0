//! The routes to a repository: its mirrors in order, then its own registry.
//!
//! Who answers first is asked first from then on, so that an image comes from one place. A mirror may fail in any
//! way: the next is asked. What comes from a mirror is held to the digest like everything else. Only reading goes by
//! these ways; writing and deleting is done where the name says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{RegistryError, RoutingError};
use super::host::Host;
use super::registries_conf::{Entry, Location, Pull};
use super::repository::{Repository, Route, Routes};
use hod_engine::endpoint::Fault;
use hod_oci::{DOCKER_IO, RepositoryName, Version};

/// No way has answered yet.
const NONE: usize = usize::MAX;

impl Routes {
    /// These ways, best first.
    pub(super) const fn new(routes: Vec<Route>) -> Self {
        Self { routes, preferred: AtomicUsize::new(NONE) }
    }

    /// The way that has answered last, if any has.
    pub(super) fn preferred(&self) -> Option<&Repository> {
        self.routes.get(self.preferred.load(Ordering::Relaxed)).map(|route| &route.repository)
    }

    /// Begins to go through the ways to something, which is content with a digest, or a tag or list of tags.
    pub(super) fn attempts(&self, by_digest: bool) -> Attempts<'_> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let last = self.routes.len().saturating_sub(1);
        let mut order: Vec<usize> =
            (0..self.routes.len()).filter(|way| *way == preferred || self.leads(*way, by_digest)).collect();
        // Mirrors that could not be reached come last, so that not every image waits for them.
        order.sort_by_key(|way| {
            let is_down = self.routes.get(*way).is_some_and(|route| route.repository.host.is_down());
            (*way != preferred, *way != last && is_down)
        });
        Attempts { routes: self, order: order.into_iter(), current: NONE, failed: Vec::new() }
    }

    fn leads(&self, way: usize, by_digest: bool) -> bool {
        self.routes.get(way).is_some_and(|route| match route.pull {
            Pull::All => true,
            Pull::DigestOnly => by_digest,
            Pull::TagOnly => !by_digest,
        })
    }
}

/// The name that a location makes of one that begins with the entry's prefix.
pub(super) fn rewritten(
    entry: &Entry,
    location: &Location,
    rest: &str,
) -> Result<(Box<str>, RepositoryName), RoutingError> {
    let text = format!("{}{rest}", location.place);
    let error = |source| RoutingError::Name { path: entry.path.clone(), text: text.clone(), source };
    let (host, path) = text.split_once('/').unwrap_or((&text, ""));
    let path = if host == DOCKER_IO && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
    Ok((host.into(), path.parse().map_err(error)?))
}

impl Routes {
    /// The hosts of all ways.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.routes.iter().map(|route| &route.repository.host)
    }
}

/// Attempts at one thing, way after way.
pub(super) struct Attempts<'a> {
    routes: &'a Routes,
    order: std::vec::IntoIter<usize>,
    current: usize,
    failed: Vec<(usize, RegistryError)>,
}

impl<'a> Attempts<'a> {
    /// The next way, if there is one.
    pub(super) fn next(&mut self) -> Option<&'a Repository> {
        self.current = self.order.next()?;
        self.routes.routes.get(self.current).map(|route| &route.repository)
    }

    /// Notes that the current way has answered.
    pub(super) fn succeeded(&self) {
        self.routes.preferred.store(self.current, Ordering::Relaxed);
        if let Some(route) = self.routes.routes.get(self.current) {
            route.repository.host.set_down(false);
        }
    }

    /// Notes that the current way has failed.
    pub(super) fn failed(&mut self, error: RegistryError) {
        if let Some(route) = self.routes.routes.get(self.current) {
            let unreachable = matches!(error, RegistryError::UnknownHost { .. }) || error.fault() == Fault::Unreachable;
            route.repository.host.set_down(unreachable);
            let place = &route.repository.place;
            // What the last one says is what the command ends with.
            if error.fault() == Fault::Missing || self.order.len() == 0 {
                tracing::debug!(%place, %error, "not here");
            } else {
                tracing::warn!("cannot read {place}, trying the next place: {error}");
            }
        }
        self.failed.push((self.current, error));
    }

    /// What to say when no way is left: what the registry itself says, and what was tried before.
    pub(super) fn error(self) -> RegistryError {
        let last = self.routes.routes.len().saturating_sub(1);
        let (own, mirrors): (Vec<_>, Vec<_>) = self.failed.into_iter().partition(|(way, _)| *way == last);
        let said: Vec<String> = mirrors.iter().map(|(_, error)| error.to_string()).collect();
        let source = own.into_iter().chain(mirrors).next().map(|(_, error)| Box::new(error));
        match source {
            Some(source) if said.is_empty() => *source,
            Some(source) => RegistryError::Mirrors { said: said.join("; "), source },
            None => RegistryError::Routing(RoutingError::NoWay),
        }
    }
}

/// Returns true if a version is content with a digest.
pub(super) const fn is_digest(version: &Version) -> bool {
    matches!(version, Version::Digest(_))
}
