//! Where an image is, as people write it: `transport:rest`, by the grammar of the containers tools.
//!
//! The text is split at its first colon; what follows is the transport's own. Paths of `oci:` and of
//! archives end at their first colon, a path of `dir:` does not end.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::oci::{DOCKER_IO, Digest, NameError, Reference, ReferenceError, RepositoryName, Tag, Version};

/// The transports that are understood, in the order of their names.
pub const TRANSPORTS: [&str; 7] = ["bundle", "dir", "docker", "docker-archive", "oci", "oci-archive", "store"];

/// A place where an image is or shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `docker://HOST/NAME[:TAG|@DIGEST]`, with the host filled in.
    Docker(Reference),
    /// `dir:PATH`: one image as loose files.
    Dir(PathBuf),
    /// `oci:PATH[:IMAGE]`: an OCI image layout.
    Oci(PathBuf, Option<LayoutImage>),
    /// `oci-archive:FILE[:IMAGE]`: an OCI image layout in a tar file.
    OciArchive(PathBuf, Option<LayoutImage>),
    /// `docker-archive:FILE[:NAME[:TAG]]`: what `docker save` writes.
    DockerArchive(PathBuf, Option<ArchiveImage>),
    /// `store:ROOT[:NAME[:TAG|@DIGEST]]`: a registry root.
    Store(PathBuf, Option<StoreImage>),
    /// `bundle:FILE[:NAME[:TAG|@DIGEST]]`.
    Bundle(PathBuf, Option<StoreImage>),
}

/// Which image of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutImage {
    /// The one with this `org.opencontainers.image.ref.name`.
    Name(Box<str>),
    /// The one at this position of the index, from 0; to read only.
    Position(usize),
    /// The one with this digest, whatever its name; to read only.
    Digest(Digest),
}

/// Which image of a `docker save` archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveImage {
    /// The one with this name, which has host and tag.
    Name(Reference),
    /// The one at this position, from 0; to read only.
    Position(usize),
}

/// Which image of a store or bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag, where one is given.
    pub tag: Option<Tag>,
    /// The digest, where one is given.
    pub digest: Option<Digest>,
}

/// A text that is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// There is no colon.
    #[error("{0:?} names no transport: write transport:place, such as docker://alpine:3.20 or oci:folder:3.20")]
    NoTransport(String),
    /// The transport is not one of ours.
    #[error("{transport:?} in {text:?} is not a transport: there are {}", TRANSPORTS.join(", "))]
    Transport {
        /// The text as given.
        text: String,
        /// What stands before the colon.
        transport: String,
    },
    /// A `docker:` without the slashes.
    #[error("{0:?} lacks the slashes: write docker://NAME")]
    Slashes(String),
    /// There is no path where one must be.
    #[error("{0:?} has no path")]
    Path(String),
    /// The name after the path breaks the grammar of layouts.
    #[error(
        "{image:?} in {text:?} is not a name that layouts allow: use letters and digits, with '.', '_', '-', '@', ':', '+' or '/' between them"
    )]
    LayoutName {
        /// The text as given.
        text: String,
        /// The name.
        image: String,
    },
    /// A position that is no number.
    #[error("{image:?} in {text:?} is no position and no digest: write @0 for the first image")]
    Position {
        /// The text as given.
        text: String,
        /// The position.
        image: String,
    },
    /// A digest where the transport has none.
    #[error("{0:?} has a digest: archives know images by name and tag only")]
    ArchiveDigest(String),
    /// The image's name.
    #[error("{text:?} has no valid image name")]
    Reference {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
}

impl Location {
    /// The transport's name.
    pub const fn transport(&self) -> &'static str {
        match self {
            Self::Docker(_) => "docker",
            Self::Dir(_) => "dir",
            Self::Oci(..) => "oci",
            Self::OciArchive(..) => "oci-archive",
            Self::DockerArchive(..) => "docker-archive",
            Self::Store(..) => "store",
            Self::Bundle(..) => "bundle",
        }
    }

    /// The reference of an image that has one, as `inspect` shows its name: without tag and digest.
    pub fn docker_name(&self) -> Option<String> {
        match self {
            Self::Docker(reference) | Self::DockerArchive(_, Some(ArchiveImage::Name(reference))) => {
                Some(bare(reference))
            }
            _ => None,
        }
    }
}

/// `host/name`.
fn bare(reference: &Reference) -> String {
    Reference { tag: None, digest: None, ..reference.clone() }.to_string()
}

