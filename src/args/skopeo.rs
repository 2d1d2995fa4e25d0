//! The flags that skopeo takes before its command, so that scripts need not change.

use std::path::PathBuf;

use clap::Args;

use hod_oci::Platform;

// skopeo's old flag for every registry that a command has to do with, before the command.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "All registries")]
pub(crate) struct TlsVerifyArgs {
    /// Whether to insist on HTTPS with a valid certificate at each registry whose own flag does not say
    #[arg(id = "tls_verify_of_all", long = "tls-verify", hide = true, value_name = "BOOL", env = "HOD_TLS_VERIFY", hide_env = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::truth())]
    pub(crate) tls_verify: Option<bool>,
}

// skopeo's global flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options as in skopeo")]
pub(crate) struct SkopeoArgs {
    /// Choose images for this architecture instead of the machine's
    #[arg(long, global = true, value_name = "ARCH", env = "HOD_OVERRIDE_ARCH", hide_env = true)]
    pub(crate) override_arch: Option<String>,
    /// Choose images for this operating system instead of linux
    #[arg(long, global = true, value_name = "OS", env = "HOD_OVERRIDE_OS", hide_env = true)]
    pub(crate) override_os: Option<String>,
    /// Choose images for this variant of the architecture
    #[arg(long, global = true, value_name = "VARIANT", env = "HOD_OVERRIDE_VARIANT", hide_env = true)]
    pub(crate) override_variant: Option<String>,
    /// Heed no trust policy: images may come from anywhere
    #[arg(long, global = true, env = "HOD_INSECURE_POLICY", hide_env = true, value_parser = super::flag())]
    pub(crate) insecure_policy: bool,
    /// The trust policy: which images may be taken from where, and who must have signed them
    /// [default: the policy.json of the containers tools, where there is one]
    #[arg(long, global = true, value_name = "FILE", env = "HOD_POLICY", hide_env = true)]
    pub(crate) policy: Option<PathBuf>,
    /// Take only images whose signatures the trust policy asks for
    #[arg(long, global = true, env = "HOD_REQUIRE_SIGNED", hide_env = true, value_parser = super::flag())]
    pub(crate) require_signed: bool,
    /// The folder that says where signatures are which registries do not keep
    #[arg(long = "registries.d", global = true, value_name = "DIR", env = "HOD_REGISTRIES_D", hide_env = true)]
    pub(crate) registries_d: Option<PathBuf>,
    /// The one registries.conf to read
    #[arg(long, global = true, hide = true, value_name = "FILE", env = "HOD_REGISTRIES_CONF", hide_env = true)]
    pub(crate) registries_conf: Option<PathBuf>,
    /// The one folder with what adds to registries.conf
    #[arg(long, global = true, hide = true, value_name = "DIR", env = "HOD_REGISTRIES_CONF_DIR", hide_env = true)]
    pub(crate) registries_conf_dir: Option<PathBuf>,
    /// Where large temporary files go: what a daemon gives, compressed archives [default: /var/tmp]
    #[arg(long, global = true, value_name = "DIR", env = "HOD_TMPDIR", hide_env = true)]
    pub(crate) tmpdir: Option<PathBuf>,
}

impl SkopeoArgs {
    /// The platform whose images are chosen.
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
