//! What a sink has kept of content whose way was interrupted.

use std::io;

use hod_io::fs::PartialFile;
use hod_oci::{Algorithm, Digest, Hasher};

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

    /// Hashes what is in a partial file; `None` where that cannot become the content, which is `size` bytes long.
    pub fn of(file: &PartialFile, digest: &Digest, size: u64) -> io::Result<Option<Self>> {
        let (length, mut hasher) = (file.length(), Hasher::new(digest.algorithm()));
        if length > 0 && length <= size {
            hasher.read(file.reader())?;
        }
        let is_wrong = length > size || length == size && length > 0 && hasher.clone().finish() != *digest;
        Ok((!is_wrong).then_some(Self { length, hasher }))
    }

    /// How many bytes are there.
    pub const fn length(&self) -> u64 {
        self.length
    }
}
