//! One registry host: its name, its address, and the connections to it.
//!
//! Plain HTTP is for loopback hosts and for those whose user turned verification off; all others are
//! asked by HTTPS and nothing else. The client certificate is shown to the registry itself alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;

use super::auth::Auth;
use super::connection::{Clients, Connection, base_url, is_loopback};
use super::error::RegistryError;
use super::request::Request;
use super::shared::Shared;
use super::subject::Subject;
use hod_io::tls::TrustError;

/// What of the settings is different at a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct HostSettings {
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
    pub(super) manner: HostSettings,
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

impl Host {
    pub(super) fn new(name: &str, manner: HostSettings, shared: Arc<Shared>) -> Self {
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

    /// Returns true if the host could not be reached the last time.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Returns true if certificates are checked, where that was said.
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, reply};
    use super::super::{Registries, Settings};
    use super::*;

    /// What is found out about a server on this machine.
    async fn probed(name: &str) -> Result<String, RegistryError> {
        let host = Registries::new(Settings::default()).host(name, HostSettings::default());
        host.connection().await.map(|it| it.base.to_string())
    }

    #[tokio::test]
    async fn who_answers_encryption_in_plain_is_asked_nothing_else() {
        let server = Server::start(|_| reply(200, &[], "")).await;
        let (registries, _) = server.repository("a", Settings::default());
        let host = registries.host(&server.host(), HostSettings::default());
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
            let host = registries.host(name, HostSettings::default());
            let _ = host.connection().await;
            host.shared.roots.are_known()
        };
        let server = Server::start(|_| reply(200, &[], "")).await;
        assert!(!known(&server.host()).await);
        assert!(known("registry.invalid").await);
    }
}
