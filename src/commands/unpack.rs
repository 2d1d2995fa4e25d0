//! `hod unpack`: merges a bundle into a registry root.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{bundle_failure, incoming, input, media, trust};
use crate::args::UnpackArgs;
use crate::context::Context;
use crate::documents;
use crate::failure::{Failure, Kind};
use crate::report;
use hod_bundle::{BundleReader, BundleSigner, Header};
use hod_steps::unpack::{UnpackError, UnpackReceipt, preview, unpack};
use hod_store::Store;
use hod_store::layout::REGISTRY;

pub(crate) async fn run(context: &Context, args: UnpackArgs) -> Result<ExitCode, Failure> {
    if args.bundle.join(REGISTRY).is_dir() {
        let failure = Failure::new(Kind::Usage, format!("{} is a store, not a bundle", args.bundle.display()));
        return Err(
            failure.hint("hod select copies images of a store into another store, and hod push into a registry")
        );
    }
    let input = media::read(context, &args.bundle, &args.media.from_dir)?;
    let trusted = trust::trust(context, &args.trust, &media::whole(&args.bundle, &args.media.from_dir))?;
    let bundle = args.bundle.clone();
    let (reader, signed) = input::blocking(move || {
        BundleReader::trusted(input, &trusted).map_err(|error| bundle_failure::of(&bundle, error))
    })
    .await?;
    trust::say(context, signed.as_ref());
    if args.dry_run {
        return show(context, &args, reader.header().clone(), signed.as_ref()).await;
    }
    let store = Store::create(&args.root).map_err(|error| Failure::of(Kind::Failed, error))?;
    let existing = incoming::existing(args.on_existing_tag);
    let (observer, stop, bundle) = (context.observer(), context.stop.clone(), args.bundle.clone());
    let folders = args.media.from_dir.clone();
    let done = input::blocking(move || {
        let reader = at_rest(&reader, &store, (&bundle, &folders)).unwrap_or(reader);
        unpack(reader, &store, existing, &*observer, &stop).map_err(|error| failure(&bundle, error))
    })
    .await?;
    context.result(&document(context, &done, signed.as_ref()), &incoming::lines(context, &done.header, &done.tags))?;
    context.summary(&format!(
        "{} unpacked to {}: {} new ({}), {} there before ({}), in {}",
        report::count(done.header.image_count(), "image"),
        args.root.display(),
        report::count(done.written.0, "blob"),
        report::bytes(done.written.1),
        report::count(done.there.0, "blob"),
        report::bytes(done.there.1),
        report::time(context.begun.elapsed()),
    ));
    Ok(ExitCode::SUCCESS)
}

/// Shows what unpacking would change, after the checks that come before the first write.
async fn show(
    context: &Context,
    args: &UnpackArgs,
    header: Arc<Header>,
    signed: Option<&BundleSigner>,
) -> Result<ExitCode, Failure> {
    let (stop, existing) = (context.stop.clone(), incoming::existing(args.on_existing_tag));
    let (read, root) = (header.clone(), args.root.clone());
    let bundle = args.bundle.clone();
    let work = move || preview(&read, &root, existing, &stop).map_err(|error| failure(&bundle, error));
    let found = input::blocking(work).await?;
    let document = documents::UnpackPreview {
        bundle: header.id().into(),
        bytes_free: found.free,
        dry_run: true,
        images: header.images().len(),
        signed: signed.map(documents::Signer::from),
        tags: incoming::documents(&found.tags),
        to_write: found.to_write.into(),
    };
    context.result(&document, &incoming::lines(context, &header, &found.tags))?;
    context.summary(&format!(
        "{} can be unpacked to {}: {} to write ({}), {} free; nothing was written",
        report::count(header.image_count(), "image"),
        args.root.display(),
        report::count(found.to_write.0, "blob"),
        report::bytes(found.to_write.1),
        report::bytes(found.free),
    ));
    Ok(ExitCode::SUCCESS)
}

/// The bundle for who need not read all of it again, since an interrupted run has read a part; not if it comes through a
/// pipe, or on media that are put in one by one.
fn at_rest<R: Read>(
    reader: &BundleReader<R>,
    store: &Store,
    (bundle, folders): (&Path, &[PathBuf]),
) -> Option<BundleReader<R>> {
    let id = reader.header().id();
    if store.passed(&id).unwrap_or_default() == 0 {
        return None;
    }
    let open = media::open_at_rest(bundle, folders)?;
    (open.header().id() == id).then(|| BundleReader::at_rest(&open))
}

fn document(context: &Context, done: &UnpackReceipt, signed: Option<&BundleSigner>) -> documents::Unpacked {
    documents::Unpacked {
        already_there: done.there.into(),
        bundle: done.header.id().into(),
        images: done.header.images().len(),
        seconds: context.seconds(),
        signed: signed.map(documents::Signer::from),
        tags: incoming::documents(&done.tags),
        written: done.written.into(),
    }
}

fn failure(bundle: &Path, error: UnpackError) -> Failure {
    match error {
        UnpackError::Bundle(error) => bundle_failure::of(bundle, error),
        UnpackError::Stopped => Failure::interrupted(true),
        UnpackError::Required { ref lacking, .. } => {
            let lacking = lacking.clone();
            bundle_failure::of_base(Failure::of(Kind::Required, error), &lacking)
        }
        UnpackError::Incoming(error) => incoming::failure(error),
        error @ UnpackError::Store(_) => Failure::of(Kind::Failed, error),
    }
}
