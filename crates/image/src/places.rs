//! Images in places on this machine, with their destination names, for pull and push.
//!
//! ```text
//! oci:DIR[:IMAGE]  oci-archive:FILE[:IMAGE]   org.opencontainers.image.ref.name; a mere tag goes with the file's name
//! docker-archive:FILE[:NAME]                  RepoTags
//! dir:DIR                                     the folder's name, or its path below DIR where DIR holds many
//! docker-daemon:NAME:TAG                      itself
//! … as=NAME[:TAG]                             whatever it would be called otherwise
//! … digest=DIGEST                             only if it is this image
//! ```

mod error;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use error::PlaceError;

use super::admission::AdmissionError;
use super::contents::StoredImage;
use super::convert::convert;
use super::list::{Line, Options, Origin, StoredName, parse_place};
use super::merge::{NameRegister, merged};
use super::open::{OpenSource, Places};
use super::recompress::{LayerChoice, RecompressedSource, Recompressor};
use super::resolve::{Failed, ImageError, Resolution, ResolveOptions, ResolvedImage, claim};
use super::schema1;
use super::whole::whole;
use hod_engine::copy::{Engine, LoadFilter};
use hod_engine::endpoint::Source;
use hod_engine::observe::Event;
use hod_oci::{Descriptor, Digest, Graph, NameError, Platforms, Reference, Tag, Version};
use hod_transport::{ArchiveImage, DaemonImage, DockerItem, Layout, LayoutImage, Location};

/// An image of a place.
pub struct PlaceImage {
    location: Location,
    /// As a list would have it.
    line: Line,
    open: OpenSource,
}

impl PlaceImage {
    /// Where exactly it is, and the image there.
    pub fn into_source(self) -> (Location, OpenSource) {
        (self.location, self.open)
    }

    /// Refuses an image that is not the one which a lock has seen there.
    fn check(&self, found: Digest) -> Result<(), PlaceError> {
        check_locked(&self.location, self.line.reference.digest, found)
    }
}

/// Refuses what was found at a place, where a line says another digest.
pub fn check_locked(place: &Location, locked: Option<Digest>, found: Digest) -> Result<(), PlaceError> {
    match locked {
        Some(locked) if locked != found => {
            let (place, locked, found) = (Box::new(place.clone()), Box::new(locked), Box::new(found));
            Err(PlaceError::Moved { place, locked, found })
        }
        _ => Ok(()),
    }
}

impl std::fmt::Debug for PlaceImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("location", &self.location).field("line", &self.line).finish_non_exhaustive()
    }
}

/// A place that somebody named.
#[derive(Debug, Clone)]
pub struct PlaceRequest {
    /// Where.
    pub origin: Origin,
    /// The place with its options.
    pub text: Box<str>,
    /// The group of the list that it is in.
    pub group: Option<Box<str>>,
}

/// Opens everything that arguments and lists mean.
///
/// # Errors
/// Everything that cannot be used; then nothing should be begun.
pub async fn find_places(
    places: &Arc<Places>,
    asked: &[PlaceRequest],
) -> Result<Vec<PlaceImage>, Vec<(String, PlaceError)>> {
    let (mut all, mut bad) = (Vec::new(), Vec::new());
    for one in asked {
        match find(places, one).await {
            Ok(found) => all.extend(found),
            Err(error) => bad.push((format!("{}: {}", one.origin, one.text), error)),
        }
    }
    if bad.is_empty() { Ok(all) } else { Err(bad) }
}

/// Adds the images of places to those that registries have, each where `order` has its line.
pub async fn resolve_places(
    engine: &Engine,
    found: Vec<PlaceImage>,
    order: &[Origin],
    options: &ResolveOptions,
    resolution: &mut Resolution,
) {
    if found.is_empty() {
        return;
    }
    let mut taken = NameRegister::of(&resolution.images);
    for image in found {
        let line = image.line.clone();
        match resolved(engine, image, options).await.and_then(|image| claim(&mut taken, image)) {
            Ok(image) => resolution.images.push(image),
            Err(error) => {
                engine.observer().on(&Event::ImageFailed { name: &line.text, cause: &error });
                resolution.failed.push(Failed { line, also: Vec::new(), error });
            }
        }
    }
    let order: BTreeMap<&Origin, usize> = order.iter().zip(0..).collect();
    resolution.images.sort_by_key(|image| order.get(&image.line.origin));
    resolution.failed.sort_by_key(|failed| order.get(&failed.line.origin));
    resolution.images = merged(std::mem::take(&mut resolution.images));
}

