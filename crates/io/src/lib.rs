//! Files that survive a crash, secrets, and TLS: what the standard library lacks.

pub mod fs;
pub mod secret;
pub mod tls;
