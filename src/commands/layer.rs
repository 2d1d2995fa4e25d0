//! `hod layer`: one layer of an image, as an archive or as files.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::admission::admission;
use super::opening::Purpose;
use super::{opening, unpack_image};
use crate::args::{LayerAction, LayerCommand, LayerExtractArgs};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::output;
use hod_image::inspect::inspect;
use hod_rootfs::{Target, UnpackOptions, expand_layer, find_layer, unpack_layer};

pub(crate) async fn run(context: &Context, args: LayerCommand) -> Result<ExitCode, Failure> {
    let LayerAction::Extract(args) = args.action;
    extract(context, args).await
}

async fn extract(context: &Context, args: LayerExtractArgs) -> Result<ExitCode, Failure> {
    let location = opening::location(&args.image)?;
    let platform = args.platform.map_or_else(|| context.platform(), Ok)?;
    let places = opening::places(context, &location, None, &args.registry)?.admitting(admission(context)?);
    let places = opening::with_bundles(context, places, [&location], Purpose::Take(&args.trust)).await?;
    let source = opening::open(&Arc::new(places), &location).await?;
    let engine = context.engine(&args.retry);
    let what = format!("cannot extract layer {} of {location}", args.layer);
    let image = inspect(&engine, &source, &platform).await;
    let image = image.map_err(|error| Failure::new(Kind::Failed, what.clone()).because(error))?;
    let failed = |error| unpack_image::failure(&what, error);
    let layer = find_layer(&image, &args.layer).map_err(failed)?;
    let Some(folder) = args.folder else {
        expand_layer(&engine, &source, &layer, Box::new(output::binary()?)).await.map_err(failed)?;
        context.close();
        return Ok(ExitCode::SUCCESS);
    };
    let options = options(folder);
    let unpacked = unpack_layer(&engine, &source, &layer, &options).await.map_err(failed)?;
    context.close();
    unpack_image::report(context, &options, layer.descriptor.digest, &unpacked)?;
    Ok(ExitCode::SUCCESS)
}

fn options(folder: PathBuf) -> UnpackOptions {
    let owners = unpack_image::owners(false, Vec::new(), Vec::new());
    UnpackOptions { target: Target::Rootfs(folder), owners, keep_links: false }
}
