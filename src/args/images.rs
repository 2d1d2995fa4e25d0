//! Arguments that select images.

use std::path::PathBuf;

use clap::builder::{EnumValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use hod_image::attached::ReferrersApi;
use hod_image::resolve::NameStyle;
use hod_oci::{Platforms, ReferenceError, RegistryPath};

/// The help of IMAGE where places on this machine are allowed.
pub(super) const IMAGES_OR_PLACES: &str =
    "Images, such as alpine:3.20 or quay.io/coreos/etcd:v3.5, or places, such as `oci:DIR` or `dir:DIR`";
/// The help of IMAGE and of --platform where images are present already.
pub(super) const IMAGES_THERE: &str = "Images, such as alpine:3.20 or quay.io/coreos/etcd:v3.5 [default: all]";
pub(super) const PLATFORMS_THERE: &str = "Platforms of multi-platform images, as OS/ARCH[/VARIANT]; \
    repeatable or comma-separated [default: all present platforms]";

// Images of arguments and lists; the help is for commands that ask registries.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Images")]
pub(crate) struct ImageArgs {
    /// Images, such as alpine:3.20 or quay.io/coreos/etcd:v3.5
    #[arg(value_name = "IMAGE", help_heading = None)]
    pub(crate) images: Vec<String>,
    /// List of images, one per line; - for standard input; repeatable
    #[arg(short, long, value_name = "FILE", env = "HOD_FILE", hide_env = true)]
    pub(crate) file: Vec<PathBuf>,
    /// Use only this group of the list, which a ##NAME line opens; repeatable
    #[arg(long, value_name = "NAME", env = "HOD_GROUP", hide_env = true)]
    pub(crate) group: Vec<String>,
    /// Registry for names without a registry host [default: docker.io]
    #[arg(long, value_name = "REGISTRY", value_parser = registry_path, env = "HOD_FROM", hide_env = true)]
    pub(crate) from: Option<RegistryPath>,
    /// Names of images in the store
    #[arg(long, value_name = "STYLE", default_value = "as-listed", value_parser = names(), env = "HOD_NAMES", hide_env = true)]
    pub(crate) names: NameStyle,
    /// Platforms of multi-platform images, as OS/ARCH[/VARIANT]; repeatable or comma-separated
    /// [default: linux on this machine's architecture]
    #[arg(long, value_name = "PLATFORM", env = "HOD_PLATFORM", hide_env = true, conflicts_with = "all_platforms")]
    pub(crate) platform: Vec<Platforms>,
    /// Include all platforms
    #[arg(long, env = "HOD_ALL_PLATFORMS", hide_env = true, value_parser = super::flag())]
    pub(crate) all_platforms: bool,
    /// Include signatures, attestations, SBOMs and other referrers (default); with required, an image fails if its registry
    /// does not list its referrers by the API
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "optional",
        env = "HOD_REFERRERS", hide_env = true, value_parser = referrers(), conflicts_with = "no_referrers")]
    pub(crate) referrers: Option<ReferrersApi>,
    /// Include no referrers
    #[arg(long, env = "HOD_NO_REFERRERS", hide_env = true, value_parser = super::flag())]
    pub(crate) no_referrers: bool,
}

/// The values of `--names`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Names {
    #[value(help = "As written, without the registry host: alpine, coreos/etcd")]
    AsListed,
    #[value(help = "As written, with library/ before single-part names, as clients ask mirrors: library/alpine")]
    Library,
    #[value(help = "With the registry host: quay.io/coreos/etcd")]
    WithHost,
}

pub(super) fn names() -> impl TypedValueParser<Value = NameStyle> {
    EnumValueParser::<Names>::new().map(|names| match names {
        Names::AsListed => NameStyle::AsListed,
        Names::Library => NameStyle::Library,
        Names::WithHost => NameStyle::WithHost,
    })
}

/// The values of `--referrers`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Referrers {
    #[value(help = "By the API, or by tags", aliases = ["true", "1"])]
    Optional,
    #[value(help = "By the API, or by tags if the registry has no such API and says so (404)")]
    Required,
}

fn referrers() -> impl TypedValueParser<Value = ReferrersApi> {
    EnumValueParser::<Referrers>::new().map(|referrers| match referrers {
        Referrers::Optional => ReferrersApi::Optional,
        Referrers::Required => ReferrersApi::Required,
    })
}

/// A registry as people write it, with or without its transport.
fn registry_path(text: &str) -> Result<RegistryPath, ReferenceError> {
    text.strip_prefix("docker://").unwrap_or(text).parse()
}
