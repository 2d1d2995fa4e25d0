//! How registries are to be dealt with, and what of that an environment says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::credentials::CredentialSources;
use super::lookaside::LookasideSources;
use super::registries_conf::RegistriesConfSources;
use hod_io::secret::Secret;

/// How registries are to be dealt with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The sources of credentials.
    pub credentials: CredentialSources,
    /// A token that a registry gets as it is, instead of credentials. It goes where those given without a host go.
    pub registry_token: Option<Secret>,
    /// The directory with certificates for every registry, in place of `certs_d`.
    pub cert_dir: Option<PathBuf>,
    /// Directories that have a directory with certificates for each registry; the first that has one counts.
    pub certs_d: Vec<PathBuf>,
    /// Where it is configured which registry is read where.
    pub registries_conf: RegistriesConfSources,
    /// Where it is configured where signatures are that registries do not keep.
    pub lookaside: LookasideSources,
    /// A file with the CA certificates to trust, in place of the system's.
    pub ssl_cert_file: Option<PathBuf>,
    /// Directories of such files.
    pub ssl_cert_dirs: Vec<PathBuf>,
    /// `false`: take any certificate, and plain HTTP where there is no HTTPS. `true`: neither, not even from this
    /// machine. Not set: plain HTTP from this machine alone.
    pub tls_verify: Option<bool>,
    /// The user agent of the client.
    pub user_agent: String,
    /// How many idle connections to a host are kept.
    pub connections: usize,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// How long a KiB may take on a connection, and the first byte of an answer.
    pub stall_timeout: Duration,
}

impl Settings {
    /// The settings that an environment asks for; `variable` reads it.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| value(name).map(PathBuf::from);
        let home = path("HOME").map(|home| home.join(".config"));
        let user = path("XDG_CONFIG_HOME").or(home).map(|directory| directory.join("containers"));
        let below = |name: &str| user.as_ref().map(|directory| directory.join(name));
        let both = |name: &str| below(name).into_iter().chain([Path::new("/etc/containers").join(name)]).collect();
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        let registries_conf = RegistriesConfSources {
            file: path("CONTAINERS_REGISTRIES_CONF"),
            folder: None,
            files: both("registries.conf"),
            // The user's last, so that they win.
            folders: both("registries.conf.d").into_iter().rev().collect(),
        };
        let split = |list: OsString| std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
        Self {
            credentials: CredentialSources::from_environment(&variable),
            certs_d: below("certs.d").into_iter().chain(system).collect(),
            registries_conf,
            lookaside: LookasideSources {
                folder: None,
                folders: both("registries.d"),
                default: if nix::unistd::Uid::effective().is_root() {
                    Some("/var/lib/containers/sigstore".into())
                } else {
                    path("XDG_DATA_HOME")
                        .or_else(|| path("HOME").map(|home| home.join(".local/share")))
                        .map(|directory| directory.join("containers/sigstore"))
                },
            },
            ssl_cert_file: path("SSL_CERT_FILE"),
            ssl_cert_dirs: value("SSL_CERT_DIR").map(split).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// What an empty environment asks for: nobody's credentials, the system's certificates.
impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: CredentialSources::default(),
            registry_token: None,
            cert_dir: None,
            certs_d: Vec::new(),
            registries_conf: RegistriesConfSources::default(),
            lookaside: LookasideSources::default(),
            ssl_cert_file: None,
            ssl_cert_dirs: Vec::new(),
            tls_verify: None,
            user_agent: concat!("hod/", env!("CARGO_PKG_VERSION")).to_owned(),
            connections: 32,
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn settings(environment: &[(&str, &str)]) -> Settings {
        let variables: HashMap<String, OsString> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Settings::from_environment(|name| variables.get(name).cloned())
    }

    fn shown(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn the_environment_names_files() {
        let plain = settings(&[("HOME", "/home/me"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("SSL_CERT_FILE", "")]);
        assert_eq!(
            shown(&plain.credentials.files),
            [
                "/run/user/7/containers/auth.json",
                "/home/me/.config/containers/auth.json",
                "/home/me/.docker/config.json",
                "/home/me/.dockercfg"
            ]
        );
        assert_eq!(
            shown(&plain.certs_d),
            ["/home/me/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"]
        );
        assert_eq!((plain.ssl_cert_file, plain.credentials.authfile), (None, None));
        assert_eq!(
            shown(&plain.registries_conf.files),
            ["/home/me/.config/containers/registries.conf", "/etc/containers/registries.conf"]
        );
        assert_eq!(
            shown(&plain.registries_conf.folders),
            ["/etc/containers/registries.conf.d", "/home/me/.config/containers/registries.conf.d"]
        );
        assert_eq!(plain.registries_conf.file, None);
        let rich = settings(&[
            ("XDG_CONFIG_HOME", "/c"),
            ("DOCKER_CONFIG", "/d"),
            ("REGISTRY_AUTH_FILE", "/a"),
            ("DOCKER_AUTH_CONFIG", "{}"),
            ("CONTAINERS_REGISTRIES_CONF", "/r"),
            ("SSL_CERT_FILE", "/f"),
            ("SSL_CERT_DIR", "/x::/y"),
        ]);
        assert!(shown(&rich.credentials.files).ends_with(&["/c/containers/auth.json", "/d/config.json"]));
        assert_eq!(rich.credentials.authfile, Some(PathBuf::from("/a")));
        assert_eq!(rich.credentials.inline.map(|text| text.expose().to_owned()).as_deref(), Some("{}"));
        assert_eq!(rich.ssl_cert_file, Some(PathBuf::from("/f")));
        assert_eq!(rich.registries_conf.file, Some(PathBuf::from("/r")));
        assert_eq!(shown(&rich.ssl_cert_dirs), ["/x", "/y"]);
    }
}
