//! `policy.json`: the accepted sources of images (containers-policy.json(5)).
//!
//! A policy is read strictly: what is not understood is an error, since it may have been meant to forbid something. It
//! knows names and requirements; whether a signature meets one is asked elsewhere. Nothing here reads an image.

mod identity;
mod parse;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub use identity::IdentityMatch;

use hod_oci::{RepositoryName, Version};

/// A trust policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What holds where nothing else is said.
    default: Vec<Requirement>,
    /// What holds for transports, by scope.
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
    /// The file, for messages.
    path: PathBuf,
}

/// What an image must meet. Of several, it must meet all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing.
    Accept,
    /// What no image meets.
    Reject,
    /// A signature of the containers tools, by one of these keys, for a name that fits.
    SignedBy(SignedBy),
    /// A sigstore signature.
    SigstoreSigned,
}

/// Who must have signed an image, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// Where the public keys are; one of them is enough.
    pub keys: Vec<KeySource>,
    /// Which name the signature must be for.
    pub identity: IdentityMatch,
}

/// Where public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// In the policy itself.
    Data(Vec<u8>),
}

/// An image as a policy knows it: a transport, and scopes from the image itself to the widest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The transport's name.
    pub transport: &'static str,
    /// The scopes, best first, without the empty one that stands for all of the transport.
    pub scopes: Vec<String>,
}

/// What a policy says of an image.
#[derive(Debug, Clone, Copy)]
pub struct PolicyDecision<'a> {
    /// What the image must meet.
    pub requirements: &'a [Requirement],
    /// The scope that says so; `None` where it is what holds for everything.
    pub scope: Option<&'a str>,
    /// The file.
    pub path: &'a Path,
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the trust policy")]
    Read(#[source] io::Error),
    /// It is no JSON, or has something that is not known.
    #[error("{path} is not a valid trust policy")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The problem.
        #[source]
        source: serde_json::Error,
    },
    /// It says something that makes no sense.
    #[error("{path} is not a valid trust policy: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
}

/// The scopes of an image of a registry, from itself, by each of these versions, to the domains above its host.
pub fn docker_scopes(host: &str, name: &RepositoryName, versions: &[Version]) -> Vec<String> {
    let full = format!("{host}/{name}");
    let by_version = |version: &Version| match version {
        Version::Tag(tag) => format!("{full}:{tag}"),
        Version::Digest(digest) => format!("{full}@{digest}"),
    };
    let mut scopes: Vec<String> = versions.iter().map(by_version).collect();
    let mut scope = full.as_str();
    scopes.push(scope.to_owned());
    while let Some((above, _)) = scope.rsplit_once('/') {
        scopes.push(above.to_owned());
        scope = above;
    }
    // The brackets of an IPv6 address have colons in them and no dots.
    let mut domain = if host.starts_with('[') { "" } else { host.split(':').next().unwrap_or_default() };
    while let Some((_, above)) = domain.split_once('.') {
        scopes.push(format!("*.{above}"));
        domain = above;
    }
    scopes
}

impl Policy {
    /// Reads a policy.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let text = hod_io::fs::read_within(path, hod_io::fs::CONFIG_LIMIT).map_err(PolicyError::Read)?;
        Self::parse(path, &text)
    }

    /// Reads the first policy that exists.
    pub fn find(paths: &[PathBuf]) -> Result<Option<Self>, PolicyError> {
        for path in paths {
            match Self::read(path) {
                Err(PolicyError::Read(error))
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                found => return found.map(Some),
            }
        }
        Ok(None)
    }

    /// The policy that accepts everything, in place of a file.
    pub fn accept_anything() -> Self {
        Self { default: vec![Requirement::Accept], transports: BTreeMap::new(), path: "(none)".into() }
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an image must meet: the requirements of the first of its scopes that is there.
    pub fn ruling(&self, subject: &Subject) -> PolicyDecision<'_> {
        let found = self.transports.get(subject.transport).and_then(|scopes| {
            let mut names = subject.scopes.iter().map(String::as_str).chain([""]);
            names.find_map(|name| scopes.get_key_value(name))
        });
        match found {
            Some((scope, requirements)) => PolicyDecision { requirements, scope: Some(scope), path: &self.path },
            None => PolicyDecision { requirements: &self.default, scope: None, path: &self.path },
        }
    }
}
