//! Turns each line of a list into the source and destination of one copy.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::copy_image::{Choice, MultiArch};
use super::list::{Line, StoredName};
use super::resolve::NameStyle;
use crate::destination::{DestinationError, destination};
use hod_oci::{Digest, NameError, Reference, ReferenceError, RegistryPath};
use hod_transport::{ArchiveImage, DaemonImage, LayoutImage, Location, LocationError, StoreImage};

/// A place for many images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Registries as the list names them: `docker://` alone.
    Registries,
    /// One registry, and perhaps a path there.
    Registry(RegistryPath),
    /// A folder with an image directory for each image.
    Directories(PathBuf),
    /// A daemon: `docker-daemon:` alone.
    Daemon,
    /// A layout, archive, store or bundle, with no image named.
    Whole(Location),
}

/// A text that is no place for many images.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// It is no location at all.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// It is no registry.
    #[error(transparent)]
    Registry(#[from] DestinationError),
    /// It names one image.
    #[error("{0} names one image, but with a list, the list names the images")]
    One(Location),
}

/// An image of a list that is to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRequest {
    /// The first of the lines that ask for it.
    pub line: Line,
    /// Its place.
    pub from: Location,
    /// Where it is if it is not there: a store may have it under another name.
    pub or_from: Vec<Location>,
    /// Its name with everything filled in.
    pub complete: Reference,
    /// Its destination.
    pub to: Location,
    /// The parts of it to copy.
    pub multi_arch: MultiArch,
    /// The digest that it has at its source, where a line says so.
    pub digest: Option<Digest>,
}

/// A line that cannot be copied there.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Its name.
    #[error("the image has no valid name at the destination")]
    Name(#[from] NameError),
    /// Its name, as a location.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The place on this machine that it is in.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A place on this machine for a registry that it should name.
    #[error("it is on this machine, but docker:// alone means the registries of the list: name a registry")]
    NoRegistry,
    /// Only registries know images by digest alone.
    #[error("{0} has no tag, but the destination requires one: add as=NAME:TAG")]
    NoTag(StoredName),
    /// One name for two things.
    #[error("{0} and {1} would both become {2}: give one of them another name with as=NAME:TAG")]
    Clash(Box<Location>, Box<Location>, Box<Location>),
    /// Lines that want one place to hold two images.
    #[error("{0} cannot have two digests, but {1} names another one")]
    Digests(Box<Location>, super::list::Origin),
    /// Another name where there is none.
    #[error("as= has no effect with docker:// alone, where images keep the names of the list: name a registry")]
    Renamed,
    /// Images and none.
    #[error("platform= selects images of an index, but --multi-arch index-only copies none: omit one of them")]
    IndexOnly,
    /// More than images.
    #[error(
        "it has referrers=, but hod copy copies no referrers: add --no-referrers, or use hod pull, and then hod push or hod select"
    )]
    Referrers,
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
            return Ok(Self::Registry(destination(text)?));
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
    /// Where the image of a line is in this place, most likely first: at a registry what was asked for, elsewhere what
    /// it is called there.
    ///
    /// `docker://` alone is what the list says, and so an image on this machine is where the list says.
    fn sources(&self, line: &Line, names: NameStyle) -> Result<(Location, Vec<Location>), LineError> {
        if let (Self::Registries, Some(place)) = (self, &line.place) {
            return Ok((place.parse()?, Vec::new()));
        }
        let qualified = RegistryPath::default().qualify(&line.reference)?;
        let (name, others) = names.candidates(line, &qualified)?;
        let of_root = |make: &dyn Fn(StoreImage) -> Location| {
            (make(held(&name, line)), others.iter().map(|name| make(held(name, line))).collect())
        };
        Ok(match self {
            Self::Registries => (Location::Docker(qualified), Vec::new()),
            Self::Registry(registry) => {
                let repository = registry.repository(&line.reference.name)?;
                // Docker Hub has its official images below `library/`.
                let reference = Reference { name: repository, host: Some(registry.host.clone()), ..qualified };
                (Location::Docker(reference.qualified(&registry.host)?), Vec::new())
            }
            Self::Whole(Location::Store(root, _)) => of_root(&|image| Location::Store(root.clone(), Some(image))),
            Self::Whole(Location::Bundle(path, _)) => of_root(&|image| Location::Bundle(path.clone(), Some(image))),
            Self::Daemon | Self::Whole(Location::DockerArchive(..)) => {
                (self.named(&name, &complete(line, &qualified)?)?, Vec::new())
            }
            _ => {
                let complete = complete(line, &qualified)?;
                let others = others.iter().map(|name| self.named(name, &complete)).collect::<Result<_, _>>()?;
                (self.named(&name, &complete)?, others)
            }
        })
    }

    /// The destination of a line's image in this place.
    fn destination(&self, line: &Line, names: NameStyle) -> Result<Location, LineError> {
        let qualified = RegistryPath::default().qualify(&line.reference)?;
        let name = match &line.name {
            Some(name) => name.clone(),
            None => names.apply(&line.reference, &qualified)?,
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
            _ => self.named(&name, &complete(line, &qualified)?)?,
        })
    }

    /// The image of that name in a place that knows images by name alone. What `docker` and `podman` load is run under
    /// its complete name.
    fn named(&self, name: &StoredName, complete: &Reference) -> Result<Location, LineError> {
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
            Self::Daemon => Location::DockerDaemon(DaemonImage::Name(complete.clone())),
            Self::Whole(Location::DockerArchive(path, _)) => {
                Location::DockerArchive(path.clone(), Some(ArchiveImage::Name(complete.clone())))
            }
            Self::Whole(other) => other.clone(),
            Self::Registries | Self::Registry(_) => Location::Docker(text.parse()?),
        })
    }
}

