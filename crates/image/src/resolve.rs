//! Resolves names to digests: asks registries for the image of each line of a list.
//!
//! Afterwards every image is a graph with known sizes, and nothing but manifests has moved, and the layers of images in
//! Docker's first format where these are converted.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::admission::{Admission, AdmissionError};
use super::attached::{AttachedError, Finder, ReferrersApi};
use super::convert::ConvertError;
use super::copy_image::CopyImageError;
use super::list::{ImageList, Line, StoredName};
use super::merge::{NameRegister, NameTaken, merged};
use super::open::OpenSource;
use super::places::PlaceError;
pub use super::resolved::ResolvedImage;
use super::schema1;
use hod_engine::copy::{CopyError, Engine, LoadFilter};
use hod_engine::endpoint::{Fault, Source};
use hod_engine::observe::Event;
use hod_oci::{DOCKER_IO, NameError, Platforms, Reference, RegistryPath, host_component};
use hod_registry::Registries;
use hod_store::{Store, StoreError};
use hod_transport::Location;

/// How a listed name becomes a name in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameStyle {
    /// Without the registry's host, else as written: `alpine`, `coreos/etcd`.
    #[default]
    AsListed,
    /// Names of one part go below `library/`, as mirrors of Docker Hub are asked for them.
    Library,
    /// With the registry's host in front: `quay.io/coreos/etcd`.
    WithHost,
}

/// How a list is resolved.
#[derive(Debug, Clone)]
pub struct ResolveOptions {
    /// For names without a host.
    pub from: RegistryPath,
    /// For lines without platforms of their own.
    pub platforms: Platforms,
    /// True if the user asked for these platforms.
    pub platforms_asked: bool,
    /// For lines without a name of their own.
    pub names: NameStyle,
    /// True if the first failure ends the run.
    pub fail_fast: bool,
    /// True if signatures and whatever else belongs to an image come with it.
    pub referrers: bool,
    /// What the registry must have for that.
    pub referrers_api: ReferrersApi,
    /// The trust policy, where images are taken and not only looked up.
    pub admission: Option<Arc<Admission>>,
    /// Where the layers of images in Docker's first format are expanded to convert these; without it they are refused.
    pub scratch: Option<PathBuf>,
}

/// A line that could not be resolved.
#[derive(Debug)]
pub struct Failed {
    /// The line.
    pub line: Line,
    /// Other lines that mean the same image.
    pub also: Vec<Line>,
    /// The reason.
    pub error: ImageError,
}

impl From<(ResolvedImage, ImageError)> for Failed {
    fn from((image, error): (ResolvedImage, ImageError)) -> Self {
        Self { line: image.line, also: image.also, error }
    }
}

