//! Arguments for access to registries, with skopeo's names.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use hod_engine::copy::RetryPolicy;
use hod_io::secret::Secret;
use hod_oci::RegistryPath;
use hod_registry::Credentials;

// Access to a registry.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryArgs {
    /// User and password for the registry; for several registries, repeat as HOST=USER:PASSWORD.
    /// Process lists show this value, so use --authfile in scripts
    #[arg(
        long,
        value_name = "[HOST=]USER[:PASSWORD]",
        value_delimiter = '\n',
        env = "HOD_CREDS",
        hide_env = true,
        hide_env_values = true,
        conflicts_with_all = ["no_creds", "username"]
    )]
    pub(crate) creds: Vec<String>,
    /// User name for the registry
    #[arg(
        long,
        value_name = "USER",
        env = "HOD_USERNAME",
        hide_env = true,
        requires = "password",
        conflicts_with = "no_creds"
    )]
    pub(crate) username: Option<String>,
    /// Password for the registry
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "HOD_PASSWORD",
        hide_env = true,
        hide_env_values = true,
        requires = "username"
    )]
    pub(crate) password: Option<String>,
    /// Use no credentials
    #[arg(long, env = "HOD_NO_CREDS", hide_env = true, value_parser = super::flag())]
    pub(crate) no_creds: bool,
    /// Bearer token to send unchanged
    #[arg(long, value_name = "TOKEN", env = "HOD_REGISTRY_TOKEN", hide_env = true, hide_env_values = true,
        conflicts_with_all = ["creds", "no_creds", "username"])]
    pub(crate) registry_token: Option<String>,
    /// Directory with *.crt (certificate authorities), *.cert and *.key (client certificate), instead of certs.d
    #[arg(long, value_name = "DIR", env = "HOD_CERT_DIR", hide_env = true)]
    pub(crate) cert_dir: Option<PathBuf>,
    /// Require HTTPS with a valid certificate; false accepts any certificate and plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "HOD_TLS_VERIFY", hide_env = true, value_parser = super::truth())]
    pub(crate) tls_verify: Option<bool>,
}

/// The user and password of flags.
#[derive(Debug, Default)]
pub(crate) struct GivenCredentials {
    /// Those for one host each.
    pub(crate) by_host: Vec<(Box<str>, Credentials)>,
    /// Those without a host.
    pub(crate) alone: Option<Credentials>,
}

impl RegistryArgs {
    /// The users and passwords that were given, in one flag or in two. No problem repeats a password.
    pub(crate) fn credentials(&self) -> Result<GivenCredentials, String> {
        let mut given = GivenCredentials::default();
        for text in &self.creds {
            if text.starts_with("https://") || text.starts_with("http://") {
                return Err("write the registry without https://, as in HOST=USER:PASSWORD".to_owned());
            }
            let (host, credentials) = match of_host(text) {
                Some((host, rest)) => (Some(host), Credentials::from_flag(rest)),
                None => (None, Credentials::from_flag(text)),
            };
            match host {
                Some(host) if given.by_host.iter().any(|(other, _)| **other == *host) => {
                    return Err(format!("two users are given for {host}"));
                }
                Some(host) => given.by_host.push((host.into(), credentials)),
                None if given.alone.is_some() => {
                    return Err("two users are given without a registry: write HOST=USER:PASSWORD".to_owned());
                }
                None => given.alone = Some(credentials),
            }
        }
        let pair = self.username.as_ref().zip(self.password.as_ref());
        let pair = pair.map(|(username, password)| Credentials::Password {
            username: username.clone(),
            password: Secret::new(password.as_str()),
        });
        given.alone = given.alone.or(pair);
        Ok(given)
    }
}

/// Splits `HOST=USER:PASSWORD`. What does not begin with the host of a registry is a user, whose password may have
/// any letters. `name:5000=…` begins with one: it must not reach another registry as a user called `name`.
fn of_host(text: &str) -> Option<(&str, &str)> {
    let (host, rest) = text.split_once('=')?;
    let names_host = host.parse::<RegistryPath>().is_ok_and(|path| path.host.len() == host.len());
    (rest.contains(':') && names_host).then_some((host, rest))
}

// Retries after a temporary failure.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RetryArgs {
    /// Maximum number of retries
    #[arg(long, value_name = "N", default_value_t = 5, env = "HOD_RETRY_TIMES", hide_env = true)]
    retry_times: u32,
    /// Delay before the first retry; each further delay is twice as long
    #[arg(long, value_name = "TIME", default_value = "500ms", env = "HOD_RETRY_DELAY", hide_env = true,
        value_parser = super::duration)]
    retry_delay: Duration,
}

impl RetryArgs {
    /// The policy that these flags ask for.
    pub(crate) const fn policy(&self) -> RetryPolicy {
        RetryPolicy { times: self.retry_times, delay: self.retry_delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(creds: &[&str]) -> Result<Vec<String>, String> {
        let creds = creds.iter().map(|text| (*text).to_owned()).collect();
        let GivenCredentials { by_host, alone } = RegistryArgs { creds, ..RegistryArgs::default() }.credentials()?;
        let shown = |host: &str, credentials: Credentials| match credentials {
            Credentials::Password { username, password } => format!("{host}|{username}|{}", password.expose()),
            other => format!("{other:?}"),
        };
        let by_host = by_host.into_iter().map(|(host, credentials)| shown(&host, credentials));
        Ok(by_host.chain(alone.map(|alone| shown("", alone))).collect())
    }

    #[test]
    fn a_registry_stands_before_the_user() {
        for (text, read) in [
            ("bob:pw", "|bob|pw"),
            ("bob", "|bob|"),
            ("bob:p=w:x==", "|bob|p=w:x=="),
            ("bob:MTIz==", "|bob|MTIz=="),
            ("bob:12=x", "|bob|12=x"),
            ("bob:70000=x:y", "|bob|70000=x:y"),
            ("me@a.example:p=w:x", "|me@a.example|p=w:x"),
            ("a=b:c", "|a=b|c"),
            ("r.example=bob:p=w:x", "r.example|bob|p=w:x"),
            ("r.example:5000=bob:", "r.example:5000|bob|"),
            ("localhost=bob:pw", "localhost|bob|pw"),
            ("registry:5000=bob:pw", "registry:5000|bob|pw"),
            ("[::1]:5000=bob:pw", "[::1]:5000|bob|pw"),
        ] {
            assert_eq!(given(&[text]).unwrap(), [read], "{text}");
        }
        assert_eq!(
            given(&["a.example=b:1", "me:2", "c.example=d:3"]).unwrap(),
            ["a.example|b|1", "c.example|d|3", "|me|2"]
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_the_password() {
        for wrong in [
            &["https://r.example=bob:hunter2"][..],
            &["a.example=b:hunter2", "a.example=c:hunter2"],
            &["bob:hunter2", "eve:hunter2"],
        ] {
            let problem = given(wrong).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
