//! Parses image references: `host/name:tag@digest`.
//!
//! The grammar and the rule that tells a host from a name are distribution/reference's. What
//! was written is kept: `alpine` stays `alpine`, and only [`Reference::in_registry`] adds what
//! Docker Hub needs.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, DigestError};
use super::name::{NameError, RepositoryName, Tag};

/// The registry of names that give no host.
pub const DOCKER_IO: &str = "docker.io";

/// Which manifest of a repository: by tag, or by digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// Whatever the tag points to now.
    Tag(Tag),
    /// Exactly this content.
    Digest(Digest),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A reference to an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The registry's host and port, where the text names one.
    pub host: Option<Box<str>>,
    /// The repository, as written.
    pub name: RepositoryName,
    /// The tag, where the text has one.
    pub tag: Option<Tag>,
    /// The digest, where the text has one.
    pub digest: Option<Digest>,
}

/// A text that is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A transport prefix where a plain reference is due.
    #[error("{0:?} starts with a transport or a URL scheme: write the plain name, such as quay.io/coreos/etcd:v3.5")]
    Scheme(String),
    /// The part before the first slash is a host, but not a valid one.
    #[error("{host:?} is not a registry host: expected host, host:port or [ipv6]:port{}", credentials(.host))]
    Host {
        /// What stands there.
        host: String,
    },
    /// 64 hex digits alone could be a repository or an image id, and neither is meant.
    #[error("{0:?} looks like an image id: write name@sha256:{0}")]
    ImageId(String),
    /// The name or the tag.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// The manifest meant: the digest if there is one, else the tag, else `latest`.
    pub fn version(&self) -> Version {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Version::Digest(*digest),
            (None, Some(tag)) => Version::Tag(tag.clone()),
            (None, None) => Version::Tag(Tag::latest()),
        }
    }

    /// The tag under which the image is stored: none where only a digest names it.
    pub fn stored_tag(&self) -> Option<Tag> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(Tag::latest()),
        }
    }

    /// Where the image is looked up: the registry and the repository there.
    ///
    /// A reference without a host is looked up in `default`. On Docker Hub a name of one part
    /// stands for `library/name`.
    pub fn in_registry(&self, default: &str) -> Result<(Box<str>, RepositoryName), NameError> {
        let host = match self.host.as_deref().unwrap_or(default) {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_IO,
            host => host,
        };
        let name = if host == DOCKER_IO && !self.name.as_str().contains('/') {
            format!("library/{}", self.name).parse()?
        } else {
            self.name.clone()
        };
        Ok((host.into(), name))
    }

    /// The reference with host, tag or digest filled in, so that it means the same everywhere.
    pub fn qualified(&self, default: &str) -> Result<Self, NameError> {
        let (host, name) = self.in_registry(default)?;
        Ok(Self { host: Some(host), name, tag: self.stored_tag(), digest: self.digest })
    }
}

/// Where credentials go that somebody has put before a host.
fn credentials(host: &str) -> &'static str {
    if host.contains('@') { "; --creds and hod login take a user and a password" } else { "" }
}

/// Returns true if a text, which may be the first part of a name, can only be a registry and no namespace.
pub fn is_registry(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

/// The same where a name follows, whose parts have no capitals.
fn is_host(text: &str) -> bool {
    is_registry(text) || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// `component(.component)*` or `[ipv6]`, with an optional port.
pub(super) fn check_host(text: &str) -> Result<(), ReferenceError> {
    let error = || ReferenceError::Host { host: text.to_owned() };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(error)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| error())?;
            ("v6", port)
        }
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let good_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let good_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
    };
    if good_port && host.split('.').all(good_label) { Ok(()) } else { Err(error()) }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains("://") {
            return Err(ReferenceError::Scheme(text.to_owned()));
        }
        let (host, rest) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => {
                check_host(first)?;
                (Some(first), rest)
            }
            _ => (None, text),
        };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let colon = rest.get(after_slash..).and_then(|last| last.find(':')).map(|colon| after_slash + colon);
        let (name, tag) = match colon {
            Some(colon) => {
                (rest.get(..colon).unwrap_or_default(), Some(rest.get(colon + 1..).unwrap_or_default().parse()?))
            }
            None => (rest, None),
        };
        let looks_like_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if host.is_none() && tag.is_none() && looks_like_id {
            return Err(ReferenceError::ImageId(name.to_owned()));
        }
        Ok(Self { host: host.map(Into::into), name: name.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        write!(f, "{}", self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(text: &str) -> (Option<String>, String, Option<String>, bool) {
        let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), text);
        (
            reference.host.map(String::from),
            reference.name.to_string(),
            reference.tag.map(|tag| tag.to_string()),
            reference.digest.is_some(),
        )
    }

    #[test]
    fn tells_hosts_from_names() {
        let plain = |name: &str, tag: Option<&str>| (None, name.to_owned(), tag.map(str::to_owned), false);
        assert_eq!(parsed("alpine"), plain("alpine", None));
        assert_eq!(parsed("alpine:3.14"), plain("alpine", Some("3.14")));
        assert_eq!(parsed("kubesphere/pause:3.1"), plain("kubesphere/pause", Some("3.1")));
        let hosted =
            |host: &str, name: &str, tag: &str| (Some(host.to_owned()), name.to_owned(), Some(tag.to_owned()), false);
        assert_eq!(parsed("quay.io/coreos/etcd:v3.5"), hosted("quay.io", "coreos/etcd", "v3.5"));
        assert_eq!(parsed("localhost/x:1"), hosted("localhost", "x", "1"));
        assert_eq!(parsed("host:5000/x:1"), hosted("host:5000", "x", "1"));
        assert_eq!(parsed("[::1]:5000/a/b:1"), hosted("[::1]:5000", "a/b", "1"));
        assert_eq!(parsed("HOST/x:1"), hosted("HOST", "x", "1"));
        assert!(parsed(&format!("x:1@{DIGEST}")).3);
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "UPPER",
            "a/B:1",
            "docker://alpine",
            "https://quay.io/x",
            "x:",
            "x@sha256:abc",
            "x:1:2",
            "host:port/x",
            "host:99999/x",
            "[::g]:5/x",
            "[::1/x",
            "a..b/x",
            "x y",
            &DIGEST[7..],
            "x@",
            "@x",
            ":1",
            "/x",
            "host.com/",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn docker_hub_adds_library() {
        let at = |text: &str, default: &str| {
            let (host, name) = text.parse::<Reference>().unwrap().in_registry(default).unwrap();
            format!("{host} {name}")
        };
        assert_eq!(at("alpine:3", DOCKER_IO), "docker.io library/alpine");
        assert_eq!(at("index.docker.io/alpine", "x.io"), "docker.io library/alpine");
        assert_eq!(at("alpine:3", "127.0.0.1:5000"), "127.0.0.1:5000 alpine");
        assert_eq!(at("quay.io/a/b", DOCKER_IO), "quay.io a/b");
    }

    #[test]
    fn a_digest_wins_and_the_tag_stays_as_the_name() {
        let reference: Reference = format!("x:1@{DIGEST}").parse().unwrap();
        assert_eq!(reference.version().to_string(), DIGEST);
        assert_eq!(reference.stored_tag().unwrap().as_str(), "1");
        let reference: Reference = format!("x@{DIGEST}").parse().unwrap();
        assert_eq!(reference.stored_tag(), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_prints_what_it_read(text in "\\PC{0,80}|[a-zA-Z0-9.:/@_\\[\\]-]{0,120}") {
            if let Ok(reference) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
