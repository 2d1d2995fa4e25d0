//! A registry, and perhaps a path in it.

use std::fmt;
use std::str::FromStr;

use super::name::{NameError, RepositoryName};
use super::reference::{DOCKER_IO, Reference, ReferenceError, check_host, is_registry};

/// A registry, and perhaps a path there: `host[:port][/path]`.
///
/// Names without a host are looked up below it, and images are pushed below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPath {
    /// The registry.
    pub host: Box<str>,
    /// The path.
    pub prefix: Option<RepositoryName>,
}

impl FromStr for RegistryPath {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.trim_end_matches('/');
        let (host, prefix) = text.split_once('/').map_or((text, None), |(host, prefix)| (host, Some(prefix)));
        if !is_registry(host) {
            return Err(ReferenceError::Host { host: host.to_owned() });
        }
        check_host(host)?;
        Ok(Self { host: host.into(), prefix: prefix.map(str::parse).transpose()? })
    }
}

/// Docker Hub.
impl Default for RegistryPath {
    fn default() -> Self {
        Self { host: DOCKER_IO.into(), prefix: None }
    }
}

impl fmt::Display for RegistryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

impl RegistryPath {
    /// The repository that a name stands for there.
    pub fn repository(&self, name: &RepositoryName) -> Result<RepositoryName, NameError> {
        self.prefix.as_ref().map_or_else(|| Ok(name.clone()), |prefix| name.below(prefix))
    }

    /// The reference to an official image of Docker Hub at a mirror of it, `library/NAME`; `None` for other names and at
    /// the Hub, where [`RegistryPath::qualify`] gives it.
    pub fn official(&self, reference: &Reference) -> Result<Option<Reference>, NameError> {
        let name = reference.name.as_str();
        if reference.host.is_some() || name.contains('/') || &*self.host == DOCKER_IO {
            return Ok(None);
        }
        let name = format!("library/{name}").parse()?;
        self.qualify(&Reference { name, ..reference.clone() }).map(Some)
    }

    /// The reference with its registry and everything else filled in. A host of its own counts for more.
    pub fn qualify(&self, reference: &Reference) -> Result<Reference, NameError> {
        let name = match reference.host {
            None => self.repository(&reference.name)?,
            Some(_) => reference.name.clone(),
        };
        Reference { name, ..reference.clone() }.qualified(&self.host)
    }
}

/// A host as a component of a name: `host:5000` is `host-5000`, and `[::1]:5000` is `0--1-5000`, since a component neither
/// begins nor ends with a dash.
pub fn host_component(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return host.replace(':', "-");
    };
    let mut component = address.replace(':', "-");
    if component.starts_with('-') {
        component.insert(0, '0');
    }
    if component.ends_with('-') {
        component.push('0');
    }
    component + &port.replace(':', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_host_are_looked_up_below_it() {
        let from: RegistryPath = "mirror.example:5000/hub".parse().unwrap();
        let qualified = |text: &str| from.qualify(&text.parse().unwrap()).unwrap().to_string();
        assert_eq!(qualified("alpine:3"), "mirror.example:5000/hub/alpine:3");
        assert_eq!(qualified("quay.io/a/b:1"), "quay.io/a/b:1");
        assert_eq!(
            RegistryPath::default().qualify(&"alpine".parse().unwrap()).unwrap().to_string(),
            "docker.io/library/alpine:latest"
        );
        for bad in ["", "registry", "h.io/UPPER", "host:port", "h.io/x:1"] {
            assert!(bad.parse::<RegistryPath>().is_err(), "{bad:?} was accepted");
        }
    }
}
