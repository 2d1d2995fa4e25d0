//! Certificates for loopback, from an authority that nobody else knows.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

/// A folder with `ca.crt`, `client.cert` and `client.key`, as `--cert-dir` takes it, and the server's pair below it.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes an authority, and a certificate each for a server on loopback and for a client.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "authority of a test");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let certificates = Self { folder };
        fs::create_dir(certificates.folder().join("server")).unwrap();
        fs::write(certificates.authority(), authority.pem()).unwrap();
        let issue = |names: &[&str], purpose, certificate: PathBuf, key: PathBuf| {
            let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
            let mut parameters = CertificateParams::new(names).unwrap();
            parameters.extended_key_usages = vec![purpose];
            let pair = KeyPair::generate().unwrap();
            fs::write(certificate, parameters.signed_by(&pair, &authority).unwrap().pem()).unwrap();
            fs::write(key, pair.serialize_pem()).unwrap();
        };
        issue(
            &["127.0.0.1", "localhost"],
            ExtendedKeyUsagePurpose::ServerAuth,
            certificates.server_certificate(),
            certificates.server_key(),
        );
        issue(
            &["client"],
            ExtendedKeyUsagePurpose::ClientAuth,
            certificates.folder().join("client.cert"),
            certificates.folder().join("client.key"),
        );
        certificates
    }

    /// The folder that clients are given.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same for a client, in a folder of its own with the names that Docker has for them.
    pub fn docker_folder(&self) -> PathBuf {
        let folder = self.folder().join("docker");
        fs::create_dir_all(&folder).unwrap();
        for (ours, theirs) in [("ca.crt", "ca.pem"), ("client.cert", "cert.pem"), ("client.key", "key.pem")] {
            fs::copy(self.folder().join(ours), folder.join(theirs)).unwrap();
        }
        folder
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }

    /// The server's certificate.
    pub fn server_certificate(&self) -> PathBuf {
        self.folder().join("server/cert.pem")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.folder().join("server/key.pem")
    }
}
