//! What a sink has kept of content whose way was interrupted.

use hod_oci::{Algorithm, Hasher};

/// The first bytes of some content that a sink has kept: how many, and their running hash.
#[derive(Debug, Clone)]
pub struct Prefix {
    pub(super) length: u64,
    pub(super) hasher: Hasher,
}

impl Prefix {
    /// Nothing kept.
    pub fn none(algorithm: Algorithm) -> Self {
        Self { length: 0, hasher: Hasher::new(algorithm) }
    }

    /// `length` bytes that went through `hasher`.
    pub const fn new(length: u64, hasher: Hasher) -> Self {
        Self { length, hasher }
    }

    /// How many bytes are there.
    pub const fn length(&self) -> u64 {
        self.length
    }
}
