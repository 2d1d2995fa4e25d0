//! The destination of many images: a registry, or a path in it.

use hod_oci::{ReferenceError, RegistryPath};

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

/// Reads where images are pushed, below which they keep their names: `docker://host[:port][/path]`.
pub fn destination(text: &str) -> Result<RegistryPath, DestinationError> {
    let path = text.strip_prefix("docker://").ok_or_else(|| DestinationError::Scheme(text.to_owned()))?;
    if path.split_once('/').is_some_and(|(_, name)| name.contains([':', '@'])) {
        return Err(DestinationError::Image(text.to_owned()));
    }
    path.parse().map_err(|source| DestinationError::Reference { text: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let to = destination("docker://registry.site:5000/team/apps/").unwrap();
        assert_eq!(to.to_string(), "registry.site:5000/team/apps");
        assert_eq!(to.repository(&"a/b".parse().unwrap()).unwrap().as_str(), "team/apps/a/b");
        assert_eq!(destination("docker://127.0.0.1:5000").unwrap().prefix, None);
        assert!(matches!(destination("registry:5000"), Err(DestinationError::Scheme(_))));
        assert!(matches!(destination("docker://registry.site/x:1"), Err(DestinationError::Image(_))));
        for bad in ["docker://", "docker://registry", "docker://host:port", "docker://h.io/UPPER"] {
            assert!(destination(bad).is_err(), "{bad} was accepted");
        }
    }
}
