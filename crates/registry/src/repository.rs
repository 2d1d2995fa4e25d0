//! A repository of a registry, and the ways to read it.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use url::Url;

use super::error::{RegistryError, RoutingError};
use super::host::Host;
use super::registries_conf::Pull;
use super::signature_folder::Signatures;
use hod_engine::endpoint::Place;
use hod_oci::{Digest, RepositoryName};

/// One repository of a registry.
///
/// As a sink it keeps the uploads that a registry began instead of a mount, until the content comes.
#[derive(Debug)]
pub struct Repository {
    pub(super) host: Arc<Host>,
    pub(super) name: RepositoryName,
    pub(super) place: Place,
    /// Where the registry waits for content that it could not mount.
    pub(super) uploads: Mutex<HashMap<Digest, Url>>,
    /// Of the manifests that were put, whether the registry has taken note of their subject.
    pub(super) subjects: Mutex<HashMap<Digest, bool>>,
    /// Where it is read, if not just here.
    pub(super) routes: Option<Routes>,
    /// Why it must not be used, if that is so.
    pub(super) denied: Option<RoutingError>,
    /// Where its signatures are, which is an error for those alone who want them.
    pub(super) signatures: Signatures,
    /// The place for writing them.
    pub(super) staging: Signatures,
}

/// All ways to read a repository, best first; the last one is the registry itself.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) routes: Vec<Route>,
    /// The way that has answered last.
    pub(super) preferred: AtomicUsize,
}

/// One way.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) repository: Repository,
    pub(super) pull: Pull,
}

impl Repository {
    pub(super) fn new(host: Arc<Host>, name: &RepositoryName) -> Self {
        let place = Place::registry(&host.name, name);
        let (uploads, subjects, routes, denied) = Default::default();
        Self {
            host,
            name: name.clone(),
            place,
            uploads,
            subjects,
            routes,
            denied,
            signatures: Ok(None),
            staging: Ok(None),
        }
    }

    /// A repository that must not be used.
    pub(super) fn denied(host: Arc<Host>, name: &RepositoryName, why: RoutingError) -> Self {
        Self { denied: Some(why), ..Self::new(host, name) }
    }

    pub(super) const fn is_denied(&self) -> bool {
        self.denied.is_some()
    }

    /// The same repository, read by these ways.
    pub(super) fn with_routes(self, routes: Option<Routes>) -> Self {
        Self { routes, ..self }
    }

    /// The URL of something in this repository.
    pub(super) async fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        if let Some(denied) = &self.denied {
            return Err(denied.clone().into());
        }
        Ok(self.host.connection().await?.url(&format!("/v2/{}/{rest}", self.name)))
    }
}
