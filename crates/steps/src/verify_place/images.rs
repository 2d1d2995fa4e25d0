//! Lists the images of a place to check, and reports faults of the files that list them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::VerifyPlaceError;
use crate::finding::{Code, Finding};
use hod_engine::endpoint::Source;
use hod_image::places::{folder_name, tree};
use hod_oci::{Descriptor, Digest, MediaType};
use hod_transport::{DirSource, Layout, LayoutImage, Location, OciArchive, TransportError};

/// How the `version` of an image directory begins.
const DIRECTORY: &[u8] = b"Directory Transport Version";

/// What a place lists.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) images: Vec<Image>,
    pub(super) findings: Vec<Finding>,
}

/// An image to check.
pub(super) struct Image {
    /// What findings call it.
    pub(super) name: String,
    pub(super) source: Arc<dyn Source>,
    pub(super) files: Files,
    /// What the place says of its root; of an image directory, what is there.
    pub(super) root: Descriptor,
}

/// Where the files of an image are.
pub(super) enum Files {
    /// Below `blobs`, by digest.
    Blobs,
    /// In an image directory at or below the folder.
    Folder(Arc<DirSource>, PathBuf),
}

impl Files {
    /// The path of some content below the place.
    pub(super) fn path_of(&self, content: &Descriptor) -> String {
        match self {
            Self::Blobs => format!("blobs/{}/{}", content.digest.algorithm().name(), content.digest.hex()),
            Self::Folder(source, root) => below(root, &source.path_of(content)),
        }
    }
}

/// Opens a place and reads what it lists.
pub(super) fn list(place: &Location, scratch: &Path) -> Result<Listed, VerifyPlaceError> {
    let listed = match place {
        Location::Dir(path) => return directories(path),
        Location::Oci(path, image) => layout(path, image.as_ref()),
        Location::OciArchive(path, image) => archive(path, image.as_ref(), scratch),
        _ => return Err(VerifyPlaceError::Other(Box::new(place.clone()))),
    };
    match listed {
        Ok(images) => Ok(Listed { images, findings: unmarked(place) }),
        Err(error) => Ok(Listed { images: Vec::new(), findings: vec![invalid(error)?] }),
    }
}

/// A layout that lacks the file that makes it one: its images can be read, and most tools refuse it.
fn unmarked(place: &Location) -> Vec<Finding> {
    match place {
        Location::Oci(path, _) if !path.join("oci-layout").exists() => {
            vec![Finding::new(Code::PlaceInvalid, "oci-layout", "it is missing")]
        }
        _ => Vec::new(),
    }
}

fn layout(path: &Path, image: Option<&LayoutImage>) -> Result<Vec<Image>, TransportError> {
    let layout = Layout::open(path)?;
    let entries = match image {
        None => layout.images()?,
        Some(image) => vec![(Some(image.to_string()), layout.find(Some(image))?)],
    };
    let source: Arc<dyn Source> = Arc::new(layout.source());
    Ok(entries_of(&source, entries))
}

fn archive(path: &Path, image: Option<&LayoutImage>, scratch: &Path) -> Result<Vec<Image>, TransportError> {
    let archive = OciArchive::open_in(path, scratch)?;
    let entries = match image {
        None => archive.images(),
        Some(image) => vec![(Some(image.to_string()), archive.find(Some(image))?)],
    };
    let source: Arc<dyn Source> = Arc::new(archive.source());
    Ok(entries_of(&source, entries))
}

fn entries_of(source: &Arc<dyn Source>, entries: Vec<(Option<String>, Descriptor)>) -> Vec<Image> {
    let image = |(position, (name, root)): (usize, (Option<String>, Descriptor))| Image {
        name: name.unwrap_or_else(|| LayoutImage::Position(position).to_string()),
        source: source.clone(),
        files: Files::Blobs,
        root,
    };
    entries.into_iter().enumerate().map(image).collect()
}

/// The image directory at a path, or all below it.
fn directories(path: &Path) -> Result<Listed, VerifyPlaceError> {
    if !fs_err::metadata(path).map_err(TransportError::from)?.is_dir() {
        return Err(TransportError::NoImageDirectory(path.to_owned()).into());
    }
    let mut listed = Listed { findings: unfinished(path), ..Listed::default() };
    let folders = if path.join("manifest.json").is_file() {
        vec![(path.to_owned(), folder_name(path))]
    } else {
        let images = tree(path)?.into_iter();
        images
            .filter_map(|(place, name)| if let Location::Dir(folder) = place { Some((folder, name)) } else { None })
            .collect()
    };
    if folders.is_empty() && listed.findings.is_empty() {
        return Err(TransportError::NoImageDirectory(path.to_owned()).into());
    }
    for (folder, name) in folders {
        let source = match DirSource::open(&folder) {
            Ok(source) => Arc::new(source),
            Err(error) => {
                listed.findings.push(of_folder(path, &folder, error)?);
                continue;
            }
        };
        listed.images.push(Image {
            name: name.unwrap_or_else(|| folder.display().to_string()),
            source: source.clone(),
            root: root_of(source.root(), &folder),
            files: Files::Folder(source, path.to_owned()),
        });
    }
    Ok(listed)
}

/// The root of an image directory: nothing says what it should be, so it is what it is.
fn root_of(digest: Digest, folder: &Path) -> Descriptor {
    let size = fs_err::metadata(folder.join("manifest.json")).map_or(0, |found| found.len());
    Descriptor::new(MediaType::OciManifest, digest, size)
}

/// Image directories that lack what makes them images.
fn unfinished(root: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name().into_iter().filter_map(Result::ok) {
        let Some(folder) = entry.path().parent().filter(|_| entry.file_name() == "version") else { continue };
        let manifest = folder.join("manifest.json");
        let is_ours = || {
            hod_io::fs::read_head(entry.path(), DIRECTORY.len() as u64).is_ok_and(|bytes| bytes.starts_with(DIRECTORY))
        };
        if !manifest.is_file() && is_ours() {
            let detail = "it is missing: the copy into this image directory was not completed";
            found.push(Finding::new(Code::PlaceInvalid, below(root, &manifest), detail));
        }
    }
    found
}

/// What is wrong with an image directory.
fn of_folder(root: &Path, folder: &Path, error: TransportError) -> Result<Finding, TransportError> {
    match error {
        TransportError::DirectoryVersion { .. } => {
            Ok(Finding::new(Code::PlaceInvalid, below(root, &folder.join("version")), error.to_string()))
        }
        TransportError::Manifest { .. } => Ok(Finding::new(
            Code::ManifestInvalid,
            below(root, &folder.join("manifest.json")),
            super::error::told(&error),
        )),
        other => Err(other),
    }
}

/// What is wrong with a layout; an error where there is none.
fn invalid(error: TransportError) -> Result<Finding, TransportError> {
    let name = |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    match &error {
        TransportError::NoLayout(path) => {
            let missing = ["oci-layout", "index.json"].map(|name| (name, !path.join(name).exists()));
            match missing {
                [(_, true), (_, true)] => Err(error),
                [(name, true), _] | [_, (name, _)] => Ok(Finding::new(Code::PlaceInvalid, name, "it is missing")),
            }
        }
        TransportError::LayoutFile { path, .. }
        | TransportError::Manifest { path, .. }
        | TransportError::NoArchive { path, .. } => {
            Ok(Finding::new(Code::PlaceInvalid, name(path), super::error::told(&error)))
        }
        _ => Err(error),
    }
}

/// A path as it is below the place.
fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}
