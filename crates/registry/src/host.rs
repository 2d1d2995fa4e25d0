//! One registry host: its name, its address, and the connections to it.
//!
//! Plain HTTP is for loopback hosts and for those whose user turned verification off; all others are
//! asked by HTTPS and nothing else. The client certificate is shown to the registry itself alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use tokio::sync::OnceCell;
use url::Url;

use super::Shared;
use super::auth::Auth;
use super::client::Request;
use super::error::{Cause, RegistryError};
use super::subject::Subject;
use super::tls::Extra;
use hod_io::tls::{Roots, TrustError};
use hod_oci::DOCKER_IO;

/// Where Docker Hub's API is.
const DOCKER_HUB: &str = "registry-1.docker.io";
/// How long idle connections are kept.
const IDLE: Duration = Duration::from_secs(90);

/// What of the settings is different at a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Manner {
    /// Any certificate will do, and plain HTTP where there is no HTTPS, unless the user said otherwise.
    pub(super) insecure: bool,
    /// It is asked in place of another one: what the user gave for that one is not for it.
    pub(super) foreign: bool,
}

/// A registry host, shared by all of its repositories.
#[derive(Debug)]
pub(super) struct Host {
    /// The name by which people know it, such as `docker.io`.
    pub(super) name: Box<str>,
    pub(super) shared: Arc<Shared>,
    pub(super) manner: Manner,
    pub(super) auth: Auth,
    /// Whether it lists referrers, once that is known.
    pub(super) lists_referrers: std::sync::OnceLock<bool>,
    /// Held by who finds that out, so that not all ask at once.
    pub(super) asking_for_referrers: tokio::sync::Mutex<()>,
    /// Whether it has told the digest of a blob that it was sent, and not just taken the blob.
    pub(super) finds_digests: AtomicBool,
    connection: OnceCell<Connection>,
    /// Whether it could not be reached the last time.
    down: AtomicBool,
}

/// How a host is reached.
#[derive(Debug)]
pub(super) struct Connection {
    /// Scheme, host and port, with an empty path.
    pub(super) base: Url,
    clients: Clients,
    /// Whether unencrypted connections may be made to any host on this registry's behalf.
    insecure: bool,
    /// The system's authorities, if they are all that certificates are checked against.
    only_roots: Option<Arc<Roots>>,
}

/// HTTP clients for the registry and for servers that it sends us to.
#[derive(Debug, Clone)]
struct Clients {
    /// For the registry itself.
    own: Client,
    /// For other hosts: without the client certificate.
    other: Client,
    /// For loopback hosts: without the client certificate, and never through a proxy.
    local: Client,
}

impl Host {
    pub(super) fn new(name: &str, manner: Manner, shared: Arc<Shared>) -> Self {
        Self {
            name: name.into(),
            shared,
            manner,
            auth: Auth::default(),
            lists_referrers: std::sync::OnceLock::default(),
            asking_for_referrers: tokio::sync::Mutex::default(),
            finds_digests: AtomicBool::default(),
            connection: OnceCell::new(),
            down: AtomicBool::default(),
        }
    }

    /// Whether the host could not be reached the last time.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Whether certificates are checked, where that was said.
    fn verify(&self) -> Option<bool> {
        self.shared.settings.tls_verify.or(self.manner.insecure.then_some(false))
    }

    /// The way to the host, found out once.
    pub(super) async fn connection(&self) -> Result<&Connection, RegistryError> {
        self.connection.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connection, RegistryError> {
        let base = base_url(&self.name, "https")?;
        let local = is_loopback(&base);
        let verify = self.verify();
        let check = verify != Some(false);
        let may_be_plain = verify == Some(false) || (verify.is_none() && local);
        if !may_be_plain {
            // Where they cannot be read, that is said in its own words; and a handshake keeps nobody waiting.
            let shared = self.shared.clone();
            let task = tokio::task::spawn_blocking(move || shared.roots.certificates().map(drop));
            task.await.map_err(|error| TrustError::Read(std::io::Error::other(error)))??;
        }
        let (clients, only_roots) = Clients::build(&self.name, &self.shared, (local, check))?;
        let connection = Connection { base, clients, insecure: verify == Some(false), only_roots };
        if may_be_plain { self.probe(connection).await } else { Ok(connection) }
    }

    /// Tries HTTPS, then plain HTTP. A server whose certificate is bad does speak HTTPS.
    async fn probe(&self, encrypted: Connection) -> Result<Connection, RegistryError> {
        let ping = |connection: &Connection| {
            Request::new(Method::GET, connection.url("/v2/"), Subject::Api(self.name.clone()))
        };
        let first = match self.execute(&encrypted, &mut ping(&encrypted), None).await {
            Ok(_) => return Ok(encrypted),
            Err(error @ RegistryError::Certificate { .. }) => return Err(error),
            Err(error) => error,
        };
        let plain = Connection { base: base_url(&self.name, "http")?, ..encrypted };
        if matches!(first, RegistryError::Tls { is_plain: true, .. }) {
            return Ok(plain);
        }
        match self.execute(&plain, &mut ping(&plain), None).await {
            // What a server of HTTPS says to plain HTTP; so the first try met a passing trouble.
            Ok(response) if response.status == StatusCode::BAD_REQUEST => Err(first),
            Ok(_) => Ok(plain),
            Err(second) => Err(if matches!(first, RegistryError::Tls { .. }) { second } else { first }),
        }
    }
}

impl Connection {
    /// The URL of a path, which has to consist of characters that URLs take as they are.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Whether a URL is at the registry itself.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Whether there is nothing against which a certificate could be checked.
    pub(super) fn is_without_roots(&self) -> bool {
        self.only_roots.as_ref().is_some_and(|roots| roots.certificates().is_ok_and(<[_]>::is_empty))
    }

