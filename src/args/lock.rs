//! Arguments of `hod lock`.

use std::path::PathBuf;

use clap::Args;

use super::images::IMAGES_OR_PLACES;
use super::{ImageArgs, RegistryArgs, RetryArgs};

// `hod lock`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # write the list with digests, and show tags that moved since\n  \
    hod lock -f images-list.txt -o release.lock\n  \
    # show only moved tags; exit with 3 if there are any\n  \
    hod lock --check release.lock\n  \
    # pull the locked digests, even if tags have moved\n  \
    hod pull -f release.lock --store store")]
#[command(mut_arg("images", |images| images.help(IMAGES_OR_PLACES)))]
pub(crate) struct LockArgs {
    /// Lock to write: a list with the digest of every image
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "HOD_LOCK",
        hide_env = true,
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    pub(crate) output: Option<PathBuf>,
    /// Resolve the tags of this lock again, and write nothing
    #[arg(long, env = "HOD_CHECK", hide_env = true, value_name = "LOCK", conflicts_with_all = ["images", "file"])]
    pub(crate) check: Option<PathBuf>,
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
