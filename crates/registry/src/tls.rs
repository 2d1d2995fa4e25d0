//! TLS for registries: CA certificates and client certificates.
//!
//! The roots are those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`. A registry can have more
//! in a directory of its own, as Docker and the containers tools have them:
//!
//! ```text
//! <certs.d>/<host[:port]>/
//! ├── *.crt              CA certificates, besides the system's
//! └── X.cert, X.key      a client certificate and its key
//! ```
//!
//! A system without roots is no error until a certificate has to be checked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;

use hod_io::tls::TrustedServers;
use hod_io::tls::{Identity, Roots, TrustError, certificates, client_config};

/// What a registry's own directory adds.
#[derive(Debug, Default)]
pub(super) struct Extra {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
}

impl Extra {
    /// Reads the first directory of `host` that exists below one of `parents`.
    pub(super) fn of_host(host: &str, parents: &[PathBuf]) -> Result<Self, TrustError> {
        for parent in parents {
            match Self::read(&parent.join(host)) {
                Err(TrustError::Read(error))
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
                other => return other,
            }
        }
        Ok(Self::default())
    }

    /// Reads a directory.
    pub(super) fn read(directory: &Path) -> Result<Self, TrustError> {
        let mut extra = Self::default();
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(TrustError::Read)? {
            names.push(entry.map_err(TrustError::Read)?.path());
        }
        names.sort();
        for path in &names {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => extra.roots.extend(certificates(path)?),
                Some("cert") => extra.identity = Some(Identity::read(path, &partner(path, "key", &names)?)?),
                Some("key") => drop(partner(path, "cert", &names)?),
                _ => {}
            }
        }
        Ok(extra)
    }

    /// The settings for connections: `with_identity` only for those to the registry itself.
    pub(super) fn config(
        &self,
        system: &Arc<Roots>,
        verify: bool,
        with_identity: bool,
    ) -> Result<ClientConfig, TrustError> {
        let servers = if verify { TrustedServers::Verified(system, &self.roots) } else { TrustedServers::Any };
        client_config(servers, self.identity.as_ref().filter(|_| with_identity))
    }

    /// Returns true if the directory has a client certificate.
    pub(super) const fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Returns true if it has authorities besides the system's.
    pub(super) const fn has_roots(&self) -> bool {
        !self.roots.is_empty()
    }
}

/// The other half of a client certificate, which must be there.
fn partner(present: &Path, extension: &str, names: &[PathBuf]) -> Result<PathBuf, TrustError> {
    let absent = present.with_extension(extension);
    if names.contains(&absent) { Ok(absent) } else { Err(TrustError::Partner { present: present.to_owned(), absent }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn reads_a_directory_of_a_host() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("r.example:5000");
        fs::create_dir(&directory).unwrap();
        let (certificate, key) = pair();
        fs::write(directory.join("ca.crt"), format!("{certificate}{certificate}")).unwrap();
        fs::write(directory.join("me.cert"), &certificate).unwrap();
        fs::write(directory.join("me.key"), &key).unwrap();
        fs::write(directory.join("README"), "x").unwrap();
        let parents = [parent.path().join("absent"), parent.path().to_owned()];
        let extra = Extra::of_host("r.example:5000", &parents).unwrap();
        assert_eq!(extra.roots.len(), 2);
        let none = Arc::new(Roots::from(Vec::new()));
        assert!(extra.config(&none, true, true).unwrap().client_auth_cert_resolver.has_certs());
        assert!(!extra.config(&none, true, false).unwrap().client_auth_cert_resolver.has_certs());
        let other = Extra::of_host("other.example", &parents).unwrap();
        assert!(other.roots.is_empty() && other.identity.is_none());
    }

    #[test]
    fn half_a_pair_and_garbage_are_errors() {
        let (certificate, key) = pair();
        let error = |name: &str, content: &str| {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(name), content).unwrap();
            let error = Extra::read(directory.path()).unwrap_err().to_string();
            error.replace(directory.path().to_str().unwrap(), "")
        };
        assert_eq!(error("me.cert", &certificate), "/me.key is missing, which /me.cert requires");
        assert_eq!(error("me.key", &key), "/me.cert is missing, which /me.key requires");
        assert_eq!(error("ca.crt", "nothing"), "/ca.crt contains no certificate in PEM format");
    }
}
