//! `docker-daemon:` — what Docker or podman runs from, over the socket of its API.
//!
//! An image is read with `GET /images/get` and written with `POST /images/load` (Docker Engine API, "Image"); both
//! move an archive as of `docker save`. What comes is kept in a nameless file until it has been read; what goes is
//! made on the way, and the daemon takes it when its last byte is there.

mod api;
mod sink;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;
use serde::Deserialize;

pub use sink::DockerDaemonSink;

use super::archive::{TarStream, scratch};
use super::docker_archive::{DockerArchive, DockerArchiveSource};
use super::location::DaemonImage;
use super::{DockerArchiveSink, TransportError};
use crate::oci::{Digest, Reference};

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonHost {
    /// `unix:///PATH`.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`, without TLS.
    Tcp(Box<str>),
}

/// A daemon that keeps images.
#[derive(Debug, Clone)]
pub struct DockerDaemon {
    host: DaemonHost,
    /// Where large temporary files go.
    scratch: PathBuf,
}

/// What a daemon says of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    id: String,
}

impl Default for DaemonHost {
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }
}

impl FromStr for DaemonHost {
    type Err = TransportError;

    /// The forms of `DOCKER_HOST`, without those for TLS and SSH.
    fn from_str(text: &str) -> super::Result<Self> {
        let bad = || TransportError::DaemonHost(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let rest = if scheme == "unix" { rest } else { rest.trim_end_matches('/') };
        match scheme {
            _ if rest.is_empty() => Err(bad()),
            "unix" => Ok(Self::Unix(rest.into())),
            "tcp" | "http" if rest.contains(['/', '@', '?', '#']) => Err(bad()),
            "tcp" | "http" if rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                Ok(Self::Tcp(rest.into()))
            }
            "tcp" | "http" => Ok(Self::Tcp(format!("{rest}:2375").into())),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for DaemonHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

impl DockerDaemon {
    /// The daemon at an address; large temporary files go to the folder `scratch`. Nothing is asked yet.
    pub fn new(host: DaemonHost, scratch: &Path) -> Self {
        Self { host, scratch: scratch.to_owned() }
    }

    /// Takes an image out of the daemon, and keeps it in a nameless file for as long as the source lives.
    pub async fn source(&self, image: &DaemonImage) -> super::Result<DockerArchiveSource> {
        self.named_source(&image.to_string()).await
    }

    /// The same for whatever the daemon understands as an image.
    pub(super) async fn named_source(&self, image: &str) -> super::Result<DockerArchiveSource> {
        let answer = api::get(&self.host, &format!("/images/get?names={image}")).await?;
        let mut answer = answer.checked("does not give the image").await?;
        let mut file = scratch(&self.scratch)?;
        while let Some(chunk) = answer.chunk().await? {
            file = write(file, chunk).await?;
        }
        let (label, folder) = (PathBuf::from(format!("{image} in {}", self.host)), self.scratch.clone());
        let open = move || DockerArchive::of_file(&label, file, &folder)?.source(None);
        tokio::task::spawn_blocking(open).await.map_err(stopped)?
    }

    /// The daemon as the place for an image of that name.
    pub fn sink(&self, name: &Reference) -> DockerDaemonSink {
        let (tar, chunks) = TarStream::new();
        let label = PathBuf::from(format!("{name} in {}", self.host));
        let archive = DockerArchiveSink::stream(&label, name, tar, &self.scratch);
        DockerDaemonSink::new(self.clone(), name, archive, chunks)
    }

    /// Whether a daemon is there.
    pub(super) async fn answers(&self) -> bool {
        api::get(&self.host, "/_ping").await.is_ok_and(|answer| answer.status() == 200)
    }

    /// The id of the image of that name, if the daemon has one: the digest of its config, or of its manifest.
    async fn id(&self, name: &Reference) -> super::Result<Option<Digest>> {
        let answer = api::get(&self.host, &format!("/images/{name}/json")).await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let text = answer.checked("does not describe the image").await?.text().await?;
        let described: Option<Described> = serde_json::from_slice(&text).ok();
        let id = described.map(|described| described.id).unwrap_or_default();
        // Podman leaves the algorithm out.
        Ok(id.parse().or_else(|_| format!("sha256:{id}").parse()).ok())
    }
}

/// Appends to a file where that may take its time.
async fn write(mut file: fs::File, chunk: bytes::Bytes) -> super::Result<fs::File> {
    use std::io::Write as _;
    let write = move || file.write_all(&chunk).map(|()| file);
    Ok(tokio::task::spawn_blocking(write).await.map_err(stopped)??)
}

fn stopped(error: tokio::task::JoinError) -> TransportError {
    TransportError::Io(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_docker() {
        let host = |text: &str| text.parse::<DaemonHost>().map(|host| host.to_string()).ok();
        assert_eq!(host("unix:///run/x.sock").as_deref(), Some("unix:///run/x.sock"));
        assert_eq!(host("tcp://10.0.0.1:2375/").as_deref(), Some("tcp://10.0.0.1:2375"));
        assert_eq!(host("http://h:80").as_deref(), Some("tcp://h:80"));
        assert_eq!(host("tcp://h").as_deref(), Some("tcp://h:2375"));
        for bad in
            ["", "unix://", "/run/x.sock", "https://h:2376", "ssh://h", "tcp://h/x", "npipe:////./x", "tcp://u@h:1"]
        {
            assert_eq!(host(bad), None, "{bad}");
        }
    }
}
