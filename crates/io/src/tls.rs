//! Certificates in files, and how a client holds them against what a server shows.
//!
//! What is checked is checked against the roots that the caller gives. Where there is none, no certificate is good.

mod error;
mod roots;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fs_err as fs;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

pub use error::TrustError;
pub use roots::Roots;

/// A client certificate with its key.
#[derive(Debug)]
pub struct Identity {
    path: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads a certificate, with those between it and its authority, and its key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TrustError> {
        let pem = fs::read(key).map_err(TrustError::Read)?;
        Ok(Self {
            path: certificate.to_owned(),
            chain: certificates(certificate)?,
            key: PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TrustError::Key(key.to_owned()))?,
        })
    }
}

/// The certificates of a file in PEM form, of which there must be one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = fs::read(path).map_err(TrustError::Read)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TrustError::Certificate(path.to_owned())),
    }
}

/// The servers that connections are made to.
#[derive(Debug, Clone, Copy)]
pub enum TrustedServers<'a> {
    /// Those that one of these roots vouches for, or one of these certificates.
    Verified(&'a Arc<Roots>, &'a [CertificateDer<'static>]),
    /// Any server.
    Any,
}

/// The settings for connections to some servers.
pub fn client_config(servers: TrustedServers<'_>, identity: Option<&Identity>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Setup)?;
    let verifier: Arc<dyn ServerCertVerifier> = match servers {
        TrustedServers::Verified(roots, more) => {
            let (roots, more) = (roots.clone(), more.to_vec());
            Arc::new(TrustedCertificate { roots, more, provider, chains: OnceLock::new() })
        }
        TrustedServers::Any => Arc::new(AnyCertificate(provider)),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(Identity { path, chain, key }) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|source| TrustError::Client { path: path.clone(), source })?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes every certificate, for servers whose user said so.
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
    roots: Arc<Roots>,
    more: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// What checks chains, or `None` where there is no usable root; made when the first certificate is checked.
    chains: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl TrustedCertificate {
    fn roots(&self) -> Result<impl Iterator<Item = &CertificateDer<'static>>, rustls::Error> {
        let roots = self.roots.certificates();
        let roots = roots.map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))?;
        Ok(roots.iter().chain(&self.more))
    }

    fn chains(&self) -> Result<&WebPkiServerVerifier, rustls::Error> {
        let roots = self.roots()?;
        let make = || {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.cloned());
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), self.provider.clone()).build().ok()
        };
        self.chains.get_or_init(make).as_deref().ok_or_else(|| CertificateError::UnknownIssuer.into())
    }
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
        match self.chains()?.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.roots()?.any(|root| root == certificate) =>
            {
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
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
