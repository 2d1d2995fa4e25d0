//! How a registry host is reached: its address, and the HTTP clients for it and for the servers that it sends us to.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use super::error::{Cause, RegistryError};
use super::shared::Shared;
use super::tls::Extra;
use hod_io::tls::Roots;
use hod_oci::DOCKER_IO;

/// The host of Docker Hub's API.
const DOCKER_HUB: &str = "registry-1.docker.io";
/// How long idle connections are kept.
const IDLE: Duration = Duration::from_secs(90);

/// How a host is reached.
#[derive(Debug)]
pub(super) struct Connection {
    /// Scheme, host and port, with an empty path.
    pub(super) base: Url,
    pub(super) clients: Clients,
    /// True if unencrypted connections may be made to any host on this registry's behalf.
    pub(super) insecure: bool,
    /// The system's authorities, if they are all that certificates are checked against.
    pub(super) only_roots: Option<Arc<Roots>>,
}

/// HTTP clients for the registry and for servers that it sends us to.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// For the registry itself.
    own: Client,
    /// For other hosts: without the client certificate.
    other: Client,
    /// For loopback hosts: without the client certificate, and never through a proxy.
    local: Client,
}

impl Connection {
    /// The URL of a path, which has to consist of characters that URLs take as they are.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Returns true if a URL is at the registry itself.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Returns true if there is nothing against which a certificate could be checked.
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
            _ => Some("which is not an HTTP address"),
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
    pub(super) fn build(
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
pub(super) fn base_url(name: &str, scheme: &str) -> Result<Url, RegistryError> {
    let error = || RegistryError::Host(name.into());
    let host = if name == DOCKER_IO { DOCKER_HUB } else { name };
    let strange = |letter: char| letter.is_whitespace() || letter.is_control() || "/\\?#@%".contains(letter);
    if host.is_empty() || host.contains(strange) {
        return Err(error());
    }
    let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| error())?;
    if url.has_host() { Ok(url) } else { Err(error()) }
}

/// Returns true if the host of a registry is this machine itself.
pub fn is_this_machine(name: &str) -> bool {
    base_url(name, "https").is_ok_and(|url| is_loopback(&url))
}

/// Returns true if a URL is at this machine itself, where nobody can listen in.
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
