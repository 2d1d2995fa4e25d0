//! `hod unpack-image`.

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
    /// The image, as transport:place
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The bundle: a new folder
    #[arg(value_name = "DIR", required_unless_present_any = ["rootfs", "config_only"], conflicts_with_all = ["rootfs", "config_only"])]
    pub(crate) bundle: Option<PathBuf>,
    /// Make the tree alone, in this new folder; with --config-only, the tree that is there already
    #[arg(long, value_name = "DIR", env = "HOD_ROOTFS", hide_env = true)]
    pub(crate) rootfs: Option<PathBuf>,
    /// Write the configuration of the runtime alone, to this file or with - to standard output
    #[arg(long, value_name = "FILE", env = "HOD_CONFIG_ONLY", hide_env = true)]
    pub(crate) config_only: Option<PathBuf>,
    /// All files belong to you, and to whom the image gives them is kept in an attribute; if you are not root, always
    #[arg(long, env = "HOD_ROOTLESS", hide_env = true, value_parser = super::flag())]
    pub(crate) rootless: bool,
    /// What users of the image are on this machine, as CONTAINER:HOST:SIZE; several with commas or by repetition
    #[arg(long, value_name = "MAPPING", env = "HOD_UID_MAP", hide_env = true, value_delimiter = ',')]
    pub(crate) uid_map: Vec<IdMapping>,
    /// The same for groups
    #[arg(long, value_name = "MAPPING", env = "HOD_GID_MAP", hide_env = true, value_delimiter = ',')]
    pub(crate) gid_map: Vec<IdMapping>,
    /// A symbolic link to a folder stays where an upper layer has a folder of that name
    #[arg(long, env = "HOD_KEEP_DIRLINKS", hide_env = true, value_parser = super::flag())]
    pub(crate) keep_dirlinks: bool,
    /// The platform of an image that has several, as OS/ARCH[/VARIANT] [default: linux on this machine's architecture]
    #[arg(long, value_name = "PLATFORM", env = "HOD_PLATFORM", hide_env = true)]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
