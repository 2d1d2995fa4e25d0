//! A client that hides nothing: one request on one connection, and every byte until it ends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A request to be sent.
#[derive(Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: String,
    body: Vec<u8>,
    patience: Duration,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status, or 0 where no response came.
    pub status: u16,
    /// The head, as sent.
    pub head: String,
    /// All bytes after the head.
    pub body: Vec<u8>,
    /// How it ended.
    pub end: End,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server closed it.
    Closed,
    /// The server reset it.
    Reset,
    /// Nothing more came for a while.
    Silent,
}

/// Gets a path.
pub fn get(host: &str, path: &str) -> Response {
    Request::get(path).send(host)
}

impl Request {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Any method.
    pub fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: String::new(),
            body: Vec::new(),
            patience: Duration::from_secs(60),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.extend([name, ": ", value, "\r\n"]);
        self
    }

    /// Adds a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Expects a stall: gives up a second after the last byte.
    pub fn until_silent(mut self) -> Self {
        self.patience = Duration::from_secs(1);
        self
    }

    /// Sends it to `host:port`, where nobody may listen any more; the status, if one came.
    pub fn status(&self, host: &str) -> Option<u16> {
        let stream = TcpStream::connect(host).ok()?;
        Some(self.exchange(stream, host).status)
    }

    /// Sends it to `host:port` and reads until the end, or until nothing comes for long.
    pub fn send(&self, host: &str) -> Response {
        self.exchange(TcpStream::connect(host).unwrap(), host)
    }

    fn exchange(&self, mut stream: TcpStream, host: &str) -> Response {
        stream.set_read_timeout(Some(self.patience)).unwrap();
        let length = if self.body.is_empty() && matches!(self.method, "GET" | "HEAD") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", self.body.len())
        };
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}{}\r\n",
            self.method, self.path, self.headers
        );
        // A server that resets early may refuse the rest of the request.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&self.body));
        let mut bytes = Vec::new();
        let end = match stream.read_to_end(&mut bytes) {
            Ok(_) => End::Closed,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => End::Silent,
            Err(_) => End::Reset,
        };
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let body = bytes.split_off(split);
        let head = String::from_utf8(bytes).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Response { status, head, body, end }
    }
}

impl Response {
    /// The value of a header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}
