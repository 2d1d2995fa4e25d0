//! One flight per content: what several images want at the same moment moves once.
//!
//! A run may bring tens of thousands of contents: of those that have landed, no more is kept than later images ask.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use hod_oci::{Digest, RepositoryName};

/// Content by the place where it goes and its digest.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    places: Mutex<Places>,
}

type Places = HashMap<Box<str>, HashMap<Digest, Slot>>;

#[derive(Debug)]
enum Slot {
    /// Somebody brings it, or waits for who does.
    Boarded(Arc<tokio::sync::Mutex<FlightState>>),
    /// It is there, in these repositories among others.
    Landed(Box<[RepositoryName]>),
}

/// What is known of some content at a place.
#[derive(Debug, Default)]
struct FlightState {
    is_there: bool,
    /// The repositories that are known to hold it, in the order of learning.
    repositories: Vec<RepositoryName>,
}

/// The sole right to bring some content to a place, as long as this lives.
///
/// Dropping it without [`Flight::landed`] lets the next one try, who may know another source.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Arc<Flights>,
    domain: Box<str>,
    digest: Digest,
    landing: OwnedMutexGuard<FlightState>,
}

impl Flights {
    /// Waits until nobody else is bringing this content to that place.
    pub(crate) async fn board(self: &Arc<Self>, domain: &str, digest: &Digest) -> Flight {
        let landing = {
            let mut places = self.lock();
            let slot = places.entry(domain.into()).or_default().entry(*digest).or_default();
            slot.board()
        };
        let landing = landing.lock_owned().await;
        Flight { flights: self.clone(), domain: domain.into(), digest: *digest, landing }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::Boarded(Arc::default())
    }
}

impl Slot {
    fn board(&mut self) -> Arc<tokio::sync::Mutex<FlightState>> {
        if let Self::Landed(repositories) = self {
            let landing = FlightState { is_there: true, repositories: mem::take(repositories).into_vec() };
            *self = Self::Boarded(Arc::new(landing.into()));
        }
        match self {
            Self::Boarded(landing) => landing.clone(),
            Self::Landed(_) => Arc::default(),
        }
    }
}

impl Flight {
    /// Whether the place holds the content since this run.
    pub(super) fn is_there(&self) -> bool {
        self.landing.is_there
    }

    /// A repository of the place that holds the content since this run, if one was named.
    pub(super) fn holder(&self) -> Option<&RepositoryName> {
        self.landing.repositories.first()
    }

    /// Whether that repository is known to hold it.
    pub(crate) fn is_held_by(&self, repository: Option<&RepositoryName>) -> bool {
        repository.is_some_and(|repository| self.landing.repositories.contains(repository))
    }

    /// Notes that the place holds the content now, in that repository if it matters in which.
    pub(crate) fn landed(mut self, repository: Option<&RepositoryName>) {
        self.landing.is_there = true;
        if let Some(repository) = repository.filter(|repository| !self.landing.repositories.contains(repository)) {
            self.landing.repositories.push(repository.clone());
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut places = self.flights.lock();
        let Some(slots) = places.get_mut(&self.domain) else { return };
        // The map's own and the one that holds the right: nobody waits, and under the lock nobody comes.
        let is_last =
            matches!(slots.get(&self.digest), Some(Slot::Boarded(landing)) if Arc::strong_count(landing) == 2);
        if !is_last {
            return;
        }
        let FlightState { is_there, repositories } = mem::take(&mut *self.landing);
        if is_there {
            slots.insert(self.digest, Slot::Landed(repositories.into()));
        } else {
            slots.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_at_a_time_and_the_next_knows_where() {
        let flights = Arc::new(Flights::default());
        let digest = Digest::sha256(b"brick");
        let name: RepositoryName = "a".parse().unwrap();
        let first = flights.board("here", &digest).now_or_never().unwrap();
        assert!(first.holder().is_none());
        assert!(flights.board("here", &digest).now_or_never().is_none());
        assert!(flights.board("there", &digest).now_or_never().is_some());
        first.landed(Some(&name));
        let second = flights.board("here", &digest).now_or_never().unwrap();
        assert_eq!(second.holder(), Some(&name));
        assert!(second.is_there() && second.is_held_by(Some(&name)));
    }

    #[test]
    fn who_waits_learns_what_the_one_before_knew() {
        let flights = Arc::new(Flights::default());
        let digest = Digest::sha256(b"brick");
        let first = flights.board("here", &digest).now_or_never().unwrap();
        let mut waiting = Box::pin(flights.board("here", &digest));
        assert!(waiting.as_mut().now_or_never().is_none());
        first.landed(None);
        let second = waiting.now_or_never().unwrap();
        assert!(second.is_there() && second.holder().is_none());
    }

    #[test]
    fn what_did_not_land_leaves_nothing() {
        let flights = Arc::new(Flights::default());
        drop(flights.board("here", &Digest::sha256(b"brick")).now_or_never().unwrap());
        assert!(flights.lock().values().all(HashMap::is_empty));
    }
}
