//! `hod manifest-digest`: the digest of a manifest in a file.

use std::process::ExitCode;

use super::input;
use crate::cli::args::ManifestDigestArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::oci::signed_digest;

pub(in crate::cli) async fn run(context: &Context, args: ManifestDigestArgs) -> Result<ExitCode, Failure> {
    let bytes =
        input::blocking(move || fs_err::read(args.file).map_err(|error| Failure::of(Kind::Failed, error))).await?;
    context.data(format!("{}\n", signed_digest(&bytes)).as_bytes())
}
