//! Synchronizes places: copies all images of a source, each to its own place at a destination.
//!
//! ```text
//! source_file (YAML) ┐
//! docker, dir        ├▶ source: origins with images ─▶ destination: tasks ─▶ run: receipt
//! image_syncer       ┘
//! ```
//!
//! What is where is known before anything is copied, and so are names that clash. Then the engine copies many images
//! at a time.

pub mod constraint;
pub mod destination;
pub mod directory;
pub mod document;
pub mod image_syncer;
mod ordered;
pub mod run;
pub mod source;
pub mod source_file;

use std::sync::Arc;

use hod_image::open::Places;
use hod_transport::Location;

/// A place of one image, and how to reach it.
#[derive(Debug, Clone)]
pub struct ImagePlace {
    /// The image.
    pub location: Location,
    /// The places of that side.
    pub places: Arc<Places>,
}

/// Something that a source names, with the images that it stands for.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its name in messages.
    pub name: String,
    /// Its images, in the order in which they are to be copied.
    pub images: Vec<NamedLocation>,
    /// How to reach them.
    pub places: Arc<Places>,
}

/// An image and the name that it brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLocation {
    /// Its place.
    pub location: Location,
    /// Its name there: the full reference, or the path below the directory.
    pub name: String,
}

/// One image to copy.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its place.
    pub from: ImagePlace,
    /// Its destination.
    pub to: ImagePlace,
    /// Its position among the images of its origin, from 1, and how many these are.
    pub count: (usize, usize),
}

/// A location as the containers tools print it, who leave out what Docker Hub adds to names.
pub fn familiar(location: &Location) -> String {
    let Location::Docker(reference) = location else { return location.to_string() };
    let text = reference.to_string();
    let short = text.strip_prefix("docker.io/").map(|rest| rest.strip_prefix("library/").unwrap_or(rest));
    format!("docker://{}", short.unwrap_or(&text))
}
