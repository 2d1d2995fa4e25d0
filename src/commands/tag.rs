//! `hod tag`: adds names to an image of a store or layout.

use std::path::Path;
use std::process::ExitCode;

use super::input;
use super::named::{self, EditableImage};
use crate::args::TagArgs;
use crate::context::Context;
use crate::documents::Tagged;
use crate::failure::{Failure, Kind};
use hod_image::list::StoredName;
use hod_oci::{Digest, ReferenceError, RepositoryName, Tag};
use hod_steps::untag::tag;
use hod_store::Store;
use hod_transport::{Layout, LayoutImage, Location, StoreImage};

pub(crate) async fn run(context: &Context, args: TagArgs) -> Result<ExitCode, Failure> {
    let image = named::named(&args.image, args.store.as_deref())?;
    let names = args.new.clone();
    let digest = match image {
        EditableImage::Store(root, image) => input::blocking(move || in_store(&root, &image, &names)).await?,
        EditableImage::Layout(path, image) => input::blocking(move || in_layout(&path, image.as_ref(), &names)).await?,
    };
    let text = digest.to_string();
    let lines: String = args.new.iter().flat_map(|name| [name, "  ", &text, "\n"]).collect();
    context.result(&Tagged { digest: digest.into(), names: &args.new }, &lines)?;
    Ok(ExitCode::SUCCESS)
}

fn in_store(root: &Path, image: &StoreImage, names: &[String]) -> Result<Digest, Failure> {
    let usage = |name: &str, error: ReferenceError| {
        Failure::new(Kind::Usage, format!("{name:?} is not a valid name for an image")).because(error)
    };
    let new: Vec<StoredName> = names
        .iter()
        .map(|name| stored_name(&image.repository, name).map_err(|error| usage(name, error)))
        .collect::<Result<_, _>>()?;
    Store::open(root).map_err(|error| Failure::of(Kind::Failed, error))?;
    let store = Store::create(root).map_err(|error| Failure::of(Kind::Failed, error))?;
    let mut digest = None;
    for name in &new {
        digest = Some(tag(&store, image, name).map_err(named::untag_failure)?);
    }
    digest.ok_or_else(|| Failure::new(Kind::Usage, "no new name"))
}

/// `stable` is a tag of the same repository, `mirror/web:1.0` a name by itself.
fn stored_name(repository: &RepositoryName, text: &str) -> Result<StoredName, ReferenceError> {
    if !text.contains([':', '/']) {
        return Ok(StoredName { repository: repository.clone(), tag: Some(text.parse()?) });
    }
    let (name, tag) = text.split_once(':').map_or((text, None), |(name, tag)| (name, Some(tag)));
    let tag: Tag = tag.map_or(Ok(Tag::latest()), str::parse)?;
    Ok(StoredName { repository: name.parse()?, tag: Some(tag) })
}

fn in_layout(path: &Path, image: Option<&LayoutImage>, names: &[String]) -> Result<Digest, Failure> {
    for name in names {
        let location: Location =
            format!("oci:{}:{name}", path.display()).parse().map_err(|error| Failure::of(Kind::Usage, error))?;
        if !matches!(location, Location::Oci(_, Some(LayoutImage::Name(_)))) {
            return Err(Failure::new(Kind::Usage, format!("{name:?} is not a valid name for an image of a layout")));
        }
    }
    let layout = Layout::open(path).map_err(named::layout_failure)?;
    let found = layout.find(image).map_err(named::layout_failure)?;
    for name in names {
        layout.tag(&LayoutImage::Digest(found.digest), name).map_err(named::layout_failure)?;
    }
    Ok(found.digest)
}
