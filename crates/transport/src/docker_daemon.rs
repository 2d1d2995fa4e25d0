//! `docker-daemon:` — what Docker or podman runs from, over its API: a socket, TCP with or without TLS, or `ssh`.
//!
//! An image is read with `GET /images/get` and written with `POST /images/load` (Docker Engine API, "Image"); both
//! move an archive as of `docker save`. What comes is kept in a nameless file until it has been read; what goes is
//! made on the way, and the daemon takes it when its last byte is there.

mod api;
mod connect;
mod host;
mod sink;
mod tls;

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

pub use host::{DaemonHost, SshHost};
pub use sink::DockerDaemonSink;
pub use tls::DaemonTls;

use connect::Connector;

use super::TransportError;
use super::archive::scratch;
use super::docker_archive::{DockerArchive, DockerArchiveSource};
use super::location::DaemonImage;
use hod_oci::Digest;

/// A daemon that keeps images.
#[derive(Debug, Clone)]
pub struct DockerDaemon {
    connector: Connector,
    /// Where large temporary files go.
    scratch: PathBuf,
}

/// What a daemon says of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DaemonDescription {
    id: String,
}

impl DockerDaemon {
    /// The daemon at an address; large temporary files go to the folder `scratch`. Reads certificates, asks nothing yet.
    pub fn new(host: DaemonHost, tls: &DaemonTls, scratch: &Path) -> super::Result<Self> {
        Ok(Self { connector: Connector::new(host, tls)?, scratch: scratch.to_owned() })
    }

    /// Takes an image out of the daemon, and keeps it in a nameless file for as long as the source lives.
    pub async fn source(&self, image: &DaemonImage) -> super::Result<DockerArchiveSource> {
        self.named_source(&image.to_string()).await
    }

    /// The same for whatever the daemon understands as an image.
    pub(super) async fn named_source(&self, image: &str) -> super::Result<DockerArchiveSource> {
        let answer = api::get(&self.connector, &format!("/images/get?names={image}")).await?;
        let mut answer = answer.checked("cannot export the image").await?;
        let mut file = scratch(&self.scratch)?;
        while let Some(chunk) = answer.chunk().await? {
            file = write(file, chunk).await?;
        }
        let (label, folder) = (PathBuf::from(format!("{image} in {}", self.connector.host)), self.scratch.clone());
        let open = move || DockerArchive::of_file(&label, file, &folder)?.source(None);
        tokio::task::spawn_blocking(open).await.map_err(stopped)?
    }

    /// Whether a daemon is there.
    pub(super) async fn answers(&self) -> bool {
        api::get(&self.connector, "/_ping").await.is_ok_and(|answer| answer.status() == 200)
    }

    /// The id of the image of that name, if the daemon has one: the digest of its config, or of its manifest.
    async fn id(&self, name: &str) -> super::Result<Option<Digest>> {
        let answer = api::get(&self.connector, &format!("/images/{name}/json")).await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let text = answer.checked("cannot describe the image").await?.text().await?;
        let described: Option<DaemonDescription> = serde_json::from_slice(&text).ok();
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
