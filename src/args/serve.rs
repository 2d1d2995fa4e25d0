//! Arguments of `hod serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum};

use super::listen::{ListenAddresses, listen_addresses};
use super::trust::TrustArgs;
use super::volumes::MediaArgs;

// `hod serve`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod serve store\n  \
    # all images of a bundle, without unpacking it\n  \
    hod serve release.tar.zst\n  \
    # a bundle in volumes\n  \
    hod serve /media/stick\n  \
    # a base bundle and a delta bundle\n  \
    hod serve base.tar update.tar\n  \
    hod serve /var/lib/registry --listen 0.0.0.0:5000 --writable \\\n      \
    --htpasswd users --tls-self-signed\n  \
    # at all addresses of this machine\n  \
    hod serve store --listen :5000\n  \
    # listen on any free port, and print it\n  \
    hod serve store --listen 127.0.0.1:0")]
pub(crate) struct ServeArgs {
    /// Store or bundles; if two bundles have the same tag, the later bundle wins
    #[arg(value_name = "STORE|BUNDLE", required_unless_present = "store")]
    source: Vec<PathBuf>,
    /// Store, instead of the arguments
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    store: Option<PathBuf>,
    /// Address to listen on, as HOST:PORT, [IPV6]:PORT, :PORT for all addresses, or PORT for 127.0.0.1; repeatable or
    /// comma-separated
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5000",
        env = "HOD_LISTEN",
        hide_env = true,
        value_delimiter = ',',
        value_parser = listen_addresses
    )]
    listen: Vec<ListenAddresses>,
    /// Check every byte and link before listening
    #[arg(long, env = "HOD_VERIFY", hide_env = true, value_parser = super::flag())]
    pub(crate) verify: bool,
    /// Print a line for every response on standard error
    #[arg(long, value_enum, default_value_t = AccessLogArg::Off, value_name = "FORM", env = "HOD_ACCESS_LOG", hide_env = true)]
    pub(crate) access_log: AccessLogArg,
    /// Maximum concurrent connections; further connections wait
    #[arg(long, value_name = "N", default_value_t = 400, env = "HOD_MAX_CONNECTIONS", hide_env = true)]
    pub(crate) max_connections: usize,
    /// Maximum concurrent connections from one address, such as a proxy or router [default: half of --max-connections]
    #[arg(long, value_name = "N", env = "HOD_MAX_CONNECTIONS_PER_ADDRESS", hide_env = true)]
    pub(crate) max_connections_per_address: Option<usize>,
    /// Maximum concurrent uploads; one user gets at most half of them, and further uploads are refused
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

impl ServeArgs {
    /// What to serve.
    pub(crate) fn sources(&self) -> Vec<&Path> {
        let named = self.source.iter().map(PathBuf::as_path);
        if self.source.is_empty() { self.store.as_deref().into_iter().collect() } else { named.collect() }
    }

    /// Where to listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listen.iter().flat_map(|addresses| &addresses.0).copied().collect()
    }
}

// Write access of clients.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writing")]
pub(crate) struct WritingArgs {
    /// Let clients push to the store; creates the store if missing
    #[arg(long, env = "HOD_WRITABLE", hide_env = true, value_parser = super::flag())]
    pub(crate) writable: bool,
    /// Let clients delete tags, manifests and blobs
    #[arg(long, requires = "writable", env = "HOD_ALLOW_DELETE", hide_env = true, value_parser = super::flag())]
    pub(crate) allow_delete: bool,
    /// Accept an index with missing children
    #[arg(long, requires = "writable", env = "HOD_ALLOW_SPARSE", hide_env = true, value_parser = super::flag())]
    pub(crate) allow_sparse: bool,
}

// Users of the registry.
#[derive(Debug, Args)]
#[command(next_help_heading = "Users")]
pub(crate) struct AdmissionArgs {
    /// File with users who may pull and push, as written by htpasswd -B
    #[arg(long, value_name = "FILE", env = "HOD_HTPASSWD", hide_env = true)]
    pub(crate) htpasswd: Option<PathBuf>,
    /// File with users who may only pull, as written by htpasswd -B
    #[arg(long, value_name = "FILE", env = "HOD_HTPASSWD_READ", hide_env = true)]
    pub(crate) htpasswd_read: Option<PathBuf>,
    /// Let everybody pull, and require a user only to push
    #[arg(long, requires = "htpasswd", env = "HOD_ANONYMOUS_READ", hide_env = true, value_parser = super::flag())]
    pub(crate) anonymous_read: bool,
}

// TLS of the registry.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
#[expect(clippy::struct_field_names, reason = "the fields are called as their flags")]
pub(crate) struct TlsArgs {
    /// Certificate chain, without the root; hod reads it again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "HOD_TLS_CERT", hide_env = true)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "HOD_TLS_KEY", hide_env = true)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Create a certificate, and print the certificate authority that clients must trust
    #[arg(long, conflicts_with = "tls_cert", env = "HOD_TLS_SELF_SIGNED", hide_env = true, value_parser = super::flag(), action = ArgAction::SetTrue)]
    pub(crate) tls_self_signed: bool,
    /// Name or address of this machine for the certificate; repeatable or comma-separated
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

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLogArg {
    /// No access log
    Off,
    /// One line of text per response
    Text,
    /// One JSON document per response
    Json,
}
