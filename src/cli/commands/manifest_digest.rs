//! `hod manifest-digest`: the digest of a manifest in a file.

use std::process::ExitCode;

use serde_json::json;

use super::input;
use crate::cli::args::ManifestDigestArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::oci::{MANIFEST_LIMIT, signed_digest};

pub(in crate::cli) async fn run(context: &Context, args: ManifestDigestArgs) -> Result<ExitCode, Failure> {
    let bytes = input::blocking(move || {
        crate::fs::read_within(&args.file, MANIFEST_LIMIT).map_err(|error| Failure::of(Kind::Failed, error))
    })
    .await?;
    let digest = signed_digest(&bytes);
    context.result(&json!({ "digest": digest }), &format!("{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}
