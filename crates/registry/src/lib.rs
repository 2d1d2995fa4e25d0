//! Registries: a client of the OCI distribution API.
//!
//! Sources: OCI distribution-spec 1.1, the token protocol of distribution, containers-registries.conf(5), containers-auth.json(5).
//!
//! * **For**: one repository of a registry as a source and a sink of the copy engine, and lists of repositories and tags.
//! * **Must stay true**: credentials go to the registry that they are for and to its token server alone. What a registry gives is
//!   bounded, in the sum too. Nothing is retried here: an error says by its [`Fault`](hod_engine::endpoint::Fault) whether that is worth
//!   it, and the copy engine decides.
//! * **Does not**: check digests of blobs; the engine does.
//!
//! One [`Registries`] serves a whole run, so that connections, tokens and what was learned about hosts are shared.
//!
//! ```text
//! Registries ──▶ Host (one for each name) ──▶ Repository: a Source and a Sink
//!                 ├── connection: address, TLS, clients        host, tls
//!                 ├── auth: challenge, tokens, credentials     auth, challenge, token, credentials
//!                 └── requests: redirects, time limits         client, response, transfer
//! ```
//!
//! ```
//! use hod_engine::endpoint::Source as _;
//! use hod_registry::{Registries, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registries = Registries::new(Settings::from_environment(|_| None));
//! let repository = registries.repository("quay.io", &"coreos/etcd".parse()?);
//! assert_eq!(repository.place().to_string(), "quay.io/coreos/etcd");
//! assert_eq!(registries.requests(), 0);
//! # Ok(())
//! # }
//! ```

mod answer;
mod auth;
mod cause;
mod challenge;
mod client;
mod credentials;
mod elsewhere;
mod error;
mod host;
mod host_access;
mod kept;
mod listing;
mod lookaside;
mod pages;
mod referrers;
mod registries_conf;
mod repository;
mod response;
mod route;
mod signatures;
mod sink;
mod subject;
#[cfg(test)]
mod testing;
mod tls;
mod token;
mod transfer;
mod upload;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

pub use answer::{Answer, Reason};
pub use challenge::token_server;
pub use credentials::{CredentialFile, CredentialSources, Credentials, CredentialsError};
pub use error::{Cause, Refusal, RegistryError, RoutingError};
pub use hod_io::tls::TrustError;
pub use host::is_this_machine;
pub use host_access::HostAccess;
pub use lookaside::{LookasideError, LookasideSources};
pub use pages::Endless;
pub use pages::next_page;
pub use registries_conf::{RegistriesConfError, RegistriesConfSources};
pub use repository::Repository;
pub use subject::Subject;

use credentials::{Keyring, Login};
use host::{Host, Manner};
use kept::Kept;
use lookaside::{Lookaside, SignatureFolder};
use registries_conf::{Helpers, RegistriesConf};
use route::Routes;

use hod_io::secret::Secret;
use hod_io::tls::Roots;
use hod_oci::RepositoryName;

/// How registries are to be dealt with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where credentials come from.
    pub credentials: CredentialSources,
    /// A token that a registry gets as it is, instead of credentials. It goes where those given without a host go.
    pub registry_token: Option<Secret>,
    /// The directory with certificates for every registry, in place of `certs_d`.
    pub cert_dir: Option<PathBuf>,
    /// Directories that have a directory with certificates for each registry; the first that has one counts.
    pub certs_d: Vec<PathBuf>,
    /// Where it is configured which registry is read where.
    pub registries_conf: RegistriesConfSources,
    /// Where it is configured where signatures are that registries do not keep.
    pub lookaside: LookasideSources,
    /// A file with the CA certificates to trust, in place of the system's.
    pub ssl_cert_file: Option<PathBuf>,
    /// Directories of such files.
    pub ssl_cert_dirs: Vec<PathBuf>,
    /// `false`: take any certificate, and plain HTTP where there is no HTTPS. `true`: neither, not even from this
    /// machine. Not set: plain HTTP from this machine alone.
    pub tls_verify: Option<bool>,
    /// What the client calls itself.
    pub user_agent: String,
    /// How many idle connections to a host are kept.
    pub connections: usize,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// How long a KiB may take on a connection, and the first byte of an answer.
    pub stall_timeout: Duration,
}

