//! `hod layer`: one layer of an image, as an archive or as files.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{input, unpack_image};
use crate::cli::args::{LayerAction, LayerCommand, LayerExtractArgs};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::pipeline::inspect::inspect;
use crate::pipeline::open::Places;
use crate::pipeline::unpack_image::{Owners, Target, UnpackOptions, expand_layer, find_layer, unpack_layer};
use crate::transport::Location;

pub(in crate::cli) async fn run(context: &Context, args: LayerCommand) -> Result<ExitCode, Failure> {
    let LayerAction::Extract(args) = args.action;
    extract(context, args).await
}

async fn extract(context: &Context, args: LayerExtractArgs) -> Result<ExitCode, Failure> {
    let location: Location = args.image.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let platform = args.platform.map_or_else(|| context.platform(), Ok)?;
    let places = Places::new(context.registries(&args.registry)?).with_local(context.local(None, &args.registry)?);
    let places = Arc::new(places.admitting(super::admission::admission(context)?));
    let place = location.clone();
    let source =
        input::blocking(move || places.source(&place).map_err(|error| Failure::of(Kind::Failed, error))).await?;
    let engine = context.engine(&args.retry);
    let what = format!("cannot extract layer {} of {location}", args.layer);
    let image = inspect(&engine, &source, &platform).await;
    let image = image.map_err(|error| Failure::new(Kind::Failed, what.clone()).because(error))?;
    let failed = |error| unpack_image::failure(&what, error);
    let layer = find_layer(&image, &args.layer).map_err(failed)?;
    let Some(folder) = args.folder else {
        expand_layer(&engine, &source, &layer, Box::new(io::stdout())).await.map_err(failed)?;
        context.close();
        return Ok(ExitCode::SUCCESS);
    };
    let options = options(folder);
    let unpacked = unpack_layer(&engine, &source, &layer, &options).await.map_err(failed)?;
    context.close();
    unpack_image::report(context, &options, layer.0.digest, &unpacked)?;
    Ok(ExitCode::SUCCESS)
}

fn options(folder: PathBuf) -> UnpackOptions {
    let is_root = nix::unistd::geteuid().is_root();
    let owners = if is_root { Owners::default() } else { Owners::rootless(Vec::new(), Vec::new()) };
    UnpackOptions { target: Target::Rootfs(folder), owners, keep_links: false }
}
