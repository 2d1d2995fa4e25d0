//! `hod verify`: fsck of a store or bundle.

use std::process::ExitCode;

use super::input::{self, Target};
use super::trust;
use crate::bundle::Trust;
use crate::cli::args::VerifyArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::report;
use crate::pipeline::finding::{Code, Findings};
use crate::pipeline::{verify, verify_bundle};

pub(in crate::cli) async fn run(context: &Context, args: VerifyArgs) -> Result<ExitCode, Failure> {
    let target = input::target(&args.target)?;
    let trusted = match &target {
        Target::Store(_) => Trust::default(),
        _ => trust::trust(&args.trust, &args.target)?,
    };
    let (observer, stop) = (context.observer(), context.stop.clone());
    let work = move || match target {
        Target::Store(store) => {
            verify::verify_store(&store, &*observer, &stop).map_err(|error| Failure::of(Kind::Failed, error))
        }
        Target::Bundle(path) => {
            let file = fs_err::File::open(&path).map_err(|error| Failure::of(Kind::Failed, error))?;
            let found = verify_bundle::verify_bundle(file, &trusted, &*observer, &stop);
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
    Err(Failure::new(Kind::Corrupt, message)
        .hint("delete the blob files named above and pull or unpack again: what is right is kept"))
}

fn text(found: &Findings) -> String {
    let lines = found.findings.iter().map(|finding| format!("{finding}\n"));
    lines.collect()
}