impl Settings {
    /// The settings that an environment asks for; `variable` reads it.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| value(name).map(PathBuf::from);
        let home = path("HOME").map(|home| home.join(".config"));
        let user = path("XDG_CONFIG_HOME").or(home).map(|directory| directory.join("containers"));
        let below = |name: &str| user.as_ref().map(|directory| directory.join(name));
        let both = |name: &str| below(name).into_iter().chain([Path::new("/etc/containers").join(name)]).collect();
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        let registries_conf = RegistriesConfSources {
            file: path("CONTAINERS_REGISTRIES_CONF"),
            folder: None,
            files: both("registries.conf"),
            // The user's last, so that they win.
            folders: both("registries.conf.d").into_iter().rev().collect(),
        };
        let split = |list: OsString| std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
        Self {
            credentials: CredentialSources::from_environment(&variable),
            certs_d: below("certs.d").into_iter().chain(system).collect(),
            registries_conf,
            lookaside: LookasideSources {
                folder: None,
                folders: both("registries.d"),
                default: if nix::unistd::Uid::effective().is_root() {
                    Some("/var/lib/containers/sigstore".into())
                } else {
                    path("XDG_DATA_HOME")
                        .or_else(|| path("HOME").map(|home| home.join(".local/share")))
                        .map(|directory| directory.join("containers/sigstore"))
                },
            },
            ssl_cert_file: path("SSL_CERT_FILE"),
            ssl_cert_dirs: value("SSL_CERT_DIR").map(split).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// What an empty environment asks for: nobody's credentials, the system's certificates.
impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: CredentialSources::default(),
            registry_token: None,
            cert_dir: None,
            certs_d: Vec::new(),
            registries_conf: RegistriesConfSources::default(),
            lookaside: LookasideSources::default(),
            ssl_cert_file: None,
            ssl_cert_dirs: Vec::new(),
            tls_verify: None,
            user_agent: concat!("hod/", env!("CARGO_PKG_VERSION")).to_owned(),
            connections: 32,
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
        }
    }
}

/// A host, and what of the settings is different there.
type HostKey = (Box<str>, Manner);

/// All registries, dealt with under the same settings. Clones share everything.
#[derive(Debug, Clone)]
pub struct Registries {
    shared: Arc<Shared>,
    hosts: Arc<Mutex<HashMap<HostKey, Arc<Host>>>>,
}

/// What all hosts share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    keyring: Keyring,
    requests: AtomicU64,
    /// The CA certificates that hold for all hosts.
    roots: Arc<Roots>,
    conf: OnceLock<Result<RegistriesConf, Arc<RegistriesConfError>>>,
    lookaside: OnceLock<Result<Lookaside, Arc<LookasideError>>>,
}

impl Registries {
    /// Registries under these settings. Nothing is read or asked yet.
    pub fn new(settings: Settings) -> Self {
        let keyring = Keyring::new(settings.credentials.clone());
        let roots = Arc::new(Roots::new(settings.ssl_cert_file.clone(), settings.ssl_cert_dirs.clone()));
        let (requests, conf, lookaside) = Default::default();
        let shared = Shared { settings, keyring, requests, roots, conf, lookaside };
        Self { shared: Arc::new(shared), hosts: Arc::default() }
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
                Repository::new(self.host(host, Manner { insecure, foreign: false }), name).with_staging(staging)
            }
            Err(error) => Repository::denied(self.host(host, Manner::default()), name, error),
        }
    }

    /// A repository of the registry `host`, to be read from wherever `registries.conf` says: mirrors, then the registry.
    pub fn source(&self, host: &str, name: &RepositoryName) -> Repository {
        let repository = self.repository(host, name);
        let Ok(conf) = self.shared.conf() else { return repository };
        match Routes::find(self, conf, host, name) {
            _ if repository.is_denied() => repository,
            Ok(routes) => repository.with_routes(routes).with_signatures(self.signatures(host, name)),
            Err(error) => Repository::denied(self.host(host, Manner::default()), name, error),
        }
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
        let host_there = self.host(host, Manner { insecure, foreign });
        match conf.find(&format!("{host}/{name}")) {
            Some((entry, _)) if entry.blocked => {
                let error = RoutingError::Blocked { name: format!("{host}/{name}"), path: entry.path.clone() };
                Repository::denied(host_there, name, error)
            }
            _ => Repository::new(host_there, name).with_signatures(self.signatures(host, name)),
        }
    }

    /// Where the signatures of a repository are.
    fn signatures(&self, host: &str, name: &RepositoryName) -> Result<Option<SignatureFolder>, Arc<LookasideError>> {
        let Some(base) = self.shared.lookaside()?.base(host, name) else { return Ok(None) };
        let server = base.host_str().filter(|_| base.scheme() != "file").map(|server| match base.port() {
            Some(port) => format!("{server}:{port}"),
            None => server.to_owned(),
        });
        let host = server.map(|server| self.host(&server, Manner { insecure: false, foreign: true }));
        Ok(Some(SignatureFolder { base, name: name.clone(), host, kept: Kept::default() }))
    }

    /// Whether a registry, or a repository there, may be used, and if so, whether without valid certificates.
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

    /// Whether what is written to files with credentials is ever read; else the file that says otherwise.
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

    fn host(&self, name: &str, manner: Manner) -> Arc<Host> {
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
    fn whole_host(&self, name: &str) -> Result<Arc<Host>, RoutingError> {
        let insecure = self.admitted(name, None)?;
        Ok(self.host(name, Manner { insecure, foreign: false }))
    }
}

