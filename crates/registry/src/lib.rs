//! Registries: a client of the OCI distribution API.
//!
//! Sources: OCI distribution-spec 1.1, the token protocol of distribution, containers-registries.conf(5), containers-auth.json(5).
//!
//! * **For**: one repository of a registry as a source and a sink of the copy engine, and lists of repositories and tags.
//! * **Must stay true**: credentials go to the registry that they are for and to its token server alone. What a registry gives is
//!   bounded, in the sum too. Nothing is retried here: an error says by its [`Fault`](hod_engine::endpoint::Fault) whether that is worth
//!   it, and the copy engine decides.
//! * **Does not**: check digests of blobs; the engine does.
//!
//! One [`Registries`] serves a whole run, so that connections, tokens and what was learned about hosts are shared.
//!
//! ```text
//! Registries ──▶ Host (one for each name) ──▶ Repository: a Source and a Sink
//!                 ├── connection: address, TLS, clients        host, connection, tls
//!                 ├── auth: challenge, tokens, credentials     host_auth, host_token, challenge, credentials
//!                 └── requests: redirects, time limits         client, request, response, transfer
//! ```
//!
//! ```
//! use hod_engine::endpoint::Source as _;
//! use hod_registry::{Registries, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registries = Registries::new(Settings::from_environment(|_| None));
//! let repository = registries.repository("quay.io", &"coreos/etcd".parse()?);
//! assert_eq!(repository.place().to_string(), "quay.io/coreos/etcd");
//! assert_eq!(registries.requests(), 0);
//! # Ok(())
//! # }
//! ```

mod answer;
mod auth;
mod cause;
mod challenge;
mod client;
mod connection;
mod credentials;
mod elsewhere;
mod endless;
mod error;
mod host;
mod host_access;
mod host_auth;
mod host_token;
mod kept;
mod listing;
mod lookaside;
mod pages;
mod referrers;
mod registries;
mod registries_conf;
mod repository;
mod request;
mod response;
mod route;
mod settings;
mod shared;
mod signature_folder;
mod signatures;
mod sink;
mod source;
mod subject;
#[cfg(test)]
mod testing;
mod tls;
mod token;
mod transfer;
mod upload;

pub use answer::{Answer, Reason};
pub use challenge::token_server;
pub use connection::is_this_machine;
pub use credentials::{CredentialFile, CredentialSources, Credentials, CredentialsError};
pub use endless::ListProblem;
pub use error::{Cause, Refusal, RegistryError, RoutingError};
pub use hod_io::tls::TrustError;
pub use host_access::HostAccess;
pub use lookaside::{LookasideError, LookasideSources};
pub use pages::next_page;
pub use registries::Registries;
pub use registries_conf::{RegistriesConfError, RegistriesConfSources};
pub use repository::Repository;
pub use settings::Settings;
pub use subject::Subject;
