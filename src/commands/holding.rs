//! Reads the content of a place from a file or directory: stores, bundles, inventories and locks.

use std::io::Read as _;
use std::path::Path;

use super::input::{self, Target};
use super::media;
use crate::failure::{Failure, Kind};
use hod_image::base::Base;
use hod_image::contents::ContentsReader;
use hod_image::inventory::{INVENTORY_LIMIT, Inventory};
use hod_store::Store;

/// What a file holds that is no store.
pub(super) enum FileKind {
    /// An inventory.
    Inventory(Inventory),
    /// A bundle, or one of its volumes.
    Bundle,
    /// Text that is neither.
    Text,
}

/// Looks into a file.
pub(super) fn file_kind(path: &Path) -> Result<FileKind, Failure> {
    let failed = |error| Failure::of(Kind::Failed, error);
    if !path.is_file() {
        return Ok(FileKind::Bundle);
    }
    let mut first = Vec::new();
    fs_err::File::open(path).map_err(failed)?.take(1024).read_to_end(&mut first).map_err(failed)?;
    if !first.starts_with(b"{") {
        let is_text = !first.is_empty() && first.iter().all(|byte| *byte >= b' ' || b"\t\r\n".contains(byte));
        return Ok(if is_text { FileKind::Text } else { FileKind::Bundle });
    }
    let mut json = Vec::new();
    fs_err::File::open(path).map_err(failed)?.take(INVENTORY_LIMIT + 1).read_to_end(&mut json).map_err(failed)?;
    let inventory = Inventory::parse(&json).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot use the inventory {}", path.display())).because(error)
    })?;
    Ok(FileKind::Inventory(inventory))
}

/// What is at the far side by these files: what all of them hold. `near` expands minimal inventories.
pub(super) fn base(files: &[std::path::PathBuf], near: &Store) -> Result<Base, Failure> {
    let one = |path: &std::path::PathBuf| -> Result<Base, Failure> {
        let failed = |error| Failure::of(Kind::Failed, error);
        if let FileKind::Inventory(inventory) = file_kind(path)? {
            return Base::of_inventory(&inventory, near).map_err(failed);
        }
        match input::target(path)? {
            Target::Store(store) => Base::of_store(&store).map_err(failed),
            Target::Bundle(path) => Ok(Base::of_header(&*media::header(&path, &[])?)),
            Target::Stream => Err(Failure::new(Kind::Usage, "--have cannot read standard input")),
        }
    };
    Ok(Base::common(files.iter().map(one).collect::<Result<Vec<_>, _>>()?))
}

/// The inventory of a store.
pub(super) fn of_store(store: &Store, minimal: bool) -> Result<Inventory, Failure> {
    let images = ContentsReader::new(store).images().map_err(|error| Failure::of(Kind::Failed, error))?;
    let is_there = |digest: &_, size| Ok(store.size(digest)? == Some(size));
    let inventory =
        if minimal { Inventory::minimal(&images, is_there) } else { Inventory::of_images(&images, is_there) };
    inventory.map_err(|error: hod_store::StoreError| Failure::of(Kind::Failed, error))
}
