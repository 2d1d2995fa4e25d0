//! `hod unpack-image`: unpacks an image to files.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::admission::admission;
use super::opening::{self, Purpose};
use crate::args::UnpackImageArgs;
use crate::context::Context;
use crate::documents::{UnpackedImage, WrittenConfig};
use crate::failure::{Failure, Kind};
use crate::{output, report};
use hod_engine::endpoint::EndpointError;
use hod_image::inspect::inspect;
use hod_oci::Digest;
use hod_rootfs::{
    IdMapping, LayerError, Owners, Target, UnpackImageError, UnpackOptions, UnpackedTree, runtime_config, unpack_image,
};

pub(crate) async fn run(context: &Context, args: UnpackImageArgs) -> Result<ExitCode, Failure> {
    let location = opening::location(&args.image)?;
    let platform = args.platform.map_or_else(|| context.platform(), Ok)?;
    let owners = owners(args.rootless, args.uid_map, args.gid_map);
    let places = opening::places(context, &location, None, &args.registry)?.admitting(admission(context)?);
    let places = opening::with_bundles(context, places, [&location], Purpose::Take(&args.trust)).await?;
    let source = opening::open(&Arc::new(places), &location).await?;
    let engine = context.engine(&args.retry);
    let image = inspect(&engine, &source, &platform).await;
    let image =
        image.map_err(|error| Failure::new(Kind::Failed, format!("cannot unpack {location}")).because(error))?;
    let failed = |error| failure(&format!("cannot unpack {location}"), error);
    let target = match (args.bundle, args.rootfs, args.config_only) {
        (_, rootfs, Some(file)) => {
            let config = runtime_config(&image, &owners, rootfs.as_deref()).map_err(failed)?;
            return write_config(context, &file, config, image.instance.root.descriptor.digest).await;
        }
        (Some(bundle), _, None) => Target::Bundle(bundle),
        (None, Some(rootfs), None) => Target::Rootfs(rootfs),
        (None, None, None) => {
            return Err(Failure::new(Kind::Usage, "name a directory for the runtime bundle, or use --rootfs"));
        }
    };
    let options = UnpackOptions { target, owners, keep_links: args.keep_dirlinks };
    let unpacked = unpack_image(&engine, &source, &image, &options).await.map_err(failed)?;
    context.close();
    report(context, &options, image.instance.root.descriptor.digest, &unpacked)?;
    Ok(ExitCode::SUCCESS)
}

/// To whom files will belong: who is not root can give nothing away.
pub(super) fn owners(rootless: bool, users: Vec<IdMapping>, groups: Vec<IdMapping>) -> Owners {
    if rootless || !nix::unistd::geteuid().is_root() {
        Owners::rootless(users, groups)
    } else {
        Owners::mapped(users, groups)
    }
}

/// Writes the configuration of a runtime, made of the image with that digest, to a file, or with `-` to standard output.
async fn write_config(context: &Context, file: &Path, config: Vec<u8>, image: Digest) -> Result<ExitCode, Failure> {
    if output::is_standard(file) {
        return context.data(&config);
    }
    let written = output::try_write(file, config).await;
    written.map_err(|error| Failure::new(Kind::Failed, format!("cannot write {}", file.display())).because(error))?;
    context.result(&WrittenConfig { config: report::path(file), digest: image.into() }, "")?;
    Ok(ExitCode::SUCCESS)
}

/// Why something was not unpacked.
pub(super) fn failure(what: &str, error: UnpackImageError) -> Failure {
    if let Some(LayerError::Output(error)) = layer_error(&error) {
        return Failure::output(error.kind().into());
    }
    let is_named = matches!(error, UnpackImageError::NamedUser(_));
    let failure = Failure::new(Kind::Failed, what).because(error);
    if is_named { failure.hint("name the image's root file system with --rootfs") } else { failure }
}

/// What is wrong with a layer, if that is it.
fn layer_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LayerError> {
    causes(error).find_map(|error| {
        let cause: &'a (dyn Error + 'static) = error.downcast_ref::<EndpointError>()?.cause();
        cause.downcast_ref()
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Tells what was made of the content with that digest.
pub(super) fn report(
    context: &Context,
    options: &UnpackOptions,
    digest: Digest,
    unpacked: &UnpackedTree,
) -> Result<(), Failure> {
    let (target, owners_kept) = (&options.target, !options.owners.is_rootless());
    if !owners_kept {
        context.say(
            "note: all files belong to your user; the attribute user.rootlesscontainers records their owners in the image",
        );
    }
    let left_out = unpacked.left_out;
    let count = |count: u64, what| report::count(usize::try_from(count).unwrap_or(usize::MAX), what);
    if left_out.devices > 0 {
        let count = count(left_out.devices, "device");
        context.say(&format!("note: {count} replaced by empty files, because this user cannot create them"));
    }
    if left_out.xattrs > 0 {
        let count = count(left_out.xattrs, "extended attribute");
        context.say(&format!("note: {count} left out, which this user or file system does not support"));
    }
    let document = UnpackedImage {
        devices_left_out: left_out.devices,
        digest: digest.into(),
        entries: unpacked.entries,
        layers: unpacked.layers,
        owners_kept,
        path: report::path(target.path()),
        seconds: context.seconds(),
        xattrs_left_out: left_out.xattrs,
    };
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
