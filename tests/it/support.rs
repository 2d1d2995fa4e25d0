//! What integration tests are made of.

pub mod docker_registry;
