//! Arguments for the places at the two ends of a copy: skopeo's `src-` and `dest-` forms.

use std::path::PathBuf;

use clap::Args;

use super::RegistryArgs;

/// One set of arguments for each side; clap cannot put a prefix before flattened ones.
macro_rules! registry_side {
    ($name:ident, $heading:literal, $prefix:literal, $side:literal, $daemon:literal) => {
        #[doc = concat!("How to talk to the ", $side, " registry.")]
        #[derive(Debug, Clone, Args)]
        #[command(next_help_heading = $heading)]
        pub(in crate::cli) struct $name {
            #[doc = concat!("User and password for the ", $side)]
            #[arg(id = concat!($prefix, "creds"), long = concat!($prefix, "creds"), value_name = "USER[:PASSWORD]",
                conflicts_with_all = [concat!($prefix, "no-creds"), concat!($prefix, "username")])]
            creds: Option<String>,
            #[doc = concat!("User for the ", $side)]
            #[arg(id = concat!($prefix, "username"), long = concat!($prefix, "username"), value_name = "USER",
                requires = concat!($prefix, "password"))]
            username: Option<String>,
            #[doc = concat!("Password for the ", $side)]
            #[arg(id = concat!($prefix, "password"), long = concat!($prefix, "password"), value_name = "PASSWORD",
                requires = concat!($prefix, "username"))]
            password: Option<String>,
            #[doc = concat!("Use no credentials for the ", $side)]
            #[arg(id = concat!($prefix, "no-creds"), long = concat!($prefix, "no-creds"))]
            no_creds: bool,
            #[doc = concat!("A bearer token for the ", $side)]
            #[arg(id = concat!($prefix, "registry-token"), long = concat!($prefix, "registry-token"), value_name = "TOKEN")]
            registry_token: Option<String>,
            #[doc = concat!("The file with credentials for the ", $side)]
            #[arg(id = concat!($prefix, "authfile"), long = concat!($prefix, "authfile"), value_name = "FILE")]
            pub(in crate::cli) authfile: Option<PathBuf>,
            #[doc = concat!("A folder with certificates for the ", $side)]
            #[arg(id = concat!($prefix, "cert-dir"), long = concat!($prefix, "cert-dir"), value_name = "DIR")]
            cert_dir: Option<PathBuf>,
            #[doc = concat!("Whether to insist on HTTPS with a valid certificate at the ", $side)]
            #[arg(id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"), value_name = "BOOL",
                num_args = 0..=1, require_equals = true, default_missing_value = "true")]
            tls_verify: Option<bool>,
            #[doc = concat!("The daemon of a docker-daemon ", $side, ": `unix:///PATH` or `tcp://HOST:PORT` ",
                "[default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]")]
            #[arg(id = concat!($prefix, "daemon-host"), long = concat!($prefix, "daemon-host"), value_name = "HOST",
                env = $daemon, hide_env = true)]
            pub(in crate::cli) daemon_host: Option<String>,
        }

        impl $name {
            /// The same arguments without their prefix.
            pub(in crate::cli) fn registry(&self) -> RegistryArgs {
                let pair = self.username.as_ref().zip(self.password.as_ref());
                RegistryArgs {
                    creds: self.creds.clone().or_else(|| pair.map(|(user, password)| format!("{user}:{password}"))),
                    no_creds: self.no_creds,
                    registry_token: self.registry_token.clone(),
                    cert_dir: self.cert_dir.clone(),
                    tls_verify: self.tls_verify,
                }
            }
        }
    };
}

registry_side!(SourceRegistryArgs, "Source registry", "src-", "source", "HOD_SRC_DAEMON_HOST");
registry_side!(DestinationRegistryArgs, "Destination registry", "dest-", "destination", "HOD_DEST_DAEMON_HOST");
