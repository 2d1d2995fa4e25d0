//! Arguments of `hod push`.

use std::path::PathBuf;

use clap::Args;

use super::{ImageArgs, MediaArgs, RegistryArgs, RetryArgs, TrustArgs, images};

// `hod push`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod push release.tar docker://registry.site:5000\n  \
    hod push store docker://harbor.site/project -f images-list.txt\n  \
    hod push --store store docker://registry.site:5000 web:1.0\n  \
    ssh near cat release.tar |\n      \
    hod push - docker://registry.site:5000 --creds admin\n  \
    # a layout; dir:, docker-archive: and others work, too\n  \
    hod push oci:images docker://registry.site:5000")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_THERE)))]
#[command(mut_arg("platform", |platform| platform.help(images::PLATFORMS_THERE)))]
pub(crate) struct PushArgs {
    /// Bundle or its volumes, store, or place such as `oci:DIR` or `docker-archive:FILE`; - for a bundle on standard input
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// Registry to push to, as `docker://HOST[:PORT][/PREFIX]`
    #[arg(value_name = "DESTINATION", required_unless_present = "store")]
    destination: Option<String>,
    /// Store to push from, instead of SOURCE
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    store: Option<PathBuf>,
    /// How to push an index with missing children
    #[arg(long, value_name = "HOW", default_value = "auto", env = "HOD_INDEX", hide_env = true)]
    pub(crate) index: IndexArg,
    /// Stop at the first image that fails
    #[arg(long, env = "HOD_FAIL_FAST", hide_env = true, value_parser = super::flag())]
    pub(crate) fail_fast: bool,
    /// Send each layer and manifest again, even if the registry reports it as present; repairs a registry that lost content
    #[arg(long, env = "HOD_FORCE", hide_env = true, value_parser = super::flag())]
    pub(crate) force: bool,
    /// Check the signature and the base of a delta, show the images, and send nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = super::flag())]
    pub(crate) dry_run: bool,
    /// Daemon for docker-daemon images: `unix:///PATH`, `tcp://HOST:PORT` or `ssh://HOST`
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

impl PushArgs {
    /// Takes a store that was named by its option for the source. The destination is then the first argument, and
    /// images are all others.
    pub(crate) fn arranged(mut self) -> Self {
        let Some(first) = self.source.to_str().filter(|first| first.starts_with("docker://")) else { return self };
        if let Some(store) = self.store.take() {
            let first = first.to_owned();
            self.source = store;
            self.images.images.splice(0..0, self.destination.replace(first));
        }
        self
    }

    /// The registry to push to.
    pub(crate) fn destination(&self) -> &str {
        self.destination.as_deref().unwrap_or_default()
    }
}

/// How an index with missing children is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IndexArg {
    /// Push the index unchanged; if the registry refuses it, push its only child or a new index of the present children
    Auto,
    /// Push the index unchanged; if the registry refuses it, the image fails
    Sparse,
    /// Fail the image unless all children are present
    Full,
    /// Push a new index of the present children, with a new digest
    Rewrite,
    /// Push its only child under the tag of the index
    Child,
}
