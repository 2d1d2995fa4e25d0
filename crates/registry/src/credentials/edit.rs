//! Writes credential files, for `login` and `logout`.
//!
//! The bytes are those that podman and skopeo write: tabs, keys in order, no newline at the end; only the
//! owner can read them. What else a file holds stays.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::error::CredentialsError;
use hod_io::secret::Secret;

/// A credential file to be changed.
#[derive(Debug, Clone)]
pub struct CredentialFile {
    path: PathBuf,
    /// True if Docker reads it, which knows Docker Hub by another key.
    docker: bool,
}

impl CredentialFile {
    /// A file of the containers tools, which need not exist.
    pub const fn containers(path: PathBuf) -> Self {
        Self { path, docker: false }
    }

    /// A file of Docker's, which need not exist.
    pub const fn docker(path: PathBuf) -> Self {
        Self { path, docker: true }
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key for a registry, or for a path there.
    fn key(&self, registry: &str) -> String {
        if self.docker && registry == "docker.io" {
            "https://index.docker.io/v1/".to_owned()
        } else {
            registry.to_owned()
        }
    }

    /// Sets the password of a registry, or of a path there.
    ///
    /// # Errors
    /// [`CredentialsError::HelperConfigured`] where the file leaves the registry to a helper.
    pub fn add(&self, registry: &str, username: &str, password: &Secret) -> Result<(), CredentialsError> {
        let mut content = self.read()?;
        let host = registry.split('/').next().unwrap_or(registry);
        let helper = content.get("credHelpers").and_then(|helpers| helpers.get(host)).and_then(Value::as_str);
        if let Some(helper) = helper.filter(|name| !name.is_empty()) {
            let (path, host) = (self.path.clone(), host.to_owned());
            return Err(CredentialsError::HelperConfigured { path, host, name: helper.to_owned() });
        }
        let auth = STANDARD.encode(format!("{username}:{}", password.expose()));
        let auths = content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        if let Some(auths) = auths.as_object_mut() {
            auths.insert(self.key(registry), json!({ "auth": auth }));
        }
        self.write(&content)
    }

    /// Removes the credentials of a registry, or of a path there; says whether there were any.
    pub fn remove(&self, registry: &str) -> Result<bool, CredentialsError> {
        let mut content = self.read()?;
        let key = self.key(registry);
        let auths = content.get_mut("auths").and_then(Value::as_object_mut);
        if auths.is_none_or(|auths| auths.remove(&key).is_none()) {
            return Ok(false);
        }
        self.write(&content)?;
        Ok(true)
    }

    /// Removes all credentials.
    pub fn remove_all(&self) -> Result<(), CredentialsError> {
        let mut content = self.read()?;
        content.insert("auths".to_owned(), json!({}));
        self.write(&content)
    }

    fn read(&self) -> Result<Map<String, Value>, CredentialsError> {
        let bytes = match hod_io::fs::read_within(&self.path, hod_io::fs::CONFIG_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(CredentialsError::Read(error)),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        serde_json::from_slice(&bytes).map_err(|error| CredentialsError::Syntax {
            path: self.path.clone(),
            line: error.line(),
            column: error.column(),
        })
    }

    fn write(&self, content: &Map<String, Value>) -> Result<(), CredentialsError> {
        let mut bytes = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"\t"));
        content.serialize(&mut serializer).map_err(|error| CredentialsError::Write(error.into()))?;
        self.replace(&bytes).map_err(CredentialsError::Write)
    }

    /// Replaces the file by one that is private from its first moment.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let folder = hod_io::fs::folder_of(&self.path);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| hod_io::fs::with_path(folder, &error))?;
        // A link to a file elsewhere stays a link.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        hod_io::fs::write_atomically_as(&target, bytes, 0o600)
    }
}
