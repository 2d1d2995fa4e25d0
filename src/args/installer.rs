//! Arguments for what lies beside a bundle.

use std::path::PathBuf;

use clap::Args;

// Whether a bundle comes with what installs it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Installer")]
pub(crate) struct InstallerArgs {
    /// Write hod, install.sh, SHA256SUMS and README.txt beside the bundle
    #[arg(long, env = "HOD_WITH_INSTALLER", hide_env = true, value_parser = super::flag())]
    pub(crate) with_installer: bool,
    /// The static hod for the machine on the other side [default: this hod]
    #[arg(long, value_name = "FILE", env = "HOD_INSTALLER_BINARY", hide_env = true)]
    pub(crate) installer_binary: Option<PathBuf>,
}
