//! Arguments of `hod push`.

use std::path::PathBuf;

use clap::Args;

use super::{ImageArgs, MediaArgs, RegistryArgs, RetryArgs, TrustArgs, images};

// `hod push`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod push release.tar docker://registry.site:5000\n  \
    hod push store docker://harbor.site/project -f images-list.txt\n  \
    ssh near cat release.tar |\n      \
    hod push - docker://registry.site:5000 --creds admin\n  \
    # a layout; or dir:, docker-archive:, and others\n  \
    hod push oci:images docker://registry.site:5000")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_THERE)))]
#[command(mut_arg("platform", |platform| platform.help(images::PLATFORMS_THERE)))]
pub(crate) struct PushArgs {
    /// A bundle or its volumes, - for one on standard input, a store, or a place such as `oci:DIR` or `docker-archive:FILE`
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// The registry, as `docker://HOST[:PORT][/PREFIX]`
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
    /// How an index goes whose children are not all there
    #[arg(long, value_name = "HOW", default_value = "auto", env = "HOD_INDEX", hide_env = true)]
    pub(crate) index: IndexArg,
    /// Stop at the first image that fails
    #[arg(long, env = "HOD_FAIL_FAST", hide_env = true, value_parser = super::flag())]
    pub(crate) fail_fast: bool,
    /// Ask a registry for each layer and send each manifest again, though its tag is right: mends one that has lost some
    #[arg(long, env = "HOD_FORCE", hide_env = true, value_parser = super::flag())]
    pub(crate) force: bool,
    /// The daemon of docker-daemon images: `unix:///PATH`, `tcp://HOST:PORT` or `ssh://HOST`
    /// [default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]
    #[arg(long, value_name = "HOST", env = "HOD_DAEMON_HOST", hide_env = true)]
    pub(crate) daemon_host: Option<String>,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) media: MediaArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

/// How an index is pushed whose children are not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IndexArg {
    /// As it is; where the registry refuses that, its only child, or a new index of those that are there
    Auto,
    /// As it is; where the registry refuses that, the image fails
    Sparse,
    /// Not at all: the image fails unless all children are there
    Full,
    /// A new index of the children that are there, with a new digest
    Rewrite,
    /// Its only child under the tag of the index
    Child,
}
