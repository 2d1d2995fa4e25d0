//! `hod inventory`: lists the content of the far side for the near side.

use std::path::Path;
use std::process::ExitCode;

use super::input::{self, Target};
use super::{UsedRegistries, holding, media};
use crate::args::InventoryArgs;
use crate::context::Context;
use crate::documents::WrittenInventory;
use crate::failure::{Failure, Kind};
use crate::{output, report};
use hod_bundle::Content;
use hod_image::catalog::catalog;
use hod_image::destination::destination;
use hod_image::inventory::Inventory;

pub(crate) async fn run(context: &Context, args: InventoryArgs) -> Result<ExitCode, Failure> {
    let place = args.target.path();
    let inventory = if let Some(registry) = place.to_str().filter(|text| text.starts_with("docker://")) {
        of_registry(context, &args, registry).await?
    } else {
        let (place, minimal) = (place.to_owned(), args.minimal);
        input::blocking(move || of_place(&place, minimal)).await?
    };
    let json = inventory.to_json();
    match &args.output {
        Some(path) => {
            let length = json.len() as u64;
            output::write(path, json).await?;
            context.summary(&format!("{} in {}: {}", summary(&inventory), path.display(), report::bytes(length)));
            context.result(&document(&inventory, path, length), "")?;
            Ok(ExitCode::SUCCESS)
        }
        None => context.data(&json),
    }
}

async fn of_registry(context: &Context, args: &InventoryArgs, registry: &str) -> Result<Inventory, Failure> {
    let place = destination(registry).map_err(|error| Failure::of(Kind::Usage, error))?;
    let registries = context.registries(&args.registry, &UsedRegistries::new([&*place.host]))?;
    let images = catalog(&registries, &place).await.map_err(|error| Failure::of(Kind::Failed, error))?;
    // A registry takes no manifest before it has what that names.
    let there = |_: &_, _| Ok::<_, std::convert::Infallible>(true);
    let inventory =
        if args.minimal { Inventory::minimal(&images, there) } else { Inventory::of_images(&images, there) };
    inventory.map_err(|never| match never {})
}

fn of_place(place: &Path, minimal: bool) -> Result<Inventory, Failure> {
    match input::target(place)? {
        Target::Store(store) => holding::of_store(&store, minimal),
        Target::Bundle(_) if minimal => Err(Failure::new(
            Kind::Usage,
            "a bundle has no minimal inventory: its list is small; give the bundle to --have",
        )),
        Target::Bundle(path) => Ok(Inventory::of_header(&*media::header(&path, &[])?)),
        Target::Stream => Err(Failure::new(Kind::Usage, "standard input has no inventory: name a store or bundle")),
    }
}

/// The summary of an inventory that was written to a file.
fn document(inventory: &Inventory, file: &Path, bytes: u64) -> WrittenInventory {
    let file = report::path(file);
    match inventory {
        Inventory::Full { images, contents } => WrittenInventory::Full {
            bytes,
            bytes_of_contents: bytes_of(contents),
            contents: contents.len(),
            images: images.len(),
            inventory: file,
            minimal: false,
        },
        Inventory::Minimal { complete, alone } => {
            WrittenInventory::Minimal { bytes, inventory: file, manifests: complete.len() + alone.len(), minimal: true }
        }
    }
}

fn bytes_of(contents: &[Content]) -> u64 {
    contents.iter().map(|content| content.size).sum()
}

fn summary(inventory: &Inventory) -> String {
    match inventory {
        Inventory::Full { images, contents } => {
            let bytes = bytes_of(contents);
            let (images, contents) = (report::count(images.len(), "image"), report::count(contents.len(), "content"));
            format!("{images} with {contents} of {}", report::bytes(bytes))
        }
        Inventory::Minimal { complete, alone } => report::count(complete.len() + alone.len(), "manifest"),
    }
}
