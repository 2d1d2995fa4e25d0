//! `hod verify`: checks a store, bundle, image directory or layout.

use std::process::ExitCode;

use super::input::{self, Target};
use super::{bundle_failure, media, trust};
use crate::args::VerifyArgs;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::report;
use crate::terminal::Interruptible;
use hod_bundle::{BundleFiles, Trust};
use hod_image::list::is_place;
use hod_steps::finding::{Code, Findings};
use hod_steps::verify_place::{self, VerifyPlaceError};
use hod_steps::{verify, verify_bundle, verify_volumes};
use hod_transport::Location;

pub(crate) async fn run(context: &Context, args: VerifyArgs) -> Result<ExitCode, Failure> {
    let (found, target) = if is_place(&args.target.path().to_string_lossy()) {
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
    verdict(&args, &found, target)
}

/// What was verified, which decides how damage is repaired.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verified {
    Store,
    Bundle,
    Directory,
    Archive,
}

/// What was found, and where.
type Found = (Findings, Verified);

/// Image directories and layouts.
async fn place(context: &Context, args: &VerifyArgs) -> Result<Found, Failure> {
    let place: Location =
        args.target.path().to_string_lossy().parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let target = if matches!(place, Location::OciArchive(..)) { Verified::Archive } else { Verified::Directory };
    let (observer, stop, scratch) = (context.observer(), context.stop.clone(), context.scratch());
    let work = move || {
        verify_place::verify_place(&place, &scratch, &*observer, &stop).map_err(|error| {
            let kind = if matches!(error, VerifyPlaceError::Other(_)) { Kind::Usage } else { Kind::Failed };
            Failure::of(kind, error)
        })
    };
    Ok((input::blocking(work).await?, target))
}

async fn store_or_bundle(context: &Context, args: &VerifyArgs) -> Result<Found, Failure> {
    let target = input::target_in(args.target.path(), &args.media.from_dir)?;
    let verified = match &target {
        Target::Store(_) => Verified::Store,
        Target::Bundle(_) | Target::Stream => Verified::Bundle,
    };
    let trusted = match &target {
        Target::Store(_) => Trust::default(),
        Target::Bundle(path) => trust::trust(context, &args.trust, &media::whole(path, &args.media.from_dir))?,
        Target::Stream => trust::trust(context, &args.trust, args.target.path())?,
    };
    let (observer, stop) = (context.observer(), context.stop.clone());
    let (folders, ask) = (args.media.from_dir.clone(), media::asker(context, "continues without it"));
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
            found.map_err(|error| bundle_failure::of(&path, error))
        }
        Target::Stream => verify_bundle::verify_bundle(Interruptible::stdin(&stop), &trusted, &*observer, &stop)
            .map_err(|error| bundle_failure::of("-".as_ref(), error)),
    };
    Ok((input::blocking(work).await?, verified))
}

/// How the command ends.
fn verdict(args: &VerifyArgs, found: &Findings, target: Verified) -> Result<ExitCode, Failure> {
    let damage = found.findings.iter().filter(|finding| args.strict || !finding.code.is_warning()).count();
    if damage == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("{} is damaged: {}", args.target.path().display(), report::count(damage, "finding"));
    if found.findings.iter().all(|finding| finding.code.is_warning()) {
        let message = format!("{} has {}", args.target.path().display(), report::count(damage, "warning"));
        return Err(Failure::new(Kind::Corrupt, message).hint("leave out --strict: every digest is right"));
    }
    if found.findings.iter().all(|finding| finding.code == Code::SignatureInvalid) {
        let message = format!("{} is complete, but not signed with a trusted key", args.target.path().display());
        return Err(Failure::new(Kind::Corrupt, message)
            .hint("ask for a bundle signed with a trusted key, or name the signer's key with --key"));
    }
    Err(Failure::new(Kind::Corrupt, message)
        .hint(bad_volumes(found).unwrap_or_else(|| remedy(found, target).to_owned())))
}

/// What to do about these findings.
fn remedy(found: &Findings, target: Verified) -> &'static str {
    let all = |codes: &[Code]| found.findings.iter().all(|finding| codes.contains(&finding.code));
    let any = |codes: &[Code]| found.findings.iter().any(|finding| codes.contains(&finding.code));
    match target {
        Verified::Bundle => "copy the bundle again from an intact copy",
        Verified::Archive => "copy the archive again from an intact copy",
        Verified::Directory => {
            "delete the files named above and copy the images again with hod copy; intact content is kept"
        }
        Verified::Store if all(&[Code::ForeignInHod]) => {
            "hod neither uses nor removes these files: find out who created them, and delete them"
        }
        Verified::Store if all(&[Code::ForeignInHod, Code::PathHarmful, Code::NotAFile]) => {
            "delete the paths named above: they do not belong in a store"
        }
        Verified::Store if any(&[Code::BlobDigestMismatch, Code::BlobSizeMismatch, Code::ManifestInvalid]) => {
            "delete the blob files named above and pull or unpack the images again; intact content is kept"
        }
        Verified::Store => "pull or unpack the images again; intact content is kept",
    }
}

/// What to do about volumes, where it is known which are bad.
fn bad_volumes(found: &Findings) -> Option<String> {
    let is_volume =
        |code| matches!(code, Code::VolumeMissing | Code::VolumeShort | Code::VolumeForeign | Code::VolumeDamaged);
    let files: Vec<&str> =
        found.findings.iter().filter(|finding| is_volume(finding.code)).map(|finding| finding.path.as_str()).collect();
    (!files.is_empty()).then(|| format!("copy again: {}; the other volumes are intact", files.join(", ")))
}

fn text(found: &Findings) -> String {
    let lines = found.findings.iter().map(|finding| format!("{finding}\n"));
    lines.collect()
}
