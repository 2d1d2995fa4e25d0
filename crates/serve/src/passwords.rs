//! Checks of passwords, which take long on purpose: each one once, and only so many at a time.
//!
//! What was found of a password is remembered under a keyed digest of it, whose key nobody else has and
//! ends with the process. Whoever is known waits for nobody. Of the rest each address checks one at a
//! time, and so many may wait; so guesses of one address keep out neither known users nor other addresses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use ring::hmac;
use tokio::sync::Semaphore;

use super::answer::{Refusal, blocking};
use super::cache::Cache;
use super::origin::Origin;
use hod_io::secret::Secret;

/// Checks of one address that run or wait; nodes behind one proxy that all begin at once have their place in it.
const QUEUE: usize = 64;
/// Checks of all addresses that run or wait.
const QUEUE_OF_ALL: usize = 256;
/// When to come back, in seconds, where too many wait.
const RETRY: u8 = 5;
/// Right passwords that are remembered, and as many wrong ones.
const REMEMBERED: usize = 10_000;

/// A keyed digest.
type Tag = [u8; 32];

/// Finds out which passwords are right.
pub(super) struct Passwords {
    key: hmac::Key,
    right: Cache<Tag, (), REMEMBERED>,
    wrong: Cache<Tag, (), REMEMBERED>,
    running: Arc<Semaphore>,
    queues: Mutex<HashMap<Origin, Queue>>,
}

/// The checks of one address.
struct Queue {
    turn: Arc<Semaphore>,
    length: usize,
}