impl StoreImage {
    /// What is asked for: the digest, else the tag, else `latest`.
    pub fn version(&self) -> Version {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Version::Digest(*digest),
            (None, Some(tag)) => Version::Tag(tag.clone()),
            (None, None) => Version::Tag(Tag::latest()),
        }
    }

    /// The tags under which the image is written: none where only a digest is given.
    pub fn tags(&self) -> Vec<Tag> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => vec![tag.clone()],
            (None, Some(_)) => Vec::new(),
            (None, None) => vec![Tag::latest()],
        }
    }
}

impl FromStr for StoreImage {
    type Err = ReferenceError;

    /// `name[:tag][@digest]`; a first part that looks like a host is part of the name.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse::<Tag>()?)),
            None => (rest, None),
        };
        Ok(Self { repository: name.parse()?, tag, digest })
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let (transport, rest) = text.split_once(':').ok_or_else(|| LocationError::NoTransport(text.to_owned()))?;
        let image = |rest| path_and_image(text, rest);
        Ok(match transport {
            "docker" => Self::Docker(docker(text, rest)?),
            "dir" => Self::Dir(path(text, rest)?),
            "oci" => {
                let (path, image) = image(rest)?;
                Self::Oci(path, image.map(|image| layout_image(text, image)).transpose()?)
            }
            "oci-archive" => {
                let (path, image) = image(rest)?;
                Self::OciArchive(path, image.map(|image| layout_image(text, image)).transpose()?)
            }
            "docker-archive" => {
                let (path, image) = image(rest)?;
                Self::DockerArchive(path, image.map(|image| archive_image(text, image)).transpose()?)
            }
            "store" => {
                let (path, image) = image(rest)?;
                Self::Store(path, image.map(|image| store_image(text, image)).transpose()?)
            }
            "bundle" => {
                let (path, image) = image(rest)?;
                Self::Bundle(path, image.map(|image| store_image(text, image)).transpose()?)
            }
            other => {
                return Err(LocationError::Transport { text: text.to_owned(), transport: other.to_owned() });
            }
        })
    }
}

fn docker(text: &str, rest: &str) -> Result<Reference, LocationError> {
    let name = rest.strip_prefix("//").ok_or_else(|| LocationError::Slashes(text.to_owned()))?;
    let bad = |source| LocationError::Reference { text: text.to_owned(), source };
    let reference: Reference = name.parse().map_err(bad)?;
    reference.qualified(DOCKER_IO).map_err(|error| bad(error.into()))
}

fn path(text: &str, rest: &str) -> Result<PathBuf, LocationError> {
    if rest.is_empty() { Err(LocationError::Path(text.to_owned())) } else { Ok(rest.into()) }
}

fn path_and_image<'a>(text: &str, rest: &'a str) -> Result<(PathBuf, Option<&'a str>), LocationError> {
    let (before, image) = rest.split_once(':').map_or((rest, None), |(path, image)| (path, Some(image)));
    Ok((path(text, before)?, image.filter(|image| !image.is_empty())))
}

fn position(text: &str, image: &str) -> Result<Option<usize>, LocationError> {
    let Some(digits) = image.strip_prefix('@') else { return Ok(None) };
    let bad = || LocationError::Position { text: text.to_owned(), image: image.to_owned() };
    digits.parse().map(Some).map_err(|_| bad())
}

fn layout_image(text: &str, image: &str) -> Result<LayoutImage, LocationError> {
    if let Some(digest) = image.strip_prefix('@').and_then(|digest| digest.parse().ok()) {
        return Ok(LayoutImage::Digest(digest));
    }
    if let Some(position) = position(text, image)? {
        return Ok(LayoutImage::Position(position));
    }
    if image.split('/').all(is_component) {
        return Ok(LayoutImage::Name(image.into()));
    }
    Err(LocationError::LayoutName { text: text.to_owned(), image: image.to_owned() })
}

/// `[A-Za-z0-9]+(([-._:@+]|--)[A-Za-z0-9]+)*` (OCI image-spec, `annotations.md`).
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = component.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes
            .split(alphanumeric)
            .all(|between| matches!(between, b"" | b"-" | b"." | b"_" | b":" | b"@" | b"+" | b"--"))
}

fn archive_image(text: &str, image: &str) -> Result<ArchiveImage, LocationError> {
    if let Some(position) = position(text, image)? {
        return Ok(ArchiveImage::Position(position));
    }
    let bad = |source| LocationError::Reference { text: text.to_owned(), source };
    let reference: Reference = image.parse().map_err(bad)?;
    if reference.digest.is_some() {
        return Err(LocationError::ArchiveDigest(text.to_owned()));
    }
    let qualified = reference.qualified(DOCKER_IO).map_err(|error: NameError| bad(error.into()))?;
    Ok(ArchiveImage::Name(qualified))
}

