//! Arguments of `hod select`.

use std::path::PathBuf;

use clap::Args;

use super::{ImageArgs, OnExistingTag, images};

// `hod select`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod select --store store --to edge web:1.0 base/busybox:1.35\n  \
    hod select --store store --to base -f images-list.txt --group base\n  \
    hod select --store /var/lib/registry --to arm -f images-list.txt \\\n      \
    --platform linux/arm64\n  \
    # a snapshot of all images\n  \
    hod select --store store --to snapshot")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_THERE)))]
#[command(mut_arg("platform", |platform| platform.help(images::PLATFORMS_THERE)))]
pub(crate) struct SelectArgs {
    /// Store to select from: a registry root; a registry may be serving it
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(crate) store: PathBuf,
    /// Store for the selected images, created if missing
    #[arg(long, value_name = "DIR", env = "HOD_TO", hide_env = true)]
    pub(crate) to: PathBuf,
    /// Action for an existing tag that points to another image
    #[arg(long, value_name = "WHAT", default_value = "overwrite", env = "HOD_ON_EXISTING_TAG", hide_env = true)]
    pub(crate) on_existing_tag: OnExistingTag,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
}
