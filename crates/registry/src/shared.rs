//! What all hosts share: the settings, and what is read for them once.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use super::credentials::{CredentialsError, Keyring, Login};
use super::error::RoutingError;
use super::lookaside::{Lookaside, LookasideError};
use super::registries_conf::{RegistriesConf, RegistriesConfError};
use super::settings::Settings;
use hod_io::tls::Roots;
use hod_oci::RepositoryName;

/// The state that all hosts share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    keyring: Keyring,
    pub(super) requests: AtomicU64,
    /// The CA certificates that hold for all hosts.
    pub(super) roots: Arc<Roots>,
    conf: OnceLock<Result<RegistriesConf, Arc<RegistriesConfError>>>,
    lookaside: OnceLock<Result<Lookaside, Arc<LookasideError>>>,
}

impl Shared {
    /// What hosts share under these settings.
    pub(super) fn new(settings: Settings) -> Self {
        let keyring = Keyring::new(settings.credentials.clone());
        let roots = Arc::new(Roots::new(settings.ssl_cert_file.clone(), settings.ssl_cert_dirs.clone()));
        let (requests, conf, lookaside) = Default::default();
        Self { settings, keyring, requests, roots, conf, lookaside }
    }

    /// The credentials. An unreadable configuration has stopped the run before.
    pub(super) async fn login(
        &self,
        host: &str,
        repository: Option<&RepositoryName>,
        given: bool,
    ) -> Result<Option<Login>, CredentialsError> {
        let helpers = self.conf().ok().and_then(RegistriesConf::helpers);
        self.keyring.find(host, repository, given, helpers).await
    }

    /// Where signatures are, found out when the first repository is to be read.
    pub(super) fn lookaside(&self) -> Result<&Lookaside, Arc<LookasideError>> {
        let read = || Lookaside::read(&self.settings.lookaside).map_err(Arc::new);
        self.lookaside.get_or_init(read).as_ref().map_err(Arc::clone)
    }

    /// Where registries are read, found out when the first one is named.
    pub(super) fn conf(&self) -> Result<&RegistriesConf, RoutingError> {
        let read = || RegistriesConf::read(&self.settings.registries_conf).map_err(Arc::new);
        self.conf.get_or_init(read).as_ref().map_err(|error| RoutingError::Conf(error.clone()))
    }
}
