//! `hod select`.

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
    # all images, as they are now\n  \
    hod select --store store --to snapshot")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_THERE)))]
#[command(mut_arg("platform", |platform| platform.help(images::PLATFORMS_THERE)))]
pub(crate) struct SelectArgs {
    /// The store to select from: a registry root, which may be in use
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(crate) store: PathBuf,
    /// The store for them, made if it is not there
    #[arg(long, value_name = "DIR", env = "HOD_TO", hide_env = true)]
    pub(crate) to: PathBuf,
    /// What to do with a tag there that points elsewhere
    #[arg(long, value_name = "WHAT", default_value = "overwrite", env = "HOD_ON_EXISTING_TAG", hide_env = true)]
    pub(crate) on_existing_tag: OnExistingTag,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
}
