//! What can go wrong at an endpoint, as far as the engine has to know.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// The result of everything that an endpoint does.
pub type Result<T> = std::result::Result<T, EndpointError>;

/// The kinds of failure that lead to different actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The place says that there is no such thing (a registry's 404).
    Missing,
    /// The place knows who asks, or wants to, and says no (401, 403).
    Denied,
    /// The place does not accept what was sent, and would not the next time.
    Rejected,
    /// A manifest was refused because something it names is not there.
    Incomplete,
    /// Bytes came, and they are not the ones that were named.
    Corrupt,
    /// The network, or a server in trouble: worth another try.
    Unreachable,
    /// The place asks to come back later, and perhaps says when.
    Busy(Option<Duration>),
    /// No space is left where the bytes should go.
    Full,
    /// Everything else, most of it the local system.
    Other,
}

impl Fault {
    /// Whether the same call may well succeed later.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy(_) | Self::Corrupt)
    }
}

/// A failure of an endpoint: its kind for the engine, and the cause with its own words.
#[derive(Clone)]
pub struct EndpointError {
    fault: Fault,
    cause: Arc<dyn Error + Send + Sync>,
}

impl EndpointError {
    /// A failure with a cause that says in full what happened.
    pub fn new(fault: Fault, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { fault, cause: Arc::from(cause.into()) }
    }

    /// A failure of the local system.
    pub fn io(cause: io::Error) -> Self {
        let fault = if Self::is_full(&cause) { Fault::Full } else { Fault::Other };
        Self::new(fault, cause)
    }

    /// Whether the system says that no space is left.
    pub fn is_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// What kind of failure it is.
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The cause, for those who know its type.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }
}

impl From<io::Error> for EndpointError {
    fn from(cause: io::Error) -> Self {
        Self::io(cause)
    }
}

/// An endpoint's error is its cause, classified: it prints and chains as the cause does.
impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointError").field("fault", &self.fault).field("cause", &self.cause).finish()
    }
}

impl Error for EndpointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
