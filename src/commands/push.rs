//! `hod push`: pushes the images of a store or bundle to a registry.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::input::{self, Target};
use super::on_failure;
use super::{UsedRegistries, bundle_failure, media, trust};
use crate::args::{IndexArg, PushArgs};
use crate::context::Context;
use crate::documents::{FailedName, PreviewedImage, PushPreview, Pushed, PushedImage};
use crate::failure::{Failure, Kind};
use crate::report;
use crate::report::ImageResult;
use crate::terminal::Interruptible;
use hod_bundle::volumes::VolumeReader;
use hod_bundle::{BundleError, BundleFiles, VolumeError};
use hod_engine::copy::Engine;
use hod_engine::endpoint::{Placement, Source};
use hod_image::contents::{ManifestsOnly, StoredImage};
use hod_image::destination::destination;
use hod_image::index_policy::IndexPolicy;
use hod_image::list::is_place;
use hod_image::open::Places;
use hod_image::places::outbound as outbound_of;
use hod_image::recompress::Recompressor;
use hod_oci::{Digest, is_companion_tag};
use hod_registry::Registries;
use hod_steps::push::{OutboundImage, PushOptions, PushReceipt, push};
use hod_steps::push_base::{BaseError, CompletedDelta, find_base};
use hod_steps::push_stream::{BundleStream, ImageFilter, StreamError, push_stream};
use hod_transport::Compression;

pub(crate) async fn run(context: &Context, args: PushArgs) -> Result<ExitCode, Failure> {
    let args = args.arranged();
    let destination = destination(args.destination()).map_err(|error| Failure::of(Kind::Usage, error))?;
    let on_failure = on_failure(args.fail_fast);
    let options = PushOptions { destination, index: policy(args.index), on_failure, force: args.force };
    let registries = context.registries(&args.registry, &UsedRegistries::new([&*options.destination.host]))?;
    let engine = context.engine_to(&options.destination.host, &args.retry);
    let images = if let Some(place) = args.source.to_str().filter(|source| is_place(source)) {
        from_place(context, &args, place, (&engine, &registries)).await?
    } else {
        let target = input::target_in(&args.source, &args.media.from_dir)?;
        let (prepared, host) = (registries.clone(), options.destination.host.clone());
        tokio::spawn(async move { prepared.prepare(&host).await });
        if args.dry_run && matches!(target, Target::Stream) {
            let message = "--dry-run requires a bundle that is a file: standard input can be read only once";
            return Err(Failure::new(Kind::Usage, message));
        }
        if let Some(input) = sequential(context, &args, &target)?.filter(|_| !args.dry_run) {
            return end(context, &stream(context, &args, input, &engine, &registries, &options).await?);
        }
        outbound(context, &args, target, (&engine, &registries, &options)).await?
    };
    if args.dry_run {
        return show(context, args.destination(), &images);
    }
    end(context, &push_at_connections(engine, registries, images, options).await?)
}

/// Shows the images that would be pushed.
fn show(context: &Context, destination: &str, images: &[OutboundImage]) -> Result<ExitCode, Failure> {
    let image = |image: &OutboundImage| PreviewedImage {
        digest: image.held.graph.root.descriptor.digest.into(),
        name: image.held.label(),
    };
    let document =
        PushPreview { destination: destination.to_owned(), dry_run: true, images: images.iter().map(image).collect() };
    let is_companion = |image: &&OutboundImage| image.held.name.tag.as_ref().is_some_and(is_companion_tag);
    let shown = images.iter().filter(|image| context.is_verbose() || !is_companion(image));
    let lines = shown.fold(String::new(), |text, image| text + &image.held.label() + "\n");
    context.result(&document, &lines)?;
    let count = images.iter().filter(|image| !is_companion(image)).count();
    let count = report::count(count, "image");
    context.summary(&format!("{count} can be pushed to {destination}; nothing was sent"));
    Ok(ExitCode::SUCCESS)
}

/// Pushes on a thread that serves connections, too: an answer does not have to wake another one for the next question.
async fn push_at_connections(
    engine: Engine,
    registries: Registries,
    images: Vec<OutboundImage>,
    options: PushOptions,
) -> Result<PushReceipt, Failure> {
    let work = async move { push(&engine, &registries, images, &options).await };
    AbortOnDropHandle::new(tokio::spawn(work)).await.map_err(input::unexpected)
}

