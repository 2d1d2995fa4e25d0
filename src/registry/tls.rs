//! Whom to trust and as whom to appear: CA certificates and client certificates.
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
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// Certificates that cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A file or directory that cannot be read.
    #[error("cannot read certificates")]
    Read(#[source] io::Error),
    /// The roots that the environment names cannot be read.
    #[error("cannot read the CA certificates that SSL_CERT_FILE or SSL_CERT_DIR names: {0}")]
    Environment(String),
    /// A file without a certificate in it.
    #[error("{0} holds no certificate in PEM form")]
    Certificate(PathBuf),
    /// A file without a private key in it.
    #[error("{0} holds no private key in PEM form")]
    Key(PathBuf),
    /// Half of a pair.
    #[error("{present} has no partner: {absent} is missing")]
    Partner {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        absent: PathBuf,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("the client certificate {path} cannot be used")]
    Client {
        /// The certificate.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The TLS library could not be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// A client certificate with its key.
#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What a registry's own directory adds.
#[derive(Debug, Default)]
pub(super) struct Extra {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
}

/// The roots of the system, or those that the environment names instead.
pub(super) fn system_roots(
    file: Option<&Path>,
    directories: &[PathBuf],
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut found = Vec::new();
    if file.is_none() && directories.is_empty() {
        // What is unreadable among the system's own is left out, as other programs do.
        found.extend(rustls_native_certs::load_native_certs().certs);
    }
    let named = file.map(|file| (Some(file), None)).into_iter();
    for (file, directory) in named.chain(directories.iter().map(|directory| (None, Some(directory.as_path())))) {
        let loaded = rustls_native_certs::load_certs_from_paths(file, directory);
        if let (Some(error), true) = (loaded.errors.first(), loaded.certs.is_empty()) {
            return Err(TrustError::Environment(error.to_string()));
        }
        found.extend(loaded.certs);
    }
    Ok(found)
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
        system: &[CertificateDer<'static>],
        verify: bool,
        with_identity: bool,
    ) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Setup)?;
        let builder = match self.verifier(system, &provider) {
            _ if !verify => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            Some(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
            None => builder.with_root_certificates(RootCertStore::empty()),
        };
        let mut config = match &self.identity {
            Some(Identity { path, chain, key }) if with_identity => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|source| TrustError::Client { path: path.clone(), source })?,
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Whether the directory has a client certificate.
    pub(super) const fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Whether there is nothing against which a certificate could be checked.
    pub(super) const fn is_without_roots(&self, system: &[CertificateDer<'static>]) -> bool {
        self.roots.is_empty() && system.is_empty()
    }

    /// `None` where there is no usable root.
    fn verifier(
        &self,
        system: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Option<TrustedCertificate> {
        let roots: Vec<_> = system.iter().chain(&self.roots).cloned().collect();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build().ok()?;
        Some(TrustedCertificate { chains, roots })
    }
}

impl Identity {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TrustError> {
        let pem = fs::read(key).map_err(TrustError::Read)?;
        Ok(Self {
            path: certificate.to_owned(),
            chain: certificates(certificate)?,
            key: PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TrustError::Key(key.to_owned()))?,
        })
    }
}

/// The other half of a client certificate, which must be there.
fn partner(present: &Path, extension: &str, names: &[PathBuf]) -> Result<PathBuf, TrustError> {
    let absent = present.with_extension(extension);
    if names.contains(&absent) { Ok(absent) } else { Err(TrustError::Partner { present: present.to_owned(), absent }) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = fs::read(path).map_err(TrustError::Read)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TrustError::Certificate(path.to_owned())),
    }
}

/// Takes every certificate, for registries whose user said so.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes what leads to a trusted root, and a root that a server shows as its own certificate.
///
/// `openssl req -x509` marks what it makes as a CA, and such a certificate is all that many a site
/// has, as server certificate and as `ca.crt`. The library refuses a CA in a server's place; other
/// clients take it, if it is itself among those trusted, in date and made out to the host.
#[derive(Debug)]
struct TrustedCertificate {
    chains: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for TrustedCertificate {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.chains.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if self.roots.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
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
        assert!(extra.config(&[], true, true).unwrap().client_auth_cert_resolver.has_certs());
        assert!(!extra.config(&[], true, false).unwrap().client_auth_cert_resolver.has_certs());
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
        assert_eq!(error("me.cert", &certificate), "/me.cert has no partner: /me.key is missing");
        assert_eq!(error("me.key", &key), "/me.key has no partner: /me.cert is missing");
        assert_eq!(error("ca.crt", "nothing"), "/ca.crt holds no certificate in PEM form");
    }

    #[test]
    fn named_roots_replace_those_of_the_system() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roots.pem");
        fs::write(&file, pair().0).unwrap();
        assert_eq!(system_roots(Some(&file), &[]).unwrap().len(), 1);
        assert_eq!(system_roots(None, &[directory.path().to_owned()]).unwrap().len(), 1);
        assert!(system_roots(Some(&directory.path().join("absent")), &[]).is_err());
    }
}
