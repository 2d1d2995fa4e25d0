//! Writing one image to a daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::connect::Connector;
use super::{DockerDaemon, api, stopped};
use crate::archive::TarStream;
use crate::files::blocking;
use crate::{DockerArchiveSink, TransportError};
use hod_engine::endpoint::{EndpointError, Place, Placement, Result, Sink, Verified};
use hod_oci::{Descriptor, Graph, Reference, Tag};

/// A daemon to write one image to. The daemon has it when `publish` returns, and nothing of it before.
#[derive(Debug)]
pub struct DockerDaemonSink {
    daemon: DockerDaemon,
    archive: DockerArchiveSink,
    load: Mutex<Load>,
    /// Whether it was found to have the image: then it has the layers of it, too.
    has_image: AtomicBool,
}

/// The request that takes the archive.
#[derive(Debug)]
enum Load {
    /// Not made before there is something to send.
    Waiting(mpsc::Receiver<Option<Bytes>>),
    Running(JoinHandle<crate::Result<()>>),
    /// With what the daemon refused it, if it did.
    Ended(Option<Arc<TransportError>>),
}

impl DockerDaemonSink {
    pub(super) fn new(daemon: DockerDaemon, archive: DockerArchiveSink, chunks: mpsc::Receiver<Option<Bytes>>) -> Self {
        Self { daemon, archive, load: Mutex::new(Load::Waiting(chunks)), has_image: AtomicBool::new(false) }
    }

    /// The same image with more names.
    pub fn with_names(self, names: &[String]) -> crate::Result<Self> {
        Ok(Self { archive: self.archive.with_names(names)?, ..self })
    }

    /// Makes the request, if that has not been done.
    async fn begin(&self) {
        let mut load = self.load.lock().await;
        *load = match std::mem::replace(&mut *load, Load::Ended(None)) {
            Load::Waiting(chunks) => Load::Running(tokio::spawn(send(self.daemon.connector.clone(), chunks))),
            other => other,
        };
    }

    /// Waits for what the daemon says. Several layers may be under way when it refuses: each is told the same.
    async fn end(&self) -> crate::Result<()> {
        let mut load = self.load.lock().await;
        let refused = match std::mem::replace(&mut *load, Load::Ended(None)) {
            Load::Running(request) => request.await.map_err(stopped).flatten().err().map(Arc::new),
            Load::Ended(refused) => refused,
            Load::Waiting(_) => None,
        };
        *load = Load::Ended(refused.clone());
        refused.map_or(Ok(()), |error| Err(TransportError::Shared(error)))
    }

    /// Where the daemon has stopped reading, its own words say more than that.
    async fn explained(&self, error: EndpointError) -> EndpointError {
        let broke_off = error.cause().downcast_ref::<TransportError>().is_some_and(
            |error| matches!(error, TransportError::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe),
        );
        if !broke_off {
            return error;
        }
        self.end().await.err().map_or(error, Into::into)
    }
}

/// Sends the archive and reads the answer, which is a line of JSON for each thing that happens.
async fn send(connector: Connector, chunks: mpsc::Receiver<Option<Bytes>>) -> crate::Result<()> {
    #[derive(serde::Deserialize)]
    struct Line {
        error: Option<String>,
    }
    let refuses = "cannot import the image";
    let answer = api::post(&connector, "/images/load?quiet=1", chunks).await?;
    let answer = answer.checked(refuses).await?;
    let status = answer.status();
    let text = answer.text().await?;
    let lines = serde_json::Deserializer::from_slice(&text).into_iter::<Line>();
    match lines.map_while(std::result::Result::ok).find_map(|line| line.error) {
        Some(message) => Err(TransportError::Daemon { host: connector.host.to_string(), refuses, status, message }),
        None => Ok(()),
    }
}

#[async_trait]
impl Sink for DockerDaemonSink {
    fn place(&self) -> &Place {
        self.archive.place()
    }

    async fn published(&self, graph: &Graph, tags: &[Tag]) -> Result<bool> {
        self.archive.published(graph, tags).await?;
        let Some(config) = graph.root.manifest.config() else { return Ok(false) };
        for name in self.archive.names() {
            if self.daemon.id(name).await? != Some(config.digest) {
                return Ok(false);
            }
        }
        self.has_image.store(true, Ordering::Relaxed);
        Ok(true)
    }

    fn holds_foreign_layers(&self) -> bool {
        true
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        Ok(self.has_image.load(Ordering::Relaxed) || self.archive.contains(content).await?)
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        if !content.media_type.is_image_config() {
            self.begin().await;
        }
        match self.archive.put(content, body).await {
            Ok(placed) => Ok(placed),
            Err(error) => Err(self.explained(error).await),
        }
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, tags: &[Tag]) -> Result<()> {
        self.begin().await;
        let archive = self.archive.clone();
        let complete = async {
            self.archive.publish(root, bytes, tags).await?;
            blocking(move || archive.finish()).await
        };
        match complete.await {
            Ok(()) => Ok(self.end().await?),
            Err(error) => Err(self.explained(error).await),
        }
    }
}

impl DockerDaemon {
    /// The daemon as the place for an image of that name.
    pub fn sink(&self, name: &Reference) -> DockerDaemonSink {
        let (tar, chunks) = TarStream::new();
        let label = PathBuf::from(format!("{name} in {}", self.connector.host));
        let archive = DockerArchiveSink::stream(&label, name, tar, &self.scratch);
        DockerDaemonSink::new(self.clone(), archive, chunks)
    }
}