/// The images of a place that is neither store nor bundle.
async fn from_place(
    context: &Context,
    args: &PushArgs,
    place: &str,
    (engine, registries): (&Engine, &Registries),
) -> Result<Vec<OutboundImage>, Failure> {
    if !args.images.file.is_empty() || !args.images.images.is_empty() {
        let problem = format!("{place} can only be pushed completely: a list selects from stores and bundles");
        return Err(
            Failure::new(Kind::Usage, problem).hint("name one image of it, as in oci:DIR:NAME, or use hod copy --file")
        );
    }
    let local = context.local(args.daemon_host.as_ref(), &args.registry)?;
    let gzip = Recompressor::new(Compression::Gzip, None, &local.scratch);
    let places = Places::new(registries.clone()).with_local(local);
    let places = Arc::new(places.admitting(super::admission::admission(context)?));
    let options = input::resolve_options(&args.images, false);
    let images = outbound_of(engine, &places, place, &options, &gzip).await;
    let failed = |error| Failure::new(Kind::Failed, format!("cannot push {place}")).because(error);
    let (images, compressed) = images.map_err(failed)?;
    if compressed > 0 {
        let layers = report::count(compressed, "layer");
        context
            .say(&format!("note: {layers} of {place} compressed with gzip for the registry: they were uncompressed"));
    }
    Ok(images.into_iter().map(|(held, source)| OutboundImage { held, source }).collect())
}

const fn policy(arg: IndexArg) -> IndexPolicy {
    match arg {
        IndexArg::Auto => IndexPolicy::Auto,
        IndexArg::Sparse => IndexPolicy::Sparse,
        IndexArg::Full => IndexPolicy::Full,
        IndexArg::Rewrite => IndexPolicy::Rewrite,
        IndexArg::Child => IndexPolicy::Child,
    }
}

/// The images to push, with where each is read from.
async fn outbound(
    context: &Context,
    args: &PushArgs,
    target: Target,
    (engine, registries, options): (&Engine, &Registries, &PushOptions),
) -> Result<Vec<OutboundImage>, Failure> {
    match target {
        Target::Store(store) => {
            let images = input::chosen(context, &ManifestsOnly(store.clone()), &args.images).await?;
            let source = |held: &StoredImage| -> Arc<dyn Source> { Arc::new(store.repository(&held.name.repository)) };
            Ok(images.into_iter().map(|held| OutboundImage { source: source(&held), held }).collect())
        }
        Target::Bundle(path) => {
            let label = path.display().to_string();
            let trusted = trust::trust(context, &args.trust, &media::whole(&path, &args.media.from_dir))?;
            let (bundle, signed) = media::open(&path, &args.media.from_dir, &trusted)?;
            trust::say(context, signed.as_ref());
            let images = input::chosen(context, &ManifestsOnly(bundle.clone()), &args.images).await?;
            let needed = LazyCell::new(|| -> BTreeSet<Digest> {
                images.iter().flat_map(|held| held.graph.blobs()).map(|blob| blob.digest).collect()
            });
            let is_needed = |digest: &Digest| needed.contains(digest);
            let homes = find_base(engine, registries, bundle.header(), is_needed, options).await;
            let homes = Arc::new(homes.map_err(base_failure)?);
            let source = |held: &StoredImage| -> Arc<dyn Source> {
                let source = Arc::new(bundle.source(&label, &held.name.repository));
                if homes.is_empty() { source } else { Arc::new(CompletedDelta::new(source, homes.clone())) }
            };
            Ok(images.into_iter().map(|held| OutboundImage { source: source(&held), held }).collect())
        }
        Target::Stream => Ok(Vec::new()),
    }
}

fn base_failure(error: BaseError) -> Failure {
    match error {
        BaseError::Required { ref lacking, .. } => {
            let lacking = lacking.clone();
            bundle_failure::of_base(Failure::of(Kind::Required, error), &lacking)
        }
        error => Failure::of(Kind::Failed, error),
    }
}

