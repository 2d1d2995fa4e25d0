//! `hod pull`: list → resolve → fetch.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::on_failure;
use super::resolving::RequestedImages;
use super::{input, lock};
use crate::args::PullArgs;
use crate::context::Context;
use crate::documents::{Amount, FailedLine, Pulled, PulledImage};
use crate::failure::{Failure, Kind};
use crate::report::ImageResult;
use crate::{output, report};
use hod_engine::endpoint::Placement;
use hod_image::resolve::{Failed, Resolution, ResolveOptions};
use hod_steps::fetch::{ImageReceipt, Receipt, fetch};
use hod_steps::lock::failed_text;
use hod_store::Store;

pub(crate) async fn run(context: &Context, args: PullArgs) -> Result<ExitCode, Failure> {
    if args.dry_run {
        return super::plan::pull(context, &args).await;
    }
    let admission = Some(super::admission::admission(context)?);
    let named = input::images_and_places(context, &args.images)?;
    let registries = context.registries(&args.registry, &input::concerned(&args.images, &named.images))?;
    let local = context.local(args.daemon_host.as_ref(), &args.registry)?;
    let scratch = Some(local.scratch.clone());
    let named = RequestedImages::open(context, named, &registries, local, admission.clone()).await?;
    let options = ResolveOptions { admission, scratch, ..input::resolve_options(&args.images, args.fail_fast) };
    let store = Store::create(&args.store).map_err(|error| Failure::of(Kind::Failed, error))?;
    let engine = context.engine(&args.retry);

    let (resolution, listed) = named.resolve(&engine, &registries, Some(&store), &options).await;
    note_converted(context, &args, &resolution);
    let stopped = args.fail_fast && !resolution.failed.is_empty();
    match args.lock.as_deref() {
        // Nobody knows what became of the lines that were not tried.
        Some(file) if stopped => context.say(&format!("note: no lock is written to {}", file.display())),
        Some(file) => lock::write(context, file, &resolution).await?,
        None => {}
    }
    let receipt = if stopped {
        Receipt { failed: resolution.failed, stopped_early: true, ..Receipt::default() }
    } else {
        fetch(&engine, &store, resolution, on_failure(args.fail_fast))
            .await
            .map_err(|error| Failure::of(Kind::Failed, error))?
    };
    if let Some(file) = &args.failed {
        output::write(file, failed_text(&receipt.failed).into_bytes()).await?;
    }
    context.close();
    let result = |done: &ImageReceipt| ImageResult {
        name: done.image.name.to_string(),
        digest: done.image.graph.root.descriptor.digest,
        change: report::change(done.unchanged),
    };
    context.result(&document(context, &receipt), &context.image_lines(receipt.images.iter().map(result)))?;
    if !receipt.images.is_empty() {
        context.summary(&summary(context, &receipt));
    }
    end(context, &receipt, listed)
}

/// Says which images are others than the registry has.
fn note_converted(context: &Context, args: &PullArgs, resolution: &Resolution) {
    let mut left_out = 0;
    for image in &resolution.images {
        let Some(old) = image.converted_from else { continue };
        let (name, new) = (&image.name, image.graph.root.descriptor.digest);
        context.say(&format!("note: {name} was in the Docker schema 1 format and has a new digest: {old} → {new}"));
        left_out += 1;
    }
    if args.lock.is_some() && left_out > 0 {
        let images = report::count(left_out, "converted image");
        context.say(&format!("note: the lock leaves out {images}: no registry has the new digest"));
    }
}

/// Says in the end which images failed and why, and picks the exit code.
fn end(context: &Context, receipt: &Receipt, listed: usize) -> Result<ExitCode, Failure> {
    if receipt.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    context.print_errors(receipt.failed.iter().map(|Failed { line, error, .. }| (line.label(), error)));
    let failed = receipt.failed.len();
    let message = format!("{failed} of {} failed", report::count(listed, "image"));
    let kind = Kind::of_lines(&receipt.failed, !receipt.images.is_empty() && !receipt.stopped_early);
    let failure = Failure::new(kind, message);
    Err(if receipt.stopped_early {
        failure.hint("the run ended at the first failure; without --fail-fast, the other images are fetched")
    } else if kind == Kind::Partial {
        failure.hint("the other images are done; correct the causes and run the same command again for the failed ones")
    } else {
        failure
    })
}

fn summary(context: &Context, receipt: &Receipt) -> String {
    let new = receipt.images.iter().filter(|image| !image.unchanged).count();
    let (images, time) = (report::count(receipt.images.len(), "image"), report::time(context.begun.elapsed()));
    if new == 0 {
        return format!("{images}, nothing new · {} unique, in {time}\n", report::bytes(receipt.bytes_unique));
    }
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{images} ({new} new or moved) · {} unique of {} in all, {} saved by sharing",
        report::bytes(receipt.bytes_unique),
        report::bytes(receipt.bytes_of_images),
        report::bytes(receipt.bytes_of_images.saturating_sub(receipt.bytes_unique)),
    );
    // Of what comes from registries, links are a matter of the store: images that share layers.
    let is_local = receipt.images.iter().any(|done| done.image.place.is_some());
    let linked = receipt.placed.get(&Placement::Linked).map_or(0, |(_, bytes)| *bytes);
    let linked = if is_local && linked > 0 { format!(", {} linked", report::bytes(linked)) } else { String::new() };
    let _ = writeln!(text, "{} fetched{linked} in {time}", report::bytes(receipt.bytes_written()));
    text
}

fn document(context: &Context, receipt: &Receipt) -> Pulled {
    let image = |done: &ImageReceipt| PulledImage {
        digest: done.image.graph.root.descriptor.digest.into(),
        group: done.image.line.group.clone(),
        media_type: done.image.graph.root.descriptor.media_type.to_string(),
        name: done.image.name.to_string(),
        platforms: done.image.graph.platforms().iter().map(ToString::to_string).collect(),
        reference: done.image.line.reference.to_string(),
        size: done.image.graph.size(),
        source: done.image.place.as_ref().map_or_else(|| done.image.source_name.to_string(), ToString::to_string),
        unchanged: done.unchanged,
    };
    let placed = |placed: Placement| Amount::from(receipt.placed.get(&placed).copied().unwrap_or_default());
    Pulled {
        already_there: placed(Placement::AlreadyThere),
        bytes_fetched: receipt.bytes_written(),
        bytes_of_images: receipt.bytes_of_images,
        bytes_unique: receipt.bytes_unique,
        failed: receipt.failed.iter().map(FailedLine::from).collect(),
        fetched: placed(Placement::Written),
        images: receipt.images.iter().map(image).collect(),
        linked: placed(Placement::Linked),
        seconds: context.seconds(),
    }
}
