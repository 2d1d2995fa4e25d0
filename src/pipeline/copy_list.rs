//! Many images from one place to another: each line of a list becomes a location at either end.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::list::{Line, StoredName};
use super::push::{Destination, DestinationError};
use super::resolve::{DefaultRegistry, NameStyle};
use crate::oci::{NameError, Reference, ReferenceError};
use crate::transport::{ArchiveImage, DaemonImage, LayoutImage, Location, LocationError, StoreImage};

/// A place for many images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Registries as the list names them: `docker://` alone.
    Registries,
    /// One registry, and perhaps a path there.
    Registry(Destination),
    /// A folder with an image directory for each image.
    Directories(PathBuf),
    /// A daemon: `docker-daemon:` alone.
    Daemon,
    /// A layout, archive, store or bundle, with no image named.
    Whole(Location),
}

/// A text that is no place for many images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// It is no location at all.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// It is no registry.
    #[error(transparent)]
    Registry(#[from] DestinationError),
    /// It names one image.
    #[error("{0} names one image: with a list, the list names them")]
    One(Location),
}

/// A line that has no place there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Its name.
    #[error("the image has no valid name there")]
    Name(#[from] NameError),
    /// Its name, as a location.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Only registries know images by digest alone.
    #[error("{0} has no tag, and the destination knows images by their names: give it one with as=NAME:TAG")]
    NoTag(StoredName),
}

impl FromStr for Base {
    type Err = BaseError;

    fn from_str(text: &str) -> Result<Self, BaseError> {
        if matches!(text, "docker://" | "docker:") {
            return Ok(Self::Registries);
        }
        if text == "docker-daemon:" {
            return Ok(Self::Daemon);
        }
        if text.starts_with("docker:") {
            return Ok(Self::Registry(text.parse()?));
        }
        match text.parse()? {
            Location::Dir(path) => Ok(Self::Directories(path)),
            location @ (Location::Oci(_, None)
            | Location::OciArchive(_, None)
            | Location::DockerArchive(_, None)
            | Location::Store(_, None)
            | Location::Bundle(_, None)) => Ok(Self::Whole(location)),
            location => Err(BaseError::One(location)),
        }
    }
}

impl Base {
    /// Where the image of a line is in this place.
    pub fn source(&self, line: &Line) -> Result<Location, LineError> {
        let qualified = DefaultRegistry::default().qualify(&line.reference)?;
        let name = NameStyle::AsListed.apply(&line.reference, &qualified)?;
        Ok(match self {
            Self::Registries => Location::Docker(qualified),
            Self::Registry(registry) => {
                let repository = registry.repository(&line.reference.name)?;
                let reference = Reference { name: repository, host: Some(registry.host.clone()), ..qualified };
                Location::Docker(reference)
            }
            Self::Whole(Location::Store(root, _)) => Location::Store(root.clone(), Some(held(&name, line))),
            Self::Whole(Location::Bundle(path, _)) => Location::Bundle(path.clone(), Some(held(&name, line))),
            _ => self.named(&name)?,
        })
    }

    /// Where the image of a line goes in this place.
    pub fn destination(&self, line: &Line) -> Result<Location, LineError> {
        let qualified = DefaultRegistry::default().qualify(&line.reference)?;
        let name = match &line.name {
            Some(name) => name.clone(),
            None => NameStyle::AsListed.apply(&line.reference, &qualified)?,
        };
        Ok(match self {
            Self::Registries => Location::Docker(qualified),
            Self::Registry(registry) => {
                let repository = registry.repository(&name.repository)?;
                let digest = line.reference.digest.filter(|_| name.tag.is_none());
                Location::Docker(Reference {
                    host: Some(registry.host.clone()),
                    name: repository,
                    tag: name.tag,
                    digest,
                })
            }
            Self::Whole(Location::Store(root, _)) => Location::Store(root.clone(), Some(held(&name, line))),
            _ => self.named(&name)?,
        })
    }

    /// The image of that name in a place that knows images by name alone.
    fn named(&self, name: &StoredName) -> Result<Location, LineError> {
        if name.tag.is_none() {
            return Err(LineError::NoTag(name.clone()));
        }
        let text = name.to_string();
        Ok(match self {
            Self::Directories(path) => Location::Dir(Path::new(path).join(&text)),
            Self::Whole(Location::Oci(path, _)) => Location::Oci(path.clone(), Some(LayoutImage::Name(text.into()))),
            Self::Whole(Location::OciArchive(path, _)) => {
                Location::OciArchive(path.clone(), Some(LayoutImage::Name(text.into())))
            }
            Self::Daemon => {
                let reference = text.parse::<Reference>()?.qualified(crate::oci::DOCKER_IO)?;
                Location::DockerDaemon(DaemonImage::Name(reference))
            }
            Self::Whole(Location::DockerArchive(path, _)) => {
                let reference = text.parse::<Reference>()?.qualified(crate::oci::DOCKER_IO)?;
                Location::DockerArchive(path.clone(), Some(ArchiveImage::Name(reference)))
            }
            Self::Whole(other) => other.clone(),
            Self::Registries | Self::Registry(_) => Location::Docker(text.parse()?),
        })
    }
}

fn held(name: &StoredName, line: &Line) -> StoreImage {
    StoreImage { repository: name.repository.clone(), tag: name.tag.clone(), digest: line.reference.digest }
}
