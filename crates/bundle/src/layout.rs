//! The first members of every bundle, and their size limits.

use super::ustar;
use hod_oci::Digest;
use hod_store::Entry;

/// The longest header that a reader takes, in bytes: that of more than 100,000 blobs.
pub const HEADER_LIMIT: u64 = 32 * 1024 * 1024;

/// The member that holds the header.
pub const HEADER_NAME: &str = "hod/bundle.json";

/// The member that holds the header's signature, where there is one.
pub const SIGNATURE_NAME: &str = "hod/bundle.json.minisig";

/// The length of the tar header of a blob.
pub(super) fn data_head_length(digest: &Digest) -> u64 {
    ustar::head_length(&Entry::Data(*digest).to_string())
}

/// Zeros that may follow an uncompressed bundle, as some tapes and data diodes add them.
pub(super) const FILL_LIMIT: u64 = 1024 * 1024;
