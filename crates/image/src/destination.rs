//! The destination of many images: a registry, or a path in it.

use std::fmt;
use std::str::FromStr;

use hod_oci::{NameError, Reference, ReferenceError, RepositoryName};

/// Where images are pushed: a registry, and perhaps a path there below which their names go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The registry.
    pub host: Box<str>,
    /// The path.
    pub prefix: Option<RepositoryName>,
}

/// A text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The transport is missing or another.
    #[error("{0:?} is not a registry: write docker://HOST[:PORT][/PREFIX]")]
    Scheme(String),
    /// The host or path is not valid.
    #[error("{text:?} is not a registry")]
    Reference {
        /// The text as written.
        text: String,
        /// The reason.
        #[source]
        source: ReferenceError,
    },
    /// A tag or digest, where only a place for many images can be.
    #[error("{0:?} names one image: name a registry or a path in it, below which images keep their names and tags")]
    Image(String),
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let rest = text.strip_prefix("docker://").ok_or_else(|| DestinationError::Scheme(text.to_owned()))?;
        let rest = rest.trim_end_matches('/');
        let (host, prefix) = rest.split_once('/').map_or((rest, None), |(host, prefix)| (host, Some(prefix)));
        let bad = |source| DestinationError::Reference { text: text.to_owned(), source };
        let looks_like_host = host.contains(['.', ':']) || host == "localhost";
        if !looks_like_host {
            return Err(bad(ReferenceError::Host { host: host.to_owned() }));
        }
        let probe: Reference = format!("{host}/{}", prefix.unwrap_or("x")).parse().map_err(bad)?;
        if probe.tag.is_some() || probe.digest.is_some() {
            return Err(DestinationError::Image(text.to_owned()));
        }
        Ok(Self { host: host.into(), prefix: prefix.map(|_| probe.name) })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

impl Destination {
    /// What a repository is called there.
    pub fn repository(&self, name: &RepositoryName) -> Result<RepositoryName, NameError> {
        self.prefix.as_ref().map_or_else(|| Ok(name.clone()), |prefix| name.below(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let parse = |text: &str| text.parse::<Destination>();
        let to = parse("docker://registry.site:5000/team/apps/").unwrap();
        assert_eq!(to.to_string(), "registry.site:5000/team/apps");
        assert_eq!(to.repository(&"a/b".parse().unwrap()).unwrap().as_str(), "team/apps/a/b");
        assert_eq!(parse("docker://127.0.0.1:5000").unwrap().prefix, None);
        assert!(matches!(parse("registry:5000"), Err(DestinationError::Scheme(_))));
        assert!(matches!(parse("docker://registry.site/x:1"), Err(DestinationError::Image(_))));
        for bad in ["docker://", "docker://registry", "docker://host:port", "docker://h.io/UPPER"] {
            assert!(parse(bad).is_err(), "{bad} was accepted");
        }
    }
}
