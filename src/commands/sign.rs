//! `hod sign`: a signature beside an existing bundle.

use std::process::ExitCode;

use super::{bundle_failure, input, trust};
use crate::args::SignArgs;
use crate::context::Context;
use crate::documents::SignedBundle;
use crate::failure::{Failure, Kind};
use crate::{output, report};
use hod_bundle::OpenBundle;

pub(crate) async fn run(context: &Context, args: SignArgs) -> Result<ExitCode, Failure> {
    let path = args.bundle.clone();
    let bundle =
        input::blocking(move || OpenBundle::open(&path).map_err(|error| bundle_failure::of(&path, error))).await?;
    let key = trust::signing_key(&args.sign, &args.passphrase).await?;
    let signature = key.sign(bundle.header()).map_err(|error| Failure::of(Kind::Failed, error))?;
    let file = args.output.unwrap_or_else(|| trust::beside(&args.bundle));
    output::write(&file, signature).await?;
    let (id, number) = (bundle.header().id(), key.public().id().to_string());
    let document = SignedBundle { bundle: id.into(), key: number.clone(), signature: report::path(&file) };
    context.result(&document, &format!("{}\n", file.display()))?;
    context.summary(&format!("signed {id} with {number}; distribute the signature with the bundle"));
    Ok(ExitCode::SUCCESS)
}
