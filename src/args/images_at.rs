//! Arguments of the commands that inspect and delete images in their places, with skopeo's names.

use std::path::PathBuf;

use clap::Args;

use super::{RegistryArgs, RetryArgs};

// `hod inspect`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod inspect docker://alpine:3.20\n  \
    hod inspect --raw docker://alpine:3.20 | sha256sum\n  \
    hod inspect --config oci:images:alpine:3.20\n  \
    hod inspect docker-daemon:web:1.0\n  \
    hod inspect --format '{{.Name}} {{.Digest}}' store:store:web:1.0")]
pub(crate) struct InspectArgs {
    /// Image, as TRANSPORT:PLACE
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Print the unchanged manifest; with --config, the unchanged config
    #[arg(long, env = "HOD_RAW", hide_env = true, value_parser = super::flag())]
    pub(crate) raw: bool,
    /// Print the config in OCI format
    #[arg(long, env = "HOD_INSPECT_CONFIG", hide_env = true, value_parser = super::flag())]
    pub(crate) config: bool,
    /// Format the output with a Go template, such as '{{.Digest}}'
    #[arg(short, long, env = "HOD_TEMPLATE", hide_env = true, value_name = "TEMPLATE", conflicts_with = "raw")]
    pub(crate) format: Option<String>,
    /// Do not list the tags of the repository
    #[arg(short, long, env = "HOD_NO_TAGS", hide_env = true, value_parser = super::flag())]
    pub(crate) no_tags: bool,
    /// Daemon for a docker-daemon image: `unix:///PATH`, `tcp://HOST:PORT` or `ssh://HOST`
    /// [default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]
    #[arg(long, value_name = "HOST", env = "HOD_DAEMON_HOST", hide_env = true)]
    pub(crate) daemon_host: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

// `hod list-tags`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod list-tags docker://alpine\n  \
    hod list-tags docker-archive:images.tar\n  \
    hod list-tags store:store:web")]
pub(crate) struct ListTagsArgs {
    /// Repository, layout or archive, as TRANSPORT:PLACE
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

// `hod delete`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod delete docker://registry.site:5000/web:1.0\n  \
    hod delete --tag-only docker://harbor.site/project/web:1.0\n  \
    hod delete oci:images:web:1.0")]
pub(crate) struct DeleteArgs {
    /// Images, as `docker://NAME` or `oci:PATH:NAME`
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    /// Remove only the tag, and keep the manifest and its other tags; some registries do not support this
    #[arg(long, env = "HOD_TAG_ONLY", hide_env = true, value_parser = super::flag())]
    pub(crate) tag_only: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

// `hod manifest-digest`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  hod manifest-digest image/manifest.json")]
pub(crate) struct ManifestDigestArgs {
    /// File with a manifest
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

// `hod login`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod login registry.site:5000\n  \
    hod login -u robot --password-stdin registry.site:5000 < password\n  \
    hod login --get-login registry.site:5000")]
pub(crate) struct LoginArgs {
    /// Registry, or a path in it, as HOST[:PORT][/PATH]
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: String,
    /// User name
    #[arg(short, long, env = "HOD_USERNAME", hide_env = true, value_name = "USER")]
    pub(crate) username: Option<String>,
    /// Password; use --password-stdin to keep it out of process lists
    #[arg(
        short,
        long,
        env = "HOD_PASSWORD",
        hide_env = true,
        hide_env_values = true,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    pub(crate) password: Option<String>,
    /// Read the password from standard input
    #[arg(long, env = "HOD_PASSWORD_STDIN", hide_env = true, value_parser = super::flag(), requires = "username")]
    pub(crate) password_stdin: bool,
    /// Write credentials to this file in the format of Docker, instead of --authfile
    #[arg(long, env = "HOD_COMPAT_AUTH_FILE", hide_env = true, value_name = "FILE", conflicts_with = "authfile")]
    pub(crate) compat_auth_file: Option<PathBuf>,
    /// Print the name of the logged-in user
    #[arg(long, env = "HOD_GET_LOGIN", hide_env = true, value_parser = super::flag())]
    pub(crate) get_login: bool,
    /// Directory with certificates
    #[arg(long, env = "HOD_CERT_DIR", hide_env = true, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
    /// Require HTTPS with a valid certificate; false accepts any certificate and plain HTTP
    #[arg(long, env = "HOD_TLS_VERIFY", hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = super::truth())]
    pub(crate) tls_verify: Option<bool>,
}

// `hod logout`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  hod logout registry.site:5000\n  hod logout --all")]
pub(crate) struct LogoutArgs {
    /// Registry, or a path in it, as HOST[:PORT][/PATH]
    #[arg(value_name = "REGISTRY", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) registry: Option<String>,
    /// Remove all credentials from the file
    #[arg(short, long, value_parser = super::flag())]
    pub(crate) all: bool,
    /// Remove credentials from this file in the format of Docker, instead of --authfile
    #[arg(long, env = "HOD_COMPAT_AUTH_FILE", hide_env = true, value_name = "FILE", conflicts_with = "authfile")]
    pub(crate) compat_auth_file: Option<PathBuf>,
    /// Accepted for compatibility with skopeo; hod sends no request
    #[arg(long, env = "HOD_TLS_VERIFY", hide_env = true, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = super::truth())]
    pub(crate) tls_verify: Option<bool>,
}
