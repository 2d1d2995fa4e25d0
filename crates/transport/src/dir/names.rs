//! What the files of an image directory are called.

use hod_oci::{Algorithm, Digest};

/// The name of a config or layer.
pub(super) fn blob_name(digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.hex(),
        other => format!("{}-{}", other.name(), digest.hex()),
    }
}