    /// The client that may talk to a URL.
    pub(super) fn client(&self, url: &Url) -> &Client {
        if self.is_own(url) {
            &self.clients.own
        } else if is_loopback(url) {
            &self.clients.local
        } else {
            &self.clients.other
        }
    }

    /// Why a URL that the registry names must not be used, if it must not.
    pub(super) fn objection(&self, from: &Url, to: &Url) -> Option<&'static str> {
        match (from.scheme(), to.scheme()) {
            ("https", "http") => Some("which is not encrypted"),
            (_, "http") if !self.insecure && !self.is_own(to) && !is_loopback(to) => Some("which is not encrypted"),
            (_, "http" | "https") if to.has_host() => None,
            _ => Some("which is no HTTP address"),
        }
    }

    /// Takes a URL that the registry gives for itself.
    ///
    /// One behind a proxy that ends TLS often believes that it is reached by plain HTTP.
    pub(super) fn at_registry(&self, mut url: Url) -> Url {
        if url.scheme() == "http" && self.base.scheme() == "https" && url.host() == self.base.host() {
            let _ = url.set_scheme("https");
            let _ = url.set_port(self.base.port());
        }
        url
    }
}

impl Clients {
    fn build(
        host: &str,
        shared: &Shared,
        (local, verify): (bool, bool),
    ) -> Result<(Self, Option<Arc<Roots>>), RegistryError> {
        let settings = &shared.settings;
        let extra = match &settings.cert_dir {
            Some(directory) => Extra::read(directory)?,
            None => Extra::of_host(host, &settings.certs_d)?,
        };
        let anonymous = extra.config(&shared.roots, verify, false)?;
        let identified = extra.config(&shared.roots, verify, true)?;
        let client = |config: rustls::ClientConfig, direct: bool| {
            let builder = Client::builder()
                .tls_backend_preconfigured(config)
                .user_agent(&settings.user_agent)
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(settings.connect_timeout)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(settings.connections)
                .tcp_nodelay(true);
            let builder = if direct { builder.no_proxy() } else { builder };
            builder.build().map_err(|error| RegistryError::Client { host: host.into(), source: Cause::of(&error) })
        };
        let local_client = client(anonymous.clone(), true)?;
        let own = match (extra.has_identity(), local) {
            (false, true) => local_client.clone(),
            (_, direct) => client(identified, direct)?,
        };
        let clients = Self { own, other: client(anonymous, false)?, local: local_client };
        Ok((clients, (verify && !extra.has_roots()).then(|| shared.roots.clone())))
    }
}

/// The address of a registry.
fn base_url(name: &str, scheme: &str) -> Result<Url, RegistryError> {
    let error = || RegistryError::Host(name.into());
    let host = if name == DOCKER_IO { DOCKER_HUB } else { name };
    let strange = |letter: char| letter.is_whitespace() || letter.is_control() || "/\\?#@%".contains(letter);
    if host.is_empty() || host.contains(strange) {
        return Err(error());
    }
    let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| error())?;
    if url.has_host() { Ok(url) } else { Err(error()) }
}

/// Whether the host of a registry is this machine itself.
pub fn is_this_machine(name: &str) -> bool {
    base_url(name, "https").is_ok_and(|url| is_loopback(&url))
}

