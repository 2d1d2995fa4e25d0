//! The authorities that a client trusts, read when the first certificate is to be checked.
//!
//! Systems have them in some hundred files, and a client of plain HTTP needs none.

use std::path::PathBuf;
use std::sync::OnceLock;

use rustls_pki_types::CertificateDer;

use super::TrustError;

/// Authorities that are trusted: given ones, those of named files, or those of the system.
#[derive(Debug, Default)]
pub struct Roots {
    file: Option<PathBuf>,
    folders: Vec<PathBuf>,
    /// The certificates, or what is wrong with the files.
    found: OnceLock<Result<Vec<CertificateDer<'static>>, String>>,
}

impl Roots {
    /// Those of a file and of folders; where neither is named, the system's.
    pub fn new(file: Option<PathBuf>, folders: Vec<PathBuf>) -> Self {
        Self { file, folders, found: OnceLock::new() }
    }

    /// Their certificates. The first call reads the files, and blocks for that.
    pub fn certificates(&self) -> Result<&[CertificateDer<'static>], TrustError> {
        let found = self.found.get_or_init(|| self.read());
        found.as_deref().map_err(|problem| TrustError::Environment(problem.clone()))
    }

    fn read(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        if self.file.is_none() && self.folders.is_empty() {
            // What is unreadable among the system's own is left out, as other programs do.
            return Ok(rustls_native_certs::load_native_certs().certs);
        }
        let file = self.file.iter().map(|file| (Some(file.as_path()), None));
        let folders = self.folders.iter().map(|folder| (None, Some(folder.as_path())));
        let mut all = Vec::new();
        for (file, folder) in file.chain(folders) {
            let loaded = rustls_native_certs::load_certs_from_paths(file, folder);
            if let (Some(error), true) = (loaded.errors.first(), loaded.certs.is_empty()) {
                return Err(error.to_string());
            }
            all.extend(loaded.certs);
        }
        Ok(all)
    }

    /// Whether somebody has asked for them.
    #[cfg(any(test, feature = "testing"))]
    pub fn are_known(&self) -> bool {
        self.found.get().is_some()
    }
}

impl From<Vec<CertificateDer<'static>>> for Roots {
    fn from(given: Vec<CertificateDer<'static>>) -> Self {
        Self { found: OnceLock::from(Ok(given)), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err as fs;

    use super::*;

    #[test]
    fn named_roots_replace_those_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(&file, made.cert.pem()).unwrap();
        let count = |file: Option<&Path>, folders: &[&Path]| {
            let folders = folders.iter().map(|folder| folder.to_path_buf()).collect();
            Roots::new(file.map(Path::to_path_buf), folders).certificates().map(<[_]>::len)
        };
        assert_eq!(count(Some(&file), &[]).unwrap(), 1);
        assert_eq!(count(None, &[folder.path()]).unwrap(), 1);
        assert_eq!(count(Some(&file), &[folder.path()]).unwrap(), 2);
        let error = count(Some(&folder.path().join("absent")), &[]).unwrap_err();
        assert!(matches!(error, TrustError::Environment(_)), "{error}");
    }
}
