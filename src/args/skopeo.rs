//! skopeo's global flags, so that scripts for skopeo work unchanged.

use std::path::PathBuf;

use clap::Args;

use hod_oci::Platform;

// skopeo's old flag before the command, for every registry of the command.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "All registries")]
pub(crate) struct TlsVerifyArgs {
    /// Require HTTPS with a valid certificate at each registry without a separate flag
    #[arg(id = "tls_verify_of_all", long = "tls-verify", hide = true, value_name = "BOOL", env = "HOD_TLS_VERIFY", hide_env = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::truth())]
    pub(crate) tls_verify: Option<bool>,
}

// skopeo's global flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options as in skopeo")]
pub(crate) struct SkopeoArgs {
    /// Select images for this architecture instead of this machine's
    #[arg(long, global = true, value_name = "ARCH", env = "HOD_OVERRIDE_ARCH", hide_env = true)]
    pub(crate) override_arch: Option<String>,
    /// Select images for this operating system instead of linux
    #[arg(long, global = true, value_name = "OS", env = "HOD_OVERRIDE_OS", hide_env = true)]
    pub(crate) override_os: Option<String>,
    /// Select images for this variant of the architecture
    #[arg(long, global = true, value_name = "VARIANT", env = "HOD_OVERRIDE_VARIANT", hide_env = true)]
    pub(crate) override_variant: Option<String>,
    /// Ignore the trust policy
    #[arg(long, global = true, env = "HOD_INSECURE_POLICY", hide_env = true, value_parser = super::flag())]
    pub(crate) insecure_policy: bool,
    /// Trust policy, which names accepted registries and required signatures
    /// [default: policy.json of the containers tools, if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "HOD_POLICY", hide_env = true)]
    pub(crate) policy: Option<PathBuf>,
    /// Accept only images for which the trust policy requires signatures
    #[arg(long, global = true, env = "HOD_REQUIRE_SIGNED", hide_env = true, value_parser = super::flag())]
    pub(crate) require_signed: bool,
    /// Directory with the configuration of signature lookasides
    #[arg(long = "registries.d", global = true, value_name = "DIR", env = "HOD_REGISTRIES_D", hide_env = true)]
    pub(crate) registries_d: Option<PathBuf>,
    /// Read this registries.conf only
    #[arg(long, global = true, hide = true, value_name = "FILE", env = "HOD_REGISTRIES_CONF", hide_env = true)]
    pub(crate) registries_conf: Option<PathBuf>,
    /// Read only this directory of additions to registries.conf
    #[arg(long, global = true, hide = true, value_name = "DIR", env = "HOD_REGISTRIES_CONF_DIR", hide_env = true)]
    pub(crate) registries_conf_dir: Option<PathBuf>,
    /// Directory for large temporary files, such as images of a daemon and compressed archives [default: /var/tmp]
    #[arg(long, global = true, value_name = "DIR", env = "HOD_TMPDIR", hide_env = true)]
    pub(crate) tmpdir: Option<PathBuf>,
}

impl SkopeoArgs {
    /// The platform of the selected images.
    pub(crate) fn platform(&self) -> Result<Platform, hod_oci::PlatformError> {
        let native = Platform::native_linux();
        let os = self.override_os.as_deref().unwrap_or(&native.os);
        let architecture = self.override_arch.as_deref().unwrap_or(&native.architecture);
        match &self.override_variant {
            Some(variant) => format!("{os}/{architecture}/{variant}").parse(),
            None => format!("{os}/{architecture}").parse(),
        }
    }
}
