//! Arguments for what is at the far side already.

use std::path::PathBuf;

use clap::Args;

use super::{ImageArgs, RegistryArgs};

// What a bundle may leave out.
#[derive(Debug, Clone, Args)]
pub(crate) struct HaveArgs {
    /// Leave out what is there: an inventory, an earlier bundle, its volumes, or a store; repeatable, and then what all
    /// of them hold
    #[arg(long, value_name = "FILE", env = "HOD_HAVE", hide_env = true)]
    pub(crate) have: Vec<PathBuf>,
}

// `hod inventory`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod inventory /var/lib/registry -o site.json\n  \
    hod inventory docker://registry.site:5000 -o site.json\n  \
    # a page of digests, for where media may not leave\n  \
    hod inventory /var/lib/registry --minimal\n  \
    hod pack --store store --have site.json -o update.tar")]
pub(crate) struct InventoryArgs {
    /// A store or registry root, a bundle or its volumes, or a registry as `docker://HOST[:PORT][/PREFIX]`
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(crate) output: Option<PathBuf>,
    /// List the digests of manifests alone; the near side looks up in its own store what belongs to them
    #[arg(long, env = "HOD_MINIMAL", hide_env = true, value_parser = super::flag())]
    pub(crate) minimal: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

// `hod diff`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # what the bundle would change\n  \
    hod diff /var/lib/registry release.tar\n  \
    hod diff site.json store --json | jq -r '.added[].name'\n  \
    hod diff may.lock june.lock")]
pub(crate) struct DiffArgs {
    /// A store, a bundle or its volumes, an inventory, or a lock
    #[arg(value_name = "A")]
    pub(crate) one: PathBuf,
    /// Another, which is compared with it
    #[arg(value_name = "B")]
    pub(crate) other: PathBuf,
}

/// Images, as a command without any has them.
impl DiffArgs {
    /// How the names of a lock are read.
    pub(crate) fn images() -> ImageArgs {
        ImageArgs::default()
    }
}