/// What is wanted of an image.
async fn taken(
    engine: &Engine,
    image: &PlaceImage,
    platforms: &Platforms,
    options: &ResolveOptions,
) -> Result<Graph, ImageError> {
    if *platforms == Platforms::All {
        return Ok(all_of(image).await?);
    }
    let asked = image.line.platforms.is_some() || options.platforms_asked;
    let wanted = LoadFilter { version: image.open.version.clone(), platforms: platforms.clone(), asked };
    Ok(engine.load(&*image.open.source, None, &wanted).await?)
}

async fn resolved(
    engine: &Engine,
    mut image: PlaceImage,
    options: &ResolveOptions,
) -> Result<ResolvedImage, ImageError> {
    let platforms = image.line.platforms.clone().unwrap_or_else(|| options.platforms.clone());
    let mut converted_from = None;
    let graph = match taken(engine, &image, &platforms, options).await {
        Err(error) if schema1::is_reason(&error) => {
            let scratch = options.scratch.as_deref().ok_or(error)?;
            let first = schema1::first_format(engine, &image.open).await?;
            // What the place holds is what a list can name; what comes of it has a digest of its own.
            image.check(first.manifest.digest)?;
            let (old, modern) = schema1::modern_of(engine, &image.open, &first, scratch).await?;
            (converted_from, image.open) = (Some(old), modern);
            taken(engine, &image, &platforms, options).await?
        }
        graph => {
            let graph = graph?;
            image.check(graph.root.descriptor.digest)?;
            graph
        }
    };
    admit(&image, &graph).await?;
    let (source_name, name) = names(&image, options)?;
    let source_name = Reference { digest: Some(graph.root.descriptor.digest), ..source_name };
    Ok(ResolvedImage {
        line: image.line,
        also: Vec::new(),
        source_name,
        name,
        platforms,
        source: image.open.source,
        graph: Arc::new(graph),
        attached: Vec::new(),
        place: Some(Box::new(image.location)),
        converted_from,
    })
}

fn names(image: &PlaceImage, options: &ResolveOptions) -> Result<(Reference, StoredName), NameError> {
    let qualified = options.from.qualify(&image.line.reference)?;
    let name = match &image.line.name {
        Some(name) => name.clone(),
        None => options.names.apply(&image.line.reference, &qualified)?,
    };
    Ok((qualified, name))
}

/// The images of a place as they are pushed: whole, or the platforms that were asked for. Layers that are uncompressed
/// only because an archive of Docker has them so are compressed by `gzip`; the number says how many.
pub async fn outbound(
    engine: &Engine,
    places: &Arc<Places>,
    text: &str,
    options: &ResolveOptions,
    gzip: &Recompressor,
) -> Result<(Vec<(StoredImage, Arc<dyn Source>)>, usize), ImageError> {
    let (mut images, mut compressed) = (Vec::new(), 0);
    let asked = PlaceRequest { origin: Origin { file: None, line: 1 }, text: text.into(), group: None };
    for image in find(places, &asked).await? {
        let platforms =
            image.line.platforms.clone().or_else(|| options.platforms_asked.then(|| options.platforms.clone()));
        let graph = match platforms {
            None | Some(Platforms::All) => all_of(&image).await?,
            Some(platforms) => {
                let wanted = LoadFilter { version: image.open.version.clone(), platforms, asked: true };
                engine.load(&*image.open.source, None, &wanted).await?
            }
        };
        image.check(graph.root.descriptor.digest)?;
        admit(&image, &graph).await?;
        let (_, name) = names(&image, options)?;
        let (mut graph, mut content) = (graph, image.open.source.clone());
        if image.open.made_up {
            let made = gzip.prepare(engine, &content, &graph, LayerChoice::Uncompressed).await?;
            compressed += made.len();
            graph = Graph { root: convert(graph.root, None, &made)? };
            content = Arc::new(RecompressedSource::new(content, made.into_values()));
        }
        let source = Some(image.location.to_string().into());
        images.push((StoredImage { name, graph, group: None, source, pinned: false, referrers: None }, content));
    }
    Ok((images, compressed))
}

