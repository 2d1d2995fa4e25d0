//! Arguments of `hod index`.

use clap::{Arg, Args, Subcommand};

use super::copy::FormatArg;
use super::{DestinationRegistryArgs, RetryArgs, SourceRegistryArgs, TlsVerifyArgs, TrustArgs};
use hod_oci::Platforms;

// `hod index`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod index create docker://registry.site:5000/web:1.0 \\\n      \
    oci:amd64:1.0 oci:arm64:1.0\n  \
    hod index create oci:images:web:1.0 \\\n      \
    docker-archive:web.tar=linux/arm64/v8 dir:web-amd64\n  \
    hod index remove oci:images:web:1.0 linux/arm64\n  \
    hod index inspect docker://alpine:3.20")]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    pub(crate) action: IndexAction,
}

// The actions on an index.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexAction {
    /// Create an index of images, copy it with the images, and print its digest
    #[command(after_help = "EXAMPLES:\n  \
        hod index create oci:images:web:1.0 \\\n      \
        dir:web-amd64 dir:web-arm64=linux/arm64")]
    Create(IndexTarget),
    /// Add images to an index, and print the new digest
    #[command(after_help = "EXAMPLES:\n  hod index add oci:images:web:1.0 dir:web-s390x")]
    Add(IndexTarget),
    /// Remove images from an index by digest or platform, and print the new digest
    #[command(after_help = "EXAMPLES:\n  hod index remove oci:images:web:1.0 linux/arm64")]
    #[command(mut_args(of_remove))]
    Remove(IndexTarget),
    /// Print an index
    #[command(after_help = "EXAMPLES:\n  hod index inspect oci:images:web:1.0")]
    #[command(mut_args(of_inspect))]
    Inspect(IndexTarget),
}

/// `remove` accepts the arguments of `add`; its help shows only those that have an effect.
fn of_remove(argument: Arg) -> Arg {
    let id = argument.get_id().as_str();
    let has_no_effect = id.starts_with("src-") || matches!(id, "platform" | "replace" | "key" | "no_key" | "signature");
    if id == "images" {
        argument.help("Digests or platforms of the images to remove")
    } else {
        argument.hide(has_no_effect)
    }
}

/// `inspect` also accepts them, and shows only those that have an effect.
fn of_inspect(argument: Arg) -> Arg {
    let id = argument.get_id().as_str();
    let has_effect = id == "index" || id.starts_with("src-") || id.starts_with("retry");
    argument.hide(!has_effect)
}

impl IndexAction {
    /// The index and the arguments of the action.
    pub(crate) const fn target(&self) -> &IndexTarget {
        match self {
            Self::Create(target) | Self::Add(target) | Self::Remove(target) | Self::Inspect(target) => target,
        }
    }
}

// An index, and the images to add or remove.
#[derive(Debug, Args)]
pub(crate) struct IndexTarget {
    /// Index, as TRANSPORT:PLACE
    #[arg(value_name = "INDEX")]
    pub(crate) index: String,
    /// Images, as TRANSPORT:PLACE[=OS/ARCH[/VARIANT]]
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Add only these platforms of multi-platform images; repeatable or comma-separated
    #[arg(long, env = "HOD_PLATFORM", hide_env = true, value_name = "PLATFORM")]
    pub(crate) platform: Vec<Platforms>,
    /// Format of the index [default: v2s2 if all images have Docker manifests, else oci]
    #[arg(short, long, env = "HOD_FORMAT", hide_env = true, value_name = "FORMAT")]
    pub(crate) format: Option<FormatArg>,
    /// Replace an image of the same platform
    #[arg(long, env = "HOD_REPLACE", hide_env = true, value_parser = super::flag())]
    pub(crate) replace: bool,
    /// Add an annotation to the index; repeatable
    #[arg(long, env = "HOD_ANNOTATION", hide_env = true, value_name = "KEY=VALUE")]
    pub(crate) annotation: Vec<String>,
    #[command(flatten)]
    pub(crate) from: SourceRegistryArgs,
    #[command(flatten)]
    pub(crate) to: DestinationRegistryArgs,
    #[command(flatten)]
    pub(crate) both: TlsVerifyArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
