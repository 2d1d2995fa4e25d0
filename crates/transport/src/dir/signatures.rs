//! `signature-N` and `<hex>.signature-N`: signatures of the containers tools beside the manifests of an image directory.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::super::archive::read_small;
use super::super::{Result, TransportError};
use super::names::blob_name;
use hod_oci::Digest;

/// How many signatures of one manifest are read.
const SIGNATURES: usize = 128;

/// The file of a signature; `manifest` is `None` for the root.
fn name(manifest: Option<&Digest>, number: usize) -> String {
    manifest
        .map_or_else(|| format!("signature-{number}"), |manifest| format!("{}.signature-{number}", blob_name(manifest)))
}

/// The signatures of a manifest, in their order.
pub(super) fn read(folder: &Path, manifest: Option<&Digest>) -> Result<Vec<Bytes>> {
    let mut found = Vec::new();
    for number in 1..=SIGNATURES {
        match read_small(&folder.join(name(manifest, number))) {
            Ok(bytes) => found.push(bytes),
            Err(TransportError::Io(error)) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Makes these the signatures of a manifest, and removes what there was besides.
pub(super) fn write(folder: &Path, manifest: Option<&Digest>, signatures: &[Bytes]) -> io::Result<()> {
    hod_io::fs::write_numbered(|number| folder.join(name(manifest, number)), signatures)
}
