//! `hod unpack-image`.

use std::path::PathBuf;

use clap::Args;

use super::{RegistryArgs, RetryArgs};
use crate::oci::Platform;

/// `hod unpack-image`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod unpack-image oci:images:web:1.0 web             web/config.json and web/rootfs\n  \
    hod unpack-image store:store:web:1.0 --rootfs tree --platform linux/arm64\n  \
    hod unpack-image docker://registry.site:5000/web:1.0 web && runc run --bundle web web")]
pub(in crate::cli) struct UnpackImageArgs {
    /// The image, as transport:place
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) image: String,
    /// The bundle: a new folder
    #[arg(value_name = "DIR", required_unless_present = "rootfs", conflicts_with = "rootfs")]
    pub(in crate::cli) bundle: Option<PathBuf>,
    /// Make the tree alone, in this new folder
    #[arg(long, value_name = "DIR", env = "HOD_ROOTFS", hide_env = true)]
    pub(in crate::cli) rootfs: Option<PathBuf>,
    /// The platform of an image that has several, as OS/ARCH[/VARIANT] [default: linux on this machine's architecture]
    #[arg(long, value_name = "PLATFORM", env = "HOD_PLATFORM", hide_env = true)]
    pub(in crate::cli) platform: Option<Platform>,
    #[command(flatten)]
    pub(in crate::cli) registry: RegistryArgs,
    #[command(flatten)]
    pub(in crate::cli) retry: RetryArgs,
}
