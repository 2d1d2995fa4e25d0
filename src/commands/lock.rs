//! `hod lock`: a list with digests, and the tags that moved since.

use std::path::Path;
use std::process::ExitCode;

use super::input;
use super::resolving::RequestedImages;
use crate::args::LockArgs;
use crate::context::Context;
use crate::documents::Locked;
use crate::failure::{Failure, Kind};
use crate::{output, report};
use hod_image::list::{ImageList, ListReader};
use hod_image::resolve::{Failed, Resolution, ResolvedImage};
use hod_steps::lock::{Changes, completed_lock, lock_text, unpinned};

pub(crate) async fn run(context: &Context, args: LockArgs) -> Result<ExitCode, Failure> {
    let (registries, named, before) = if let Some(lock) = &args.check {
        let list = input::image_list(context, std::slice::from_ref(lock), &[], &args.images.group)?;
        let list = of_registries(context, list);
        let registries = context.registries(&args.registry, &input::concerned(&args.images, &list))?;
        (registries, RequestedImages::of_registries(unpinned(list.clone())), Some(list))
    } else {
        let named = input::images_and_places(context, &args.images)?;
        let registries = context.registries(&args.registry, &input::concerned(&args.images, &named.images))?;
        let local = context.local(args.daemon_host.as_ref(), &args.registry)?;
        let named = RequestedImages::open(context, named, &registries, local, None).await?;
        (registries, named, args.output.as_deref().and_then(old_lock))
    };
    let mut options = input::resolve_options(&args.images, false);
    // To see what has moved, the images are enough.
    options.referrers &= args.check.is_none();
    let engine = context.engine(&args.retry);
    let (Resolution { images, failed }, listed) = named.resolve(&engine, &registries, None, &options).await;
    context.print_errors(failed.iter().map(|Failed { line, error, .. }| (line.label(), error)));
    if !failed.is_empty() {
        let message = format!("{} of {} could not be resolved", failed.len(), report::count(listed, "image"));
        return Err(Failure::new(Kind::Failed, message).hint("nothing was written"));
    }
    let changes = before.map(|before| Changes::between(&before, &images));
    if let Some(path) = &args.output {
        output::write(path, lock_text(&images, &[]).into_bytes()).await?;
    }
    finish(context, &args, &images, changes)
}

/// The lines that registries can be asked about. What is on this machine is held to its digest when it is pulled.
fn of_registries(context: &Context, mut list: ImageList) -> ImageList {
    let before = list.lines.len();
    list.lines.retain(|line| line.place.is_none());
    if list.lines.len() < before {
        let left_out = report::count(before - list.lines.len(), "image");
        context.say(&format!("note: {left_out} on this machine: a pull of the lock checks the digest"));
    }
    list
}

fn finish(
    context: &Context,
    args: &LockArgs,
    images: &[ResolvedImage],
    changes: Option<Changes>,
) -> Result<ExitCode, Failure> {
    let changes = changes.unwrap_or_default();
    let document = Locked {
        changes: changes.clone().into(),
        images: images.len(),
        lock: args.output.as_deref().map(report::path),
    };
    context.result(&document, &lines(&changes))?;
    if let Some(path) = &args.output {
        context.summary(&format!("{} in {}", report::count(images.len(), "image"), path.display()));
    }
    if args.check.is_some() && !changes.moved.is_empty() {
        let message = format!("{} moved since the lock was written", report::count(changes.moved.len(), "tag"));
        return Err(Failure::new(Kind::Partial, message)
            .hint("the lock still has the old digests; to write a new one, run hod lock -f with the original list"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What has changed, a line each.
pub(super) fn lines(changes: &Changes) -> String {
    let moved =
        changes.moved.iter().map(|moved| format!("moved    {}  {} → {}\n", moved.name, moved.locked, moved.now));
    let added = changes.added.iter().map(|name| format!("added    {name}\n"));
    let removed = changes.removed.iter().map(|name| format!("removed  {name}\n"));
    moved.chain(added).chain(removed).collect()
}

/// How much of what is at the lock's place is read. No lock is that long.
const LOCK_LIMIT: u64 = 64 << 20;

/// The lock that is about to be replaced. A file that is none is no reason to fail: it is replaced all the same.
fn old_lock(path: &Path) -> Option<ImageList> {
    let mut reader = ListReader::new();
    reader.file(&path.to_string_lossy(), &old_bytes(path)?);
    reader.finish(&[]).ok()
}

fn old_bytes(path: &Path) -> Option<Vec<u8>> {
    if !fs_err::metadata(path).ok()?.is_file() {
        return None;
    }
    hod_io::fs::read_within(path, LOCK_LIMIT).ok()
}

/// Writes the lock of a run, or completes the one that an earlier run with failures has left.
pub(super) async fn write(context: &Context, path: &Path, resolution: &Resolution) -> Result<(), Failure> {
    let Resolution { images, failed } = resolution;
    let before = old_bytes(path).and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(completed) = before.and_then(|before| completed_lock(&before, images, failed)) {
        context.say(&format!("note: {} gets the lines that it lacked, and keeps the others", path.display()));
        return output::write(path, completed.into_bytes()).await;
    }
    let before = old_lock(path);
    output::write(path, lock_text(images, failed).into_bytes()).await?;
    say(context, before.as_ref(), images);
    Ok(())
}

/// Says what has changed since a lock that was replaced.
fn say(context: &Context, before: Option<&ImageList>, images: &[ResolvedImage]) {
    let Some(before) = before else { return };
    let changes = Changes::between(before, images);
    for line in lines(&changes).lines() {
        context.say(&format!("note: since the last lock: {line}"));
    }
}