/// A check that runs or waits.
struct Queued {
    passwords: Arc<Passwords>,
    origin: Origin,
    turn: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(key: hmac::Key) -> Arc<Self> {
        // More than one, so that no address has them all; and not all processors.
        let running = available_parallelism().map_or(1, usize::from).div_ceil(2).max(2);
        Arc::new(Self {
            key,
            right: Cache::default(),
            wrong: Cache::default(),
            running: Arc::new(Semaphore::new(running)),
            queues: Mutex::default(),
        })
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Origin, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a password is the one that `hash` was made of.
    pub(super) async fn is_right(
        self: &Arc<Self>,
        origin: Origin,
        user: &str,
        password: &Secret,
        hash: &str,
    ) -> Result<bool, Refusal> {
        let tag = self.tag(user, password, hash);
        if let Some(right) = self.remembered(tag.as_ref()) {
            return Ok(right);
        }
        let queued = self.queue(origin)?;
        // Neither is ever closed.
        let turn = Arc::clone(&queued.turn).acquire_owned().await;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        // Many clients with one password begin at the same time.
        if let Some(right) = self.remembered(tag.as_ref()) {
            return Ok(right);
        }
        let (passwords, password, hash) = (Arc::clone(self), password.clone(), hash.to_owned());
        blocking("cannot check the password".to_owned(), move || {
            // A client that goes away does not end its check, and must not let the next one begin.
            let _places = (queued, turn, permit);
            let right = bcrypt::verify(password.expose(), &hash).unwrap_or(false);
            passwords.remember(tag, right);
            Ok(right)
        })
        .await
    }

    fn tag(&self, user: &str, password: &Secret, hash: &str) -> Option<Tag> {
        let mut context = hmac::Context::with_key(&self.key);
        // A name has no colon, nor has a hash.
        for part in [user, ":", hash, ":", password.expose()] {
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().ok()
    }

    fn remembered(&self, tag: Option<&Tag>) -> Option<bool> {
        self.right.get(tag?).map(|()| true).or_else(|| self.wrong.get(tag?).map(|()| false))
    }

    fn remember(&self, tag: Option<Tag>, right: bool) {
        let Some(tag) = tag else { return };
        // Guesses must not push out what is right.
        if right {
            self.right.insert(tag, ())
        } else {
            self.wrong.insert(tag, ())
        };
    }

    /// Takes a place in the queue of an address.
    fn queue(self: &Arc<Self>, origin: Origin) -> Result<Queued, Refusal> {
        let mut queues = self.queues();
        let all: usize = queues.values().map(|queue| queue.length).sum();
        let queue = queues.entry(origin).or_insert_with(|| Queue { turn: Arc::new(Semaphore::new(1)), length: 0 });
        if queue.length >= QUEUE || all >= QUEUE_OF_ALL {
            if queue.length == 0 {
                queues.remove(&origin);
            }
            return Err(Refusal::too_many("too many passwords are being checked: try again later", RETRY));
        }
        queue.length += 1;
        Ok(Queued { passwords: Arc::clone(self), origin, turn: Arc::clone(&queue.turn) })
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut queues = self.passwords.queues();
        if let Some(queue) = queues.get_mut(&self.origin) {
            queue.length -= 1;
            if queue.length == 0 {
                queues.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use axum::response::IntoResponse as _;
    use ring::rand::SystemRandom;

    use super::*;

    /// `secret`, at the lowest cost.
    fn hash() -> String {
        bcrypt::hash("secret", 4).unwrap()
    }

    fn passwords() -> Arc<Passwords> {
        Passwords::new(hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).unwrap())
    }

    fn origin(last: u8) -> Origin {
        Origin::of(SocketAddr::from(([10, 0, 0, last], 1)))
    }

    type Check = Pin<Box<dyn Future<Output = Result<bool, Refusal>>>>;

    fn check(passwords: &Arc<Passwords>, last: u8, password: &str, hash: &str) -> Check {
        let (passwords, password, hash) = (Arc::clone(passwords), Secret::new(password), hash.to_owned());
        Box::pin(async move { passwords.is_right(origin(last), "ann", &password, &hash).await })
    }

    fn begun(mut check: Check) -> Result<Check, Option<u16>> {
        match check.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(check),
            Poll::Ready(answer) => Err(answer.err().map(|refusal| refusal.into_response().status().as_u16())),
        }
    }

    #[tokio::test]
    async fn guesses_of_one_address_keep_nobody_else_out() {
        let (passwords, hash) = (passwords(), hash());
        assert!(check(&passwords, 1, "secret", &hash).await.unwrap());
        // No check ends from here on.
        let running = u32::try_from(passwords.running.available_permits()).unwrap();
        let held = Arc::clone(&passwords.running).acquire_many_owned(running).await.unwrap();
        let mut waiting = Vec::new();
        for number in 0..QUEUE {
            waiting.push(begun(check(&passwords, 1, &format!("guess {number}"), &hash)).ok().unwrap());
        }
        assert_eq!(begun(check(&passwords, 1, "one more", &hash)).err(), Some(Some(429)));
        assert!(check(&passwords, 1, "secret", &hash).await.unwrap(), "a known password waits for nobody");
        let mut other = begun(check(&passwords, 2, "secret!", &hash)).ok().unwrap();
        drop(held);
        assert!(!other.as_mut().await.unwrap());
        // It came last and is done, while of the other address all but one have not even begun.
        drop(waiting);
        drop(other);
        assert!(passwords.queues().is_empty());
    }

    #[tokio::test]
    async fn a_check_whose_client_has_gone_keeps_its_place() {
        let (passwords, hash) = (passwords(), bcrypt::hash("secret", 10).unwrap());
        drop(begun(check(&passwords, 1, "guess", &hash)));
        // Either it has ended and is remembered, or it still has its place.
        let tag = passwords.tag("ann", &Secret::new("guess"), &hash);
        assert!(!passwords.queues().is_empty() || passwords.remembered(tag.as_ref()).is_some());
    }

    #[tokio::test]
    async fn every_password_is_checked_once() {
        let (passwords, hash) = (passwords(), hash());
        for password in ["secret", "guess"] {
            assert_eq!(check(&passwords, 1, password, &hash).await.unwrap(), password == "secret");
        }
        // No check ends from here on.
        let running = u32::try_from(passwords.running.available_permits()).unwrap();
        let _held = Arc::clone(&passwords.running).acquire_many_owned(running).await.unwrap();
        assert!(check(&passwords, 1, "secret", &hash).await.unwrap());
        assert!(!check(&passwords, 1, "guess", &hash).await.unwrap());
        let changed = bcrypt::hash("other", 4).unwrap();
        assert!(begun(check(&passwords, 1, "secret", &changed)).is_ok(), "another hash is another password");
    }
}