/// Has an image show what the trust policy asks for.
async fn admit(image: &PlaceImage, graph: &Graph) -> Result<(), AdmissionError> {
    match &image.open.guard {
        Some(guard) => guard.check(&*image.open.source, graph).await,
        None => Ok(()),
    }
}

/// Everything that a place has of an image.
async fn all_of(image: &PlaceImage) -> Result<Graph, PlaceError> {
    let failed = |source| PlaceError::Manifests { place: Box::new(image.location.clone()), source };
    whole(&*image.open.source, &image.open.version).await.map_err(failed)
}

/// Opens all images that an argument means.
async fn find(places: &Arc<Places>, asked: &PlaceRequest) -> Result<Vec<PlaceImage>, PlaceError> {
    let (places, PlaceRequest { origin, text, group }) = (places.clone(), asked.clone());
    let found = tokio::task::spawn_blocking(move || {
        let (place, Options { platforms, name, digest, .. }) = parse_place(&text)?;
        let place: Location = place.parse()?;
        let PlaceImages { mut images, layout } = list(&places, &place)?;
        if name.is_some() {
            // One image with several names gets this one in place of them.
            images.dedup_by(|one, other| one.0 == other.0);
        }
        if name.is_some() && images.len() > 1 {
            return Err(PlaceError::OneName { place: Box::new(place), count: images.len() });
        }
        let mut found = Vec::new();
        for (location, own) in images {
            let reference = match (&name, own) {
                (Some(StoredName { repository, tag }), _) => {
                    Reference { host: None, name: repository.clone(), tag: tag.clone(), digest: None }
                }
                (None, Some(own)) => named(&location, &own)?,
                (None, None) => return Err(PlaceError::NoName(Box::new(location))),
            };
            let open = match (&layout, &location) {
                (Some(layout), Location::Oci(_, Some(LayoutImage::Digest(root)))) => {
                    places.source_in(layout, &location, *root)?
                }
                _ => places.source(&location)?,
            };
            // A name may have the digest of its image in place of a tag.
            let own = reference.digest.filter(|own| open.version == Version::Digest(*own));
            let line = Line {
                origin: origin.clone(),
                text: text.clone(),
                reference: Reference { digest: digest.or(own), ..reference },
                group: group.clone(),
                platforms: platforms.clone(),
                name: name.clone(),
                referrers: None,
                place: Some(location.to_string().into()),
            };
            found.push(PlaceImage { location, line, open });
        }
        if found.is_empty() { Err(PlaceError::Empty(Box::new(place))) } else { Ok(found) }
    });
    found.await.map_err(PlaceError::Thread)?
}

/// Reads a name that a place gives to an image.
fn named(location: &Location, name: &str) -> Result<Reference, PlaceError> {
    let bad = |source| PlaceError::BadName { place: Box::new(location.clone()), name: name.to_owned(), source };
    let reference: Reference = name.parse().map_err(bad)?;
    Ok(Reference { tag: reference.stored_tag(), ..reference })
}

/// The images of a place with the names that they have there.
struct PlaceImages {
    images: Vec<(Location, Option<String>)>,
    /// The layout that has them all. Its index is read once: others may change it meanwhile.
    layout: Option<Layout>,
}

