//! `hod verify`: fsck of a store, bundle, image directory or layout.

use std::process::ExitCode;

use super::input::{self, Target};
use super::{media, trust};
use crate::bundle::{BundleFiles, Trust};
use crate::cli::args::VerifyArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::report;
use crate::cli::terminal::Interruptible;
use crate::pipeline::finding::{Code, Findings};
use crate::pipeline::list::is_place;
use crate::pipeline::verify_place::{self, VerifyPlaceError};
use crate::pipeline::{verify, verify_bundle, verify_volumes};
use crate::transport::Location;

pub(in crate::cli) async fn run(context: &Context, args: VerifyArgs) -> Result<ExitCode, Failure> {
    let found = if is_place(&args.target.to_string_lossy()) {
        place(context, &args).await?
    } else {
        store_or_bundle(context, &args).await?
    };
    context.result(&found, &text(&found))?;
    trust::say(context, found.signed.as_ref());
    context.summary(&format!(
        "{} with {} hashed, {} and {} followed in {}",
        report::count(found.blobs, "blob"),
        report::bytes(found.bytes),
        report::count(found.links, "link"),
        report::count(found.images, "image"),
        report::time(context.begun.elapsed()),
    ));
    verdict(&args, &found)
}

/// Image directories and layouts.
async fn place(context: &Context, args: &VerifyArgs) -> Result<Findings, Failure> {
    let place: Location = args.target.to_string_lossy().parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let (observer, stop, scratch) = (context.observer(), context.stop.clone(), context.scratch());
    let work = move || {
        verify_place::verify_place(&place, &scratch, &*observer, &stop).map_err(|error| {
            let kind = if matches!(error, VerifyPlaceError::Other(_)) { Kind::Usage } else { Kind::Failed };
            Failure::of(kind, error)
        })
    };
    input::blocking(work).await
}

async fn store_or_bundle(context: &Context, args: &VerifyArgs) -> Result<Findings, Failure> {
    let target = input::target_in(&args.target, &args.media.from_dir)?;
    let trusted = match &target {
        Target::Store(_) => Trust::default(),
        Target::Bundle(path) => trust::trust(&args.trust, &media::whole(path, &args.media.from_dir))?,
        Target::Stream => trust::trust(&args.trust, &args.target)?,
    };
    let (observer, stop) = (context.observer(), context.stop.clone());
    let (folders, ask) = (args.media.from_dir.clone(), media::asker(context, "goes on without it"));
    let work = move || match target {
        Target::Store(store) => {
            verify::verify_store(&store, &*observer, &stop).map_err(|error| Failure::of(Kind::Failed, error))
        }
        Target::Bundle(path) => {
            let found = match media::files(&path, &folders)? {
                BundleFiles::One(file) => {
                    let file = fs_err::File::open(&file).map_err(|error| Failure::of(Kind::Failed, error))?;
                    verify_bundle::verify_bundle(file, &trusted, &*observer, &stop)
                }
                BundleFiles::Volumes(set) => verify_volumes::verify_volumes(&set, ask, &trusted, &*observer, &stop),
            };
            found.map_err(|error| input::bundle_failure(&path, error))
        }
        Target::Stream => verify_bundle::verify_bundle(Interruptible::stdin(&stop), &trusted, &*observer, &stop)
            .map_err(|error| input::bundle_failure("-".as_ref(), error)),
    };
    input::blocking(work).await
}

/// How the command ends.
fn verdict(args: &VerifyArgs, found: &Findings) -> Result<ExitCode, Failure> {
    if found.findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("{} is damaged: {}", args.target.display(), report::count(found.findings.len(), "finding"));
    if found.findings.iter().all(|finding| finding.code == Code::SignatureInvalid) {
        let message = format!("{} is whole, and not signed by anybody who is trusted", args.target.display());
        return Err(Failure::new(Kind::Corrupt, message));
    }
    Err(Failure::new(Kind::Corrupt, message).hint(advice(args, found)))
}

/// What to do about what was found.
fn advice(args: &VerifyArgs, found: &Findings) -> String {
    let is_volume =
        |code| matches!(code, Code::VolumeMissing | Code::VolumeShort | Code::VolumeForeign | Code::VolumeDamaged);
    let files: Vec<&str> =
        found.findings.iter().filter(|finding| is_volume(finding.code)).map(|finding| finding.path.as_str()).collect();
    if !files.is_empty() {
        return format!("copy again: {}; the other volumes are right", files.join(", "));
    }
    let of_bundle = |code| matches!(code, Code::BundleTruncated | Code::BundleInvalid | Code::VolumeSumMismatch);
    if found.findings.iter().any(|finding| of_bundle(finding.code)) {
        return "copy the bundle again from where it was right".to_owned();
    }
    let target = args.target.to_string_lossy();
    if target.starts_with("oci-archive:") {
        return "copy the archive again from where it was right".to_owned();
    }
    if is_place(&target) {
        return "delete the files named above and copy the images again, with hod copy: what is right is kept"
            .to_owned();
    }
    "delete the blob files named above and pull or unpack again: what is right is kept".to_owned()
}

fn text(found: &Findings) -> String {
    let lines = found.findings.iter().map(|finding| format!("{finding}\n"));
    lines.collect()
}
