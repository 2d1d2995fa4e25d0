//! What integration tests are made of: real judges, real images, and a registry that misbehaves.
//!
//! ```no_run
//! let root = fixtures::copy();                                   // a registry root with real images
//! let registry = DockerRegistry::over(root.path());              // Debian's registry serves it
//! hod(["pull", "web:1.0", "--from", registry.host(), "--store", "s"]).ok();
//! ```
//!
//! Everything listens on a free port of loopback, lives in temporary folders, and ends when its value is dropped.

#![allow(dead_code, reason = "a kit holds what the next test will want")]

pub mod daemons;
pub mod docker_registry;
pub mod engine;
pub mod faulty;
pub mod fixtures;
pub mod hod;
pub mod images;
pub mod job;
#[cfg(target_arch = "x86_64")]
pub mod killed;
pub mod page;
pub mod pipe;
pub mod raw;
pub mod read_only;
pub mod schema;
pub mod skipped;
pub mod skopeo;
pub mod tls;
pub mod tree;
