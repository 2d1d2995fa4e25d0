//! `hod verify`: fsck of a store or bundle.

use std::process::ExitCode;

use super::input::{self, Target};
use super::{media, trust};
use crate::bundle::{BundleFiles, Trust, VolumeSet};
use crate::cli::args::VerifyArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::report;
use crate::pipeline::finding::{Code, Findings};
use crate::pipeline::{verify, verify_bundle, verify_volumes};

pub(in crate::cli) async fn run(context: &Context, args: VerifyArgs) -> Result<ExitCode, Failure> {
    let target = input::target_in(&args.target, &args.media.from_dir)?;
    let trusted = match &target {
        Target::Store(_) => Trust::default(),
        _ => trust::trust(&args.trust, &media::whole(&args.target, &args.media.from_dir))?,
    };
    let (observer, stop) = (context.observer(), context.stop.clone());
    let (folders, question) = (args.media.from_dir.clone(), context.question());
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
                BundleFiles::Volumes(mut set) => {
                    if let Some(question) = question {
                        gather(&mut set, &question)?;
                    }
                    verify_volumes::verify_volumes(&set, &trusted, &*observer, &stop)
                }
            };
            found.map_err(|error| input::bundle_failure(&path, error))
        }
        Target::Stream => verify_bundle::verify_bundle(std::io::stdin(), &trusted, &*observer, &stop)
            .map_err(|error| input::bundle_failure("-".as_ref(), error)),
    };
    let found = input::blocking(work).await?;
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
    if found.findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("{} is damaged: {}", args.target.display(), report::count(found.findings.len(), "finding"));
    if found.findings.iter().all(|finding| finding.code == Code::SignatureInvalid) {
        let message = format!("{} is whole, and not signed by anybody who is trusted", args.target.display());
        return Err(Failure::new(Kind::Corrupt, message));
    }
    Err(Failure::new(Kind::Corrupt, message).hint(advice(&found)))
}

/// What to do about what was found.
fn advice(found: &Findings) -> String {
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
    "delete the blob files named above and pull or unpack again: what is right is kept".to_owned()
}

/// Asks for the folders of volumes that are not there, since all are needed before the check begins.
fn gather(set: &mut VolumeSet, question: &impl Fn(&str) -> std::io::Result<Option<String>>) -> Result<(), Failure> {
    let failed = |error| Failure::of(Kind::Failed, error);
    let Some(count) = set.sums().map(crate::bundle::volumes::Sums::count) else { return Ok(()) };
    let mut number = 1;
    while number <= count {
        if set.locate(number).map_err(failed)?.is_some() {
            number += 1;
            continue;
        }
        let name = set.name(number);
        let text = format!("{name} is not there.\nType the folder where it is, or press Enter to go on without it: ");
        match question(&text).map_err(failed)?.as_deref().map(str::trim) {
            None | Some("") => number += 1,
            Some(folder) => set.add_folder(folder.as_ref()).map_err(|error| Failure::of(Kind::Failed, error))?,
        }
    }
    Ok(())
}

fn text(found: &Findings) -> String {
    let lines = found.findings.iter().map(|finding| format!("{finding}\n"));
    lines.collect()
}
