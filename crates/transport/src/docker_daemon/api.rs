//! As much HTTP as a daemon's API needs: one request a connection.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::connect::{Connector, SshTunnel};
use crate::{Result, TransportError};

/// The longest text that is kept of an answer.
const TEXT: usize = 1024 * 1024;
/// The longest that is read: what goes on for longer is no answer.
const ENDLESS: u64 = 256 * 1024 * 1024;
/// As many characters of a failure as are shown.
const SHOWN: usize = 400;

type Body = BoxBody<Bytes, std::io::Error>;

/// What a daemon answers; the connection ends with it.
pub(super) struct Answer {
    host: String,
    response: Response<Incoming>,
    connection: JoinHandle<hyper::Result<()>>,
    _carrier: Option<SshTunnel>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Asks for something.
pub(super) async fn get(connector: &Connector, path: &str) -> Result<Answer> {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    send(connector, request(Method::GET, path).body(body)).await
}

/// Sends an archive as it is made, up to the `None` that ends it.
pub(super) async fn post(connector: &Connector, path: &str, chunks: mpsc::Receiver<Option<Bytes>>) -> Result<Answer> {
    let frames = stream::unfold(Some(chunks), |chunks| async {
        let mut chunks = chunks?;
        match chunks.recv().await {
            Some(Some(chunk)) => Some((Ok(Frame::data(chunk)), Some(chunks))),
            Some(None) => None,
            // An archive that nobody completed must not look like a complete one.
            None => Some((Err(std::io::ErrorKind::UnexpectedEof.into()), None)),
        }
    });
    let request = request(Method::POST, path).header("content-type", "application/x-tar");
    send(connector, request.body(BoxBody::new(StreamBody::new(frames)))).await
}

fn request(method: Method, path: &str) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "docker").header("user-agent", "hod")
}

async fn send(connector: &Connector, request: hyper::http::Result<Request<Body>>) -> Result<Answer> {
    let host = connector.host.to_string();
    let request = request.map_err(|error| broken(host.clone(), error))?;
    let (stream, carrier) = connector.connect().await?;
    let error = match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
        Ok((mut sender, connection)) => {
            let connection = tokio::spawn(connection);
            match sender.send_request(request).await {
                Ok(response) => return Ok(Answer { host, response, connection, _carrier: carrier }),
                // The connection had ended by itself, and knows why: a daemon may refuse a client's certificate late.
                Err(error) if error.is_canceled() => match connection.await {
                    Ok(Err(cause)) => cause,
                    _ => error,
                },
                Err(error) => {
                    connection.abort();
                    error
                }
            }
        }
        Err(error) => error,
    };
    match carrier {
        Some(carrier) => match carrier.words().await {
            Some(message) => Err(TransportError::Ssh { host, message }),
            None => Err(broken(host, error)),
        },
        None => Err(broken(host, error)),
    }
}

fn broken(host: String, source: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::Http { host, source: source.into() }
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The next bytes, or `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.response.body_mut().frame().await {
            let frame = frame.map_err(|error| broken(self.host.clone(), error))?;
            if let Ok(chunk) = frame.into_data() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// The rest as text, as far as one would read it.
    pub(super) async fn text(mut self) -> Result<Vec<u8>> {
        let (mut text, mut bytes) = (Vec::new(), 0);
        while let Some(chunk) = self.chunk().await? {
            bytes += chunk.len() as u64;
            if bytes > ENDLESS {
                let problem = format!("its response has more than {} MiB", ENDLESS >> 20);
                return Err(broken(self.host.clone(), std::io::Error::other(problem)));
            }
            let room = TEXT.saturating_sub(text.len()).min(chunk.len());
            text.extend_from_slice(chunk.get(..room).unwrap_or_default());
        }
        Ok(text)
    }

    /// Passes an answer on that is none of failure.
    pub(super) async fn checked(self, refuses: &'static str) -> Result<Self> {
        let status = self.status();
        if (200..300).contains(&status) {
            return Ok(self);
        }
        let host = self.host.clone();
        let text = self.text().await?;
        Err(TransportError::Daemon { host, refuses, status, message: message(&text) })
    }
}

/// The words of a failure: `{"message":"…"}`, or whatever came.
fn message(text: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Failure {
        message: String,
    }
    let message = match serde_json::from_slice::<Failure>(text) {
        Ok(failure) => failure.message.into(),
        Err(_) => String::from_utf8_lossy(text),
    };
    message.trim().chars().take(SHOWN).collect()
}
