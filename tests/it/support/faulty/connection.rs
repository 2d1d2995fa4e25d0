//! Connections that can be ended at an exact byte.
//!
//! hyper buffers what it writes, and throws the buffer away when a body fails. So a body that is to be cut does not
//! fail: it waits, and the connection fails at the flush that comes once everything has been written.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::reply::End;

/// How a connection is to end, told to it by the bodies that it carries.
#[derive(Debug, Default)]
pub(super) struct Ending {
    at_flush: AtomicBool,
    by_reset: AtomicBool,
}

impl Ending {
    /// Sends a reset instead of an orderly end.
    pub(super) fn reset(&self) {
        self.by_reset.store(true, Ordering::SeqCst);
    }
}

/// The server's end of a connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: TokioIo<TcpStream>,
    ending: Arc<Ending>,
}

impl Link {
    pub(super) fn new(stream: TcpStream, ending: Arc<Ending>) -> Self {
        Self { stream: TokioIo::new(stream), ending }
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        let end = self.ending.at_flush.load(Ordering::SeqCst);
        Poll::Ready(if end { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.ending.by_reset.load(Ordering::SeqCst) {
            let _ = self.stream.inner().set_zero_linger();
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Bytes,
    end: End,
    ending: Arc<Ending>,
    pause: Pin<Box<Sleep>>,
}

/// The time between two bytes of a slow body.
const PAUSE: Duration = Duration::from_millis(100);

impl Body {
    pub(super) fn new(bytes: Bytes, end: End, ending: Arc<Ending>) -> Self {
        Self { bytes, end, ending, pause: Box::pin(sleep(PAUSE)) }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let End::Slow(at_once) = self.end
            && !self.bytes.is_empty()
        {
            let at_once = at_once.min(self.bytes.len());
            if at_once > 0 {
                self.end = End::Slow(0);
                return Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(at_once)))));
            }
            ready!(self.pause.as_mut().poll(context));
            self.pause.as_mut().reset(Instant::now() + PAUSE);
            return Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(1)))));
        }
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        match self.end {
            End::Whole | End::Slow(_) => Poll::Ready(None),
            End::Closed => {
                self.ending.at_flush.store(true, Ordering::SeqCst);
                Poll::Pending
            }
            End::Silent => Poll::Pending,
        }
    }
}
