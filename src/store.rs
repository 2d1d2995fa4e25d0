//! The store: a registry root, `docker/registry/v2`, that hod writes and any CNCF registry serves.

pub mod layout;

pub use layout::{Entry, Links, TagLink};
