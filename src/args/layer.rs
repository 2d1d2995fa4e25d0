//! Arguments of `hod layer`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{RegistryArgs, RetryArgs, TrustArgs};
use hod_oci::Platform;

// `hod layer`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod layer extract oci:images:web:1.0 1 | tar -tv\n  \
    hod layer extract store:store:web:1.0 2 layer")]
pub(crate) struct LayerCommand {
    #[command(subcommand)]
    pub(crate) action: LayerAction,
}

// What is done with a layer.
#[derive(Debug, Subcommand)]
pub(crate) enum LayerAction {
    /// Write a layer as a tar archive without compression, or unpack that archive
    #[command(after_help = "EXAMPLES:\n  \
        hod layer extract oci:images:web:1.0 1 > layer.tar\n  \
        hod layer extract docker://registry.site:5000/web:1.0 DIGEST layer")]
    Extract(LayerExtractArgs),
}

// `hod layer extract`.
#[derive(Debug, Args)]
pub(crate) struct LayerExtractArgs {
    /// The image, as transport:place
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The layer: its number, from 1 at the bottom, its digest or its diff id, as hod stat tells them
    #[arg(value_name = "LAYER")]
    pub(crate) layer: String,
    /// A new folder for the files of the archive, whiteouts among them [default: the archive, to standard output]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
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
