//! Selects the credentials for a registry: flags, credential files, credential helpers.
//!
//! The files are those of Docker and of the containers tools; who has logged in with either needs to do
//! nothing more. In each file a helper for the host comes first, then the helper for all hosts, then
//! the entries, of which the one with the longest match wins. The first file that has an answer wins.
//! `registries.conf` may name helpers that are asked before the files, after them, or in their place.

mod edit;
mod error;
mod file;
mod helper;
mod host;
mod login;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, io};

pub use edit::CredentialFile;
pub use error::CredentialsError;
use file::AuthFile;
use host::is_same_host;
pub use login::Credentials;
pub(super) use login::Login;

use tokio::sync::{Mutex, OnceCell};

use super::registries_conf::Helpers;
use hod_io::secret::Secret;
use hod_oci::{DOCKER_IO, RepositoryName};

/// The variable with the content of Docker's `config.json`, as CI systems set it.
const INLINE: &str = "DOCKER_AUTH_CONFIG";

/// The places to search for credentials.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// Credentials that the user gave, each for one host.
    pub given_by_host: Vec<(Box<str>, Credentials)>,
    /// Credentials that the user gave without a host.
    pub given: Option<Credentials>,
    /// The one host that they, and the registry token, are for; every host where it is not set.
    pub given_for: Option<Box<str>>,
    /// Where they were given, if not on the command line.
    pub given_in: Option<Box<str>>,
    /// Appear as nobody, whatever the files hold.
    pub anonymous: bool,
    /// The one file to read, which must exist (`--authfile`, `REGISTRY_AUTH_FILE`).
    pub authfile: Option<PathBuf>,
    /// The content of a credential file in a variable (`DOCKER_AUTH_CONFIG`), read before the files.
    pub inline: Option<Secret>,
    /// The files to read where no one file is given, best first; they may be absent.
    pub files: Vec<PathBuf>,
    /// The directories in which helpers are installed, as in `PATH`.
    pub search_path: OsString,
}

impl CredentialSources {
    /// Returns true if what was given without a host is for this one.
    pub(super) fn is_given_for(&self, host: &str) -> bool {
        self.given_for.as_ref().is_none_or(|given_for| is_same_host(given_for, host))
    }

    /// What the user gave for a host; `own` says whether it is the one whose name was written, and no mirror of it.
    fn given_for(&self, host: &str, own: bool) -> Option<&Credentials> {
        let by_host = self.given_by_host.iter().find(|(given_for, _)| is_same_host(given_for, host));
        let given = || self.given.as_ref().filter(|_| own && self.is_given_for(host));
        by_host.map(|(_, credentials)| credentials).or_else(given)
    }

    /// The sources that an environment names; `variable` reads it.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let below_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
        let runtime = path("XDG_RUNTIME_DIR").map_or_else(
            || PathBuf::from(format!("/run/containers/{}/auth.json", nix::unistd::Uid::effective())),
            |directory| directory.join("containers/auth.json"),
        );
        let config = path("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let docker = path("DOCKER_CONFIG").or_else(|| below_home(".docker"));
        let files = [
            Some(runtime),
            config.map(|directory| directory.join("containers/auth.json")),
            docker.map(|directory| directory.join("config.json")),
            below_home(".dockercfg"),
        ];
        Self {
            given_by_host: Vec::new(),
            given: None,
            given_for: None,
            given_in: None,
            anonymous: false,
            authfile: path("REGISTRY_AUTH_FILE"),
            inline: variable(INLINE).map(|text| Secret::new(text.to_string_lossy())),
            files: files.into_iter().flatten().collect(),
            search_path: variable("PATH").unwrap_or_default(),
        }
    }
}

/// Answers who to be at a host. Files are read once, helpers are asked once for each server.
pub(super) struct Keyring {
    sources: CredentialSources,
    files: OnceCell<Vec<AuthFile>>,
    /// What helpers have said, by helper and server. The lock is held while one runs, so that none is asked twice.
    helped: Mutex<HashMap<(String, String), Option<Credentials>>>,
}