/// The errors of an image that could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It has no valid name in the store or at the registry.
    #[error("the image has no valid name")]
    Name(#[from] NameError),
    /// Another line has taken its name for something else.
    #[error(transparent)]
    Taken(#[from] NameTaken),
    /// The trust policy is against it.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The referrers could not be fetched.
    #[error(transparent)]
    Attached(#[from] AttachedError),
    /// The referrers could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be looked up or copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// It cannot be taken out of Docker's first format.
    #[error(transparent)]
    Old(Box<CopyImageError>),
    /// It cannot be what it has to become.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The place on this machine that it should come from.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl From<CopyImageError> for ImageError {
    fn from(error: CopyImageError) -> Self {
        Self::Old(Box::new(error))
    }
}

/// The outcome of a list.
#[derive(Debug, Default)]
pub struct Resolution {
    /// The images that are known, in the order of the list.
    pub images: Vec<ResolvedImage>,
    /// The lines that could not be resolved, in that order, too.
    pub failed: Vec<Failed>,
}

impl NameStyle {
    /// The name in the store of an image that has none of its own.
    pub fn apply(self, reference: &Reference, qualified: &Reference) -> Result<StoredName, NameError> {
        let name = reference.name.as_str();
        let repository = match self {
            Self::Library if !name.contains('/') => format!("library/{name}").parse()?,
            Self::Library | Self::AsListed => reference.name.clone(),
            Self::WithHost => {
                format!("{}/{}", host_component(qualified.host.as_deref().unwrap_or(DOCKER_IO)), qualified.name)
                    .parse()?
            }
        };
        Ok(StoredName { repository, tag: reference.stored_tag() })
    }

    /// The name that a place has the image of a line under, and where there is none, the others that it may have: those
    /// of the other styles. So a place answers to the list that it was pulled from, whichever style that was with.
    ///
    /// # Errors
    /// Where the image has no valid name in this style.
    pub(super) fn candidates(
        self,
        line: &Line,
        qualified: &Reference,
    ) -> Result<(StoredName, Vec<StoredName>), NameError> {
        let mut others = Vec::new();
        if let Some(name) = &line.name {
            return Ok((name.clone(), others));
        }
        let first = self.apply(&line.reference, qualified)?;
        for style in [Self::WithHost, Self::Library, Self::AsListed] {
            let name = style.apply(&line.reference, qualified).ok();
            others.extend(name.filter(|name| *name != first && !others.contains(name)));
        }
        Ok((first, others))
    }
}

impl ResolveOptions {
    /// The names that a place may have the image of a line under, most likely first.
    ///
    /// # Errors
    /// Where the image has no valid name.
    pub fn candidates(&self, line: &Line) -> Result<Vec<StoredName>, NameError> {
        let (first, others) = self.names.candidates(line, &self.from.qualify(&line.reference)?)?;
        Ok(std::iter::once(first).chain(others).collect())
    }
}

impl Resolution {
    /// How many lines mean an image that another line stands for.
    pub fn repeats(&self) -> usize {
        self.images.iter().map(|image| image.also.len()).sum()
    }
}

/// Resolves every line, many at a time. What the store has already is not asked for again.
pub async fn resolve(
    engine: &Engine,
    registries: &Registries,
    store: Option<&Store>,
    list: ImageList,
    options: &ResolveOptions,
) -> Resolution {
    engine.observer().on(&Event::Step { name: "resolve", images: list.lines.len(), bytes: 0 });
    let lookups = engine.limits().images;
    let finder = Finder::new(options.referrers_api);
    let finder = &finder;
    let mut running = futures_util::stream::iter(list.lines)
        .map(|line| async move {
            let result = resolve_line(engine, registries, store, &line, (options, finder)).await;
            (line, result)
        })
        .buffered(lookups);
    let mut resolution = Resolution::default();
    let mut taken = NameRegister::default();
    while let Some((line, result)) = running.next().await {
        match result.and_then(|image| claim(&mut taken, image)) {
            Ok(image) => resolution.images.push(image),
            Err(error) => {
                engine.observer().on(&Event::ImageFailed { name: &line.reference.to_string(), cause: &error });
                resolution.failed.push(Failed { line, also: Vec::new(), error });
                if options.fail_fast {
                    break;
                }
            }
        }
    }
    resolution.images = merged(resolution.images);
    resolution
}

/// Lets the image have its name, unless that means something else already.
pub(super) fn claim(taken: &mut NameRegister, image: ResolvedImage) -> Result<ResolvedImage, ImageError> {
    taken.claim(&image.name, &image.graph.root.descriptor.digest, &image.line)?;
    Ok(image)
}

/// Resolves a line. A mirror of Docker Hub may have an official image only as `library/NAME`, as the Hub itself has it.
async fn resolve_line(
    engine: &Engine,
    registries: &Registries,
    store: Option<&Store>,
    line: &Line,
    how: (&ResolveOptions, &Finder),
) -> Result<ResolvedImage, ImageError> {
    let from = &how.0.from;
    let plain = resolve_at(engine, registries, store, line, from.qualify(&line.reference)?, how).await;
    match plain {
        Err(ImageError::Copy(CopyError::Resolve { ref source, .. })) if source.fault() == Fault::Missing => {
            let Some(official) = from.official(&line.reference)? else { return plain };
            let found = Box::pin(resolve_at(engine, registries, store, line, official, how)).await;
            found.or(plain)
        }
        resolved => resolved,
    }
}

async fn resolve_at(
    engine: &Engine,
    registries: &Registries,
    store: Option<&Store>,
    line: &Line,
    qualified: Reference,
    (options, finder): (&ResolveOptions, &Finder),
) -> Result<ResolvedImage, ImageError> {
    let name = match &line.name {
        Some(name) => name.clone(),
        None => options.names.apply(&line.reference, &qualified)?,
    };
    let rule = |admission: &Arc<Admission>| admission.rule(&Location::Docker(qualified.clone()));
    let guard = options.admission.as_ref().map(rule).transpose()?;
    let host = qualified.host.as_deref().unwrap_or(DOCKER_IO);
    let repository = Arc::new(registries.source(host, &qualified.name));
    let source: Arc<dyn Source> = repository.clone();
    let kept = store.map(|store| store.repository(&name.repository));
    // The tag is the store's only if the image is kept under the tag that the registry is asked for.
    let platforms = line.platforms.clone().unwrap_or_else(|| options.platforms.clone());
    let asked = line.platforms.is_some() || options.platforms_asked;
    let wanted = LoadFilter { version: line.reference.version(), platforms: platforms.clone(), asked };
    let loaded = engine.load(&*source, kept.as_ref().map(|kept| kept as &dyn Source), &wanted).await;
    let (source, graph, converted_from) = match loaded {
        Err(error) if schema1::is_reason(&error) => {
            let scratch = options.scratch.as_deref().ok_or(error)?;
            let old = OpenSource { source, version: wanted.version.clone(), held: None, guard: None, made_up: false };
            let (digest, modern) = schema1::modern(engine, &old, scratch).await?;
            let graph = engine.load(&*modern.source, None, &LoadFilter { version: modern.version, ..wanted }).await?;
            (modern.source, graph, Some(digest))
        }
        graph => (source, graph?, None),
    };
    if let Some(guard) = guard {
        guard.check(&*source, &graph).await?;
    }
    let attached = match &line.referrers {
        // Nothing belongs to an image that was made just now.
        _ if !options.referrers || converted_from.is_some() => Vec::new(),
        Some(pinned) => finder.pinned(engine, repository, kept.as_ref(), (&graph, pinned)).await?,
        None => finder.find(engine, repository, kept.as_ref(), &graph).await?,
    };
    let source_name = Reference { digest: Some(converted_from.unwrap_or(graph.root.descriptor.digest)), ..qualified };
    let (line, also, graph) = (line.clone(), Vec::new(), Arc::new(graph));
    Ok(ResolvedImage { line, also, source_name, name, platforms, source, graph, attached, place: None, converted_from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_store() {
        let name = |text: &str, style: NameStyle| {
            let reference: Reference = text.parse().unwrap();
            let qualified = RegistryPath::default().qualify(&reference).unwrap();
            style.apply(&reference, &qualified).unwrap().to_string()
        };
        assert_eq!(name("alpine:3.14", NameStyle::AsListed), "alpine:3.14");
        assert_eq!(name("quay.io/coreos/etcd:v3.5", NameStyle::AsListed), "coreos/etcd:v3.5");
        assert_eq!(name("alpine", NameStyle::Library), "library/alpine:latest");
        assert_eq!(name("alpine", NameStyle::WithHost), "docker.io/library/alpine:latest");
        assert_eq!(name("host:5000/a/b:1", NameStyle::WithHost), "host-5000/a/b:1");
        assert_eq!(name("[::1]:5000/a:1", NameStyle::WithHost), "0--1-5000/a:1");
        assert_eq!(name("[fe80::]/a:1", NameStyle::WithHost), "fe80--0/a:1");
        assert_eq!(name("[fe80::1]:80/a:1", NameStyle::WithHost), "fe80--1-80/a:1");
    }
}
