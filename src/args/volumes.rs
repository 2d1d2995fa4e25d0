//! Arguments for bundles that are split into volumes.

use std::path::PathBuf;

use clap::Args;

use hod_bundle::VolumeSize;

// The size of volumes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Volumes")]
pub(crate) struct CutArgs {
    /// Split the bundle into volumes of this size: bytes, a number with a unit (4G, 700MiB), or fat32, cd, dvd, dvd-dl,
    /// bd. Writes NAME.001, NAME.002, … and their checksums to NAME.sha256
    #[arg(long, value_name = "SIZE", env = "HOD_VOLUME_SIZE", hide_env = true)]
    pub(crate) volume_size: Option<VolumeSize>,
}

// The directories of volumes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Volumes")]
pub(crate) struct MediaArgs {
    /// Directory with more volumes of the bundle; repeatable. On a terminal, hod asks for missing media
    #[arg(long, value_name = "DIR", env = "HOD_FROM_DIR", hide_env = true)]
    pub(crate) from_dir: Vec<PathBuf>,
}
