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
    /// What SOURCE is: a repository or image, a folder of image directories, or a YAML file
    #[arg(
        short,
        long,
        value_name = "KIND",
        env = "HOD_SRC",
        hide_env = true,
        required_unless_present = "image_syncer"
    )]
    pub(crate) src: Option<SourceKindArg>,
    /// What DESTINATION is: a registry, perhaps with a path there, or a folder for image directories
    #[arg(
        short,
        long,
        value_name = "KIND",
        env = "HOD_DEST",
        hide_env = true,
        required_unless_present = "image_syncer"
    )]
    pub(crate) dest: Option<DestinationKindArg>,
    /// Where the images are, without a transport in front
    #[arg(value_name = "SOURCE", required_unless_present = "image_syncer", conflicts_with = "image_syncer")]
    pub(crate) source: Option<String>,
    /// Where they go, without a transport in front
    #[arg(value_name = "DESTINATION", required_unless_present = "image_syncer", conflicts_with = "image_syncer")]
    pub(crate) destination: Option<String>,
    /// Keep the whole name at the source, with the registry, as part of the name at the destination
    #[arg(long, env = "HOD_SCOPED", hide_env = true, value_parser = super::flag())]
    pub(crate) scoped: bool,
    /// Add this to each name at the destination
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        env = "HOD_APPEND_SUFFIX",
        hide_env = true
    )]
    pub(crate) append_suffix: String,
    /// Tell what would be copied, and copy nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = super::flag())]
    pub(crate) dry_run: bool,
    /// Go on when an image, or an entry of the file, fails
    #[arg(long, env = "HOD_KEEP_GOING", hide_env = true, value_parser = super::flag())]
    pub(crate) keep_going: bool,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    /// Write a line with digest and destination for each image that was copied to this file
    #[arg(long, value_name = "FILE", env = "HOD_DIGESTFILE", hide_env = true)]
    pub(crate) digestfile: Option<PathBuf>,
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

/// What the source of `hod sync` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SourceKindArg {
    /// A repository, which means all its tags, or an image
    Docker,
    /// A folder with image directories at any depth
    Dir,
    /// A file that names registries, repositories and tags
    Yaml,
}

/// What the destination of `hod sync` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DestinationKindArg {
    /// A registry, and perhaps a path there
    Docker,
    /// A folder
    Dir,
}

// `hod sync --image-syncer`: image-syncer's own flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration files of image-syncer")]
pub(crate) struct ImageSyncerArgs {
    /// Take the configuration files of image-syncer instead of SOURCE and DESTINATION
    #[arg(long, env = "HOD_IMAGE_SYNCER", hide_env = true, value_parser = super::flag())]
    pub(crate) image_syncer: bool,
    /// The file that says as whom to appear at which registry, or path there; .json, .yaml or .yml
    #[arg(long, value_name = "FILE", env = "HOD_AUTH", hide_env = true)]
    pub(crate) auth: Option<PathBuf>,
    /// The file that says what goes where; .json, .yaml or .yml
    #[arg(long, value_name = "FILE", env = "HOD_IMAGES", hide_env = true)]
    pub(crate) images: Option<PathBuf>,
    /// Both in one file, as before version 1.2
    #[arg(long, value_name = "FILE", conflicts_with_all = ["auth", "images"],
        env = "HOD_CONFIG", hide_env = true)]
    pub(crate) config: Option<PathBuf>,
    /// Write what is said on standard error to this file too, after what it holds; then no bars are drawn
    #[arg(long, value_name = "FILE", env = "HOD_LOG_FILE", hide_env = true)]
    pub(crate) log: Option<PathBuf>,
    /// Blobs in motion at the same time, in place of --jobs
    #[arg(short, long, value_name = "N", env = "HOD_PROC", hide_env = true,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) proc: Option<u16>,
    /// How often images that failed are tried once more when all others are done
    #[arg(short, long, value_name = "N", default_value_t = 2, env = "HOD_RETRIES", hide_env = true)]
    pub(crate) retries: u16,
    /// Leave out other operating systems; repeatable
    #[arg(long, value_name = "OS", env = "HOD_OS", hide_env = true, value_delimiter = ',')]
    pub(crate) os: Vec<String>,
    /// Leave out other processors, such as arm64, or arm:v7 for one variant; repeatable
    #[arg(long, value_name = "ARCH", env = "HOD_ARCH", hide_env = true, value_delimiter = ',')]
    pub(crate) arch: Vec<Architecture>,
    /// Write what is at its destination now to this file, which --images takes
    #[arg(long, value_name = "FILE", env = "HOD_OUTPUT_SUCCESS_IMAGES", hide_env = true)]
    pub(crate) output_success_images: Option<PathBuf>,
    /// The language of that file
    #[arg(long, value_name = "LANGUAGE", default_value = "yaml", env = "HOD_OUTPUT_IMAGES_FORMAT", hide_env = true)]
    pub(crate) output_images_format: LanguageArg,
}

/// The language of a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LanguageArg {
    /// YAML
    Yaml,
    /// JSON
    Json,
}

impl ImageSyncerArgs {
    /// A flag that was given although it means nothing without `--image-syncer`.
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
