//! `hod unpack-image`: an image as files.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::input;
use crate::cli::args::UnpackImageArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::report;
use crate::endpoint::{EndpointError, Fault};
use crate::pipeline::inspect::inspect;
use crate::pipeline::open::Places;
use crate::pipeline::unpack_image::{LayerError, Target, UnpackedImage, unpack_image};
use crate::transport::Location;

pub(in crate::cli) async fn run(context: &Context, args: UnpackImageArgs) -> Result<ExitCode, Failure> {
    let location: Location = args.image.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let target = match (args.bundle, args.rootfs) {
        (Some(bundle), _) => Target::Bundle(bundle),
        (None, Some(rootfs)) => Target::Rootfs(rootfs),
        (None, None) => return Err(Failure::new(Kind::Usage, "name a folder for the bundle, or one with --rootfs")),
    };
    let platform = args.platform.map_or_else(|| context.platform(), Ok)?;
    let places = Places::new(context.registries(&args.registry)?).with_local(context.local(None, &args.registry)?);
    let places = Arc::new(places.admitting(super::admission::admission(context)?));
    let place = location.clone();
    let source =
        input::blocking(move || places.source(&place).map_err(|error| Failure::of(Kind::Failed, error))).await?;
    let engine = context.engine(&args.retry);
    let image = inspect(&engine, &source, &platform).await;
    let image =
        image.map_err(|error| Failure::new(Kind::Failed, format!("cannot unpack {location}")).because(error))?;
    let unpacked = unpack_image(&engine, &source, &image, &target).await;
    let unpacked = unpacked.map_err(|error| {
        let kind = if is_damage(&error) { Kind::Corrupt } else { Kind::Failed };
        Failure::new(kind, format!("cannot unpack {location}")).because(error)
    })?;
    context.close();
    report(context, &target, &unpacked)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the image is not what it says it is.
fn is_damage(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| {
        let Some(error) = error.downcast_ref::<EndpointError>() else { return false };
        let cause: &(dyn Error + 'static) = error.cause();
        error.fault() == Fault::Corrupt
            || cause.downcast_ref::<EndpointError>().is_some_and(|inner| inner.fault() == Fault::Corrupt)
            || matches!(
                cause.downcast_ref(),
                Some(
                    LayerError::DiffId { .. }
                        | LayerError::Tar(_)
                        | LayerError::Truncated(_)
                        | LayerError::Entry { .. }
                )
            )
    })
}

fn report(context: &Context, target: &Target, unpacked: &UnpackedImage) -> Result<(), Failure> {
    if !unpacked.owners_kept {
        context.say("note: only root can give files away: all of them belong to you, whoever owns them in the image");
    }
    let left_out = unpacked.left_out;
    for (count, what) in [(left_out.devices, "device"), (left_out.xattrs, "extended attribute")] {
        if count > 0 {
            let count = report::count(usize::try_from(count).unwrap_or(usize::MAX), what);
            context.say(&format!("note: {count} left out, which this user or filesystem cannot have"));
        }
    }
    let document = json!({
        "digest": unpacked.digest,
        "path": target.path(),
        "layers": unpacked.layers,
        "entries": unpacked.entries,
        "ownersKept": unpacked.owners_kept,
        "devicesLeftOut": left_out.devices,
        "xattrsLeftOut": left_out.xattrs,
        "seconds": context.begun.elapsed().as_secs_f64(),
    });
    if !context.is_text() {
        return context.result(&document, "");
    }
    context.summary(&format!(
        "{} with {} in {}, in {}",
        report::count(unpacked.layers, "layer"),
        report::count(usize::try_from(unpacked.entries).unwrap_or(usize::MAX), "entry").replace("entrys", "entries"),
        target.path().display(),
        report::time(context.begun.elapsed()),
    ));
    Ok(())
}