/// What can only be read from its beginning: standard input, and volumes on media that are put in one by one.
fn sequential(context: &Context, args: &PushArgs, target: &Target) -> Result<Option<Box<dyn Read + Send>>, Failure> {
    let path = match target {
        Target::Stream => return Ok(Some(Box::new(Interruptible::stdin(&context.stop)))),
        Target::Bundle(path) => path,
        Target::Store(_) => return Ok(None),
    };
    let BundleFiles::Volumes(set) = media::files(path, &args.media.from_dir)? else { return Ok(None) };
    match (set.volumes(), media::asker(context, "quits")) {
        (Err(BundleError::Volume(error)), Some(ask)) if matches!(*error, VolumeError::Missing { .. }) => {
            Ok(Some(Box::new(VolumeReader::new(set, Some(ask)))))
        }
        _ => Ok(None),
    }
}

async fn stream(
    context: &Context,
    args: &PushArgs,
    input: Box<dyn Read + Send>,
    engine: &Engine,
    registries: &Registries,
    options: &PushOptions,
) -> Result<PushReceipt, Failure> {
    let wanted = input::wanted(context, &args.images)?;
    let wanted = wanted.map(|list| ImageFilter { list, options: input::resolve_options(&args.images, false) });
    let trusted = trust::trust(context, &args.trust, &media::whole(&args.source, &args.media.from_dir))?;
    let pushed =
        push_stream(engine, registries, BundleStream { input, trust: trusted, wanted }, options, &context.stop).await;
    pushed.map_err(|error| match error {
        StreamError::Bundle(error) => bundle_failure::of(&args.source, error),
        StreamError::Base(error) => base_failure(error),
        StreamError::Stopped => Failure::interrupted(true),
        StreamError::Unmatched(unmatched) => input::unmatched(context, &unmatched),
        error => Failure::of(Kind::Failed, error),
    })
}

fn report_push(context: &Context, receipt: &PushReceipt) -> Result<(), Failure> {
    context.close();
    let sum = |placed| receipt.images.iter().map(|image| image.copied.bytes(placed)).sum::<u64>();
    let changed = receipt.images.iter().filter_map(|image| image.changed_to.map(|new| (image, new)));
    for (image, new) in changed.clone() {
        context.say(&format!("note: {} has a new digest at the registry: {} → {new}", image.label, image.digest));
    }
    let image = |image: &hod_steps::push::PushedImage| PushedImage {
        destination: image.destination.clone(),
        digest: image.digest.into(),
        name: image.label.clone(),
        pushed_digest: image.changed_to.unwrap_or(image.digest).into(),
        unchanged: image.copied.unchanged,
    };
    let document = Pushed {
        bytes_already_there: sum(Placement::AlreadyThere),
        bytes_mounted: sum(Placement::Mounted),
        bytes_sent: sum(Placement::Written),
        failed: receipt.failed.iter().map(FailedName::from).collect(),
        images: receipt.images.iter().map(image).collect(),
        seconds: context.seconds(),
    };
    let result = |image: &hod_steps::push::PushedImage| ImageResult {
        name: format!("{} → {}", image.label, image.destination),
        digest: image.changed_to.unwrap_or(image.digest),
        change: report::change(image.copied.unchanged),
    };
    let images = || receipt.images.iter().filter(|image| !image.is_companion);
    let lines =
        context.image_lines(receipt.images.iter().filter(|it| context.is_verbose() || !it.is_companion).map(result));
    context.result(&document, &lines)?;
    if !receipt.images.is_empty() || receipt.failed.is_empty() {
        let unchanged = images().filter(|image| image.copied.unchanged).count();
        context.summary(&format!(
            "{} pushed, {unchanged} unchanged · {} sent, {} mounted, in {}",
            report::count(images().count() - unchanged, "image"),
            report::bytes(sum(Placement::Written)),
            report::bytes(sum(Placement::Mounted)),
            report::time(context.begun.elapsed()),
        ));
    }
    Ok(())
}

fn end(context: &Context, receipt: &PushReceipt) -> Result<ExitCode, Failure> {
    report_push(context, receipt)?;
    if receipt.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    context.print_errors(receipt.failed.iter().map(|(name, error)| (name, error)));
    let all = receipt.images.len() + receipt.failed.len();
    let message = format!("{} of {} not pushed", receipt.failed.len(), report::count(all, "image"));
    let others_done = !receipt.images.is_empty() && !receipt.stopped_early;
    let kind = Kind::of_images(receipt.failed.iter().map(|(_, error)| error), others_done);
    Err(Failure::new(kind, message))
}
