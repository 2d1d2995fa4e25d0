//! The destinations of a source's images, without name clashes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{ImagePlace, NamedLocation, Origin, Task, familiar};
use hod_image::open::Places;
use hod_oci::{host_component, is_registry};
use hod_transport::{Location, LocationError};

/// A place for the images of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A registry, and perhaps a path there.
    Registry(String),
    /// A folder with an image directory for each image.
    Directory(PathBuf),
}

/// How names come about there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// True if the whole name at the source becomes part of the name, and not only its last part.
    pub scoped: bool,
    /// What is added at the end of each name.
    pub suffix: String,
}

/// An image that has no place of its own at the destination.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// Its name is not valid there.
    #[error("{image} has no valid name at the destination")]
    Name {
        /// The image.
        image: String,
        /// The reason.
        #[source]
        source: LocationError,
    },
    /// A destination with names for other images than there are.
    #[error("{origin} has {images} images, but {destination} names {names}")]
    Count {
        /// What is to be copied.
        origin: String,
        /// How many images that is.
        images: usize,
        /// The destination.
        destination: String,
        /// The number of its names.
        names: usize,
    },
    /// Two images would have one name.
    #[error("{one} and {other} would both become {destination}")]
    Collision {
        /// The image that comes first.
        one: String,
        /// The one that comes after it.
        other: String,
        /// The name.
        destination: String,
    },
}

impl Target {
    /// Where an image goes.
    pub fn place(&self, image: &NamedLocation, naming: &Naming) -> Result<Location, PlacementError> {
        let last = image.name.rsplit_once('/').map_or(image.name.as_str(), |(_, last)| last);
        let name = if naming.scoped { image.name.as_str() } else { last };
        match self {
            Self::Directory(folder) => Ok(Location::Dir(folder.join(format!("{name}{}", naming.suffix)))),
            Self::Registry(base) => {
                let parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
                let name = if naming.scoped { without_port(name) } else { name.to_owned() };
                let text = format!("docker://{}/{name}{}", parts.join("/"), naming.suffix);
                text.parse().map_err(|source| PlacementError::Name { image: familiar(&image.location), source })
            }
        }
    }
}

/// A host and port as a part of a repository's name, which has no colons and no capitals.
fn without_port(name: &str) -> String {
    match name.split_once('/') {
        Some((host, rest)) if is_registry(host) => format!("{}/{rest}", host_component(host)),
        _ => name.to_owned(),
    }
}

/// The tasks of a run, and everything that keeps images from having a place.
///
/// The same image to the same place is one task; two images to one place are an error.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is to be copied, in the order of the sources.
    pub tasks: Vec<Task>,
    /// What cannot be.
    pub problems: Vec<PlacementError>,
    taken: HashMap<String, String>,
}

impl Plan {
    /// Adds the images of an origin.
    pub fn add(&mut self, origin: &Origin, target: &Target, naming: &Naming, places: &Arc<Places>) {
        let begin = self.tasks.len();
        for image in &origin.images {
            let from = ImagePlace { location: image.location.clone(), places: origin.places.clone() };
            match target.place(image, naming) {
                Ok(location) => self.push(from, ImagePlace { location, places: places.clone() }),
                Err(problem) => self.problems.push(problem),
            }
        }
        self.number_from(begin);
    }

    /// Adds one image, unless it is there already.
    pub fn push(&mut self, from: ImagePlace, to: ImagePlace) {
        let (source, destination) = (from.location.to_string(), to.location.to_string());
        match self.taken.get(&destination) {
            None => {
                self.taken.insert(destination, source);
                self.tasks.push(Task { from, to, count: (0, 0) });
            }
            Some(other) if *other == source => {}
            Some(other) => {
                let (one, other) = (other.clone(), source);
                self.problems.push(PlacementError::Collision { one, other, destination });
            }
        }
    }

    /// Numbers the tasks that were added since there were `begin` of them.
    pub(crate) fn number_from(&mut self, begin: usize) {
        let total = self.tasks.len().saturating_sub(begin);
        for (position, task) in self.tasks.iter_mut().skip(begin).enumerate() {
            task.count = (position + 1, total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_registry::{Registries, Settings};

    fn image(name: &str) -> NamedLocation {
        NamedLocation { location: format!("docker://{name}").parse().unwrap(), name: name.to_owned() }
    }

    fn place(target: &Target, name: &str, scoped: bool, suffix: &str) -> String {
        let naming = Naming { scoped, suffix: suffix.to_owned() };
        match target.place(&image(name), &naming) {
            Ok(location) => location.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_are_those_of_skopeo() {
        let registry = Target::Registry("site:5000/mirror/".to_owned());
        let folder = Target::Directory("/media/usb".into());
        let name = "docker.io/library/alpine:3.20";
        assert_eq!(place(&registry, name, false, ""), "docker://site:5000/mirror/alpine:3.20");
        assert_eq!(place(&registry, name, true, ""), "docker://site:5000/mirror/docker.io/library/alpine:3.20");
        assert_eq!(place(&registry, name, false, "-new"), "docker://site:5000/mirror/alpine:3.20-new");
        assert_eq!(place(&folder, name, false, "-new"), "dir:/media/usb/alpine:3.20-new");
        assert_eq!(place(&folder, "h:5000/a/b:1", true, ""), "dir:/media/usb/h:5000/a/b:1");
        // skopeo has no name for these.
        assert_eq!(place(&registry, "h:5000/a/b:1", true, ""), "docker://site:5000/mirror/h-5000/a/b:1");
        let digest = format!("h.io/b@sha256:{}", "0".repeat(64));
        assert_eq!(place(&folder, &digest, false, ""), format!("dir:/media/usb/{}", &digest[5..]));
        assert!(place(&registry, &digest, false, "-new").ends_with("has no valid name at the destination"));
    }

    #[test]
    fn two_images_never_share_a_name() {
        let places = Arc::new(Places::new(Registries::new(Settings::default())));
        let origin = |names: &[&str]| {
            let images = names.iter().map(|name| image(name)).collect();
            Origin { name: "x".to_owned(), images, places: places.clone() }
        };
        let target = Target::Registry("site:5000".to_owned());
        let mut plan = Plan::default();
        plan.add(&origin(&["a.io/x:1", "a.io/x:2", "a.io/x:1"]), &target, &Naming::default(), &places);
        plan.add(&origin(&["a.io/y:1", "b.io/n/x:2"]), &target, &Naming::default(), &places);
        let counts: Vec<_> = plan.tasks.iter().map(|task| task.count).collect();
        assert_eq!(counts, [(1, 2), (2, 2), (1, 1)]);
        let problems: Vec<_> = plan.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["docker://a.io/x:2 and docker://b.io/n/x:2 would both become docker://site:5000/x:2"]);
        let mut scoped = Plan::default();
        let naming = Naming { scoped: true, ..Naming::default() };
        scoped.add(&origin(&["a.io/x:2", "b.io/n/x:2"]), &target, &naming, &places);
        assert!(scoped.problems.is_empty());
    }
}
