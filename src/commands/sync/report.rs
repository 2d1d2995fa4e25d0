//! The result of `hod sync`, in the format of skopeo.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::context::Context;
use crate::documents;
use crate::failure::{Failure, Kind, causes};
use crate::report::ImageResult;
use crate::{output, report};
use hod_engine::endpoint::Placement;
use hod_steps::sync::run::{SyncError, SyncReceipt, SyncedImage};
use hod_steps::sync::{Task, familiar};

/// What became of everything that was asked for.
#[derive(Default)]
pub(super) struct Outcome {
    /// Repositories, folders and images that the source named.
    pub(super) sources: usize,
    /// Entries and repositories that failed before anything was copied.
    pub(super) failed_before: usize,
    /// What would have been copied, where nothing was.
    pub(super) planned: Vec<Task>,
    /// What was copied.
    pub(super) receipt: SyncReceipt,
}

/// Says what was done, writes the digests, and decides how it ends.
pub(super) async fn finish(
    context: &Context,
    outcome: &Outcome,
    digestfile: Option<&Path>,
) -> Result<ExitCode, Failure> {
    context.close();
    if let Some(path) = digestfile {
        output::write(path, digests(&outcome.receipt.images).into_bytes()).await?;
    }
    let result = |SyncedImage { task, image }: &SyncedImage| ImageResult {
        name: format!("{} → {}", familiar(&task.from.location), familiar(&task.to.location)),
        digest: image.digest,
        change: report::change(image.copied.unchanged),
    };
    let lines = context.image_lines(outcome.receipt.images.iter().map(result));
    context.result(&document(context, outcome), &lines)?;
    if context.is_text() {
        say(context, outcome);
    }
    end(context, outcome)
}

/// A line for each image that is there now: its digest and its name.
fn digests(images: &[SyncedImage]) -> String {
    images.iter().fold(String::new(), |mut text, image| {
        let _ = writeln!(text, "{} {}", image.image.digest, familiar(&image.task.to.location));
        text
    })
}

fn say(context: &Context, outcome: &Outcome) {
    for task in &outcome.planned {
        let (from, to) = (familiar(&task.from.location), familiar(&task.to.location));
        let (position, total) = task.count;
        context.say(&format!("Would have copied image ref {position}/{total} from={from:?} to={to:?}"));
    }
    let images = &outcome.receipt.images;
    let changed = images.iter().filter(|it| it.image.digest != it.image.source_digest).count();
    if changed > 0 {
        let changed = report::count(changed, "image");
        context.say(&format!("note: {changed} with another digest than at the source; indexes keep theirs with --all"));
    }
    if outcome.receipt.images.is_empty() && outcome.receipt.failed.is_empty() && !outcome.planned.is_empty() {
        let planned = outcome.planned.len();
        context.say(&format!("Would have synced {planned} images from {} sources", outcome.sources));
        return;
    }
    context.say(&format!("Synced {} images from {} sources", images.len(), outcome.sources));
    let sum = |placed| images.iter().map(|it| it.image.copied.bytes(placed)).sum::<u64>();
    let unchanged = images.iter().filter(|it| it.image.copied.unchanged).count();
    let mut parts = vec![format!("{} written", report::bytes(sum(Placement::Written)))];
    for (placed, word) in [(Placement::Linked, "linked"), (Placement::Mounted, "mounted")] {
        if sum(placed) > 0 {
            parts.push(format!("{} {word}", report::bytes(sum(placed))));
        }
    }
    context.say(&format!(
        "{} copied, {unchanged} already there · {}, in {}",
        report::count(images.len() - unchanged, "image"),
        parts.join(", "),
        report::time(context.begun.elapsed()),
    ));
}

fn document(context: &Context, outcome: &Outcome) -> documents::Synced {
    let from = |task: &Task| familiar(&task.from.location);
    let to = |task: &Task| familiar(&task.to.location);
    let planned = |task: &Task| documents::PlannedSync { destination: to(task), source: from(task) };
    let image = |SyncedImage { task, image }: &SyncedImage| documents::SyncedImage {
        destination: to(task),
        digest: image.digest.into(),
        source: from(task),
        source_digest: image.source_digest.into(),
        unchanged: image.copied.unchanged,
    };
    let failed = |(task, error): &(Task, SyncError)| documents::FailedSync {
        causes: causes("", Some(error)),
        destination: to(task),
        source: from(task),
    };
    let receipt = &outcome.receipt;
    let sum = |placed| receipt.images.iter().map(|it| it.image.copied.bytes(placed)).sum::<u64>();
    documents::Synced {
        bytes_already_there: sum(Placement::AlreadyThere),
        bytes_linked: sum(Placement::Linked),
        bytes_mounted: sum(Placement::Mounted),
        bytes_written: sum(Placement::Written),
        failed: receipt.failed.iter().map(failed).collect(),
        failed_before: outcome.failed_before,
        images: receipt.images.iter().map(image).collect(),
        left_out: receipt.left_out.iter().map(from).collect(),
        planned: outcome.planned.iter().map(planned).collect(),
        seconds: context.seconds(),
        sources: outcome.sources,
    }
}

fn end(context: &Context, outcome: &Outcome) -> Result<ExitCode, Failure> {
    let failed = outcome.receipt.failed.len() + outcome.failed_before;
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    context.print_errors(outcome.receipt.failed.iter().map(|(task, error)| (familiar(&task.from.location), error)));
    let receipt = &outcome.receipt;
    let done = receipt.images.len() + outcome.planned.len();
    let missing = receipt.failed.len() + receipt.untried;
    let others_done = done > 0 && receipt.untried == 0;
    let kind = Kind::of_images(receipt.failed.iter().map(|(_, error)| error), others_done);
    let mut parts = Vec::new();
    if missing > 0 {
        parts.push(format!("{missing} of {} not copied", report::count(receipt.images.len() + missing, "image")));
    }
    if outcome.failed_before > 0 {
        parts.push(format!("{} of the source left out", report::count(outcome.failed_before, "part")));
    }
    let failure = Failure::new(kind, parts.join(", "));
    if receipt.untried == 0 {
        return Err(failure);
    }
    Err(failure.hint("the run ended at the first failure; --keep-going copies the other images"))
}
