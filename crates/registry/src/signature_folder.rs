//! The folder of a lookaside that has the signatures of one repository, here or on a web server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use url::Url;

use super::endless::ListProblem;
use super::error::{RegistryError, authority};
use super::host::Host;
use super::kept::WrittenFolders;
use super::lookaside::LookasideError;
use super::request::Request;
use super::subject::Subject;
use hod_oci::{Digest, RepositoryName};

/// The largest signature that is read.
const SIGNATURE_LIMIT: usize = 4 * 1024 * 1024;
/// The most that is read of all signatures of one manifest; real ones have a KiB each.
const SIGNATURES_LIMIT: usize = 8 * 1024 * 1024;
/// How many signatures of one manifest are read.
const SIGNATURES: usize = 128;

/// A folder with signatures, if there is one.
pub(super) type Signatures = Result<Option<SignatureFolder>, Arc<LookasideError>>;

/// The place of one repository's signatures.
#[derive(Debug, Clone)]
pub(super) struct SignatureFolder {
    /// The address that a manifest's own folder begins with.
    pub(super) base: Url,
    pub(super) name: RepositoryName,
    /// Who is asked, where the folder is on a web server.
    pub(super) host: Option<Arc<Host>>,
    /// What was written to this folder and others.
    pub(super) kept: WrittenFolders,
}

impl SignatureFolder {
    /// The signatures of a manifest, in their order.
    pub(super) async fn signatures(&self, manifest: &Digest) -> Result<Vec<Bytes>, RegistryError> {
        let (mut found, mut bytes) = (Vec::<Bytes>::new(), 0);
        for number in 1..=SIGNATURES {
            let url = self.address(manifest, number);
            let shown = url.clone();
            let signature = match &self.host {
                Some(host) => fetch(host, url, manifest).await?,
                None => read(&url).await?,
            };
            match signature {
                Some(signature) => {
                    bytes += signature.len();
                    if bytes > SIGNATURES_LIMIT {
                        let subject = Subject::Signature(authority(&shown), *manifest);
                        return Err(RegistryError::endless(&subject, &shown, ListProblem::Bytes(SIGNATURES_LIMIT)));
                    }
                    found.push(signature);
                }
                None => break,
            }
        }
        Ok(found)
    }

    /// Returns true if it is on this machine: others can only be read.
    pub(super) fn is_here(&self) -> bool {
        self.base.scheme() == "file"
    }

    /// Makes these the signatures of a manifest, beside others of the same run; `false` where the folder is not on this machine.
    pub(super) async fn keep(&self, manifest: &Digest, signatures: &[Bytes]) -> Result<bool, RegistryError> {
        if !self.is_here() {
            return Ok(false);
        }
        let (this, manifest, signatures) = (self.clone(), *manifest, signatures.to_vec());
        let task =
            tokio::task::spawn_blocking(move || this.kept.write(|number| this.file(&manifest, number), &signatures));
        task.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(not_written)?;
        Ok(true)
    }

    /// Removes the signatures of a manifest and says how many there were; `None` where the folder is not on this machine.
    pub(super) async fn remove(&self, manifest: &Digest) -> Result<Option<usize>, RegistryError> {
        if !self.is_here() {
            return Ok(None);
        }
        let (this, manifest) = (self.clone(), *manifest);
        let task =
            tokio::task::spawn_blocking(move || hod_io::fs::remove_numbered(1, |number| this.file(&manifest, number)));
        let removed = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        removed.map(Some).map_err(not_written)
    }

    /// The file of a signature, where the folder is on this machine.
    fn file(&self, manifest: &Digest, number: usize) -> PathBuf {
        self.address(manifest, number).to_file_path().unwrap_or_default()
    }

    fn address(&self, manifest: &Digest, number: usize) -> Url {
        let mut url = self.base.clone();
        let path = format!(
            "{}/{}@{}={}/signature-{number}",
            url.path().trim_end_matches('/'),
            self.name,
            manifest.algorithm().name(),
            manifest.hex()
        );
        url.set_path(&path);
        url
    }
}

fn not_written(error: io::Error) -> RegistryError {
    RegistryError::Lookaside(Arc::new(LookasideError::Write(error)))
}

async fn read(url: &Url) -> Result<Option<Bytes>, RegistryError> {
    let Ok(path) = url.to_file_path() else { return Ok(None) };
    let task = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        match fs_err::File::open(path) {
            Ok(file) => file.take(SIGNATURE_LIMIT as u64).read_to_end(&mut bytes).map(|_| Some(Bytes::from(bytes))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let read = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.map_err(|error| RegistryError::Lookaside(Arc::new(LookasideError::Read(error))))
}

async fn fetch(host: &Arc<Host>, url: Url, manifest: &Digest) -> Result<Option<Bytes>, RegistryError> {
    let connection = host.connection().await?;
    let subject = Subject::Signature(host.name.clone(), *manifest);
    let mut request = Request::new(Method::GET, url.clone(), subject);
    let response = host.follow(connection, &mut request, None, &url).await?;
    if matches!(response.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        response.drain().await;
        return Ok(None);
    }
    let response = response.accept(&[StatusCode::OK]).await?;
    let error = response.protocol_error("with something too large for a signature");
    response.bytes(SIGNATURE_LIMIT).await?.map(Some).ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signature_has_an_address() {
        let base = Url::parse("https://s.example/r/").unwrap();
        let name: RepositoryName = "team/other".parse().unwrap();
        let folder = SignatureFolder { base, name, host: None, kept: WrittenFolders::default() };
        let digest = Digest::sha256(b"");
        assert_eq!(
            folder.address(&digest, 2).to_string(),
            format!("https://s.example/r/team/other@sha256={}/signature-2", digest.hex())
        );
    }
}
