//! The signatures of a repository's manifests, stored beside the registry.

use bytes::Bytes;

use super::error::RegistryError;
use super::repository::Repository;
use super::signature_folder::{SignatureFolder, Signatures};
use hod_oci::Digest;

impl Repository {
    /// The same repository with its signatures.
    pub(super) fn with_signatures(self, signatures: Signatures) -> Self {
        Self { signatures, ..self }
    }

    /// The same repository with the place where its signatures are written.
    pub(super) fn with_staging(self, staging: Signatures) -> Self {
        Self { staging, ..self }
    }

    /// The place where its signatures are written, if there is one.
    pub(super) fn staging(&self) -> Result<Option<&SignatureFolder>, RegistryError> {
        self.staging.as_ref().map(Option::as_ref).map_err(|error| RegistryError::Lookaside(error.clone()))
    }

    /// Returns true if signatures can be kept for its manifests.
    pub fn keeps_signatures(&self) -> Result<bool, RegistryError> {
        Ok(self.staging()?.is_some_and(SignatureFolder::is_here))
    }

    /// The signatures of a manifest, from where the image is.
    pub(super) async fn own_signatures(&self, manifest: &Digest) -> Result<Vec<Bytes>, RegistryError> {
        match &self.signatures {
            Ok(Some(folder)) => folder.signatures(manifest).await,
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(RegistryError::Lookaside(error.clone())),
        }
    }

    /// Removes the signatures of a manifest where they are written; `None` where that is not on this machine.
    pub async fn delete_signatures(&self, digest: &Digest) -> Result<Option<usize>, RegistryError> {
        match self.staging()? {
            Some(folder) => folder.remove(digest).await,
            None => Ok(Some(0)),
        }
    }
}
