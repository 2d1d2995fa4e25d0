//! `hod select`: copies some images of a store to another store.

use std::path::Path;
use std::process::ExitCode;

use super::{incoming, input};
use crate::args::SelectArgs;
use crate::context::Context;
use crate::documents::Selected;
use crate::failure::{DAMAGED_STORE, Failure, Kind};
use crate::report;
use hod_steps::pack;
use hod_steps::select_into::{SelectIntoError, SelectReceipt, Sum, select_into};
use hod_store::{Store, StoreError};

pub(crate) async fn run(context: &Context, args: SelectArgs) -> Result<ExitCode, Failure> {
    let from = input::store(&args.store)?;
    if is_same(&args.store, &args.to) {
        return Err(Failure::new(Kind::Usage, "--store and --to are the same directory"));
    }
    let images = input::chosen(context, &from, &args.images).await?;
    if images.is_empty() {
        return Err(Failure::new(Kind::Failed, format!("{} has no images to select", args.store.display())));
    }
    let header = pack::header(&images, 0).map_err(|error| Failure::of(Kind::Failed, error))?;
    let to = Store::create(&args.to).map_err(|error| Failure::of(Kind::Failed, error))?;
    let existing = incoming::existing(args.on_existing_tag);
    let (observer, stop, count) = (context.observer(), context.stop.clone(), images.len());
    let (done, header) = input::blocking(move || {
        let selection = pack::Selection { store: &from, images: &images, header: &header };
        let done = select_into(selection, &to, existing, &*observer, &stop).map_err(failure)?;
        Ok((done, header))
    })
    .await?;
    context.result(&document(context, count, &done), &incoming::lines(context, &header, &done.tags))?;
    context.summary(&format!(
        "{} in {}: {} in {}",
        report::count(header.image_count(), "image"),
        args.to.display(),
        parts(&done),
        report::time(context.begun.elapsed()),
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns true if two paths lead to one folder, as far as they are there.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs_err::canonicalize(path).ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}

/// How the blobs came to be there, in words.
fn parts(done: &SelectReceipt) -> String {
    let part = |(count, bytes): Sum, how: &str| {
        (count > 0).then(|| format!("{} {how} ({})", report::count(count, "blob"), report::bytes(bytes)))
    };
    let parts = [
        part(done.linked, "hard linked"),
        part(done.cloned, "reflinked"),
        part(done.copied, "copied"),
        part(done.there, "there before"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn document(context: &Context, images: usize, done: &SelectReceipt) -> Selected {
    Selected {
        already_there: done.there.into(),
        copied: done.copied.into(),
        images,
        linked: done.linked.into(),
        reflinked: done.cloned.into(),
        seconds: context.seconds(),
        tags: incoming::documents(&done.tags),
    }
}

fn failure(error: SelectIntoError) -> Failure {
    match error {
        SelectIntoError::Stopped => Failure::interrupted(true),
        SelectIntoError::Incoming(error) => incoming::failure(error),
        SelectIntoError::Source { source: StoreError::Absent { .. } | StoreError::Corrupt { .. }, .. } => {
            Failure::of(Kind::Corrupt, error).hint(DAMAGED_STORE)
        }
        error => Failure::of(Kind::Failed, error),
    }
}
