//! The settings of one registry, where a command uses several.

use std::path::PathBuf;

use super::{Credentials, Registries};

/// Settings that a file gives for one registry; what it does not give stays as the command has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAccess {
    /// The credentials for it.
    pub credentials: Option<Credentials>,
    /// Whether to insist on HTTPS with a valid certificate.
    pub tls_verify: Option<bool>,
    /// The directory with certificates.
    pub cert_dir: Option<PathBuf>,
}

impl Registries {
    /// The same registries, dealt with in this way, which `file` gives. Nothing is shared but what is said here.
    #[must_use]
    pub fn with_access(&self, access: &HostAccess, file: &str) -> Self {
        if *access == HostAccess::default() {
            return self.clone();
        }
        let mut settings = self.shared.settings.clone();
        if let Some(credentials) = &access.credentials {
            settings.credentials.given = Some(credentials.clone());
            settings.credentials.given_for = None;
            settings.credentials.given_by_host.clear();
            settings.credentials.given_in = Some(file.into());
            settings.credentials.anonymous = false;
            settings.registry_token = None;
        }
        settings.tls_verify = access.tls_verify.or(settings.tls_verify);
        settings.cert_dir = access.cert_dir.clone().or(settings.cert_dir);
        Self::new(settings)
    }
}
