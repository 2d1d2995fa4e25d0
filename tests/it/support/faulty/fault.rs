//! Which requests go wrong, and how.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hod_oci::Digest;
use hyper::Method;
use tokio::sync::Barrier;

use super::Shared;
use super::reply::{End, Reply};
use super::seen::{Route, Seen};

/// The requests that a fault strikes: those of a kind, all of them or some.
pub struct On {
    matches: Box<dyn Fn(&Seen) -> bool + Send>,
    skip: usize,
    times: usize,
}

/// What happens to a request. Requests that authentication refuses are not struck and do not count.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Answers with this status and an error as registries write it.
    Status(u16),
    /// Answers 401 and asks for this login.
    Unauthorized(&'static str),
    /// Answers with this status and nothing else, and does nothing.
    Bare(u16),
    /// Does what was asked for, and answers with this status.
    As(u16),
    /// Answers with an error and `Retry-After`: seconds, or a date.
    Later {
        /// 429 or 503.
        status: u16,
        /// The header's value.
        after: String,
    },
    /// Resets the connection before an answer.
    Reset,
    /// Never answers, and keeps the connection.
    Silence,
    /// Closes the connection after so many bytes of the body.
    Cut {
        /// Bytes of this body that arrive.
        after: usize,
    },
    /// Sends no more after so many bytes of the body, and keeps the connection.
    Stall {
        /// Bytes of this body that arrive.
        after: usize,
    },
    /// Sends a byte a tenth of a second after so many bytes of the body.
    Trickle {
        /// Bytes of this body that arrive at once.
        after: usize,
    },
    /// Changes the last byte of the body.
    WrongByte,
    /// Announces and sends only so many bytes, as if that were all.
    Short(usize),
    /// Adds these bytes to the body, as if they belonged to it.
    Long(&'static [u8]),
    /// Says in `Docker-Content-Digest` that it is this.
    Digest(Digest),
    /// Leaves `Docker-Content-Digest` out.
    NoDigest,
    /// Says in `Content-Type` that it is this.
    Type(&'static str),
    /// Sends the client to this address.
    Moved(&'static str),
    /// Sends these bytes, with status 200.
    Body(Bytes),
    /// Sends these headers and this body, made for each request, with status 200.
    Says(Answer),
    /// Sends the whole although a part was asked for.
    IgnoreRange,
    /// Sends a blob's client to the other host.
    Redirect,
    /// Does this to so many requests, once all of them are there.
    Together(Arc<Barrier>, Box<Self>),
}

/// Makes an answer for a request.
#[derive(Clone)]
pub struct Answer(Arc<dyn Fn(&Seen) -> (Vec<(&'static str, String)>, Bytes) + Send + Sync>);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// Requests and what happens to them.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) on: On,
    pub(super) effect: Effect,
}

impl On {
    /// Requests that fit a description.
    pub fn matching(matches: impl Fn(&Seen) -> bool + Send + 'static) -> Self {
        Self { matches: Box::new(matches), skip: 0, times: usize::MAX }
    }

    /// Every request.
    pub fn everything() -> Self {
        Self::matching(|_| true)
    }

    /// GET of this blob.
    pub fn blob(digest: &Digest) -> Self {
        let digest = *digest;
        Self::matching(move |seen| seen.is_blob(&digest))
    }

    /// GET of any blob.
    pub fn any_blob() -> Self {
        Self::matching(|seen| seen.method == Method::GET && matches!(seen.route, Route::Blob(..)))
    }

    /// GET of any blob at the other host.
    pub fn storage() -> Self {
        Self::matching(|seen| matches!(seen.route, Route::Storage(_)))
    }

    /// GET of the manifest by this tag or digest.
    pub fn manifest(version: &str) -> Self {
        let version = version.to_owned();
        Self::matching(move |seen| seen.is_manifest(&version))
    }

    /// PUT of any manifest.
    pub fn put_manifest() -> Self {
        Self::matching(|seen| seen.method == Method::PUT && matches!(seen.route, Route::Manifest(..)))
    }

    /// POST, PATCH or PUT of a blob.
    pub fn upload(method: Method) -> Self {
        Self::matching(move |seen| seen.method == method && matches!(seen.route, Route::Upload(..)))
    }

    /// Lists of tags.
    pub fn tags() -> Self {
        Self::matching(|seen| matches!(seen.route, Route::Tags(_)))
    }

    /// Requests for tokens.
    pub fn token() -> Self {
        Self::matching(|seen| seen.route == Route::Token)
    }

    /// `/v2/`.
    pub fn ping() -> Self {
        Self::matching(|seen| seen.route == Route::Ping)
    }

    /// Only so many of them.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Only one of them.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// None of the first so many.
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Whether this request is struck; counts it.
    pub(super) fn strikes(&mut self, seen: &Seen) -> bool {
        if !(self.matches)(seen) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let struck = self.times > 0;
        self.times = self.times.saturating_sub(1);
        struck
    }
}

impl fmt::Debug for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "On {{ skip: {}, times: {} }}", self.skip, self.times)
    }
}

impl Effect {
    /// An answer that is made for each request: headers and body.
    pub fn says(make: impl Fn(&Seen) -> (Vec<(&'static str, String)>, Bytes) + Send + Sync + 'static) -> Self {
        Self::Says(Answer(Arc::new(make)))
    }

    /// The same, to so many requests at the same moment.
    pub fn together(self, count: usize) -> Self {
        Self::Together(Arc::new(Barrier::new(count)), Box::new(self))
    }

    /// Waits for all that are struck together; what happens to each of them then.
    pub(super) async fn due(self) -> Self {
        match self {
            Self::Together(all, effect) => {
                all.wait().await;
                *effect
            }
            effect => effect,
        }
    }

    /// Whether the request must not reach the registry at all.
    pub(super) fn prevents(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Unauthorized(_) | Self::Bare(_) | Self::Later { .. } | Self::Reset)
    }

    /// Makes of a good reply the one that the fault asks for.
    pub(super) fn change(self, reply: &mut Reply, seen: &Seen, shared: &Shared) {
        match self {
            Self::Status(status) => *reply = Reply::error(status, "UNKNOWN", "a fault that the test asked for"),
            Self::Unauthorized(offer) => *reply = Reply::status(401).header("WWW-Authenticate", offer),
            Self::Bare(status) => *reply = Reply::status(status),
            Self::As(status) => reply.status = status,
            Self::Later { status, after } => {
                let code = if status == 429 { "TOOMANYREQUESTS" } else { "UNAVAILABLE" };
                *reply = Reply::error(status, code, "come back later").header("Retry-After", &after);
            }
            Self::Cut { after } => reply.stop(after, End::Closed),
            Self::Stall { after } => reply.stop(after, End::Silent),
            Self::Trickle { after } => reply.trickle(after),
            Self::WrongByte => {
                let mut bytes = reply.body.to_vec();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                reply.body = bytes.into();
            }
            Self::Short(length) => reply.replace(reply.body.slice(..length)),
            Self::Long(more) => reply.replace([&reply.body, more].concat().into()),
            Self::Digest(digest) => reply.set_header("Docker-Content-Digest", &digest.to_string()),
            Self::NoDigest => reply.remove_header("Docker-Content-Digest"),
            Self::Type(media_type) => reply.set_header("Content-Type", media_type),
            Self::Says(Answer(make)) => {
                let (headers, body) = make(seen);
                *reply = headers
                    .iter()
                    .fold(Reply::status(200).body(body), |reply, (name, value)| reply.header(name, value));
            }
            Self::Body(bytes) => *reply = Reply::status(200).body(bytes),
            Self::Moved(address) => *reply = Reply::status(307).header("Location", address),
            Self::Redirect => {
                if let Route::Blob(_, digest) = &seen.route
                    && let Ok(digest) = digest.parse()
                {
                    *reply = Reply::status(307).header("Location", &shared.storage_url(&digest));
                }
            }
            Self::Reset | Self::Silence | Self::IgnoreRange | Self::Together(..) => {}
        }
    }
}