impl Shared {
    /// As whom to appear. A configuration that cannot be read has stopped everybody before.
    async fn login(
        &self,
        host: &str,
        repository: Option<&RepositoryName>,
        given: bool,
    ) -> Result<Option<Login>, CredentialsError> {
        let helpers = self.conf().ok().and_then(RegistriesConf::helpers);
        self.keyring.find(host, repository, given, helpers).await
    }

    /// Where signatures are, found out when the first repository is to be read.
    fn lookaside(&self) -> Result<&Lookaside, Arc<LookasideError>> {
        let read = || Lookaside::read(&self.settings.lookaside).map_err(Arc::new);
        self.lookaside.get_or_init(read).as_ref().map_err(Arc::clone)
    }

    /// Where registries are read, found out when the first one is named.
    fn conf(&self) -> Result<&RegistriesConf, RoutingError> {
        let read = || RegistriesConf::read(&self.settings.registries_conf).map_err(Arc::new);
        self.conf.get_or_init(read).as_ref().map_err(|error| RoutingError::Conf(error.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(environment: &[(&str, &str)]) -> Settings {
        let variables: HashMap<String, OsString> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Settings::from_environment(|name| variables.get(name).cloned())
    }

    fn shown(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn the_environment_names_files() {
        let plain = settings(&[("HOME", "/home/me"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("SSL_CERT_FILE", "")]);
        assert_eq!(
            shown(&plain.credentials.files),
            [
                "/run/user/7/containers/auth.json",
                "/home/me/.config/containers/auth.json",
                "/home/me/.docker/config.json",
                "/home/me/.dockercfg"
            ]
        );
        assert_eq!(
            shown(&plain.certs_d),
            ["/home/me/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"]
        );
        assert_eq!((plain.ssl_cert_file, plain.credentials.authfile), (None, None));
        assert_eq!(
            shown(&plain.registries_conf.files),
            ["/home/me/.config/containers/registries.conf", "/etc/containers/registries.conf"]
        );
        assert_eq!(
            shown(&plain.registries_conf.folders),
            ["/etc/containers/registries.conf.d", "/home/me/.config/containers/registries.conf.d"]
        );
        assert_eq!(plain.registries_conf.file, None);
        let rich = settings(&[
            ("XDG_CONFIG_HOME", "/c"),
            ("DOCKER_CONFIG", "/d"),
            ("REGISTRY_AUTH_FILE", "/a"),
            ("CONTAINERS_REGISTRIES_CONF", "/r"),
            ("SSL_CERT_FILE", "/f"),
            ("SSL_CERT_DIR", "/x::/y"),
        ]);
        assert!(shown(&rich.credentials.files).ends_with(&["/c/containers/auth.json", "/d/config.json"]));
        assert_eq!(rich.credentials.authfile, Some(PathBuf::from("/a")));
        assert_eq!(rich.ssl_cert_file, Some(PathBuf::from("/f")));
        assert_eq!(rich.registries_conf.file, Some(PathBuf::from("/r")));
        assert_eq!(shown(&rich.ssl_cert_dirs), ["/x", "/y"]);
    }

    #[test]
    fn a_host_is_made_once() {
        let registries = Registries::new(Settings::default());
        let clone = registries.clone();
        let manner = Manner::default();
        assert!(Arc::ptr_eq(&registries.host("r.example", manner), &clone.host("r.example", manner)));
        assert!(!Arc::ptr_eq(&registries.host("r.example", manner), &clone.host("s.example", manner)));
    }
}
