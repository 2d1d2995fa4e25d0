//! Arguments for the installer beside a bundle.

use std::path::PathBuf;

use clap::Args;

// The installer beside a bundle.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Installer")]
pub(crate) struct InstallerArgs {
    /// Write hod, install.sh, SHA256SUMS and README.txt beside the bundle
    #[arg(long, env = "HOD_WITH_INSTALLER", hide_env = true, value_parser = super::flag())]
    pub(crate) with_installer: bool,
    /// Static hod binary for the machines on the other side [default: this hod]
    #[arg(long, value_name = "FILE", env = "HOD_INSTALLER_BINARY", hide_env = true)]
    pub(crate) installer_binary: Option<PathBuf>,
    /// Person or team that made the bundle, with a contact, for README.txt and install.sh
    #[arg(long, value_name = "TEXT", env = "HOD_MADE_BY", hide_env = true)]
    pub(crate) made_by: Option<String>,
}
