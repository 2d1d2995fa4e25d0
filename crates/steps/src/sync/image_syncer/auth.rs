//! Selects credentials by the longest key that is the registry, or a path in it, above the repository.

use serde::Deserialize;

use super::expand::{UnsetError, Variables, expand};
use hod_io::secret::Secret;
use hod_oci::DOCKER_IO;
use hod_registry::{Credentials, HostAccess};

/// Accounts by registry, or by registry and namespace.
#[derive(Debug, Default)]
pub struct AuthTable {
    entries: Vec<(String, HostAccess)>,
}

/// An entry as the file has it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawAuth {
    username: String,
    password: String,
    insecure: bool,
}

impl RawAuth {
    /// The entry with variables replaced by their values.
    pub(super) fn expanded(self, variables: &Variables<'_>) -> Result<Self, UnsetError> {
        Ok(Self {
            username: expand(&self.username, variables)?,
            password: expand(&self.password, variables)?,
            insecure: self.insecure,
        })
    }
}

impl AuthTable {
    /// Adds an entry.
    pub(super) fn add(&mut self, key: &str, entry: RawAuth) {
        let named = !entry.username.is_empty() || !entry.password.is_empty();
        let credentials =
            named.then(|| Credentials::Password { username: entry.username, password: Secret::new(entry.password) });
        // Who is insecure may speak plain HTTP; who is not is dealt with as any other.
        let tls_verify = entry.insecure.then_some(false);
        self.entries.push((normalised(key), HostAccess { credentials, tls_verify, cert_dir: None }));
    }

    /// The entry for a repository, with its position.
    pub fn find(&self, host: &str, repository: &str) -> Option<(usize, &HostAccess)> {
        let name = format!("{host}/{repository}");
        let above = |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let entries = self.entries.iter().enumerate().filter(|(_, (key, _))| !key.is_empty() && above(key));
        entries.max_by_key(|(_, (key, _))| key.len()).map(|(position, (_, access))| (position, access))
    }
}

/// A key without a scheme and slashes at its end, and Docker Hub by its name.
fn normalised(key: &str) -> String {
    let key = key.trim();
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let (host, rest) = key.split_once('/').map_or((key, ""), |(host, rest)| (host, rest));
    match (host, rest) {
        ("index.docker.io" | "registry-1.docker.io" | DOCKER_IO, "" | "v1" | "v2") => DOCKER_IO.to_owned(),
        ("index.docker.io" | "registry-1.docker.io", rest) => format!("{DOCKER_IO}/{rest}"),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_wins_and_a_whole_repository_may_be_a_key() {
        let mut table = AuthTable::default();
        let keys = ["a.io", "a.io/team/", "a.io/team/web", "https://index.docker.io/v1/", "", "a.io/te"];
        for key in keys {
            table.add(key, RawAuth { username: key.to_owned(), ..RawAuth::default() });
        }
        let found = |host: &str, repository: &str| table.find(host, repository).map(|(position, _)| keys[position]);
        assert_eq!(found("a.io", "web"), Some("a.io"));
        assert_eq!(found("a.io", "team/other"), Some("a.io/team/"));
        assert_eq!(found("a.io", "team/web"), Some("a.io/team/web"));
        assert_eq!(found("a.io", "team/web/deep"), Some("a.io/team/web"));
        assert_eq!(found("a.io", "team/website"), Some("a.io/team/"));
        assert_eq!(found("docker.io", "library/alpine"), Some("https://index.docker.io/v1/"));
        assert_eq!(found("a.io:5000", "web"), None);
        assert!(!format!("{table:?}").contains("hunter2"));
    }
}
