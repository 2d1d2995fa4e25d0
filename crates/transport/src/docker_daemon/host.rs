//! Where a daemon listens: the forms of `DOCKER_HOST`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::TransportError;

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonHost {
    /// `unix:///PATH`.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`, with TLS or without.
    Tcp(Box<str>),
    /// `http://HOST:PORT`.
    Http(Box<str>),
    /// `https://HOST:PORT`.
    Https(Box<str>),
    /// `ssh://[USER@]HOST[:PORT][/PATH]`: what `docker` there talks to, or listens at the path.
    Ssh(SshHost),
}

/// A machine that is reached by `ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHost {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// The socket there, if it is not the usual one.
    pub(super) socket: Option<String>,
}

impl Default for DaemonHost {
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }
}

impl FromStr for DaemonHost {
    type Err = TransportError;

    fn from_str(text: &str) -> super::super::Result<Self> {
        let bad = || TransportError::DaemonHost(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        Ok(match scheme {
            "unix" if !rest.is_empty() => Self::Unix(rest.into()),
            // Docker's ports: 2375, and 2376 with TLS.
            "tcp" => Self::Tcp(authority(rest, 2375).ok_or_else(bad)?),
            "http" => Self::Http(authority(rest, 2375).ok_or_else(bad)?),
            "https" => Self::Https(authority(rest, 2376).ok_or_else(bad)?),
            "ssh" => Self::Ssh(rest.parse().map_err(|()| bad())?),
            _ => return Err(bad()),
        })
    }
}

/// `HOST:PORT`, with Docker's port where none is given.
fn authority(rest: &str, port: u16) -> Option<Box<str>> {
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '@', '?', '#']) {
        return None;
    }
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { rest.into() } else { format!("{rest}:{port}").into() })
}

impl FromStr for SshHost {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (authority, path) = text.split_once('/').map_or((text, ""), |(authority, path)| (authority, path));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| ())?)),
            None => (host, None),
        };
        // ssh reads what begins with a dash as an option, and the shell at the other end reads the path.
        let is_plain = |text: &str| {
            let plain = |character: char| character.is_ascii_alphanumeric() || "._-/[]:%".contains(character);
            !text.starts_with('-') && text.chars().all(plain)
        };
        if host.is_empty()
            || !is_plain(host)
            || !is_plain(path)
            || user.is_some_and(|user| user.is_empty() || !is_plain(user))
        {
            return Err(());
        }
        let socket = Some(path).filter(|path| !path.is_empty()).map(|path| format!("/{path}"));
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port, socket })
    }
}

impl fmt::Display for DaemonHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Https(authority) => write!(f, "https://{authority}"),
            Self::Ssh(host) => write!(f, "ssh://{host}"),
        }
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_docker() {
        let host = |text: &str| text.parse::<DaemonHost>().map(|host| host.to_string()).ok();
        for same in [
            "unix:///run/x.sock",
            "tcp://10.0.0.1:2375",
            "http://h:80",
            "https://h:443",
            "ssh://h",
            "ssh://me@h:22/run/user/1000/podman/podman.sock",
        ] {
            assert_eq!(host(same).as_deref(), Some(same));
        }
        assert_eq!(host("tcp://10.0.0.1:2375/").as_deref(), Some("tcp://10.0.0.1:2375"));
        assert_eq!(host("tcp://h").as_deref(), Some("tcp://h:2375"));
        assert_eq!(host("https://[::1]").as_deref(), Some("https://[::1]:2376"));
        for bad in [
            "",
            "unix://",
            "/run/x.sock",
            "tcp://",
            "tcp://h/x",
            "npipe:////./x",
            "tcp://u@h:1",
            "ssh://",
            "ssh://-oX",
            "ssh://@h",
            "ssh://h:x",
            "ssh://h/$(x)",
            "ssh://h;x",
        ] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }
}
