//! Arguments about content that the far side already has.

use std::path::PathBuf;

use clap::Args;

use super::{ImageArgs, RegistryArgs, TargetArgs};

// Content that a bundle leaves out.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Delta")]
pub(crate) struct HaveArgs {
    /// Leave out content of this inventory, earlier bundle, its volumes, or store. Repeatable: leaves out only content
    /// that all of them have
    #[arg(long, value_name = "FILE", env = "HOD_HAVE", hide_env = true)]
    pub(crate) have: Vec<PathBuf>,
}

// `hod inventory`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod inventory /var/lib/registry -o site.json\n  \
    hod inventory docker://registry.site:5000 -o site.json\n  \
    # one page of digests, for sites that no medium may leave\n  \
    hod inventory /var/lib/registry --minimal\n  \
    hod pack --store store --have site.json -o update.tar")]
#[command(mut_arg("target", |target| target.help("Store, registry root, bundle or its volumes, or a registry as \
    `docker://HOST[:PORT][/PREFIX]`")))]
pub(crate) struct InventoryArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(crate) output: Option<PathBuf>,
    /// List only the digests of manifests; hod pack --have looks up their blobs in its own store
    #[arg(long, env = "HOD_MINIMAL", hide_env = true, value_parser = super::flag())]
    pub(crate) minimal: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

// `hod diff`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # changes that the bundle would make\n  \
    hod diff /var/lib/registry release.tar\n  \
    hod diff site.json store --json | jq -r '.added[].name'\n  \
    hod diff may.lock june.lock")]
pub(crate) struct DiffArgs {
    /// Store, bundle or its volumes, inventory, or lock
    #[arg(value_name = "A")]
    pub(crate) one: PathBuf,
    /// Store, bundle or its volumes, inventory, or lock to compare with A
    #[arg(value_name = "B")]
    pub(crate) other: PathBuf,
}

/// The image arguments of a command that has none.
impl DiffArgs {
    /// How the names of a lock are read.
    pub(crate) fn images() -> ImageArgs {
        ImageArgs::default()
    }
}