impl Keyring {
    pub(super) fn new(sources: CredentialSources) -> Self {
        Self { sources, files: OnceCell::new(), helped: Mutex::default() }
    }

    /// The credentials for a repository of a host, or for the host as a whole; `given` says whether those of the
    /// command line are for it. Where `helpers` are configured, they are asked in their order, and one that fails
    /// hides nothing that another knows.
    pub(super) async fn find(
        &self,
        host: &str,
        repository: Option<&RepositoryName>,
        given: bool,
        helpers: Option<&Helpers>,
    ) -> Result<Option<Login>, CredentialsError> {
        if let Some(credentials) = self.sources.given_for(host, given).cloned() {
            let origin = self.sources.given_in.clone().unwrap_or_else(|| "the command line".into());
            return Ok(Some(Login { credentials, origin }));
        }
        if self.sources.anonymous {
            return Ok(None);
        }
        let Some(Helpers { path, names }) = helpers else { return self.find_in_files(host, repository).await };
        let mut failed = None;
        for name in names {
            let found = match name.as_str() {
                Helpers::FILES => self.find_in_files(host, repository).await,
                name => self.ask(path, name, host, true).await,
            };
            match found {
                Ok(Some(login)) => return Ok(Some(login)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn find_in_files(
        &self,
        host: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Login>, CredentialsError> {
        for file in self.files().await? {
            if let Some(login) = self.find_in(file, host, repository).await? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    async fn files(&self) -> Result<&[AuthFile], CredentialsError> {
        let read = || async {
            let CredentialSources { authfile, inline, files, .. } = self.sources.clone();
            let task = tokio::task::spawn_blocking(move || {
                if let Some(path) = authfile {
                    return AuthFile::read(&path).map(|file| vec![file]);
                }
                let inline = inline.map(|text| AuthFile::parse(Path::new(INLINE), text.expose().as_bytes()));
                inline.into_iter().chain(files.iter().filter_map(|path| optional(path))).collect()
            });
            task.await.unwrap_or_else(|error| Err(CredentialsError::Read(io::Error::other(error))))
        };
        self.files.get_or_try_init(read).await.map(Vec::as_slice)
    }

    async fn find_in(
        &self,
        file: &AuthFile,
        host: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Login>, CredentialsError> {
        if let Some(name) = file.helper_for(host) {
            return self.ask(file.path(), name, host, true).await;
        }
        if let Some(name) = file.store()
            && let Some(login) = self.ask(file.path(), name, host, false).await?
        {
            return Ok(Some(login));
        }
        file.entry_for(host, repository)
    }

    /// Asks a helper. One that is meant for all hosts may be absent: files are carried from machine to machine.
    async fn ask(
        &self,
        path: &Path,
        name: &str,
        host: &str,
        required: bool,
    ) -> Result<Option<Login>, CredentialsError> {
        if !helper::is_name(name) {
            return Err(CredentialsError::HelperName { path: path.to_owned(), name: name.to_owned() });
        }
        let Some(program) = helper::locate(name, &self.sources.search_path) else {
            let absent = CredentialsError::HelperAbsent { path: path.to_owned(), name: name.to_owned() };
            return if required { Err(absent) } else { Ok(None) };
        };
        for server in servers(&host) {
            let mut helped = self.helped.lock().await;
            let key = (name.to_owned(), (*server).to_owned());
            let answer = if let Some(answer) = helped.get(&key) {
                answer.clone()
            } else {
                let answer = helper::get(&program, server).await?;
                helped.insert(key, answer.clone());
                answer
            };
            if let Some(credentials) = answer {
                let origin = format!("docker-credential-{name}").into();
                return Ok(Some(Login { credentials, origin }));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// A file that need not be there, or that somebody else may own.
fn optional(path: &Path) -> Option<Result<AuthFile, CredentialsError>> {
    match AuthFile::read(path) {
        Err(CredentialsError::Read(error))
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
            ) =>
        {
            None
        }
        other => Some(other),
    }
}

/// The names under which helpers know a host. Docker Hub has an old one.
fn servers<'a>(host: &'a &'a str) -> &'a [&'a str] {
    match *host {
        DOCKER_IO => &["https://index.docker.io/v1/", DOCKER_IO],
        _ => std::slice::from_ref(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a file of entries and, where a script is given, a helper called `test`.
    async fn keyring(files: &[&str], helper: &str) -> (tempfile::TempDir, CredentialSources) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: String| folder.path().join(name);
        for (position, content) in files.iter().enumerate() {
            fs_err::write(path(format!("{position}.json")), content).unwrap();
        }
        if !helper.is_empty() {
            // Written by another process: had this one the file open, a fork elsewhere could keep it busy.
            let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
            let program = path("docker-credential-test".to_owned());
            let mut shell = tokio::process::Command::new("sh");
            assert!(shell.arg("-c").arg(write).arg(program).arg(helper).status().await.unwrap().success());
        }
        let files = (0..files.len()).map(|position| path(format!("{position}.json"))).collect();
        let search_path = folder.path().as_os_str().to_owned();
        (folder, CredentialSources { files, search_path, ..CredentialSources::default() })
    }

    async fn user(sources: &CredentialSources, host: &str) -> Result<String, CredentialsError> {
        let login = Keyring::new(sources.clone()).find(host, None, true, None).await?;
        Ok(login.map_or("nobody".to_owned(), |login| match login.credentials {
            Credentials::Password { username, .. } => username,
            other => format!("{other:?}"),
        }))
    }

    const ENTRY: &str = r#"{"auths":{"a.example":{"auth":"bWU6MQ=="}}}"#;

    #[tokio::test]
    async fn flags_come_before_files() {
        let (_folder, sources) = keyring(&[ENTRY], "").await;
        assert_eq!(user(&sources, "a.example").await.unwrap(), "me");
        let anonymous = CredentialSources { anonymous: true, ..sources.clone() };
        assert_eq!(user(&anonymous, "a.example").await.unwrap(), "nobody");
        let given = CredentialSources { given: Some(Credentials::from_flag("you:2")), ..sources.clone() };
        assert_eq!(user(&given, "a.example").await.unwrap(), "you");
        let given_by_host = vec![("a.example:5000".into(), Credentials::from_flag("two:2"))];
        let by_host = CredentialSources { given_by_host, ..sources.clone() };
        assert_eq!(user(&by_host, "a.example:5000").await.unwrap(), "two");
        assert_eq!(user(&by_host, "a.example").await.unwrap(), "me");
        let named = |host: &str| CredentialSources { given_for: Some(host.into()), ..given.clone() };
        assert_eq!(user(&named("A.example"), "a.example").await.unwrap(), "you");
        assert_eq!(user(&named("b.example"), "a.example").await.unwrap(), "me");
        assert_eq!(user(&named("index.docker.io"), "docker.io").await.unwrap(), "you");
        let one = CredentialSources { authfile: Some("/absent/auth.json".into()), ..sources };
        assert!(matches!(user(&one, "a.example").await, Err(CredentialsError::Read(_))));
    }

    #[tokio::test]
    async fn the_first_file_that_knows_wins() {
        let other = r#"{"auths":{"a.example":{"auth":"eW91OjI="},"b.example":{"auth":"eW91OjI="}}}"#;
        let (folder, mut sources) = keyring(&[ENTRY, other], "").await;
        sources.files.insert(0, folder.path().join("absent.json"));
        assert_eq!(user(&sources, "a.example").await.unwrap(), "me");
        assert_eq!(user(&sources, "b.example").await.unwrap(), "you");
        assert_eq!(user(&sources, "c.example").await.unwrap(), "nobody");
    }

    #[tokio::test]
    async fn helpers_come_before_entries() {
        let helper = r#"read server; case $server in b.example) echo credentials not found in native keychain; exit 1;;
            esac; printf '{"Username":"%s","Secret":"s"}' "$server""#;
        let entries = r#""auths":{"a.example":{"auth":"bWU6MQ=="},"b.example":{"auth":"bWU6MQ=="}}"#;
        let one = format!(r#"{{{entries},"credHelpers":{{"a.example":"test","c.example":"absent"}}}}"#);
        let (_folder, sources) = keyring(&[&one], helper).await;
        assert_eq!(user(&sources, "a.example").await.unwrap(), "a.example");
        assert_eq!(user(&sources, "b.example").await.unwrap(), "me");
        let error = user(&sources, "c.example").await.unwrap_err().to_string();
        assert!(error.ends_with("docker-credential-absent, which is not in PATH"), "{error}");
        let all = format!(r#"{{{entries},"credsStore":"test"}}"#);
        let (_folder, sources) = keyring(&[&all], helper).await;
        assert_eq!(user(&sources, "a.example").await.unwrap(), "a.example");
        assert_eq!(user(&sources, "b.example").await.unwrap(), "me");
        assert_eq!(user(&sources, "docker.io").await.unwrap(), "https://index.docker.io/v1/");
        let (_folder, sources) = keyring(&[&all.replace("test", "desktop")], "").await;
        assert_eq!(user(&sources, "a.example").await.unwrap(), "me");
        let (_folder, sources) = keyring(&[&all.replace("test", "../x")], "").await;
        assert!(matches!(user(&sources, "a.example").await, Err(CredentialsError::HelperName { .. })));
    }

    #[tokio::test]
    async fn helpers_for_all_are_asked_in_their_order() {
        let helper = r#"read server; case $server in b.example) echo credentials not found in native keychain; exit 1;;
            esac; printf '{"Username":"%s","Secret":"s"}' "$server""#;
        let entries = r#"{"auths":{"a.example":{"auth":"bWU6MQ=="},"b.example":{"auth":"bWU6MQ=="}}}"#;
        let (_folder, sources) = keyring(&[entries], helper).await;
        let user = async |names: &[&str], host: &str| {
            let names = names.iter().copied().map(str::to_owned).collect();
            let helpers = Helpers { path: "registries.conf".into(), names };
            match Keyring::new(sources.clone()).find(host, None, true, Some(&helpers)).await {
                Ok(Some(Login { credentials: Credentials::Password { username, .. }, .. })) => username,
                Ok(None) => "nobody".to_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(user(&["test", Helpers::FILES], "a.example").await, "a.example");
        assert_eq!(user(&[Helpers::FILES, "test"], "a.example").await, "me");
        assert_eq!(user(&["test", Helpers::FILES], "b.example").await, "me");
        assert_eq!(user(&["test"], "b.example").await, "nobody");
        assert_eq!(user(&["absent", Helpers::FILES], "a.example").await, "me");
        let absent = user(&["absent", "test"], "b.example").await;
        assert!(absent.contains("HelperAbsent") && absent.contains("registries.conf"), "{absent}");
    }

    #[tokio::test]
    async fn a_helper_is_asked_once() {
        let (folder, sources) =
            keyring(&[r#"{"credsStore":"test"}"#], r#"echo x >> "$0.log"; printf '{"Username":"me","Secret":"s"}'"#)
                .await;
        let keyring = Keyring::new(sources);
        let asked = futures_util::future::join_all((0..8).map(|_| keyring.find("a.example", None, true, None))).await;
        assert!(asked.iter().all(|login| login.as_ref().is_ok_and(Option::is_some)));
        let log = fs_err::read_to_string(folder.path().join("docker-credential-test.log")).unwrap();
        assert_eq!(log, "x\n");
    }
}
