//! All registries that a command deals with, and the way to each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::credentials::{Credentials, CredentialsError};
use super::error::RoutingError;
use super::host::{Host, HostSettings};
use super::kept::WrittenFolders;
use super::lookaside::LookasideError;
use super::registries_conf::{Helpers, RegistriesConf};
use super::repository::{Repository, Route, Routes};
use super::route::rewritten;
use super::settings::Settings;
use super::shared::Shared;
use super::signature_folder::SignatureFolder;
use hod_oci::RepositoryName;

/// A host, and what of the settings is different there.
type HostKey = (Box<str>, HostSettings);

/// All registries, dealt with under the same settings. Clones share everything.
#[derive(Debug, Clone)]
pub struct Registries {
    pub(super) shared: Arc<Shared>,
    hosts: Arc<Mutex<HashMap<HostKey, Arc<Host>>>>,
}

impl Registries {
    /// Registries under these settings. Nothing is read or asked yet.
    pub fn new(settings: Settings) -> Self {
        Self { shared: Arc::new(Shared::new(settings)), hosts: Arc::default() }
    }

    /// A repository of the registry `host`, such as `library/alpine` of `docker.io`, at that registry itself: to write
    /// to it, or to see what it has and no mirror.
    pub fn repository(&self, host: &str, name: &RepositoryName) -> Repository {
        match self.admitted(host, Some(name)) {
            Ok(insecure) => {
                let staging = self.shared.lookaside().map(|lookaside| {
                    let base = lookaside.staging(host, name)?;
                    Some(SignatureFolder { base, name: name.clone(), host: None, kept: lookaside.kept.clone() })
                });
                Repository::new(self.host(host, HostSettings { insecure, foreign: false }), name).with_staging(staging)
            }
            Err(error) => Repository::denied(self.host(host, HostSettings::default()), name, error),
        }
    }

    /// A repository of the registry `host`, to be read from wherever `registries.conf` says: mirrors, then the registry.
    pub fn source(&self, host: &str, name: &RepositoryName) -> Repository {
        let repository = self.repository(host, name);
        let Ok(conf) = self.shared.conf() else { return repository };
        match self.routes(conf, host, name) {
            _ if repository.is_denied() => repository,
            Ok(routes) => repository.with_routes(routes).with_signatures(self.signatures(host, name)),
            Err(error) => Repository::denied(self.host(host, HostSettings::default()), name, error),
        }
    }

    /// The ways to `host/name`; `None` where nothing else than that is configured.
    fn routes(&self, conf: &RegistriesConf, host: &str, name: &RepositoryName) -> Result<Option<Routes>, RoutingError> {
        let full = format!("{host}/{name}");
        let Some((entry, length)) = conf.find(&full) else { return Ok(None) };
        let rest = full.get(length..).unwrap_or_default();
        let is_elsewhere = !entry.own.place.is_empty() && entry.own.place != entry.prefix;
        if entry.mirrors.is_empty() && !is_elsewhere {
            return Ok(None);
        }
        let mut routes = Vec::with_capacity(entry.mirrors.len() + 1);
        for location in entry.mirrors.iter().chain([&entry.own]) {
            let (there, repository) =
                if location.place.is_empty() { (host.into(), name.clone()) } else { rewritten(entry, location, rest)? };
            let foreign = *there != *host;
            let repository = self.read_at(conf, &there, &repository, location.insecure, foreign);
            routes.push(Route { repository, pull: location.pull });
        }
        tracing::debug!(name = full, ways = routes.len(), path = %entry.path.display(), "read elsewhere");
        Ok(Some(Routes::new(routes)))
    }

    /// A repository at the place where another one is read.
    fn read_at(
        &self,
        conf: &RegistriesConf,
        host: &str,
        name: &RepositoryName,
        insecure: bool,
        foreign: bool,
    ) -> Repository {
        let host_there = self.host(host, HostSettings { insecure, foreign });
        match conf.find(&format!("{host}/{name}")) {
            Some((entry, _)) if entry.blocked => {
                let error = RoutingError::Blocked { name: format!("{host}/{name}"), path: entry.path.clone() };
                Repository::denied(host_there, name, error)
            }
            _ => Repository::new(host_there, name).with_signatures(self.signatures(host, name)),
        }
    }

    /// The place of a repository's signatures.
    fn signatures(&self, host: &str, name: &RepositoryName) -> Result<Option<SignatureFolder>, Arc<LookasideError>> {
        let Some(base) = self.shared.lookaside()?.base(host, name) else { return Ok(None) };
        let server = base.host_str().filter(|_| base.scheme() != "file").map(|server| match base.port() {
            Some(port) => format!("{server}:{port}"),
            None => server.to_owned(),
        });
        let host = server.map(|server| self.host(&server, HostSettings { insecure: false, foreign: true }));
        Ok(Some(SignatureFolder { base, name: name.clone(), host, kept: WrittenFolders::default() }))
    }

    /// Returns true if a registry, or a repository there, may be used, and if so, whether without valid certificates.
    fn admitted(&self, host: &str, name: Option<&RepositoryName>) -> Result<bool, RoutingError> {
        let conf = self.shared.conf()?;
        let full = name.map_or_else(|| host.to_owned(), |name| format!("{host}/{name}"));
        match conf.find(&full) {
            Some((entry, _)) if entry.blocked => Err(RoutingError::Blocked { name: full, path: entry.path.clone() }),
            Some((entry, _)) => Ok(entry.own.insecure),
            None => Ok(false),
        }
    }

    /// The credentials that a registry, or a repository there, would be given.
    pub async fn credentials(
        &self,
        host: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Credentials>, CredentialsError> {
        Ok(self.shared.login(host, repository, true).await?.map(|login| login.credentials))
    }

    /// Returns true if what is written to files with credentials is ever read; else the file that says otherwise.
    pub fn reads_credential_files(&self) -> Result<(), PathBuf> {
        match self.shared.conf().ok().and_then(RegistriesConf::helpers) {
            Some(Helpers { path, names }) if !names.iter().any(|name| name == Helpers::FILES) => Err(path.clone()),
            _ => Ok(()),
        }
    }

    /// How many requests have been sent, those to token servers and after redirects included.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    pub(super) fn host(&self, name: &str, manner: HostSettings) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Host::new(name, manner, self.shared.clone()));
        hosts.entry((name.into(), manner)).or_insert_with(new).clone()
    }

    /// Finds the way to a registry, for who will ask it soon and has something else to do until then. What goes wrong
    /// is found again, and told, when the registry is asked something.
    pub async fn prepare(&self, host: &str) {
        if let Ok(host) = self.whole_host(host) {
            let _ = host.connection().await;
        }
    }

    /// A registry as such, if it may be used.
    pub(super) fn whole_host(&self, name: &str) -> Result<Arc<Host>, RoutingError> {
        let insecure = self.admitted(name, None)?;
        Ok(self.host(name, HostSettings { insecure, foreign: false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_made_once() {
        let registries = Registries::new(Settings::default());
        let clone = registries.clone();
        let manner = HostSettings::default();
        assert!(Arc::ptr_eq(&registries.host("r.example", manner), &clone.host("r.example", manner)));
        assert!(!Arc::ptr_eq(&registries.host("r.example", manner), &clone.host("s.example", manner)));
    }
}
