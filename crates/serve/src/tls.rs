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
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::error::ServeError;
use super::watched::Watched;
use hod_io::fs::{Child, Directory};

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

/// What a server needs to speak TLS.
pub(super) struct Secured {
    pub(super) acceptor: TlsAcceptor,
    /// The authority's certificate, where it is the server's own.
    pub(super) authority: Option<String>,
}

impl Secured {
    /// Reads or makes a certificate.
    pub(super) fn new(tls: &Tls) -> Result<Self, ServeError> {
        let (resolver, authority): (Arc<dyn ResolvesServerCert>, _) = match tls {
            Tls::Files { certificate, key } => {
                let files = Watched::new(vec![certificate.clone(), key.clone()], read_pair)?;
                (Arc::new(Watching(files)), None)
            }
            Tls::SelfSigned { names, keep } => {
                let (pair, authority) = make(names, keep.as_ref())?;
                (Arc::new(Made(Arc::new(pair))), Some(authority))
            }
        };
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(ServeError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

/// A certificate from files, looked at for every connection.
struct Watching(Watched<Arc<CertifiedKey>>);

impl ResolvesServerCert for Watching {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.get(read_pair)))
    }
}

impl std::fmt::Debug for Watching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watching")
    }
}

/// A certificate that stays.
#[derive(Debug)]
struct Made(Arc<CertifiedKey>);

impl ResolvesServerCert for Made {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
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
    certified(chain, secret).map(Arc::new)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, ServeError> {
    let key = default_provider().key_provider.load_private_key(key).map_err(ServeError::Tls)?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(error) => Err(ServeError::Tls(error)),
    }
}

/// Makes a certificate for these names; returns it with its authority's certificate as PEM.
fn make(names: &[String], keep: Option<&Directory>) -> Result<(CertifiedKey, String), ServeError> {
    let key = match keep {
        Some(folder) => authority_key(folder)?,
        None => KeyPair::generate()?,
    };
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "hod serve");
    let authority = CertifiedIssuer::self_signed(authority, key)?;
    // The same key and name make the same authority, whatever else differs between two certificates of it.
    let place = keep.map(|folder| folder.child("ca.crt"));
    let kept = place.as_ref().map(read).transpose()?.flatten();
    let text = kept.clone().unwrap_or_else(|| authority.pem());
    if let (Some(place), None) = (&place, &kept) {
        hod_io::fs::write_atomically_in(place, text.as_bytes(), 0o666).map_err(ServeError::Certificate)?;
    }
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
    Ok((certified(vec![signed.der().clone()], secret)?, text))
}

/// The key of the authority that is kept in a directory, which only its owner can read.
fn authority_key(folder: &Directory) -> Result<KeyPair, ServeError> {
    let place = folder.child("ca.key");
    if let Some(text) = read(&place)? {
        return KeyPair::from_pem(&text).map_err(|_| ServeError::NoKey(place.path()));
    }
    let key = KeyPair::generate()?;
    hod_io::fs::write_atomically_in(&place, key.serialize_pem().as_bytes(), 0o600).map_err(ServeError::Certificate)?;
    Ok(key)
}

/// The text of a small file, if it is there.
fn read(place: &Child) -> Result<Option<String>, ServeError> {
    match place.open(OFlags::RDONLY) {
        Ok(file) => std::io::read_to_string(file).map(Some).map_err(ServeError::Certificate),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ServeError::Certificate(error)),
    }
}
