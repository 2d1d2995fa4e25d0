//! Credential helpers: programs `docker-credential-NAME` that store credentials.
//!
//! `get` takes a server on standard input and answers `{"Username": …, "Secret": …}`; the user name
//! `<token>` says that the secret is an identity token (docker-credential-helpers, README).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::error::CredentialsError;
use super::login::Credentials;
use hod_io::secret::Secret;

/// How long a helper may take; some of them ask a server of their own.
const PATIENCE: Duration = Duration::from_secs(60);
/// What helpers print where they have nothing: by agreement, and macOS's in its own words.
const NOT_FOUND: [&str; 2] = ["credentials not found in native keychain", "could not be found in the keychain"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    secret: String,
}

/// Returns true if a name from a file can be part of a program's name, and is no path.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The program of a helper, from the first directory that has it.
pub(super) fn locate(name: &str, search_path: &OsStr) -> Option<PathBuf> {
    let directories = std::env::split_paths(search_path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(format!("docker-credential-{name}"))).find(|program| program.is_file())
}

/// Asks a helper for the credentials of a server.
pub(super) async fn get(program: &Path, server: &str) -> Result<Option<Credentials>, CredentialsError> {
    let start = |source| CredentialsError::HelperStart { helper: program.to_owned(), source };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input says what is wrong on its output.
        let _ = input.write_all(format!("{server}\n").as_bytes()).await;
    }
    let failed =
        |problem: String| CredentialsError::Helper { helper: program.to_owned(), server: server.to_owned(), problem };
    let output = match tokio::time::timeout(PATIENCE, child.wait_with_output()).await {
        Ok(output) => output.map_err(start)?,
        Err(_) => return Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let said: String = said.trim().chars().filter(|letter| !letter.is_control()).take(200).collect();
        let has_none = said.is_empty() || NOT_FOUND.iter().any(|text| said.contains(text));
        return if has_none { Ok(None) } else { Err(failed(format!("{}: {said}", output.status))) };
    }
    if output.stdout.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its response is not valid JSON".to_owned()))?;
    let secret = Secret::new(answer.secret);
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credentials::IdentityToken(secret),
        _ => Credentials::Password { username: answer.username, password: secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(script: &str) -> Result<Option<Credentials>, String> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("docker-credential-test");
        // Written by another process: had this one the file open, a fork elsewhere could keep it busy.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
        let status = Command::new("sh").arg("-c").arg(write).arg(&program).arg(script).status().await.unwrap();
        assert!(status.success());
        let found = locate("test", directory.path().as_os_str()).unwrap();
        get(&found, "r.example").await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn speaks_the_protocol() {
        let echo =
            r#"read server; printf '{"ServerURL":"%s","Username":"%s %s","Secret":"s"}' "$server" "$1" "$server""#;
        let password = Credentials::Password { username: "get r.example".to_owned(), password: Secret::new("s") };
        assert_eq!(asked(echo).await, Ok(Some(password)));
        let token = r#"printf '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(asked(token).await, Ok(Some(Credentials::IdentityToken(Secret::new("t")))));
        assert_eq!(asked("echo credentials not found in native keychain; exit 1").await, Ok(None));
        let macos = "echo The specified item could not be found in the keychain.; exit 1";
        for nothing in [macos, "exit 1", "exit 0", "echo"] {
            assert_eq!(asked(nothing).await, Ok(None), "{nothing}");
        }
        assert!(asked("echo locked; exit 2").await.unwrap_err().ends_with("exit status: 2: locked"));
        assert!(asked("echo hunter2").await.unwrap_err().ends_with("its response is not valid JSON"));
    }

    #[test]
    fn names_are_no_paths() {
        for name in ["", "../x", "a/b", "a b", "a\0"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("ecr-login") && is_name("desktop.exe"));
        assert_eq!(locate("absent", OsStr::new("/usr/bin:relative")), None);
    }
}
