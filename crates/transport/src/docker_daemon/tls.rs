//! TLS to a daemon: the three files that Docker's tools keep for it.
//!
//! ```text
//! <folder>/ca.pem               who vouches for the daemon, in place of the system's roots
//! <folder>/cert.pem, key.pem    as whom the client appears
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;

use super::DaemonHost;
use crate::TransportError;
use hod_io::tls::TrustedServers;
use hod_io::tls::{Identity, Roots, TrustError, certificates, client_config};

const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// Docker's port for TLS, which nobody uses for anything else.
const PORT: &str = ":2376";

/// How a daemon is spoken to that listens on the network.
#[derive(Debug, Clone)]
pub struct DaemonTls {
    /// The folder with Docker's files; where there is one, `tcp://` means TLS.
    pub folder: Option<PathBuf>,
    /// Whether the daemon's certificate must be good.
    pub verify: bool,
}

impl Default for DaemonTls {
    fn default() -> Self {
        Self { folder: None, verify: true }
    }
}

impl DaemonTls {
    /// Whether a folder has any of Docker's files.
    pub fn is_in(folder: &Path) -> bool {
        [AUTHORITY, CERTIFICATE, KEY].iter().any(|name| folder.join(name).is_file())
    }

    /// The settings for a host, or `None` where it is spoken to without TLS. Reads files.
    pub(super) fn config(&self, host: &DaemonHost) -> crate::Result<Option<Arc<ClientConfig>>> {
        let wanted = match host {
            DaemonHost::Https(_) => true,
            DaemonHost::Tcp(authority) => self.folder.is_some() || authority.ends_with(PORT),
            DaemonHost::Unix(_) | DaemonHost::Http(_) | DaemonHost::Ssh(_) => false,
        };
        if !wanted {
            return Ok(None);
        }
        let (mut roots, mut identity) = (None, None);
        if let Some(folder) = &self.folder {
            if !Self::is_in(folder) {
                return Err(TransportError::NoCertificates(folder.clone()));
            }
            let path = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
            roots = path(AUTHORITY).map(|path| certificates(&path)).transpose()?;
            identity = match (path(CERTIFICATE), path(KEY)) {
                (Some(certificate), Some(key)) => Some(Identity::read(&certificate, &key)?),
                (Some(present), None) => return Err(TrustError::Partner { present, absent: folder.join(KEY) }.into()),
                (None, Some(present)) => {
                    return Err(TrustError::Partner { present, absent: folder.join(CERTIFICATE) }.into());
                }
                (None, None) => None,
            };
        }
        let roots = Arc::new(roots.map(Roots::from).unwrap_or_default());
        let servers = if self.verify { TrustedServers::Verified(&roots, &[]) } else { TrustedServers::Any };
        Ok(Some(Arc::new(client_config(servers, identity.as_ref())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_for_those_who_want_it() {
        let wanted = |host: &str, tls: &DaemonTls| tls.config(&host.parse().unwrap()).map(|config| config.is_some());
        let none = DaemonTls::default();
        for (host, expected) in [
            ("unix:///x", false),
            ("tcp://127.0.0.1:2375", false),
            ("tcp://127.0.0.1:2376", true),
            ("http://127.0.0.1:2376", false),
            ("https://127.0.0.1:2375", true),
        ] {
            assert_eq!(wanted(host, &none).unwrap(), expected, "{host}");
        }
        let folder = tempfile::tempdir().unwrap();
        let named = DaemonTls { folder: Some(folder.path().to_owned()), verify: true };
        let error = wanted("tcp://h:2375", &named).unwrap_err().to_string();
        assert!(error.contains("contains none of ca.pem, cert.pem and key.pem"), "{error}");
        let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
        fs_err::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        let error = wanted("tcp://h:2375", &named).unwrap_err().to_string();
        assert!(error.contains("cert.pem requires") && error.contains("key.pem is missing"), "{error}");
        fs_err::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        assert!(wanted("tcp://h:2375", &named).unwrap());
        assert!(!wanted("http://h:2375", &named).unwrap());
    }
}
