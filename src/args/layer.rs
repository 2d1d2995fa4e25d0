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

// The actions on a layer.
#[derive(Debug, Subcommand)]
pub(crate) enum LayerAction {
    /// Write a layer as an uncompressed tar archive, or unpack it to a directory
    #[command(after_help = "EXAMPLES:\n  \
        hod layer extract oci:images:web:1.0 1 > layer.tar\n  \
        hod layer extract docker://registry.site:5000/web:1.0 DIGEST layer")]
    Extract(LayerExtractArgs),
}

// `hod layer extract`.
#[derive(Debug, Args)]
pub(crate) struct LayerExtractArgs {
    /// Image, as TRANSPORT:PLACE
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Layer: its number (1 is the bottom layer), digest or diff ID, as hod stat shows them
    #[arg(value_name = "LAYER")]
    pub(crate) layer: String,
    /// New directory for the files of the layer, including whiteouts [default: write the archive to standard output]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
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