/// How the images of a list are copied from one place to another.
#[derive(Debug, Clone)]
pub struct ListCopy {
    /// The place that has them.
    pub from: Base,
    /// The place that gets them.
    pub to: Base,
    /// The part of an index that is copied, for lines without platforms of their own.
    pub part: MultiArch,
    /// True if the referrers that a line names have to come too, which a copy cannot do.
    pub referrers: bool,
    /// The names that images get there, and those under which they are looked for first.
    pub names: NameStyle,
}

impl ListCopy {
    /// The images on their way, each once. Lines that mean the same image have it copied with what any of them wants of it.
    ///
    /// # Errors
    /// Every line that has no place there, or says what cannot be heeded.
    pub fn requests<'a>(&self, lines: &'a [Line]) -> Result<Vec<CopyRequest>, Vec<(&'a Line, LineError)>> {
        let (mut all, mut bad): (Vec<CopyRequest>, Vec<_>) = (Vec::new(), Vec::new());
        let mut taken: HashMap<String, usize> = HashMap::new();
        for line in lines {
            let image = match self.request(line) {
                Ok(image) => image,
                Err(error) => {
                    bad.push((line, error));
                    continue;
                }
            };
            let first = taken.get(&image.to.to_string()).and_then(|position| all.get_mut(*position));
            let Some(first) = first else {
                taken.insert(image.to.to_string(), all.len());
                all.push(image);
                continue;
            };
            if let Err(error) = first.join(image) {
                bad.push((line, error));
            }
        }
        if bad.is_empty() { Ok(all) } else { Err(bad) }
    }

    fn request(&self, line: &Line) -> Result<CopyRequest, LineError> {
        let Self { from, to, part, referrers, names } = self;
        if *referrers && line.referrers.as_ref().is_some_and(|referrers| !referrers.is_empty()) {
            return Err(LineError::Referrers);
        }
        let multi_arch = match &line.platforms {
            Some(_) if *part == MultiArch::IndexOnly => return Err(LineError::IndexOnly),
            Some(platforms) => MultiArch::Sparse(Choice::asked(platforms.clone())),
            None => part.clone(),
        };
        if line.place.is_some() && *to == Base::Registries {
            return Err(LineError::NoRegistry);
        }
        let (source, or_from) = from.sources(line, *names)?;
        let destination = to.destination(line, *names)?;
        let is_remote = matches!(from, Base::Registries | Base::Registry(_));
        if is_remote && *to == Base::Registries && is_renamed(line)? {
            return Err(LineError::Renamed);
        }
        let digest = line.reference.digest;
        let complete = complete(line, &RegistryPath::default().qualify(&line.reference)?)?;
        Ok(CopyRequest { line: line.clone(), from: source, or_from, complete, to: destination, multi_arch, digest })
    }
}

impl CopyRequest {
    /// Takes in another line that wants something for the same place.
    fn join(&mut self, other: Self) -> Result<(), LineError> {
        if self.from != other.from {
            return Err(LineError::Clash(Box::new(self.from.clone()), Box::new(other.from), Box::new(other.to)));
        }
        match (self.digest, other.digest) {
            (Some(own), Some(other_digest)) if own != other_digest => {
                return Err(LineError::Digests(Box::new(other.from), self.line.origin.clone()));
            }
            (own, other_digest) => self.digest = own.or(other_digest),
        }
        self.multi_arch.join(other.multi_arch);
        Ok(())
    }
}

/// The name of a line's image with host and tag, as a container runtime asks for it.
fn complete(line: &Line, qualified: &Reference) -> Result<Reference, LineError> {
    Ok(match &line.name {
        Some(name) => name.to_string().parse::<Reference>()?.qualified(hod_oci::DOCKER_IO)?,
        None => Reference { digest: None, ..qualified.clone() },
    })
}

/// Returns true if a line gives its image another name than it has.
fn is_renamed(line: &Line) -> Result<bool, NameError> {
    let own = NameStyle::AsListed.apply(&line.reference, &RegistryPath::default().qualify(&line.reference)?)?;
    Ok(line.name.as_ref().is_some_and(|name| *name != own))
}

fn held(name: &StoredName, line: &Line) -> StoreImage {
    StoreImage { repository: name.repository.clone(), tag: name.tag.clone(), digest: line.reference.digest }
}
