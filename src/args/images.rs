//! Arguments that say which images.

use std::path::PathBuf;

use clap::builder::{EnumValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use hod_image::resolve::{DefaultRegistry, NameStyle};
use hod_oci::Platforms;

/// What is said of IMAGE where images may come from this machine.
pub(super) const IMAGES_OR_PLACES: &str =
    "Images, such as alpine:3.20 or quay.io/coreos/etcd:v3.5, or places, such as `oci:DIR` or `dir:DIR`";
/// What is said of IMAGE and of --platform where images are there already.
pub(super) const IMAGES_THERE: &str = "Images, such as alpine:3.20 or quay.io/coreos/etcd:v3.5 [default: all]";
pub(super) const PLATFORMS_THERE: &str = "Platforms to take of multi-platform images, as OS/ARCH[/VARIANT]; \
    repeatable, or with commas [default: all that are there]";

// Which images, from arguments and lists; the help is that of commands that ask registries.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Images")]
pub(crate) struct ImageArgs {
    /// Images, such as alpine:3.20 or quay.io/coreos/etcd:v3.5
    #[arg(value_name = "IMAGE", help_heading = None)]
    pub(crate) images: Vec<String>,
    /// A list of images, one a line; repeatable, - for standard input
    #[arg(short, long, value_name = "FILE", env = "HOD_FILE", hide_env = true)]
    pub(crate) file: Vec<PathBuf>,
    /// Only the images of this group (a ##NAME line) of the list; repeatable
    #[arg(long, value_name = "NAME", env = "HOD_GROUP", hide_env = true)]
    pub(crate) group: Vec<String>,
    /// Where names without a registry host are looked up [default: docker.io]
    #[arg(long, value_name = "REGISTRY", env = "HOD_FROM", hide_env = true)]
    pub(crate) from: Option<DefaultRegistry>,
    /// What images are called in the store
    #[arg(long, value_name = "STYLE", default_value = "as-listed", value_parser = names(), env = "HOD_NAMES", hide_env = true)]
    pub(crate) names: NameStyle,
    /// Platforms to take of multi-platform images, as OS/ARCH[/VARIANT]; repeatable, or with commas
    /// [default: linux on this machine's architecture]
    #[arg(long, value_name = "PLATFORM", env = "HOD_PLATFORM", hide_env = true, conflicts_with = "all_platforms")]
    pub(crate) platform: Vec<Platforms>,
    /// Take all platforms
    #[arg(long, env = "HOD_ALL_PLATFORMS", hide_env = true, value_parser = super::flag())]
    pub(crate) all_platforms: bool,
    /// Take along what belongs to an image: signatures, attestations, bills of materials; this is the default
    #[arg(long, env = "HOD_REFERRERS", hide_env = true, value_parser = super::flag(), conflicts_with = "no_referrers")]
    pub(crate) referrers: bool,
    /// Take images alone
    #[arg(long, env = "HOD_NO_REFERRERS", hide_env = true, value_parser = super::flag())]
    pub(crate) no_referrers: bool,
}

/// The values of `--names`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Names {
    #[value(help = "as written, without the registry's host: alpine, coreos/etcd")]
    AsListed,
    #[value(help = "names of one part go below library/, as mirrors are asked for them")]
    Library,
    #[value(help = "with the registry's host: quay.io/coreos/etcd")]
    WithHost,
}

fn names() -> impl TypedValueParser<Value = NameStyle> {
    EnumValueParser::<Names>::new().map(|names| match names {
        Names::AsListed => NameStyle::AsListed,
        Names::Library => NameStyle::Library,
        Names::WithHost => NameStyle::WithHost,
    })
}