fn store_image(text: &str, image: &str) -> Result<StoreImage, LocationError> {
    image.parse().map_err(|source| LocationError::Reference { text: text.to_owned(), source })
}

impl fmt::Display for StoreImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, path: &PathBuf, image: Option<&dyn fmt::Display>| {
            write!(f, "{}:{}", self.transport(), path.display())?;
            image.map_or(Ok(()), |image| write!(f, ":{image}"))
        };
        match self {
            Self::Docker(reference) => write!(f, "docker://{reference}"),
            Self::Dir(path) => named(f, path, None),
            Self::Oci(path, image) | Self::OciArchive(path, image) => {
                named(f, path, image.as_ref().map(|image| image as &dyn fmt::Display))
            }
            Self::DockerArchive(path, image) => named(f, path, image.as_ref().map(|image| image as &dyn fmt::Display)),
            Self::Store(path, image) | Self::Bundle(path, image) => {
                named(f, path, image.as_ref().map(|image| image as &dyn fmt::Display))
            }
        }
    }
}

impl fmt::Display for LayoutImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Position(position) => write!(f, "@{position}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl fmt::Display for ArchiveImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(reference) => reference.fmt(f),
            Self::Position(position) => write!(f, "@{position}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Location {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn means_what_the_containers_tools_mean() {
        let name = |name: &str| Some(LayoutImage::Name(name.into()));
        assert_eq!(parsed("docker://alpine").to_string(), "docker://docker.io/library/alpine:latest");
        assert_eq!(parsed("docker://h.io:5000/a/b:1").docker_name().unwrap(), "h.io:5000/a/b");
        assert_eq!(parsed("dir:pause:3.3"), Location::Dir("pause:3.3".into()));
        assert_eq!(parsed("oci:images"), Location::Oci("images".into(), None));
        assert_eq!(parsed("oci:alpine:latest"), Location::Oci("alpine".into(), name("latest")));
        assert_eq!(parsed("oci:oci:alpine:latest"), Location::Oci("oci".into(), name("alpine:latest")));
        assert_eq!(parsed("oci:l:quay.io/a/b:1"), Location::Oci("l".into(), name("quay.io/a/b:1")));
        assert_eq!(parsed("oci:l:@2"), Location::Oci("l".into(), Some(LayoutImage::Position(2))));
        assert_eq!(parsed("oci-archive:f.tar:x"), Location::OciArchive("f.tar".into(), name("x")));
        assert_eq!(
            parsed("docker-archive:f.tar:alpine").to_string(),
            "docker-archive:f.tar:docker.io/library/alpine:latest"
        );
        assert_eq!(parsed("store:/srv/root:a/b:1").to_string(), "store:/srv/root:a/b:1");
        assert_eq!(parsed("store:/srv/root"), Location::Store("/srv/root".into(), None));
        assert_eq!(parsed("bundle:x.tar:127.0.0.1-5000/x:1").to_string(), "bundle:x.tar:127.0.0.1-5000/x:1");
    }

    #[test]
    fn refuses_and_says_why() {
        let error = |text: &str| text.parse::<Location>().unwrap_err().to_string();
        assert!(error("alpine").contains("no transport"));
        assert!(error("docker:alpine").contains("docker://NAME"));
        assert!(error("ostree:x").contains("there are bundle, dir, docker"));
        assert!(error("dir:").contains("no path"));
        assert!(error("oci::x").contains("no path"));
        assert!(error("oci:l:a b").contains("layouts allow"));
        assert!(error("oci:l:a//b").contains("layouts allow"));
        assert!(error("oci:l:@x").contains("position"));
        assert!(error(&format!("docker-archive:f:a@sha256:{}", "0".repeat(64))).contains("digest"));
        assert!(error("docker://UPPER").contains("no valid image name"));
        assert!(error("store:r:UPPER").contains("no valid image name"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_reads_back_what_it_prints(
            text in "(docker|dir|oci|oci-archive|docker-archive|store|bundle):[a-z0-9.:/@_-]{0,40}",
        ) {
            if let Ok(location) = text.parse::<Location>() {
                proptest::prop_assert_eq!(location.to_string().parse::<Location>(), Ok(location));
            }
        }
    }
}
