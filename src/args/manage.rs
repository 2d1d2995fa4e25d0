//! Arguments of the commands that change the images of a store or layout, or show the layers of an image.

use std::path::PathBuf;

use clap::Args;

use super::{RegistryArgs, RetryArgs, TargetArgs};
use hod_oci::Platform;

// `hod init`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  hod init oci:images\n  hod init store:store")]
pub(crate) struct InitArgs {
    /// Layout or store to create, as oci:DIR or store:DIR
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
}

// `hod new`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod new oci:images:scratch\n  \
    hod new oci:images:scratch-arm64 --platform linux/arm64")]
pub(crate) struct NewArgs {
    /// Image to create, as oci:DIR:NAME
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Platform of the image, as OS/ARCH[/VARIANT] [default: linux on this machine's architecture]
    #[arg(long, value_name = "PLATFORM", env = "HOD_PLATFORM", hide_env = true)]
    pub(crate) platform: Option<Platform>,
}

// `hod tag`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # another tag in the same repository\n  \
    hod tag store:store:web:1.0 stable\n  \
    # a name in another repository\n  \
    hod tag --store store web:1.0 mirror/web:1.0\n  \
    hod tag oci:images:web:1.0 web:stable web:latest")]
pub(crate) struct TagArgs {
    /// Image, as store:DIR:NAME:TAG or oci:DIR:NAME, or its name in --store
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Names to add; in a store, a word without a colon is a tag of the same repository
    #[arg(value_name = "NEW", required = true)]
    pub(crate) new: Vec<String>,
    /// Store that has the named images
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(crate) store: Option<PathBuf>,
}

// `hod rm`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod rm --store store web:1.0 web:1.1\n  \
    hod rm store:store:web@DIGEST\n  \
    hod rm oci:images:web:1.0 && hod gc oci:images")]
pub(crate) struct RmArgs {
    /// Images, as store:DIR:NAME:TAG, store:DIR:NAME@DIGEST, oci:DIR:NAME or oci:DIR:@DIGEST, or their names in --store
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    /// Store that has the named images
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(crate) store: Option<PathBuf>,
    /// Remove only the tag; in a store, clients can still pull the image by digest
    #[arg(long, env = "HOD_TAG_ONLY", hide_env = true, value_parser = super::flag())]
    pub(crate) tag_only: bool,
}

// `hod gc`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod gc --store store --dry-run\n  \
    hod gc --store store\n  \
    # delete images without a tag, too\n  \
    hod gc --store store --untagged\n  \
    hod gc oci:images")]
#[command(mut_arg("target", |target| {
    target.help("Store or registry root, as DIR or store:DIR, or layout, as oci:DIR")
}))]
pub(crate) struct GcArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Show what would be deleted, and delete nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = super::flag())]
    pub(crate) dry_run: bool,
    /// Delete images without a tag, including images pulled by digest
    #[arg(long, env = "HOD_UNTAGGED", hide_env = true, value_parser = super::flag())]
    pub(crate) untagged: bool,
}

// `hod stat`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod stat oci:images:web:1.0\n  \
    hod stat store:store:web:1.0\n  \
    hod stat docker://registry.site:5000/web:1.0 --json |\n      \
    jq -r '.history[].diff_id'")]
pub(crate) struct StatArgs {
    /// Image, as TRANSPORT:PLACE
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
