//! TLS: the server's certificate, from files that may change, or made here.
//!
//! A certificate that is made here comes from an authority of its own, which clients are told to
//! trust once; it is kept where a folder is given for it, so that the next start has the same one.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use fs_err as fs;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustix::fs::OFlags;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::error::ServeError;
use super::reload::Reload;
use hod_io::fs::Directory;

/// Where the server's certificate comes from.
#[derive(Debug, Clone)]
pub enum Tls {
    /// From files in PEM form, which are read again when they change.
    Files {
        /// The certificate, and those between it and its authority.
        certificate: PathBuf,
        /// The certificate's key.
        key: PathBuf,
    },
    /// From an authority of the server's own.
    SelfSigned {
        /// The names and addresses that clients use for this server.
        names: Vec<String>,
        /// The directory where the authority is kept; without one, it ends with the server.
        keep: Option<Directory>,
    },
}

/// Makes what accepts TLS, and returns the authority's certificate as PEM, where that is the server's own.
pub(super) fn acceptor(tls: &Tls) -> Result<(TlsAcceptor, Option<String>), ServeError> {
    let (resolver, authority): (Arc<dyn ResolvesServerCert>, _) = match tls {
        Tls::Files { certificate, key } => {
            (Arc::new(ReloadingCertificate(Reload::new(vec![certificate.clone(), key.clone()], read_pair)?)), None)
        }
        Tls::SelfSigned { names, keep } => {
            let (pair, authority) = make(names, keep.as_ref())?;
            (Arc::new(SingleCertAndKey::from(pair)), Some(authority))
        }
    };
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ServeError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    Ok((TlsAcceptor::from(Arc::new(config)), authority))
}

/// A certificate from files, looked at for every connection.
struct ReloadingCertificate(Reload<Arc<CertifiedKey>>);

impl ResolvesServerCert for ReloadingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.get(read_pair)))
    }
}

impl std::fmt::Debug for ReloadingCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReloadingCertificate")
    }
}

fn read_pair(paths: &[PathBuf]) -> Result<Arc<CertifiedKey>, ServeError> {
    let [certificate, key] = paths else { return Err(ServeError::NoCertificate(PathBuf::new())) };
    let chain = fs::read(certificate).map_err(ServeError::Certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|_| ServeError::NoCertificate(certificate.clone()))?;
    let text = fs::read(key).map_err(ServeError::Certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|_| ServeError::NoKey(key.clone()))?;
    if chain.is_empty() {
        return Err(ServeError::NoCertificate(certificate.clone()));
    }
    CertifiedKey::from_der(chain, secret, &default_provider()).map(Arc::new).map_err(ServeError::Tls)
}

/// Makes a certificate for these names; returns it with its authority's certificate as PEM.
fn make(names: &[String], keep: Option<&Directory>) -> Result<(CertifiedKey, String), ServeError> {
    let key = kept(keep, "ca.key", 0o600, || Ok(KeyPair::generate()?.serialize_pem()))?;
    let place = keep.map(|folder| folder.child("ca.key").path()).unwrap_or_default();
    let key = KeyPair::from_pem(&key).map_err(|_| ServeError::NoKey(place))?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "hod serve");
    let authority = CertifiedIssuer::self_signed(authority, key)?;
    // The same key and name make the same authority, whatever else differs between two certificates of it.
    let text = kept(keep, "ca.crt", 0o666, || Ok(authority.pem()))?;
    let mut names = names.to_vec();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.dedup();
    let mut certificate = CertificateParams::new(names.clone())?;
    certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    certificate.use_authority_key_identifier_extension = true;
    if let Some(name) = names.iter().find(|name| name.parse::<IpAddr>().is_err()) {
        certificate.distinguished_name.push(DnType::CommonName, name.as_str());
    }
    let own = KeyPair::generate()?;
    let signed = certificate.signed_by(&own, &authority)?;
    let secret = PrivateKeyDer::try_from(own.serialize_der()).map_err(|_| ServeError::NoKey(PathBuf::new()))?;
    let pair = CertifiedKey::from_der(vec![signed.der().clone()], secret, &default_provider());
    Ok((pair.map_err(ServeError::Tls)?, text))
}

/// A text that is kept in a directory with that mode, or only made where there is none.
fn kept(
    keep: Option<&Directory>,
    name: &str,
    mode: u32,
    make: impl FnOnce() -> Result<String, ServeError>,
) -> Result<String, ServeError> {
    let Some(place) = keep.map(|folder| folder.child(name)) else { return make() };
    match place.open(OFlags::RDONLY).and_then(std::io::read_to_string) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = make()?;
            hod_io::fs::write_atomically_in(&place, text.as_bytes(), mode).map_err(ServeError::Certificate)?;
            Ok(text)
        }
        found => found.map_err(ServeError::Certificate),
    }
}
