//! What can be wrong with certificates.

use std::io;
use std::path::PathBuf;

/// Certificates that cannot be read or used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file or directory that cannot be read.
    #[error("cannot read certificates")]
    Read(#[source] io::Error),
    /// The roots that the environment names cannot be read.
    #[error("cannot read the CA certificates that SSL_CERT_FILE or SSL_CERT_DIR names: {0}")]
    Environment(String),
    /// A file without a certificate in it.
    #[error("{0} contains no certificate in PEM format")]
    Certificate(PathBuf),
    /// A file without a private key in it.
    #[error("{0} contains no private key in PEM format")]
    Key(PathBuf),
    /// Half of a pair.
    #[error("{absent} is missing, which {present} requires")]
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
