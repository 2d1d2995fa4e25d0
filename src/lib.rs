//! Carries container images across an air gap.
//!
//! ```text
//!  images-list ──pull──▶ store ──pack──▶ bundle ══ USB, DVD ══▶ unpack ──▶ registry root
//!                                                           ╲─▶ push ────▶ any registry
//!                                                            ╲▶ serve ───▶ pull from it at once
//! ```
//!
//! The modules form layers, and a module may use only what stands to its left:
//!
//! ```text
//! oci, secret, observe, fs, tls < endpoint, signature < policy < store, registry, transport < copy < bundle < pipeline < serve, cli
//! ```
//!
//! `tests/it/architecture.rs` holds the code to it. `docs/architecture.md` walks one pull through them.

pub mod bundle;
pub mod cli;
pub mod copy;
pub mod endpoint;
pub mod fs;
pub mod observe;
pub mod oci;
pub mod pipeline;
pub mod policy;
pub mod registry;
pub mod secret;
pub mod serve;
pub mod signature;
pub mod store;
pub mod tls;
pub mod transport;
