//! What can go wrong with the server itself; what goes wrong with a request is an answer to it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hod_engine::endpoint::EndpointError;

/// A server that could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing to listen on.
    #[error("no address to listen on was given")]
    NoAddress,
    /// A file of users that cannot be read.
    #[error("cannot read the users")]
    Htpasswd(#[source] io::Error),
    /// A line of such a file that holds no user.
    #[error("line {line} of {path} is no user with a bcrypt password, as htpasswd -B writes it")]
    HtpasswdLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A certificate or key that cannot be read or written.
    #[error("cannot use the certificate")]
    Certificate(#[source] io::Error),
    /// A file without a certificate.
    #[error("{0} holds no certificate in PEM form")]
    NoCertificate(PathBuf),
    /// A file without a key.
    #[error("{0} holds no private key in PEM form")]
    NoKey(PathBuf),
    /// A certificate and key that TLS cannot use.
    #[error("the certificate and its key cannot be used for TLS")]
    Tls(#[source] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    SelfSigned(#[from] rcgen::Error),
    /// No key without chance.
    #[error("the system has no random numbers")]
    Random,
    /// A socket that was handed over cannot be used.
    #[error("cannot use the socket that was handed over")]
    Socket(#[source] io::Error),
    /// What a server that was killed has begun cannot be ended.
    #[error("cannot write the index of referrers that an earlier server has begun")]
    Referrers(#[source] EndpointError),
    /// What is served cannot be written to.
    #[error("only a store can be written to, and this is none")]
    NoStore,
}
