//! Connections to a daemon: over a socket, over TCP, with TLS, or by way of `ssh`.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio_rustls::TlsConnector;

use super::host::SshHost;
use super::{DaemonHost, DaemonTls};
use crate::{Result, TransportError};

/// The most that is kept of what `ssh` says.
const WORDS: u64 = 64 * 1024;

/// A stream to a daemon.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How to come to a daemon.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) host: DaemonHost,
    tls: Option<Arc<ClientConfig>>,
}

/// The `ssh` that carries a connection; it ends with the value.
pub(super) struct SshTunnel {
    _process: Child,
    words: ChildStderr,
}

impl Connector {
    /// Reads the certificates that are needed.
    pub(super) fn new(host: DaemonHost, tls: &DaemonTls) -> Result<Self> {
        let tls = tls.config(&host)?;
        Ok(Self { host, tls })
    }

    /// Connects, and says who carries the connection where it is another process.
    pub(super) async fn connect(&self) -> Result<(Box<dyn Stream>, Option<SshTunnel>)> {
        let unreachable = |source| TransportError::Connect { host: self.host.to_string(), source };
        let stream: Box<dyn Stream> = match &self.host {
            DaemonHost::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(unreachable)?),
            DaemonHost::Ssh(at) => {
                let (stream, carrier) = dial(at).map_err(unreachable)?;
                return Ok((stream, Some(carrier)));
            }
            DaemonHost::Tcp(at) | DaemonHost::Http(at) | DaemonHost::Https(at) => {
                let stream = TcpStream::connect(&**at).await.map_err(unreachable)?;
                match &self.tls {
                    None => Box::new(stream),
                    Some(config) => Box::new(self.secured(at, config, stream).await?),
                }
            }
        };
        Ok((stream, None))
    }

    async fn secured(&self, at: &str, config: &Arc<ClientConfig>, stream: TcpStream) -> Result<impl Stream + use<>> {
        let failed = |source| TransportError::Tls { host: self.host.to_string(), source };
        let name = at.rsplit_once(':').map_or(at, |(name, _)| name).trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| failed(io::Error::other(error)))?;
        TlsConnector::from(config.clone()).connect(name, stream).await.map_err(failed)
    }
}

impl SshTunnel {
    /// What `ssh`, or the program at the other end, has to say when the connection has broken.
    pub(super) async fn words(mut self) -> Option<String> {
        let mut words = Vec::new();
        let _ = (&mut self.words).take(WORDS).read_to_end(&mut words).await;
        let words = String::from_utf8_lossy(&words).trim().replace('\n', "; ");
        Some(words).filter(|words| !words.is_empty())
    }
}

/// Lets `ssh` carry a connection to the daemon that `docker` at the other end talks to, as Docker's own tools do.
fn dial(at: &SshHost) -> io::Result<(Box<dyn Stream>, SshTunnel)> {
    let mut command = Command::new("ssh");
    command.args(["-T", "-o", "ConnectTimeout=30"]);
    if let Some(user) = &at.user {
        command.args(["-l", user]);
    }
    if let Some(port) = at.port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", &at.host, "docker"]);
    if let Some(socket) = &at.socket {
        command.args(["--host", &format!("unix://{socket}")]);
    }
    command.args(["system", "dial-stdio"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process =
        command.spawn().map_err(|error| io::Error::new(error.kind(), format!("cannot run ssh: {error}")))?;
    let pipes = (process.stdin.take(), process.stdout.take(), process.stderr.take());
    let (Some(input), Some(output), Some(words)) = pipes else { return Err(io::ErrorKind::BrokenPipe.into()) };
    Ok((Box::new(tokio::io::join(output, input)), SshTunnel { _process: process, words }))
}
