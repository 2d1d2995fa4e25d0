//! `hod manifest-digest`: the digest of a manifest file.

use std::process::ExitCode;

use super::input;
use crate::args::ManifestDigestArgs;
use crate::context::Context;
use crate::documents::OneDigest;
use crate::failure::{Failure, Kind};
use hod_oci::{MANIFEST_LIMIT, signed_digest};

pub(crate) async fn run(context: &Context, args: ManifestDigestArgs) -> Result<ExitCode, Failure> {
    let bytes = input::blocking(move || {
        hod_io::fs::read_within(&args.file, MANIFEST_LIMIT).map_err(|error| Failure::of(Kind::Failed, error))
    })
    .await?;
    let digest = signed_digest(&bytes);
    context.result(&OneDigest { digest: digest.into() }, &format!("{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}
