//! Arguments of `hod bundle`.

use std::path::PathBuf;

use clap::Args;

use super::images::IMAGES_OR_PLACES;
use super::{ImageArgs, RegistryArgs, RetryArgs};

// `hod bundle`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod bundle -f images-list.txt -o release.tar\n  \
    hod bundle alpine:3.20 quay.io/coreos/etcd:v3.5.15 -o two.tar \\\n      \
    --all-platforms\n  \
    # write the same bytes as hod pull and hod pack\n  \
    hod bundle -f release.lock -o release.tar")]
#[command(mut_arg("images", |images| images.help(IMAGES_OR_PLACES)))]
pub(crate) struct BundleArgs {
    /// Bundle to write, a .tar
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(crate) output: PathBuf,
    /// Write the list with the resolved digests to this file
    #[arg(long, value_name = "FILE", env = "HOD_LOCK", hide_env = true)]
    pub(crate) lock: Option<PathBuf>,
    /// Daemon for docker-daemon images: `unix:///PATH`, `tcp://HOST:PORT` or `ssh://HOST`
    /// [default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]
    #[arg(long, value_name = "HOST", env = "HOD_DAEMON_HOST", hide_env = true)]
    pub(crate) daemon_host: Option<String>,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
