//! Arguments of `hod plan`.

use std::path::PathBuf;

use clap::Args;

use super::{CutArgs, HaveArgs, ImageArgs, RegistryArgs, RetryArgs};

// `hod plan`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # show what hod pull would fetch\n  \
    hod plan -f images-list.txt\n  \
    hod plan -f images-list.txt --store store --volume-size dvd\n  \
    # show what hod pack would write\n  \
    hod plan --store store -o release.tar --have site.json\n  \
    hod plan -f images-list.txt --json |\n      \
    jq -r '.images | sort_by(-.marginal)[] | .name'")]
#[command(mut_arg("images", |images| images.help(
    "Images, such as alpine:3.20 or quay.io/coreos/etcd:v3.5; for a pull, also places, such as `oci:DIR` or `dir:DIR`")))]
#[command(mut_arg("platform", |platform| platform.help(
    "Platforms of multi-platform images, as OS/ARCH[/VARIANT]; repeatable or comma-separated \
    [default: linux on this machine's architecture for a pull, all present platforms for a pack]")))]
pub(crate) struct PlanArgs {
    /// Store to pull into or to pack from
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(crate) store: Option<PathBuf>,
    /// Bundle to plan: show the plan of hod pack, without a request to a registry
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) have: HaveArgs,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
    #[command(flatten)]
    pub(crate) cut: CutArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
