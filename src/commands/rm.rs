//! `hod rm`: removes images from stores and layouts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::input;
use super::named::{self, EditableImage};
use crate::args::RmArgs;
use crate::context::Context;
use crate::documents::{Removed, RemovedImage};
use crate::failure::{Failure, Kind};
use crate::report;
use hod_steps::untag::UntagScope;
use hod_steps::untag::untag;
use hod_transport::{Layout, LayoutImage, StoreImage};

/// What was asked for, by place.
#[derive(Default)]
struct RemovalRequest {
    stores: BTreeMap<PathBuf, Vec<StoreImage>>,
    layouts: BTreeMap<PathBuf, Vec<Option<LayoutImage>>>,
}

pub(crate) async fn run(context: &Context, args: RmArgs) -> Result<ExitCode, Failure> {
    let mut asked = RemovalRequest::default();
    for image in &args.images {
        match named::named(image, args.store.as_deref())? {
            EditableImage::Store(root, image) => asked.stores.entry(root).or_default().push(image),
            EditableImage::Layout(path, image) => asked.layouts.entry(path).or_default().push(image),
        }
    }
    let tag_only = args.tag_only;
    let removed = input::blocking(move || {
        for (path, images) in &asked.layouts {
            check_layout(path, images)?;
        }
        let mut removed = Vec::new();
        for (root, images) in &asked.stores {
            remove_from_store(root, images, tag_only, &mut removed)?;
        }
        for (path, images) in &asked.layouts {
            remove_from_layout(path, images, &mut removed)?;
        }
        Ok(removed)
    })
    .await?;
    let lines: String = removed.iter().flat_map(|image| [&image.name, "\n"]).collect();
    context.result(&Removed { removed }, &lines)?;
    context.summary("run hod gc to free the space");
    Ok(ExitCode::SUCCESS)
}

fn remove_from_store(
    root: &Path,
    images: &[StoreImage],
    tag_only: bool,
    removed: &mut Vec<RemovedImage>,
) -> Result<(), Failure> {
    let store = named::alone(root)?;
    let done = untag(&store, images, if tag_only { UntagScope::Tags } else { UntagScope::Images })
        .map_err(named::untag_failure)?;
    for (name, tag, digest) in &done.tags {
        let name = format!("{name}:{tag}");
        removed.push(RemovedImage { digest: (*digest).into(), name, place: report::path(root) });
    }
    for (name, digest) in &done.images {
        let name = format!("{name}@{digest}");
        removed.push(RemovedImage { digest: (*digest).into(), name, place: report::path(root) });
    }
    Ok(())
}

/// Says which images are not there, before anything is removed.
fn check_layout(path: &Path, images: &[Option<LayoutImage>]) -> Result<(), Failure> {
    let layout = Layout::open(path).map_err(named::layout_failure)?;
    let removal = layout.removal().map_err(named::layout_failure)?;
    let mut unknown = Vec::new();
    for image in images {
        if matches!(image, Some(LayoutImage::Position(_))) && images.len() > 1 {
            return Err(Failure::new(Kind::Usage, "a position moves when another image goes: remove one at a time"));
        }
        if !Layout::was_to_go(image.as_ref(), &removal) && !layout.has(image.as_ref()).map_err(named::layout_failure)? {
            unknown.push(image.as_ref().map_or_else(|| path.display().to_string(), ToString::to_string));
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let failure =
        Failure::new(Kind::Failed, format!("image {} does not exist in {}", unknown.join(", "), path.display()));
    Err(failure.hint("nothing was removed; list the tags with hod list-tags"))
}

fn remove_from_layout(
    path: &Path,
    images: &[Option<LayoutImage>],
    removed: &mut Vec<RemovedImage>,
) -> Result<(), Failure> {
    let layout = Layout::open(path).map_err(named::layout_failure)?;
    let removal = layout.removal().map_err(named::layout_failure)?;
    let found = layout.untag(images, &removal).map_err(named::layout_failure)?;
    removal.end().map_err(|error| named::layout_failure(error.into()))?;
    for (image, digest) in images.iter().zip(found) {
        let Some(digest) = digest else { continue };
        let name = image.as_ref().map_or_else(|| format!("@{digest}"), ToString::to_string);
        removed.push(RemovedImage { digest: digest.into(), name, place: report::path(path) });
    }
    Ok(())
}
