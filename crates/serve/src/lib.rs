//! A registry over HTTP: the OCI distribution API for whatever holds repositories.
//!
//! Sources: OCI distribution-spec 1.1, and the CNCF registry where real clients depend on it.
//!
//! * **For**: `hod serve`, over stores and bundles.
//! * **Must stay true**: only what a repository links is to be had from it. A whole blob is hashed on its way out, and one with wrong
//!   bytes never ends well: the connection breaks before its last chunk, and who asks again is told why. Whatever a client can take of
//!   the server is counted by its address or user, and none has a share of all: `connections`, `passwords`, `uploads`.
//! * **Does not**: convert. What is served are the stored bytes, whatever a client says it accepts: a manifest in another form would have
//!   another digest.
//!
//! ```text
//!  connection ──▶ server ──▶ service ──▶ endpoint ──▶ pull, list, referrers ──▶ Repositories
//!                    │          │             │           body: bytes are hashed while they are sent
//!               time-outs,   axum's routes,   │
//!               limits, end  access log       └──────▶ upload, push, delete ──▶ Store
//!                                                         request_body: limits of what comes
//! ```
//!
//! ```
//! use std::sync::Arc;
//!
//! use hod_serve::{Options, Server};
//! use hod_store::Store;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let root = tempfile::tempdir()?;
//! let store = Arc::new(Store::create(root.path())?);
//! let options = Options { listen: vec!["127.0.0.1:0".parse()?], ..Options::default() };
//! let server = Server::bind(store, options).await?;
//! assert_ne!(server.addresses()[0].port(), 0);
//! server.run(async {}).await;
//! # Ok(())
//! # })
//! # }
//! ```

mod access;
mod answer;
mod attachments;
mod auth;
mod body;
mod bundle;
mod cache;
mod catalog;
mod connections;
mod damage;
mod delete;
mod details;
mod endpoint;
mod error;
mod hash_cache;
mod html;
mod htpasswd;
mod image;
mod list;
mod metrics;
mod mirror;
mod origin;
mod page;
mod passwords;
mod pull;
mod push;
mod push_store;
mod range;
mod referrers;
mod reload;
mod repositories;
mod request_body;
mod server;
mod service;
mod site;
mod stamp;
mod store;
mod tls;
mod upload;
mod uploads;

pub use access::{Access, AccessLog, TraceLog};
pub use auth::Admission;
pub use bundle::Bundles;
pub use error::ServeError;
pub use repositories::{BlobReader, Repositories};
pub use server::{Options, Server, Shutdown};
pub use stamp::Stamp;
pub use tls::Tls;
