//! Credential files: Docker's `config.json` and `.dockercfg`, the containers tools' `auth.json`.
//!
//! ```json
//! { "auths": { "quay.io/team": { "auth": "<base64 of user:password>", "identitytoken": "…" } },
//!   "credHelpers": { "gcr.io": "gcloud" }, "credsStore": "secretservice" }
//! ```
//!
//! `.dockercfg` is the object under `auths` alone. The files hold secrets: they are read into types
//! that do not print, and what the JSON parser says about them is not passed on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::error::CredentialsError;
use super::host::normal_host;
use super::login::{Credentials, Login};
use hod_io::secret::Secret;
use hod_oci::RepositoryName;

/// Writers of these files differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A credential file, read.
pub(super) struct AuthFile {
    path: PathBuf,
    content: Content,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content {
    auths: Option<BTreeMap<String, Entry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Reads a file; an empty one holds nothing.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let bytes = hod_io::fs::read_within(path, hod_io::fs::CONFIG_LIMIT).map_err(CredentialsError::Read)?;
        Self::parse(path, &bytes)
    }

    /// Reads the content of a file; `path` is its name for messages.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CredentialsError> {
        let legacy = path.file_name().is_some_and(|name| name == ".dockercfg");
        let content = if bytes.iter().all(u8::is_ascii_whitespace) {
            Ok(Content::default())
        } else if legacy {
            serde_json::from_slice(bytes).map(|auths| Content { auths: Some(auths), ..Content::default() })
        } else {
            serde_json::from_slice(bytes)
        };
        let content = content.map_err(|error| CredentialsError::Syntax {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The helper for a host.
    pub(super) fn helper_for(&self, host: &str) -> Option<&str> {
        let helpers = self.content.cred_helpers.as_ref()?;
        let exact = helpers.get(host);
        let found = exact.or_else(|| helpers.iter().find(|(key, _)| key_host(key) == host).map(|(_, name)| name));
        found.map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The helper for all hosts.
    pub(super) fn store(&self) -> Option<&str> {
        self.content.creds_store.as_deref().filter(|name| !name.is_empty())
    }

    /// The entry for a repository: the one for the longest part of its name, else the one for the host.
    pub(super) fn entry_for(
        &self,
        host: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Login>, CredentialsError> {
        let Some(auths) = &self.content.auths else { return Ok(None) };
        let mut key = match repository {
            Some(repository) => format!("{host}/{repository}"),
            None => host.to_owned(),
        };
        loop {
            if let Some(login) = auths.get(&key).map_or(Ok(None), |entry| self.login(&key, entry))? {
                return Ok(Some(login));
            }
            match key.rfind('/') {
                Some(slash) => key.truncate(slash),
                None => break,
            }
        }
        for (key, entry) in auths.iter().filter(|(key, _)| is_host_key(key) && key_host(key) == host) {
            if let Some(login) = self.login(key, entry)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// What an entry holds; `None` for the empty entries that Docker leaves beside a helper.
    fn login(&self, key: &str, entry: &Entry) -> Result<Option<Login>, CredentialsError> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let credentials = if let Some(token) = given(&entry.identitytoken) {
            Credentials::IdentityToken(Secret::new(token))
        } else if let Some(token) = given(&entry.registrytoken) {
            Credentials::RegistryToken(Secret::new(token))
        } else if let Some(auth) = given(&entry.auth) {
            decode(&auth).ok_or_else(|| CredentialsError::Entry { path: self.path.clone(), key: key.to_owned() })?
        } else if let (Some(username), Some(password)) = (given(&entry.username), given(&entry.password)) {
            Credentials::Password { username, password: Secret::new(password) }
        } else {
            return Ok(None);
        };
        Ok(Some(Login { credentials, origin: format!("{} ({key})", self.path.display()).into() }))
    }
}

/// Reads base64 of `user:password`; some writers end it with NULs, and `base64` breaks it into lines.
fn decode(auth: &str) -> Option<Credentials> {
    let auth: String = auth.split_ascii_whitespace().collect();
    let text = String::from_utf8(BASE64.decode(auth).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    let password = Secret::new(password.trim_end_matches('\0'));
    Some(Credentials::Password { username: username.to_owned(), password })
}

/// The host of a key, which may be a URL such as `https://index.docker.io/v1/`.
fn key_host(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    normal_host(rest.split('/').next().unwrap_or(rest))
}

/// Returns true if a key stands for a whole host: `host`, `host/`, `host/v2/`, or a URL. `host/name` is for that name alone.
fn is_host_key(key: &str) -> bool {
    let is_url = key.starts_with("https://") || key.starts_with("http://");
    is_url || key.split_once('/').is_none_or(|(_, path)| matches!(path, "" | "v1/" | "v2/"))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    fn file(name: &str, content: &str) -> Result<AuthFile, CredentialsError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        AuthFile::read(&path)
    }

    fn user(file: &AuthFile, host: &str, repository: &str) -> Option<String> {
        let repository: Option<RepositoryName> = (!repository.is_empty()).then(|| repository.parse().unwrap());
        match file.entry_for(host, repository.as_ref()).unwrap()?.credentials {
            Credentials::Password { username, password } => Some(format!("{username}:{}", password.expose())),
            Credentials::IdentityToken(token) => Some(format!("identity {}", token.expose())),
            Credentials::RegistryToken(token) => Some(format!("registry {}", token.expose())),
        }
    }

    fn auth(text: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, BASE64.encode(text))
    }

    #[test]
    fn the_longest_key_wins() {
        let content = format!(
            r#"{{"auths":{{"quay.io":{},"quay.io/team":{},"quay.io/team/app":{},"quay.io/other":{{}}}}}}"#,
            auth("host:1"),
            auth("team:2"),
            auth("app:p:q")
        );
        let file = file("auth.json", &content).unwrap();
        assert_eq!(user(&file, "quay.io", "team/app").unwrap(), "app:p:q");
        assert_eq!(user(&file, "quay.io", "team/app/x").unwrap(), "app:p:q");
        assert_eq!(user(&file, "quay.io", "team/apple").unwrap(), "team:2");
        assert_eq!(user(&file, "quay.io", "other/x").unwrap(), "host:1");
        assert_eq!(user(&file, "quay.io", "").unwrap(), "host:1");
        assert_eq!(user(&file, "quay.io:5000", "team"), None);
    }

    #[test]
    fn docker_hub_has_many_names() {
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
            let file = file("config.json", &format!(r#"{{"auths":{{"{key}":{}}}}}"#, auth("me:1"))).unwrap();
            assert_eq!(user(&file, "docker.io", "library/alpine").unwrap(), "me:1", "{key}");
            assert_eq!(user(&file, "quay.io", "library/alpine"), None, "{key}");
        }
    }

    #[test]
    fn keys_may_be_urls_but_names_stay_names() {
        let content =
            format!(r#"{{"auths":{{"http://r.example:5000/v2/":{},"s.example/team":{}}}}}"#, auth("a:1"), auth("b:2"));
        let file = file("config.json", &content).unwrap();
        assert_eq!(user(&file, "r.example:5000", "x").unwrap(), "a:1");
        assert_eq!(user(&file, "s.example", "x"), None);
        for key in ["t.example/", "t.example/v1/", "t.example/v2/"] {
            let file = self::file("config.json", &format!(r#"{{"auths":{{"{key}":{}}}}}"#, auth("c:3"))).unwrap();
            assert_eq!(user(&file, "t.example", "x").unwrap(), "c:3", "{key}");
        }
    }

    #[test]
    fn entries_come_in_several_shapes() {
        let content = r#"{"auths":{"a":{"auth":"dTpwAAA=","identitytoken":""},"b":{"auth":"PHRva2VuPjo=","identitytoken":"long"},
            "c":{"registrytoken":"short"},"d":{"username":"u","password":"p"},"e":{"email":"x"},"f":{"auth":"dT\r\n pw\n"}},
            "HttpHeaders":{"User-Agent":"x"},"detachKeys":"ctrl-e"}"#;
        let file = file("config.json", content).unwrap();
        let found = |host| user(&file, host, "");
        assert_eq!(found("a").unwrap(), "u:p");
        assert_eq!(found("b").unwrap(), "identity long");
        assert_eq!(found("c").unwrap(), "registry short");
        assert_eq!(found("d").unwrap(), "u:p");
        assert_eq!(found("e"), None);
        assert_eq!(found("f").unwrap(), "u:p");
    }

    #[test]
    fn reads_the_oldest_form() {
        let file = file(".dockercfg", &format!(r#"{{"https://index.docker.io/v1/":{}}}"#, auth("me:1"))).unwrap();
        assert_eq!(user(&file, "docker.io", "").unwrap(), "me:1");
    }

    #[test]
    fn helpers_are_found_by_host() {
        let content = r#"{"credHelpers":{"gcr.io":"gcloud","index.docker.io":"hub"},"credsStore":"secretservice"}"#;
        let file = file("config.json", content).unwrap();
        assert_eq!(file.helper_for("gcr.io"), Some("gcloud"));
        assert_eq!(file.helper_for("docker.io"), Some("hub"));
        assert_eq!(file.helper_for("quay.io"), None);
        assert_eq!(file.store(), Some("secretservice"));
    }

    #[test]
    fn errors_show_no_secret() {
        for content in [
            r#"{"auths":"hunter2"}"#,
            r#"{"auths":{"a":"hunter2"}}"#,
            r#"{"auths":{"a":{"auth":["hunter2"]}}}"#,
            "hunter2",
            r#"{"auths":{"a":{"auth":"hunter2"}"#,
        ] {
            let error = file("auth.json", content).err().unwrap();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("auth.json") && !shown.contains("hunter2"), "{shown}");
        }
        let bad = file("auth.json", r#"{"auths":{"a":{"auth":"hunter2!"},"b":{"auth":"aHVudGVyMg=="}}}"#).unwrap();
        for host in ["a", "b"] {
            let error = bad.entry_for(host, None).unwrap_err().to_string();
            assert!(error.contains("auth.json: the entry") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_empty_file_holds_nothing() {
        assert_eq!(user(&file("auth.json", " \n").unwrap(), "a", ""), None);
        assert_eq!(user(&file("auth.json", "{}").unwrap(), "a", ""), None);
        assert_eq!(user(&file("auth.json", r#"{"auths":null}"#).unwrap(), "a", ""), None);
    }
}
