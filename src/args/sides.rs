//! Arguments for both sides of a copy: skopeo's `src-` and `dest-` forms.

use std::path::PathBuf;

use clap::Args;

use super::RegistryArgs;

/// One set of arguments for each side; clap cannot put a prefix before flattened ones.
macro_rules! registry_side {
    ($name:ident, $heading:literal, $prefix:literal, $variable:literal, $side:literal, $daemon:literal) => {
        #[doc = concat!("Access to the ", $side, " registry.")]
        #[derive(Debug, Clone, Args)]
        #[command(next_help_heading = $heading)]
        pub(in crate) struct $name {
            #[arg(help = concat!("User and password for the ", $side, "; for several registries, repeat as HOST=USER:PASSWORD"),
                id = concat!($prefix, "creds"), long = concat!($prefix, "creds"), env = concat!($variable, "CREDS"), hide_env = true, hide_env_values = true, value_name = "[HOST=]USER[:PASSWORD]",
                value_delimiter = '\n',
                conflicts_with_all = [concat!($prefix, "no-creds"), concat!($prefix, "username")])]
            creds: Vec<String>,
            #[arg(help = concat!("User name for the ", $side),
                id = concat!($prefix, "username"), long = concat!($prefix, "username"), env = concat!($variable, "USERNAME"), hide_env = true, value_name = "USER",
                requires = concat!($prefix, "password"))]
            username: Option<String>,
            #[arg(help = concat!("Password for the ", $side),
                id = concat!($prefix, "password"), long = concat!($prefix, "password"), env = concat!($variable, "PASSWORD"), hide_env = true, hide_env_values = true, value_name = "PASSWORD",
                requires = concat!($prefix, "username"))]
            password: Option<String>,
            #[arg(help = concat!("Use no credentials for the ", $side),
                id = concat!($prefix, "no-creds"), long = concat!($prefix, "no-creds"), env = concat!($variable, "NO_CREDS"), hide_env = true, value_parser = super::flag())]
            no_creds: bool,
            #[arg(help = concat!("Bearer token for the ", $side),
                id = concat!($prefix, "registry-token"), long = concat!($prefix, "registry-token"), env = concat!($variable, "REGISTRY_TOKEN"), hide_env = true, hide_env_values = true, value_name = "TOKEN")]
            registry_token: Option<String>,
            #[arg(help = concat!("File with credentials for the ", $side),
                id = concat!($prefix, "authfile"), long = concat!($prefix, "authfile"), env = concat!($variable, "AUTHFILE"), hide_env = true, value_name = "FILE")]
            pub(in crate) authfile: Option<PathBuf>,
            #[arg(help = concat!("Directory with certificates for the ", $side, "; for a daemon: ca.pem, cert.pem and key.pem"),
                id = concat!($prefix, "cert-dir"), long = concat!($prefix, "cert-dir"), env = concat!($variable, "CERT_DIR"), hide_env = true, value_name = "DIR")]
            cert_dir: Option<PathBuf>,
            #[arg(help = concat!("Require HTTPS with a valid certificate at the ", $side),
                id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"), env = concat!($variable, "TLS_VERIFY"), hide_env = true, value_name = "BOOL",
                num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::truth())]
            tls_verify: Option<bool>,
            #[arg(help = concat!("Daemon for a docker-daemon ", $side, ": `unix:///PATH`, `tcp://HOST:PORT` or `ssh://HOST` ",
                    "[default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]"),
                id = concat!($prefix, "daemon-host"), long = concat!($prefix, "daemon-host"), value_name = "HOST",
                env = $daemon, hide_env = true)]
            pub(in crate) daemon_host: Option<String>,
        }

        impl $name {
            /// The same arguments without their prefix.
            pub(in crate) fn registry(&self) -> RegistryArgs {
                RegistryArgs {
                    creds: self.creds.clone(),
                    username: self.username.clone(),
                    password: self.password.clone(),
                    no_creds: self.no_creds,
                    registry_token: self.registry_token.clone(),
                    cert_dir: self.cert_dir.clone(),
                    tls_verify: self.tls_verify,
                }
            }
        }
    };
}

registry_side!(SourceRegistryArgs, "Source registry", "src-", "HOD_SRC_", "source", "HOD_SRC_DAEMON_HOST");
registry_side!(
    DestinationRegistryArgs,
    "Destination registry",
    "dest-",
    "HOD_DEST_",
    "destination",
    "HOD_DEST_DAEMON_HOST"
);