/// Whether a URL is at this machine itself, where nobody can listen in.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, reply};
    use super::super::{Registries, Settings};
    use super::*;

    fn base(name: &str) -> String {
        base_url(name, "https").map_or_else(|error| error.to_string(), String::from)
    }

    #[test]
    fn names_become_addresses() {
        assert_eq!(base("docker.io"), "https://registry-1.docker.io/");
        assert_eq!(base("quay.io"), "https://quay.io/");
        assert_eq!(base("r.example:5000"), "https://r.example:5000/");
        assert_eq!(base("[::1]:5000"), "https://[::1]:5000/");
        for name in ["", "a/b", "a b", "me@host", "host:port", "host:99999", "..\\x", "a?b", "a#b"] {
            assert!(base(name).contains("is not the host of a registry"), "{name:?}: {}", base(name));
        }
    }

    /// What is found out about a server on this machine.
    async fn probed(name: &str) -> Result<String, RegistryError> {
        let host = Registries::new(Settings::default()).host(name, Manner::default());
        host.connection().await.map(|it| it.base.to_string())
    }

    #[tokio::test]
    async fn who_answers_encryption_in_plain_is_asked_nothing_else() {
        let server = Server::start(|_| reply(200, &[], "")).await;
        let (registries, _) = server.repository("a", Settings::default());
        let host = registries.host(&server.host(), Manner::default());
        assert_eq!(host.connection().await.unwrap().base.as_str(), format!("http://{}/", server.host()));
        assert_eq!(registries.requests(), 1);
    }

    #[tokio::test]
    async fn plain_http_has_to_be_answered_as_such() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        /// The first byte that a client of TLS sends.
        const HANDSHAKE: u8 = 22;
        // Who hangs up instead of shaking hands may speak TLS and be in trouble.
        let hangs_up = async |status: &'static str| {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let name = listener.local_addr().unwrap().to_string();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut bytes = [0; 4096];
                    let count = stream.read(&mut bytes).await.unwrap_or_default();
                    if bytes[..count].first() != Some(&HANDSHAKE) {
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
            probed(&name).await
        };
        assert!(hangs_up("200 OK").await.unwrap().starts_with("http://127.0.0.1:"));
        assert!(hangs_up("503 Service Unavailable").await.unwrap().starts_with("http://127.0.0.1:"));
        let error = hangs_up("400 Bad Request").await.unwrap_err();
        assert!(matches!(error, RegistryError::Network { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn plain_http_needs_no_authorities() {
        let known = async |name: &str| {
            let registries = Registries::new(Settings::default());
            let host = registries.host(name, Manner::default());
            let _ = host.connection().await;
            host.shared.roots.are_known()
        };
        let server = Server::start(|_| reply(200, &[], "")).await;
        assert!(!known(&server.host()).await);
        assert!(known("registry.invalid").await);
    }

    #[test]
    fn knows_loopback_hosts() {
        let local = is_this_machine;
        for name in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "LOCALHOST"] {
            assert!(local(name), "{name}");
        }
        for name in ["localhost.example", "128.0.0.1", "[::2]", "mylocalhost", "127.0.0.1.example", "", "a b"] {
            assert!(!local(name), "{name}");
        }
    }

    fn connection(base: &str, insecure: bool) -> Connection {
        let config = Extra::default().config(&Arc::new(Vec::new().into()), true, false).unwrap();
        let client = Client::builder().tls_backend_preconfigured(config).build().unwrap();
        let clients = Clients { own: client.clone(), other: client.clone(), local: client };
        Connection { base: Url::parse(base).unwrap(), clients, insecure, only_roots: None }
    }

    #[test]
    fn encryption_is_never_lost_on_the_way() {
        let objects = |base: &str, insecure: bool, to: &str| {
            let from = Url::parse(base).unwrap();
            connection(base, insecure).objection(&from, &Url::parse(to).unwrap()).is_some()
        };
        assert!(!objects("https://r.example/", false, "https://s3.example/x"));
        assert!(objects("https://r.example/", false, "http://s3.example/x"));
        assert!(objects("https://r.example/", true, "http://s3.example/x"));
        assert!(objects("https://r.example/", false, "http://127.0.0.1/x"));
        assert!(objects("http://127.0.0.1:5000/", false, "http://s3.example/x"));
        assert!(!objects("http://127.0.0.1:5000/", false, "http://127.0.0.1:9000/x"));
        assert!(!objects("http://r.example/", true, "http://s3.example/x"));
        assert!(objects("https://r.example/", true, "file:///etc/passwd"));
    }

    #[test]
    fn a_registry_behind_a_proxy_is_understood() {
        let at = |base: &str, url: &str| connection(base, false).at_registry(Url::parse(url).unwrap()).to_string();
        assert_eq!(at("https://r.example/", "http://r.example/v2/x"), "https://r.example/v2/x");
        assert_eq!(at("https://r.example:8443/", "http://r.example:80/v2/x"), "https://r.example:8443/v2/x");
        assert_eq!(at("https://r.example/", "http://other.example/x"), "http://other.example/x");
        assert_eq!(at("http://127.0.0.1/", "http://127.0.0.1/x"), "http://127.0.0.1/x");
    }
}
