//! Arguments of `hod serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::trust::TrustArgs;
use super::volumes::MediaArgs;

// `hod serve`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod serve store\n  \
    # every image of a bundle, at once and with no unpacking\n  \
    hod serve release.tar.zst\n  \
    # a bundle in volumes\n  \
    hod serve /media/stick\n  \
    # a base and what was packed to build upon it\n  \
    hod serve base.tar update.tar\n  \
    hod serve /var/lib/registry --listen 0.0.0.0:5000 --writable \\\n      \
    --htpasswd users --tls-self-signed\n  \
    # any free port, which is printed\n  \
    hod serve store --listen 127.0.0.1:0")]
pub(crate) struct ServeArgs {
    /// A store, or bundles; of two bundles with one tag the later one counts
    #[arg(value_name = "STORE|BUNDLE", required = true)]
    pub(crate) source: Vec<PathBuf>,
    /// Where to listen; repeatable
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5000",
        env = "HOD_LISTEN",
        hide_env = true,
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// Check every byte and link before listening
    #[arg(long, env = "HOD_VERIFY", hide_env = true, value_parser = super::flag())]
    pub(crate) verify: bool,
    /// Print a line for every answer, on standard error
    #[arg(long, value_enum, default_value_t = AccessLogArg::Off, value_name = "FORM", env = "HOD_ACCESS_LOG", hide_env = true)]
    pub(crate) access_log: AccessLogArg,
    /// Connections at a time; more have to wait
    #[arg(long, value_name = "N", default_value_t = 400, env = "HOD_MAX_CONNECTIONS", hide_env = true)]
    pub(crate) max_connections: usize,
    /// Connections at a time from one address, as of a proxy or router [default: half of --max-connections]
    #[arg(long, value_name = "N", env = "HOD_MAX_CONNECTIONS_PER_ADDRESS", hide_env = true)]
    pub(crate) max_connections_per_address: Option<usize>,
    /// Uploads at a time, half of them by one user; more are refused
    #[arg(long, value_name = "N", default_value_t = 100, env = "HOD_MAX_UPLOADS", hide_env = true)]
    pub(crate) max_uploads: usize,
    #[command(flatten)]
    pub(crate) writing: WritingArgs,
    #[command(flatten)]
    pub(crate) admission: AdmissionArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) media: MediaArgs,
}

// What clients may write.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writing")]
pub(crate) struct WritingArgs {
    /// Let clients push to the store, which is made where it is missing
    #[arg(long, env = "HOD_WRITABLE", hide_env = true, value_parser = super::flag())]
    pub(crate) writable: bool,
    /// Let clients delete tags, manifests and blobs
    #[arg(long, requires = "writable", env = "HOD_ALLOW_DELETE", hide_env = true, value_parser = super::flag())]
    pub(crate) allow_delete: bool,
    /// Take an index whose children have not all been pushed
    #[arg(long, requires = "writable", env = "HOD_ALLOW_SPARSE", hide_env = true, value_parser = super::flag())]
    pub(crate) allow_sparse: bool,
}

// Who may use the registry.
#[derive(Debug, Args)]
#[command(next_help_heading = "Users")]
pub(crate) struct AdmissionArgs {
    /// Users who may pull and push: a file as htpasswd -B writes it
    #[arg(long, value_name = "FILE", env = "HOD_HTPASSWD", hide_env = true)]
    pub(crate) htpasswd: Option<PathBuf>,
    /// Users who may only pull, likewise
    #[arg(long, value_name = "FILE", env = "HOD_HTPASSWD_READ", hide_env = true)]
    pub(crate) htpasswd_read: Option<PathBuf>,
    /// Let everybody pull, and ask for a user only to push
    #[arg(long, requires = "htpasswd", env = "HOD_ANONYMOUS_READ", hide_env = true, value_parser = super::flag())]
    pub(crate) anonymous_read: bool,
}

// How the registry speaks TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
#[expect(clippy::struct_field_names, reason = "the fields are called as their flags")]
pub(crate) struct TlsArgs {
    /// The certificate, with those between it and its authority; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "HOD_TLS_CERT", hide_env = true)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "HOD_TLS_KEY", hide_env = true)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Make a certificate, and print the authority that clients have to trust
    #[arg(long, conflicts_with = "tls_cert", env = "HOD_TLS_SELF_SIGNED", hide_env = true, value_parser = super::flag(), action = ArgAction::SetTrue)]
    pub(crate) tls_self_signed: bool,
    /// A name or address that clients use for this machine, for the certificate; repeatable
    #[arg(
        long,
        value_name = "NAME",
        requires = "tls_self_signed",
        env = "HOD_TLS_NAME",
        hide_env = true,
        value_delimiter = ','
    )]
    pub(crate) tls_name: Vec<String>,
}

/// In what form answers are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLogArg {
    /// Not at all
    Off,
    /// A line for people
    Text,
    /// A JSON document a line
    Json,
}
