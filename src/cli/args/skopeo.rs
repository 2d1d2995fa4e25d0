//! The flags that skopeo takes before its command, so that scripts need not change.

use std::path::PathBuf;

use clap::Args;

use crate::oci::Platform;

/// skopeo's global flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options as in skopeo")]
pub(in crate::cli) struct SkopeoArgs {
    /// Choose images for this architecture instead of the machine's
    #[arg(long, global = true, value_name = "ARCH", env = "HOD_OVERRIDE_ARCH", hide_env = true)]
    pub(in crate::cli) override_arch: Option<String>,
    /// Choose images for this operating system instead of linux
    #[arg(long, global = true, value_name = "OS", env = "HOD_OVERRIDE_OS", hide_env = true)]
    pub(in crate::cli) override_os: Option<String>,
    /// Choose images for this variant of the architecture
    #[arg(long, global = true, value_name = "VARIANT", env = "HOD_OVERRIDE_VARIANT", hide_env = true)]
    pub(in crate::cli) override_variant: Option<String>,
    /// Taken for skopeo's sake: hod checks no trust policy
    #[arg(long, global = true, hide = true)]
    pub(in crate::cli) insecure_policy: bool,
    /// Where large temporary files go: what a daemon gives, compressed archives [default: /var/tmp]
    #[arg(long, global = true, value_name = "DIR", env = "HOD_TMPDIR", hide_env = true)]
    pub(in crate::cli) tmpdir: Option<PathBuf>,
}

impl SkopeoArgs {
    /// The platform whose images are chosen.
    pub(in crate::cli) fn platform(&self) -> Result<Platform, crate::oci::PlatformError> {
        let native = Platform::native_linux();
        let os = self.override_os.as_deref().unwrap_or(&native.os);
        let architecture = self.override_arch.as_deref().unwrap_or(&native.architecture);
        match &self.override_variant {
            Some(variant) => format!("{os}/{architecture}/{variant}").parse(),
            None => format!("{os}/{architecture}").parse(),
        }
    }
}
