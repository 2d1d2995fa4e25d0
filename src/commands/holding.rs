//! Reads the content of a place from a file or directory: stores, bundles, inventories and locks.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::input::{self, Target};
use super::{epoch, media};
use crate::failure::{Failure, Kind};
use crate::report;
use hod_bundle::{BundleFiles, DeltaBase, DeltaBaseKind};
use hod_image::base::Base;
use hod_image::contents::ContentsReader;
use hod_image::inventory::{INVENTORY_LIMIT, Inventory};
use hod_oci::Digest;
use hod_store::Store;

/// What a file holds that is no store.
pub(super) enum FileKind {
    /// An inventory, and the SHA-256 of its file.
    Inventory(Inventory, Digest),
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
    Ok(FileKind::Inventory(inventory, Digest::sha256(&json)))
}

/// What is at the far side by these files: what all of them hold. `near` expands minimal inventories.
pub(super) fn base(files: &[PathBuf], near: &Store) -> Result<Base, Failure> {
    let one = |path: &PathBuf| -> Result<Base, Failure> {
        let failed = |error| Failure::of(Kind::Failed, error);
        if let FileKind::Inventory(inventory, digest) = file_kind(path)? {
            let base = Base::of_inventory(&inventory, near).map_err(failed)?;
            let (kind, id, date) = (DeltaBaseKind::Inventory, Some(digest), date_of(path)?);
            return Ok(base.called(DeltaBase { kind, name: name_of(path), id, date }));
        }
        match input::target(path)? {
            Target::Store(store) => {
                let (kind, name) = (DeltaBaseKind::Store, name_of(store.root()));
                let base = Base::of_store(&store).map_err(failed)?;
                Ok(base.called(DeltaBase { kind, name, id: None, date: None }))
            }
            Target::Bundle(path) => {
                let header = media::header(&path, &[])?;
                // The members of a bundle have no time of their own unless SOURCE_DATE_EPOCH was set.
                let date = match header.mtime() {
                    0 => date_of(&first_file(&path)?)?,
                    seconds => Some(report::day(seconds).into()),
                };
                let (kind, name, id) = (DeltaBaseKind::Bundle, name_of(&media::whole(&path, &[])), Some(header.id()));
                Ok(Base::of_header(&header).called(DeltaBase { kind, name, id, date }))
            }
            Target::Stream => Err(Failure::new(Kind::Usage, "--have cannot read standard input")),
        }
    };
    Ok(Base::common(files.iter().map(one).collect::<Result<Vec<_>, _>>()?))
}

/// The name of a base without its directory, as a header can have it.
fn name_of(path: &Path) -> Box<str> {
    // Names such as `..` have no last part.
    let real =
        if path.file_name().is_none() { fs_err::canonicalize(path).unwrap_or_default() } else { path.to_owned() };
    let name = real.file_name().unwrap_or("/".as_ref()).to_string_lossy();
    name.chars().map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// The day on which a file was written. Where `SOURCE_DATE_EPOCH` is set, the result of a pack must not depend on it.
fn date_of(path: &Path) -> Result<Option<Box<str>>, Failure> {
    if epoch::is_reproducible() {
        return Ok(None);
    }
    let metadata = fs_err::metadata(path).map_err(|error| Failure::of(Kind::Failed, error))?;
    let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(written.map(|since| report::day(since.as_secs()).into()))
}

/// The file of a bundle; of volumes, one that exists.
fn first_file(path: &Path) -> Result<PathBuf, Failure> {
    match media::files(path, &[])? {
        BundleFiles::One(file) => Ok(file),
        BundleFiles::Volumes(set) => {
            let present = set.present().map_err(|error| Failure::of(Kind::Failed, error))?;
            Ok(present.into_values().next().map_or_else(|| path.to_owned(), |volume| volume.path))
        }
    }
}

/// The inventory of a store.
pub(super) fn of_store(store: &Store, minimal: bool) -> Result<Inventory, Failure> {
    let images = ContentsReader::new(store).images().map_err(|error| Failure::of(Kind::Failed, error))?;
    let is_there = |digest: &_, size| Ok(store.size(digest)? == Some(size));
    let inventory =
        if minimal { Inventory::minimal(&images, is_there) } else { Inventory::of_images(&images, is_there) };
    inventory.map_err(|error: hod_store::StoreError| Failure::of(Kind::Failed, error))
}
