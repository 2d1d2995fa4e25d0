//! `hod bundle`: list → resolve → bundle, without a store.

use std::process::ExitCode;

use super::resolving::RequestedImages;
use super::{epoch, input};
use crate::args::BundleArgs;
use crate::context::Context;
use crate::documents;
use crate::failure::{Failure, Kind};
use crate::{output, report};
use hod_image::resolve::{Failed, ResolveOptions};
use hod_steps::bundle::{BundleReceipt, BundlingError, bundle};
use hod_steps::lock::lock_text;

pub(crate) async fn run(context: &Context, mut args: BundleArgs) -> Result<ExitCode, Failure> {
    if !args.output.to_string_lossy().ends_with(".tar") {
        let message = format!("{} cannot be written in one pass", args.output.display());
        return Err(
            Failure::new(Kind::Usage, message).hint("name the bundle *.tar; for other forms use hod pull and hod pack")
        );
    }
    args.output = output::bundle(&args.output, false)?;
    let admission = Some(super::admission::admission(context)?);
    let named = input::images_and_places(context, &args.images)?;
    let registries = context.registries(&args.registry, &input::concerned(&args.images, &named.images))?;
    let local = context.local(args.daemon_host.as_ref(), &args.registry)?;
    let named = RequestedImages::open(context, named, &registries, local, admission.clone()).await?;
    let options = ResolveOptions { admission, ..input::resolve_options(&args.images, false) };
    let engine = context.engine(&args.retry);
    let (resolution, listed) = named.resolve(&engine, &registries, None, &options).await;
    if !resolution.failed.is_empty() {
        return Err(failed(context, &resolution.failed, listed)
            .hint("nothing was fetched, because a bundle must be complete; correct these images, or remove them from the list"));
    }
    if let Some(file) = &args.lock {
        output::write(file, lock_text(&resolution.images, &[]).into_bytes()).await?;
    }
    let mtime = epoch::source_date_epoch()?;
    let done = bundle(&engine, resolution.images, &options.from, &args.output, mtime).await;
    let done = done.map_err(|error| match error {
        BundlingError::Images(images) => failed(context, &images, listed)
            .hint("correct the cause and run the same command again, or remove these images from the list; partial downloads are kept"),
        error => Failure::of(Kind::Failed, error),
    })?;
    report(context, &args, &done)?;
    Ok(ExitCode::SUCCESS)
}

fn failed(context: &Context, images: &[Failed], listed: usize) -> Failure {
    context.close();
    context.print_errors(images.iter().map(|Failed { line, error, .. }| (line.label(), error)));
    let message = format!("{} of {} failed, so no bundle was written", images.len(), report::count(listed, "image"));
    Failure::new(Kind::of_lines(images, false), message)
}

fn report(context: &Context, args: &BundleArgs, done: &BundleReceipt) -> Result<(), Failure> {
    if context.is_text() {
        context.close();
        context.summary(&format!(
            "{} with {} in {}: {}, {} fetched in {}",
            report::count(done.header.image_count(), "image"),
            report::count(done.header.blobs().len(), "blob"),
            args.output.display(),
            report::bytes(done.bytes),
            report::bytes(done.fetched),
            report::time(context.begun.elapsed()),
        ));
        return Ok(());
    }
    let document = documents::Bundled {
        blobs: done.header.blobs().len(),
        bundle: done.header.id().into(),
        bytes: done.bytes,
        bytes_fetched: done.fetched,
        file: report::path(&args.output),
        images: done.header.images().len(),
        seconds: context.seconds(),
    };
    context.result(&document, "")
}
