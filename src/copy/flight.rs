//! One flight per content: what several images want at the same moment moves once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::oci::{Digest, RepositoryName};

/// The repositories of a place that are known to hold some content, in the order of learning.
type Holders = Arc<tokio::sync::Mutex<Vec<RepositoryName>>>;

/// Content by the place where it goes and its digest.
#[derive(Debug, Default)]
pub struct Flights {
    boarded: Mutex<HashMap<(Box<str>, Digest), Holders>>,
}

/// The sole right to bring some content to a place, as long as this lives.
///
/// Dropping it without [`Flight::landed`] lets the next one try, who may know another source.
#[derive(Debug)]
pub struct Flight {
    holders: OwnedMutexGuard<Vec<RepositoryName>>,
}

impl Flights {
    /// Waits until nobody else is bringing this content to that place.
    pub async fn board(&self, domain: &str, digest: &Digest) -> Flight {
        let holders = {
            let mut boarded = self.boarded.lock().unwrap_or_else(PoisonError::into_inner);
            boarded.entry((domain.into(), *digest)).or_default().clone()
        };
        Flight { holders: holders.lock_owned().await }
    }
}

impl Flight {
    /// A repository of the place that holds the content since this run, if any does.
    pub fn holder(&self) -> Option<&RepositoryName> {
        self.holders.first()
    }

    /// Whether that repository is known to hold it.
    pub fn is_held_by(&self, repository: Option<&RepositoryName>) -> bool {
        repository.is_some_and(|repository| self.holders.contains(repository))
    }

    /// Notes that the repository holds the content now.
    pub fn landed(mut self, repository: Option<&RepositoryName>) {
        if let Some(repository) = repository.filter(|repository| !self.holders.contains(repository)) {
            self.holders.push(repository.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_at_a_time_and_the_next_knows_where() {
        let flights = Flights::default();
        let digest = Digest::sha256(b"brick");
        let name: RepositoryName = "a".parse().unwrap();
        let first = flights.board("here", &digest).now_or_never().unwrap();
        assert!(first.holder().is_none());
        assert!(flights.board("here", &digest).now_or_never().is_none());
        assert!(flights.board("there", &digest).now_or_never().is_some());
        first.landed(Some(&name));
        let second = flights.board("here", &digest).now_or_never().unwrap();
        assert_eq!(second.holder(), Some(&name));
        assert!(second.is_held_by(Some(&name)));
    }
}
