//! Which image of a place: each transport has its own words for it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{LocationError, qualified};
use hod_oci::{Digest, Reference, ReferenceError, RepositoryName, Tag, Version};

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

/// Which image of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonImage {
    /// The one with this name, which has a host, and either a tag or a digest.
    Name(Reference),
    /// The one with this id, the digest of its config; to read only.
    Id(Digest),
}

/// Which image of which containers/storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageImage {
    /// Where the storage is, if not where the machine's settings have it.
    pub root: Option<StorageRoot>,
    /// The name as written; it may be empty where there is an id.
    name: Box<str>,
    /// The image's id, or its first digits.
    id: Option<Box<str>>,
}

/// A containers/storage with its driver, as `[DRIVER@GRAPHROOT+RUNROOT:OPTIONS]` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRoot {
    /// The driver, such as `overlay` or `vfs`.
    pub driver: Option<Box<str>>,
    /// Where images are.
    pub graph: PathBuf,
    /// Where what does not outlive a reboot is.
    pub run: Option<PathBuf>,
    /// Options of the driver.
    pub options: Vec<Box<str>>,
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

fn position(text: &str, image: &str) -> Result<Option<usize>, LocationError> {
    let Some(digits) = image.strip_prefix('@') else { return Ok(None) };
    let bad = || LocationError::Position { text: text.to_owned(), image: image.to_owned() };
    digits.parse().map(Some).map_err(|_| bad())
}

impl LayoutImage {
    pub(super) fn parse(text: &str, image: &str) -> Result<Self, LocationError> {
        if let Some(digest) = image.strip_prefix('@').and_then(|digest| digest.parse().ok()) {
            return Ok(Self::Digest(digest));
        }
        if let Some(position) = position(text, image)? {
            return Ok(Self::Position(position));
        }
        if image.split('/').all(is_component) {
            return Ok(Self::Name(image.into()));
        }
        Err(LocationError::LayoutName { text: text.to_owned(), image: image.to_owned() })
    }
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

impl ArchiveImage {
    pub(super) fn parse(text: &str, image: &str) -> Result<Self, LocationError> {
        if let Some(position) = position(text, image)? {
            return Ok(Self::Position(position));
        }
        let reference = qualified(text, image)?;
        if reference.digest.is_some() {
            return Err(LocationError::ArchiveDigest(text.to_owned()));
        }
        Ok(Self::Name(reference))
    }
}

impl DaemonImage {
    pub(super) fn parse(text: &str, image: &str) -> Result<Self, LocationError> {
        let unclear = || LocationError::DaemonImage(text.to_owned());
        if image.starts_with("sha256:") {
            return image.parse().map(Self::Id).map_err(|_| unclear());
        }
        let bad = |source| LocationError::Reference { text: text.to_owned(), source };
        let reference: Reference = image.parse().map_err(bad)?;
        if reference.tag.is_some() == reference.digest.is_some() {
            return Err(unclear());
        }
        qualified(text, image).map(Self::Name)
    }
}

impl StorageImage {
    pub(super) fn parse(text: &str, rest: &str) -> Result<Self, LocationError> {
        let unclear = || LocationError::StorageImage(text.to_owned());
        let (root, image) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (root, image) = rest.split_once(']').ok_or_else(unclear)?;
                (Some(StorageRoot::parse(root).ok_or_else(unclear)?), image)
            }
            None => (None, rest),
        };
        // A digest has a colon and an id has none.
        let (name, id) = match image.rsplit_once('@') {
            Some((name, id)) if !id.contains(':') => (name, Some(id)),
            _ => (image, None),
        };
        let is_id = |id: &str| id.len() >= 3 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if id.is_some_and(|id| !is_id(id)) || name.is_empty() && id.is_none() {
            return Err(unclear());
        }
        if !name.is_empty() {
            qualified(text, name)?;
        }
        Ok(Self { root, name: name.into(), id: id.map(Into::into) })
    }

    /// The image's name with host and tag.
    ///
    /// # Errors
    /// Where only an id is given.
    pub fn reference(&self) -> Result<Reference, LocationError> {
        qualified(&format!("containers-storage:{self}"), &self.name)
    }

    /// What to ask the storage's owner for: the id, else the name.
    pub fn wanted(&self) -> String {
        match (&self.id, self.reference()) {
            (Some(id), _) => id.to_string(),
            (None, Ok(reference)) => reference.to_string(),
            (None, Err(_)) => self.name.to_string(),
        }
    }
}

impl StorageRoot {
    fn parse(text: &str) -> Option<Self> {
        let (driver, rest) = text.split_once('@').map_or((None, text), |(driver, rest)| (Some(driver), rest));
        let (paths, options) = rest.split_once(':').unwrap_or((rest, ""));
        let (graph, run) = paths.split_once('+').map_or((paths, None), |(graph, run)| (graph, Some(run)));
        // A driver without its @ looks like a path: a storage would be made below the current folder.
        let is_path = |text: &str| text.starts_with('/');
        if !is_path(graph) || !run.is_none_or(is_path) || driver.is_some_and(str::is_empty) {
            return None;
        }
        Some(Self {
            driver: driver.map(Into::into),
            graph: graph.into(),
            run: run.map(Into::into),
            options: options.split(',').filter(|option| !option.is_empty()).map(Into::into).collect(),
        })
    }
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

impl fmt::Display for DaemonImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(reference) => reference.fmt(f),
            Self::Id(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for StorageImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.as_ref().map_or(Ok(()), |root| write!(f, "[{root}]"))?;
        f.write_str(&self.name)?;
        self.id.as_ref().map_or(Ok(()), |id| write!(f, "@{id}"))
    }
}

impl fmt::Display for StorageRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.driver.as_ref().map_or(Ok(()), |driver| write!(f, "{driver}@"))?;
        write!(f, "{}", self.graph.display())?;
        self.run.as_ref().map_or(Ok(()), |run| write!(f, "+{}", run.display()))?;
        if self.options.is_empty() { Ok(()) } else { write!(f, ":{}", self.options.join(",")) }
    }
}

impl fmt::Display for StoreImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}
