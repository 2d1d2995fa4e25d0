//! Names for places, as people read them in messages.

use std::fmt;

use hod_oci::RepositoryName;

/// A repository of a registry, store or layout: what to call it, and with whom it shares content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    domain: Box<str>,
    repository: Option<RepositoryName>,
    folder: Option<Box<str>>,
    remote: bool,
}

impl Place {
    /// A repository of a registry, which is asked over the network.
    pub fn registry(host: &str, repository: &RepositoryName) -> Self {
        Self { domain: host.into(), repository: Some(repository.clone()), folder: None, remote: true }
    }

    /// A repository on a disk at hand. `domain` is the path of the whole.
    pub fn local(domain: &str, repository: Option<&RepositoryName>) -> Self {
        Self { domain: domain.into(), repository: repository.cloned(), folder: None, remote: false }
    }

    /// One image directory of a folder with many: `domain` is the folder, `name` the path below it.
    pub fn folder(domain: &str, name: &str) -> Self {
        Self { domain: domain.into(), repository: None, folder: Some(name.into()), remote: false }
    }

    /// The whole that the repository is part of. Sinks of the same domain can adopt from each other.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository.
    pub const fn repository(&self) -> Option<&RepositoryName> {
        self.repository.as_ref()
    }

    /// Whether trying again can help, because there is a network in between.
    pub const fn is_remote(&self) -> bool {
        self.remote
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = &self.folder {
            return write!(f, "{}/{folder}", self.domain);
        }
        match (&self.repository, self.remote) {
            (Some(repository), true) => write!(f, "{}/{repository}", self.domain),
            (Some(repository), false) => write!(f, "{repository} in {}", self.domain),
            (None, _) => f.write_str(&self.domain),
        }
    }
}
