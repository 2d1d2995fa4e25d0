//! Arguments of `hod unpack-image`.

use std::path::PathBuf;

use clap::Args;

use super::{RegistryArgs, RetryArgs, TrustArgs};
use hod_oci::Platform;
use hod_rootfs::IdMapping;

// `hod unpack-image`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # web/config.json and web/rootfs\n  \
    hod unpack-image oci:images:web:1.0 web\n  \
    hod unpack-image store:store:web:1.0 --rootfs tree \\\n      \
    --platform linux/arm64\n  \
    hod unpack-image oci:images:web:1.0 web \\\n      \
    --uid-map 0:100000:65536 --gid-map 0:100000:65536\n  \
    hod unpack-image oci:images:web:1.0 --config-only config.json \\\n      \
    --rootfs tree\n  \
    hod unpack-image docker://registry.site:5000/web:1.0 web &&\n      \
    runc run --bundle web web")]
pub(crate) struct UnpackImageArgs {
    /// Image, as TRANSPORT:PLACE
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// New directory for the runtime bundle
    #[arg(value_name = "DIR", required_unless_present_any = ["rootfs", "config_only"], conflicts_with_all = ["rootfs", "config_only"])]
    pub(crate) bundle: Option<PathBuf>,
    /// Unpack only the root file system, to this new directory; with --config-only, the existing root file system
    #[arg(long, value_name = "DIR", env = "HOD_ROOTFS", hide_env = true)]
    pub(crate) rootfs: Option<PathBuf>,
    /// Write only the runtime configuration, to this file; - for standard output
    #[arg(long, value_name = "FILE", env = "HOD_CONFIG_ONLY", hide_env = true)]
    pub(crate) config_only: Option<PathBuf>,
    /// Create all files as your user, and record their owners in an extended attribute; always on unless you are root
    #[arg(long, env = "HOD_ROOTLESS", hide_env = true, value_parser = super::flag())]
    pub(crate) rootless: bool,
    /// Map user IDs of the image to this machine, as CONTAINER:HOST:SIZE; repeatable or comma-separated
    #[arg(long, value_name = "MAPPING", env = "HOD_UID_MAP", hide_env = true, value_delimiter = ',')]
    pub(crate) uid_map: Vec<IdMapping>,
    /// Map group IDs of the image to this machine, as CONTAINER:HOST:SIZE; repeatable or comma-separated
    #[arg(long, value_name = "MAPPING", env = "HOD_GID_MAP", hide_env = true, value_delimiter = ',')]
    pub(crate) gid_map: Vec<IdMapping>,
    /// Keep a symbolic link to a directory when an upper layer has a directory of the same name
    #[arg(long, env = "HOD_KEEP_DIRLINKS", hide_env = true, value_parser = super::flag())]
    pub(crate) keep_dirlinks: bool,
    /// Platform of a multi-platform image, as OS/ARCH[/VARIANT] [default: linux on this machine's architecture]
    #[arg(long, value_name = "PLATFORM", env = "HOD_PLATFORM", hide_env = true)]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
