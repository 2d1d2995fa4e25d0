//! Arguments for bundles in volumes.

use std::path::PathBuf;

use clap::Args;

use hod_bundle::VolumeSize;

// How a bundle is cut up.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Volumes")]
pub(crate) struct CutArgs {
    /// Cut the bundle into NAME.001, NAME.002 … of this size, with NAME.sha256 beside them: bytes, a number with a unit
    /// (4G, 700MiB), or fat32, cd, dvd, dvd-dl, bd
    #[arg(long, value_name = "SIZE", env = "HOD_VOLUME_SIZE", hide_env = true)]
    pub(crate) volume_size: Option<VolumeSize>,
}

// Where volumes are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Volumes")]
pub(crate) struct MediaArgs {
    /// One more folder with volumes of the bundle; repeatable. On a terminal hod asks for media that are missing
    #[arg(long, value_name = "DIR", env = "HOD_FROM_DIR", hide_env = true)]
    pub(crate) from_dir: Vec<PathBuf>,
}
