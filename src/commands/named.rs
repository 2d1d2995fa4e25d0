//! Names of images in a store or layout, for commands that change it.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Kind};
use hod_oci::ReferenceError;
use hod_steps::untag::UntagError;
use hod_store::{Store, StoreError};
use hod_transport::{LayoutImage, Location, StoreImage, TransportError};

/// An image of a place that can be changed.
#[derive(Debug)]
pub(super) enum EditableImage {
    /// Of a store.
    Store(PathBuf, StoreImage),
    /// Of a layout.
    Layout(PathBuf, Option<LayoutImage>),
}

/// Reads `store:DIR:NAME`, `oci:DIR:NAME`, or a name in the store that was given.
pub(super) fn named(text: &str, store: Option<&Path>) -> Result<EditableImage, Failure> {
    let usage = |error| Failure::of(Kind::Usage, error);
    let is_place = text.starts_with("oci:") || text.starts_with("store:");
    // `store:1.0` may be the name of an image; with a second colon it is a place.
    if let Some(root) = store.filter(|_| !is_place || text.matches(':').count() < 2) {
        let image = text.parse().map_err(|error: ReferenceError| {
            Failure::new(Kind::Usage, format!("{text:?} is not a name of an image in a store")).because(error)
        })?;
        return Ok(EditableImage::Store(root.to_owned(), image));
    }
    if !is_place && !text.contains(':') {
        let failure = Failure::new(Kind::Usage, format!("{text:?} names no place"));
        return Err(failure.hint("name the store with --store, or write store:DIR:NAME or oci:DIR:NAME"));
    }
    match text.parse().map_err(usage)? {
        Location::Store(root, Some(image)) => Ok(EditableImage::Store(root, image)),
        Location::Store(root, None) => {
            let problem = format!("store:{} has many images: name one of them after another colon", root.display());
            Err(Failure::new(Kind::Usage, problem))
        }
        Location::Oci(path, image) => Ok(EditableImage::Layout(path, image)),
        other => {
            let failure = Failure::new(Kind::Usage, format!("{other} is neither in a store nor in a layout"));
            Err(failure.hint("to delete an image in a registry, use hod delete; to give it another name, use hod copy"))
        }
    }
}

/// Opens a store to delete from it.
pub(super) fn alone(root: &Path) -> Result<Store, Failure> {
    Store::alone(root).map_err(|error| {
        let in_use = matches!(error, StoreError::InUse(_));
        let failure = Failure::of(Kind::Failed, error);
        if in_use {
            failure.hint("wait until it has finished; a server that accepts pushes must be stopped")
        } else {
            failure
        }
    })
}

/// A failure to change the names of a store.
pub(super) fn untag_failure(error: UntagError) -> Failure {
    match error {
        UntagError::Contents(error) => Failure::of_contents(error),
        UntagError::Unknown(_) => {
            Failure::of(Kind::Failed, error).hint("nothing was removed; list the available images with hod ls")
        }
        UntagError::Part { .. } => Failure::of(Kind::Failed, error).hint("nothing was removed; remove the whole image"),
        UntagError::Reach(_) => {
            Failure::of(Kind::Failed, error).hint("nothing was removed; check the store with hod verify")
        }
        error => Failure::of(Kind::Failed, error),
    }
}

/// A failure to change a layout.
pub(super) fn layout_failure(error: TransportError) -> Failure {
    Failure::of(Kind::Failed, error)
}
