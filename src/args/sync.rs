//! Arguments of `hod sync`, with the names of skopeo and image-syncer.

use std::path::PathBuf;

use clap::Args;

use hod_steps::sync::document::Language;
use hod_steps::sync::image_syncer::platforms::Architecture;

use super::{ContentArgs, DestinationRegistryArgs, RetryArgs, SigningArgs, SourceRegistryArgs, TlsVerifyArgs};

// `hod sync`.
#[derive(Debug, Args)]
#[command(override_usage = "hod sync --src <KIND> --dest <KIND> [OPTIONS] <SOURCE> <DESTINATION>\n       \
    hod sync --image-syncer --images <FILE> [--auth <FILE>] [OPTIONS]")]
#[command(after_help = "EXAMPLES:\n  \
    # all tags of a repository\n  \
    hod sync --src docker --dest dir registry.example/web /media/usb\n  \
    hod sync --src dir --dest docker --scoped /media/usb \\\n      \
    registry.site:5000/mirror\n  \
    hod sync --src yaml --dest docker --all --dry-run images.yaml \\\n      \
    registry.site:5000\n  \
    hod sync --src yaml --dest docker --all --keep-going images.yaml \\\n      \
    registry.site:5000\n  \
    hod sync --image-syncer --auth auth.json --images images.yaml")]
pub(crate) struct SyncArgs {
    /// Kind of SOURCE
    #[arg(
        short,
        long,
        value_name = "KIND",
        env = "HOD_SRC",
        hide_env = true,
        required_unless_present = "image_syncer"
    )]
    pub(crate) src: Option<SourceKindArg>,
    /// Kind of DESTINATION
    #[arg(
        short,
        long,
        value_name = "KIND",
        env = "HOD_DEST",
        hide_env = true,
        required_unless_present = "image_syncer"
    )]
    pub(crate) dest: Option<DestinationKindArg>,
    /// Source of the images, without a transport prefix
    #[arg(value_name = "SOURCE", required_unless_present = "image_syncer", conflicts_with = "image_syncer")]
    pub(crate) source: Option<String>,
    /// Destination of the images, without a transport prefix
    #[arg(value_name = "DESTINATION", required_unless_present = "image_syncer", conflicts_with = "image_syncer")]
    pub(crate) destination: Option<String>,
    /// Add the full source name, with its registry, to the destination name
    #[arg(long, env = "HOD_SCOPED", hide_env = true, value_parser = super::flag())]
    pub(crate) scoped: bool,
    /// Append this text to each name at the destination
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        env = "HOD_APPEND_SUFFIX",
        hide_env = true
    )]
    pub(crate) append_suffix: String,
    /// Show what would be copied, and copy nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = super::flag())]
    pub(crate) dry_run: bool,
    /// Continue when an image or an entry of the file fails
    #[arg(long, env = "HOD_KEEP_GOING", hide_env = true, value_parser = super::flag())]
    pub(crate) keep_going: bool,
    /// Write the digest and destination of each copied image to this file, one line each
    #[arg(long, value_name = "FILE", env = "HOD_DIGESTFILE", hide_env = true)]
    pub(crate) digestfile: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
    #[command(flatten)]
    pub(crate) image_syncer: ImageSyncerArgs,
    #[command(flatten)]
    pub(crate) from: SourceRegistryArgs,
    #[command(flatten)]
    pub(crate) to: DestinationRegistryArgs,
    #[command(flatten)]
    pub(crate) both: TlsVerifyArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

/// The kind of source of `hod sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SourceKindArg {
    /// A repository with all its tags, or one image
    Docker,
    /// A directory with image directories at any depth
    Dir,
    /// A YAML file with registries, repositories and tags
    Yaml,
}

/// The kind of destination of `hod sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DestinationKindArg {
    /// A registry, or a path in it
    Docker,
    /// A directory for image directories
    Dir,
}

// `hod sync --image-syncer`: image-syncer's own flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration files of image-syncer")]
pub(crate) struct ImageSyncerArgs {
    /// Read configuration files of image-syncer instead of SOURCE and DESTINATION
    #[arg(long, env = "HOD_IMAGE_SYNCER", hide_env = true, value_parser = super::flag())]
    pub(crate) image_syncer: bool,
    /// File with the credentials of registries, .json, .yaml or .yml
    #[arg(long, value_name = "FILE", env = "HOD_AUTH", hide_env = true)]
    pub(crate) auth: Option<PathBuf>,
    /// File with sources and destinations of images, .json, .yaml or .yml
    #[arg(long, value_name = "FILE", env = "HOD_IMAGES", hide_env = true)]
    pub(crate) images: Option<PathBuf>,
    /// File with credentials and images, as before image-syncer 1.2
    #[arg(long, value_name = "FILE", conflicts_with_all = ["auth", "images"],
        env = "HOD_CONFIG", hide_env = true)]
    pub(crate) config: Option<PathBuf>,
    /// Append messages to this file, too; shows no progress bars
    #[arg(long, value_name = "FILE", env = "HOD_LOG_FILE", hide_env = true)]
    pub(crate) log: Option<PathBuf>,
    /// Maximum parallel blob transfers, instead of --jobs
    #[arg(short, long, value_name = "N", env = "HOD_PROC", hide_env = true,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) proc: Option<u16>,
    /// Maximum number of retries of failed images, after all other images
    #[arg(short, long, value_name = "N", default_value_t = 2, env = "HOD_RETRIES", hide_env = true)]
    pub(crate) retries: u16,
    /// Copy only this operating system; repeatable or comma-separated
    #[arg(long, value_name = "OS", env = "HOD_OS", hide_env = true, value_delimiter = ',')]
    pub(crate) os: Vec<String>,
    /// Copy only this architecture, such as arm64, or arm:v7 with a variant; repeatable or comma-separated
    #[arg(long, value_name = "ARCH", env = "HOD_ARCH", hide_env = true, value_delimiter = ',')]
    pub(crate) arch: Vec<Architecture>,
    /// Write the copied images to this file, in the format of --images
    #[arg(long, value_name = "FILE", env = "HOD_OUTPUT_SUCCESS_IMAGES", hide_env = true)]
    pub(crate) output_success_images: Option<PathBuf>,
    /// Format of the file of --output-success-images
    #[arg(long, value_name = "LANGUAGE", default_value = "yaml", env = "HOD_OUTPUT_IMAGES_FORMAT", hide_env = true)]
    pub(crate) output_images_format: LanguageArg,
}

/// The format of a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LanguageArg {
    /// YAML
    Yaml,
    /// JSON
    Json,
}

impl ImageSyncerArgs {
    /// A given flag that has no effect without `--image-syncer`.
    pub(crate) fn stray(&self) -> Option<&'static str> {
        let given = [
            (self.auth.is_some(), "--auth"),
            (self.images.is_some(), "--images"),
            (self.config.is_some(), "--config"),
            (self.log.is_some(), "--log"),
            (self.proc.is_some(), "--proc"),
            (!self.os.is_empty(), "--os"),
            (!self.arch.is_empty(), "--arch"),
            (self.output_success_images.is_some(), "--output-success-images"),
        ];
        let stray = given.into_iter().find(|(given, _)| *given && !self.image_syncer);
        stray.map(|(_, flag)| flag)
    }
}

impl LanguageArg {
    pub(crate) const fn language(self) -> Language {
        match self {
            Self::Yaml => Language::Yaml,
            Self::Json => Language::Json,
        }
    }
}
