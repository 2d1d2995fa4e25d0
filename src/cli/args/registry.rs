//! Arguments for talking to registries; skopeo's names where it has them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::copy::RetryPolicy;
use crate::registry::Credentials;
use crate::secret::Secret;

// How to talk to a registry.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub(in crate::cli) struct RegistryArgs {
    /// User and password for the registry; in scripts rather use --authfile, which no process list shows
    #[arg(
        long,
        value_name = "USER[:PASSWORD]",
        env = "HOD_CREDS",
        hide_env = true,
        hide_env_values = true,
        conflicts_with_all = ["no_creds", "username"]
    )]
    pub(in crate::cli) creds: Option<String>,
    /// User for the registry
    #[arg(
        long,
        value_name = "USER",
        env = "HOD_USERNAME",
        hide_env = true,
        requires = "password",
        conflicts_with = "no_creds"
    )]
    pub(in crate::cli) username: Option<String>,
    /// Password for the registry
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "HOD_PASSWORD",
        hide_env = true,
        hide_env_values = true,
        requires = "username"
    )]
    pub(in crate::cli) password: Option<String>,
    /// Use no credentials at all
    #[arg(long, env = "HOD_NO_CREDS", hide_env = true, value_parser = super::flag())]
    pub(in crate::cli) no_creds: bool,
    /// A bearer token to send as it is
    #[arg(long, value_name = "TOKEN", env = "HOD_REGISTRY_TOKEN", hide_env = true, hide_env_values = true,
        conflicts_with_all = ["creds", "no_creds", "username"])]
    pub(in crate::cli) registry_token: Option<String>,
    /// A folder with *.crt (authorities), *.cert and *.key (this client), instead of certs.d
    #[arg(long, value_name = "DIR", env = "HOD_CERT_DIR", hide_env = true)]
    pub(in crate::cli) cert_dir: Option<PathBuf>,
    /// Whether to insist on HTTPS with a valid certificate; false takes any certificate, and plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "HOD_TLS_VERIFY", hide_env = true, value_parser = super::truth())]
    pub(in crate::cli) tls_verify: Option<bool>,
}

impl RegistryArgs {
    /// The user and password that were given, in one flag or in two.
    pub(in crate::cli) fn credentials(&self) -> Option<Credentials> {
        let pair = self.username.as_ref().zip(self.password.as_ref());
        let pair = pair.map(|(username, password)| Credentials::Password {
            username: username.clone(),
            password: Secret::new(password.as_str()),
        });
        self.creds.as_deref().map(Credentials::from_flag).or(pair)
    }
}

// What happens when a registry fails for a while.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry options")]
pub(in crate::cli) struct RetryArgs {
    /// How often to try again
    #[arg(long, value_name = "N", default_value_t = 5, env = "HOD_RETRY_TIMES", hide_env = true)]
    retry_times: u32,
    /// The first pause before trying again; each further one is twice as long
    #[arg(long, value_name = "TIME", default_value = "500ms", env = "HOD_RETRY_DELAY", hide_env = true,
        value_parser = super::duration)]
    retry_delay: Duration,
}

impl RetryArgs {
    /// The policy that these flags ask for.
    pub(in crate::cli) const fn policy(&self) -> RetryPolicy {
        RetryPolicy { times: self.retry_times, delay: self.retry_delay }
    }
}