/// Tells which images a place has.
fn list(places: &Places, place: &Location) -> Result<PlaceImages, PlaceError> {
    let failed = |source| PlaceError::List { place: Box::new(place.clone()), source };
    let one = |name: Option<String>| vec![(place.clone(), name)];
    let mut opened = None;
    let images = match place {
        Location::Oci(path, None) => {
            let layout = places.layout(path).map_err(failed)?;
            let images = opened.insert(layout).images().map_err(failed)?;
            // A lock has to find the image again, wherever in the index it is then.
            let at = |_, root: &Descriptor| Location::Oci(path.clone(), Some(LayoutImage::Digest(root.digest)));
            entries(images, path, at)
        }
        Location::OciArchive(path, None) => {
            let images = places.oci_archive(path).map_err(failed)?.images();
            let at =
                |position, _: &Descriptor| Location::OciArchive(path.clone(), Some(LayoutImage::Position(position)));
            entries(images, path, at)
        }
        Location::Oci(path, Some(image)) => {
            let (name, _) = places.layout(path).and_then(|layout| layout.find_named(image)).map_err(failed)?;
            one(name.map(|name| full_name(path, &name)))
        }
        Location::OciArchive(path, Some(image)) => {
            let (name, _) = places.oci_archive(path).and_then(|it| it.find_named(image)).map_err(failed)?;
            one(name.map(|name| full_name(path, &name)))
        }
        Location::DockerArchive(path, None) => {
            let archive = places.opened_docker(path).map_err(failed)?;
            let items = archive.items().iter().enumerate();
            items.flat_map(|(position, item)| tagged(path, position, item)).collect()
        }
        // The image has the names that it has among all of them.
        Location::DockerArchive(path, Some(ArchiveImage::Position(position))) => {
            let archive = places.opened_docker(path).map_err(failed)?;
            archive.items().get(*position).map_or_else(|| one(None), |item| tagged(path, *position, item))
        }
        Location::DockerArchive(path, Some(ArchiveImage::Name(name))) => {
            let archive = places.opened_docker(path).map_err(failed)?;
            one(archive.name_of(name).or_else(|| Some(name.to_string())))
        }
        Location::DockerDaemon(DaemonImage::Name(name)) => one(Some(name.to_string())),
        Location::ContainersStorage(image) => one(image.reference().ok().map(|name| name.to_string())),
        Location::Dir(path) if path.join("manifest.json").is_file() => one(folder_name(path)),
        Location::Dir(path) => tree(path)?,
        Location::Docker(_) | Location::Store(..) | Location::Bundle(..) => {
            return Err(PlaceError::Other(Box::new(place.clone())));
        }
        _ => one(None),
    };
    Ok(PlaceImages { images, layout: opened })
}

/// The images of a layout, each by its position or digest: names need not be unique, or be there at all.
fn entries(
    images: Vec<(Option<String>, Descriptor)>,
    path: &Path,
    at: impl Fn(usize, &Descriptor) -> Location,
) -> Vec<(Location, Option<String>)> {
    let is_image = |(_, (_, descriptor)): &(usize, (Option<String>, Descriptor))| descriptor.media_type.is_manifest();
    let images = images.into_iter().enumerate().filter(is_image);
    images.map(|(position, (name, root))| (at(position, &root), name.map(|name| full_name(path, &name)))).collect()
}

/// An image of an archive under each of its names.
fn tagged(path: &Path, position: usize, item: &DockerItem) -> Vec<(Location, Option<String>)> {
    let location = || Location::DockerArchive(path.to_owned(), Some(ArchiveImage::Position(position)));
    match item.repo_tags.as_slice() {
        [] => vec![(location(), None)],
        names => names.iter().map(|name| (location(), Some(name.clone()))).collect(),
    }
}

/// A name as it stands, or the file's with a tag: `oci:alpine:3.20` is `alpine:3.20`.
fn full_name(path: &Path, name: &str) -> String {
    let is_tag = !name.contains(['/', ':', '@']) && name.parse::<Tag>().is_ok();
    match (is_tag, path.file_stem()) {
        (true, Some(stem)) if path.is_file() => format!("{}:{name}", stem.to_string_lossy()),
        (true, _) => {
            path.file_name().map_or_else(|| name.to_owned(), |folder| format!("{}:{name}", folder.to_string_lossy()))
        }
        (false, _) => name.to_owned(),
    }
}

/// The name of the directory that a path leads to, where it is text.
pub fn folder_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// The image directories below a folder, by their paths; nothing is looked for below one.
pub fn tree(root: &Path) -> Result<Vec<(Location, Option<String>)>, PlaceError> {
    let mut images = Vec::new();
    let mut entries = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|source| PlaceError::Walk { path: root.to_owned(), source })?;
        if !entry.file_type().is_dir() || !entry.path().join("manifest.json").is_file() {
            continue;
        }
        let name = entry.path().strip_prefix(root).unwrap_or_else(|_| entry.path());
        images.push((Location::Dir(entry.path().to_owned()), Some(name.to_string_lossy().into_owned())));
        entries.skip_current_dir();
    }
    Ok(images)
}
