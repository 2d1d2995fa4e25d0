//! The uploads that are under way, each under a name that nobody can guess.
//!
//! They live as long as the server does: what a client has sent before a crash, it sends again. One
//! client alone cannot have all of them, and where there are too many, those of the client with the most
//! that nobody continues make room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::answer::Refusal;
use super::origin::Origin;
use super::request_body::UploadGuard;
use hod_oci::RepositoryName;
use hod_store::Upload;

/// How long an upload is kept to which nothing has come.
const EMPTY_IDLE: Duration = Duration::from_secs(300);
/// How long an upload is safe whose client does nothing, where others wait for its place.
const GRACE: Duration = Duration::from_secs(30);
/// When to come back, in seconds, where there are too many.
const RETRY: u8 = 10;

/// All uploads of a server.
pub(super) struct Uploads {
    limit: usize,
    idle: Duration,
    sessions: Mutex<HashMap<String, Session>>,
}

/// Whose an upload is: a user's, or an address's where there are no users.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    User(String),
    Origin(Origin),
}

struct Session {
    name: RepositoryName,
    owner: Owner,
    upload: Arc<tokio::sync::Mutex<Option<Upload>>>,
    used: Instant,
}

impl Session {
    /// How much has come; `None` while a request has hold of it.
    fn written(&self) -> Option<u64> {
        Some(self.upload.try_lock().ok()?.as_ref().map_or(0, Upload::written))
    }

    fn is_abandoned(&self, idle: Duration, now: Instant) -> bool {
        let unused = now.saturating_duration_since(self.used);
        unused >= idle.min(EMPTY_IDLE)
            && self.written().is_some_and(|written| unused >= if written == 0 { idle.min(EMPTY_IDLE) } else { idle })
    }
}

impl Uploads {
    /// Keeps `limit` uploads at the most, half of them of one owner, and each for `idle` after its last request.
    pub(super) fn new(limit: usize, idle: Duration) -> Self {
        Self { limit, idle, sessions: Mutex::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an upload to a repository; returns its name.
    pub(super) fn keep(
        &self,
        now: Instant,
        name: RepositoryName,
        owner: Owner,
        upload: Upload,
    ) -> Result<String, Refusal> {
        self.expire(now);
        let session = random_name()?;
        let mut sessions = self.sessions();
        let share = self.limit.div_ceil(2);
        let own = sessions.values().filter(|session| session.owner == owner).count();
        let among = (own >= share).then_some(&owner);
        if (own >= share || sessions.len() >= self.limit) && !make_room(&mut sessions, among, now) {
            let (count, whose) = if own >= share { (own, "yours") } else { (self.limit, "under way") };
            return Err(Refusal::too_many(
                format!("{count} uploads are {whose}, and more are not allowed at a time"),
                RETRY,
            ));
        }
        let upload = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        sessions.insert(session.clone(), Session { name, owner, upload, used: now });
        Ok(session)
    }

    /// Takes hold of an upload for one request; waits for the one before it to end.
    pub(super) async fn hold(&self, name: &RepositoryName, session: &str) -> Result<UploadGuard, Refusal> {
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
    pub(super) fn expire(&self, now: Instant) {
        self.sessions().retain(|_, session| !session.is_abandoned(self.idle, now));
    }
}

/// Throws away the upload that will be missed least: of an owner, or of the owner with the most; an empty one
/// before others, and of these the one whose client was heard least recently.
fn make_room(sessions: &mut HashMap<String, Session>, owner: Option<&Owner>, now: Instant) -> bool {
    let mut held: HashMap<&Owner, usize> = HashMap::new();
    for session in sessions.values() {
        *held.entry(&session.owner).or_default() += 1;
    }
    let among = sessions.iter().filter(|(_, session)| owner.is_none_or(|owner| session.owner == *owner));
    let idle = among.filter_map(|(name, session)| {
        let unused = now.saturating_duration_since(session.used);
        let written = session.written().filter(|_| unused >= GRACE)?;
        Some((held.get(&session.owner)?, written == 0, unused, name))
    });
    let least = idle.max_by_key(|(held, empty, unused, _)| (**held, *empty, *unused)).map(|(.., name)| name.clone());
    least.is_some_and(|name| sessions.remove(&name).is_some())
}

/// 128 random bits in the form of a UUID, which some clients expect to see.
fn random_name() -> Result<String, Refusal> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the system has no random numbers"))?;
    let mut name = format!("{:032x}", u128::from_be_bytes(bytes));
    for position in [20, 16, 12, 8] {
        name.insert(position, '-');
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_store::Store;

    struct Pushing {
        uploads: Uploads,
        store: Store,
        start: Instant,
        _folder: tempfile::TempDir,
    }

    impl Pushing {
        fn new(limit: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let uploads = Uploads::new(limit, Duration::from_secs(3600));
            Self { uploads, store: Store::create(folder.path()).unwrap(), start: Instant::now(), _folder: folder }
        }

        /// Begins an upload so many seconds after the start.
        fn begin(&self, second: u64, user: &str, bytes: &[u8]) -> Option<String> {
            let mut upload = self.store.upload().unwrap();
            upload.write(bytes).unwrap();
            let now = self.start + Duration::from_secs(second);
            self.uploads.keep(now, "a".parse().unwrap(), Owner::User(user.to_owned()), upload).ok()
        }

        fn has(&self, session: &str) -> bool {
            self.uploads.sessions().contains_key(session)
        }
    }

    #[test]
    fn one_user_has_a_share_and_not_all() {
        let pushing = Pushing::new(4);
        let first = pushing.begin(0, "ann", b"").unwrap();
        let second = pushing.begin(1, "ann", b"brick").unwrap();
        assert!(pushing.begin(29, "ann", b"").is_none(), "nobody of ann's has been away for long");
        let other = pushing.begin(29, "bob", b"").unwrap();
        assert!(pushing.begin(40, "ann", b"").is_some());
        assert!(!pushing.has(&first) && pushing.has(&second) && pushing.has(&other), "the empty one makes room");
        assert_eq!(pushing.uploads.count(), 3);
    }

    #[test]
    fn the_user_with_most_makes_room_for_others() {
        let pushing = Pushing::new(3);
        let bob = pushing.begin(0, "bob", b"").unwrap();
        let sessions = [pushing.begin(1, "ann", b"brick").unwrap(), pushing.begin(2, "ann", b"brick").unwrap()];
        assert!(pushing.begin(20, "kim", b"").is_none());
        pushing.begin(40, "kim", b"").unwrap();
        assert!(pushing.has(&bob) && !pushing.has(&sessions[0]) && pushing.has(&sessions[1]));
    }

    #[tokio::test]
    async fn what_is_being_received_stays() {
        let pushing = Pushing::new(2);
        let session = pushing.begin(0, "ann", b"").unwrap();
        let _slot = pushing.uploads.hold(&"a".parse().unwrap(), &session).await.unwrap();
        assert!(pushing.begin(10_000, "ann", b"").is_none());
        assert!(pushing.has(&session));
    }

    #[test]
    fn an_upload_without_a_byte_does_not_last() {
        let pushing = Pushing::new(10);
        let empty = pushing.begin(0, "ann", b"").unwrap();
        let begun = pushing.begin(0, "ann", b"brick").unwrap();
        pushing.uploads.expire(pushing.start + Duration::from_secs(299));
        assert!(pushing.has(&empty));
        pushing.uploads.expire(pushing.start + Duration::from_secs(300));
        assert!(!pushing.has(&empty) && pushing.has(&begun));
        pushing.uploads.expire(pushing.start + Duration::from_secs(3600));
        assert!(!pushing.has(&begun));
    }
}
