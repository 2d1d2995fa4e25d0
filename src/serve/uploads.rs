//! The uploads that are under way, each under a name that nobody can guess.
//!
//! They live as long as the server does: what a client has sent before a crash, it sends again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::answer::Refusal;
use super::receive::Slot;
use crate::oci::RepositoryName;
use crate::store::Upload;

/// All uploads of a server.
pub(super) struct Uploads {
    limit: usize,
    idle: Duration,
    sessions: Mutex<HashMap<String, Session>>,
}

struct Session {
    name: RepositoryName,
    upload: Arc<tokio::sync::Mutex<Option<Upload>>>,
    used: Instant,
}

impl Uploads {
    /// Keeps `limit` uploads at the most, and each for `idle` after its last request.
    pub(super) fn new(limit: usize, idle: Duration) -> Self {
        Self { limit, idle, sessions: Mutex::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an upload to a repository; returns its name.
    pub(super) fn keep(&self, name: RepositoryName, upload: Upload) -> Result<String, Refusal> {
        self.expire();
        let session = random_name()?;
        let mut sessions = self.sessions();
        if sessions.len() >= self.limit {
            let message = format!("{} uploads are under way, and more are not allowed at a time", self.limit);
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message));
        }
        let upload = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        sessions.insert(session.clone(), Session { name, upload, used: Instant::now() });
        Ok(session)
    }

    /// Takes hold of an upload for one request; waits for the one before it to end.
    pub(super) async fn hold(&self, name: &RepositoryName, session: &str) -> Result<Slot, Refusal> {
        let upload = {
            let mut sessions = self.sessions();
            let session = sessions.get_mut(session).filter(|session| session.name == *name);
            let session = session.ok_or_else(Refusal::upload_unknown)?;
            session.used = Instant::now();
            Arc::clone(&session.upload)
        };
        let slot = upload.lock_owned().await;
        // Another request may have ended it meanwhile.
        if slot.is_some() { Ok(slot) } else { Err(Refusal::upload_unknown()) }
    }

    /// Forgets an upload.
    pub(super) fn end(&self, session: &str) {
        self.sessions().remove(session);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.sessions().len()
    }

    /// Throws away uploads whose clients have not come back.
    pub(super) fn expire(&self) {
        self.sessions().retain(|_, session| session.used.elapsed() < self.idle || session.upload.try_lock().is_err());
    }
}

/// 128 random bits in the form of a UUID, which some clients expect to see.
fn random_name() -> Result<String, Refusal> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the system has no random numbers"))?;
    let mut name = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            name.push('-');
        }
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}
