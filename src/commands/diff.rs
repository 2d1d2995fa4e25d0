//! `hod diff`: the differences between two stores, bundles, inventories or locks.

use std::path::Path;
use std::process::ExitCode;

use super::holding::{self, FileKind};
use super::input::{self, Target};
use super::media;
use crate::args::DiffArgs;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::report::{self, Align};
use hod_image::inventory::Inventory;
use hod_oci::Digest;
use hod_steps::diff::{Change, Difference, Snapshot};

pub(crate) async fn run(context: &Context, args: DiffArgs) -> Result<ExitCode, Failure> {
    let one = snapshot(context, &args.one).await?;
    let other = snapshot(context, &args.other).await?;
    let found = one.compare(&other);
    context.result(&found, &text(&found))?;
    context.summary(&format!(
        "{} added, {} removed, {} moved, {} the same · {} new, {} gone",
        found.added.len(),
        found.removed.len(),
        found.moved.len(),
        found.unchanged,
        report::bytes(found.bytes_added),
        report::bytes(found.bytes_removed),
    ));
    Ok(ExitCode::SUCCESS)
}

async fn snapshot(context: &Context, path: &Path) -> Result<Snapshot, Failure> {
    let failed = |error| Failure::new(Kind::Usage, format!("cannot compare {}", path.display())).because(error);
    let inventory = match holding::file_kind(path)? {
        FileKind::Inventory(inventory, _) => inventory,
        FileKind::Text => {
            let list = input::image_list(context, &[path.to_owned()], &[], &[])?;
            let options = input::resolve_options(&DiffArgs::images(), false);
            return Snapshot::of_lock(&list, &options).map_err(failed);
        }
        FileKind::Bundle => {
            let path = path.to_owned();
            input::blocking(move || match input::target(&path)? {
                Target::Store(store) => holding::of_store(&store, false),
                Target::Bundle(path) => Ok(Inventory::of_header(&*media::header(&path, &[])?)),
                Target::Stream => Err(Failure::new(Kind::Usage, "standard input cannot be compared")),
            })
            .await?
        }
    };
    Snapshot::of_inventory(&inventory).map_err(failed)
}

fn text(found: &Difference) -> String {
    if found.is_none() {
        return String::new();
    }
    let head = [
        ("", Align::Left),
        ("IMAGE", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("BYTES", Align::Right),
    ];
    let digest = |digest: Option<Digest>| digest.map_or_else(String::new, |digest| digest.short());
    let row = |sign: &str, change: &Change| {
        let bytes = change.bytes.map_or_else(|| "?".to_owned(), report::bytes);
        vec![sign.to_owned(), change.name.clone(), digest(change.from), digest(change.to), bytes]
    };
    let mut rows: Vec<Vec<String>> = found.added.iter().map(|change| row("+", change)).collect();
    rows.extend(found.removed.iter().map(|change| row("-", change)));
    rows.extend(found.moved.iter().map(|change| row("~", change)));
    report::table(&head, &rows)
}
