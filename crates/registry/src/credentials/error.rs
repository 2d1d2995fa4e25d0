//! What can go wrong with credentials.

use std::io;
use std::path::PathBuf;

/// Credentials that cannot be read. No message shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file that cannot be read.
    #[error("cannot read credentials")]
    Read(#[source] io::Error),
    /// A file that cannot be written.
    #[error("cannot write credentials")]
    Write(#[source] io::Error),
    /// A registry that a file leaves to a helper.
    #[error("{path} delegates {host} to docker-credential-{name}: log in with the tool that set it up")]
    HelperConfigured {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// The helper's name.
        name: String,
    },
    /// A file that is not what it should be. The parser's own words could quote a secret.
    #[error("{path} is not a valid credential file: line {line}, column {column}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column.
        column: usize,
    },
    /// An entry whose `auth` is not base64 of `user:password`.
    #[error("{path}: the entry {key:?} has no valid \"auth\": expected base64 of user:password")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
    },
    /// A helper with a name that is none.
    #[error("{path} names {name:?} as credential helper, which is not a valid name")]
    HelperName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A helper that is named and not installed.
    #[error("{path} requires the credential helper docker-credential-{name}, which is not in PATH")]
    HelperAbsent {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A helper that cannot be run.
    #[error("cannot run {helper}")]
    HelperStart {
        /// The program.
        helper: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A helper that failed, or whose answer makes no sense.
    #[error("{helper} has no credentials for {server}: {problem}")]
    Helper {
        /// The program.
        helper: PathBuf,
        /// The request.
        server: String,
        /// The problem.
        problem: String,
    },
}
