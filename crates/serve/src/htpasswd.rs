//! Users and their passwords, as Apache's `htpasswd -B` writes them: `name:$2y$…`, one a line.
//!
//! Only bcrypt is taken, as by the CNCF registry: the other forms are broken or need no guessing.

use std::collections::HashMap;
use std::path::PathBuf;

use fs_err as fs;

use super::error::ServeError;

/// The users of a file.
#[derive(Default)]
pub(super) struct Users {
    hashes: HashMap<String, String>,
}

impl Users {
    /// Reads the one file among `paths`, if there is one.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, ServeError> {
        let Some(path) = paths.first() else { return Ok(Self::default()) };
        let text = fs::read_to_string(path).map_err(ServeError::Htpasswd)?;
        let mut hashes = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line is not shown: it may hold a password.
            let bad = || ServeError::HtpasswdLine { path: path.clone(), line: number + 1 };
            let (name, hash) = line.split_once(':').ok_or_else(bad)?;
            let parsed = hash.parse::<bcrypt::HashParts>();
            if name.is_empty() || parsed.is_err() {
                return Err(bad());
            }
            hashes.insert(name.to_owned(), hash.to_owned());
        }
        Ok(Self { hashes })
    }

    /// The hash of a user's password.
    pub(super) fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(String::as_str)
    }

    /// Somebody's hash, to spend the same time on a user who does not exist.
    pub(super) fn any_hash(&self) -> Option<&str> {
        self.hashes.values().next().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

    #[test]
    fn reads_what_htpasswd_writes_and_nothing_weaker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, format!("# people\n\nann:{HASH}\r\nbob:{HASH}\n")).unwrap();
        let users = Users::read(std::slice::from_ref(&path)).unwrap();
        assert_eq!((users.hash("ann"), users.hash("eve")), (Some(HASH), None));
        for bad in ["ann", "ann:", ":x", "ann:secret", "ann:$apr1$x$y", "ann:{SHA}x", "ann:$2y$05$short"] {
            fs::write(&path, format!("ok:{HASH}\n{bad}\n")).unwrap();
            let error = Users::read(std::slice::from_ref(&path)).err().unwrap().to_string();
            assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
        }
    }
}
