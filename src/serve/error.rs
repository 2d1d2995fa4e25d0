//! What can go wrong with the server itself; what goes wrong with a request is an answer to it.

use std::io;
use std::net::SocketAddr;

/// A server that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// What is served cannot be written to.
    #[error("only a store can be written to, and this is none")]
    NoStore,
}
