//! Content that a source could not give: the images that share it do not each go through all tries.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::endpoint::{EndpointError, Fault, Place};
use hod_oci::{Descriptor, Digest};

/// The failures of a run, by the source and the content.
#[derive(Debug, Default)]
pub(super) struct Failed(Mutex<HashMap<(Box<str>, Digest), Failure>>);

/// What a source has failed with, and when.
#[derive(Debug)]
struct Failure {
    at: Instant,
    error: EndpointError,
}

impl Failed {
    /// Notes that a source could not give some content, however often it was asked.
    ///
    /// Wrong bytes are those of a repository, since another one may keep its content elsewhere; a broken line is that of
    /// the host. What a registry refuses it may give out of another repository.
    pub(super) fn note(&self, source: &Place, content: &Descriptor, error: &EndpointError) {
        let key = match error.fault() {
            _ if !source.is_remote() => return,
            Fault::Corrupt => source.to_string().into(),
            Fault::Unreachable | Fault::Busy(_) => source.domain().into(),
            _ => return,
        };
        let failure = Failure { at: Instant::now(), error: error.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((key, content.digest), failure);
    }

    /// Why somebody who has waited for some content since `since` need not ask this source for it.
    ///
    /// Wrong bytes stay wrong. A broken line does not: who comes after the failure tries again.
    pub(super) fn find(&self, source: &Place, content: &Descriptor, since: Instant) -> Option<EndpointError> {
        let failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_empty() {
            return None;
        }
        let wrong = failed.get(&(source.to_string().into(), content.digest));
        let broken = || failed.get(&(source.domain().into(), content.digest)).filter(|failure| failure.at >= since);
        wrong.or_else(broken).map(|failure| failure.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_oci::MediaType;

    #[test]
    fn wrong_bytes_stay_wrong_and_a_broken_line_may_mend() {
        let place = |host: &str, name: &str| Place::registry(host, &name.parse().unwrap());
        let (here, beside, there) = (place("here", "app"), place("here", "other"), place("there", "app"));
        let content = |bytes: &[u8]| Descriptor::of(MediaType::parse("x"), bytes);
        let (damaged, broken) = (content(b"damaged"), content(b"broken"));
        let (failed, waiting) = (Failed::default(), Instant::now());
        failed.note(&here, &damaged, &EndpointError::new(Fault::Corrupt, "wrong"));
        failed.note(&here, &broken, &EndpointError::new(Fault::Unreachable, "gone"));
        let later = Instant::now() + std::time::Duration::from_secs(1);
        let found = |place: &Place, content: &Descriptor, since| {
            failed.find(place, content, since).map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!([found(&here, &damaged, waiting), found(&here, &damaged, later)], ["wrong", "wrong"]);
        assert_eq!([found(&here, &broken, waiting), found(&here, &broken, later)], ["gone", ""]);
        assert_eq!([found(&beside, &damaged, waiting), found(&beside, &broken, waiting)], ["", "gone"]);
        assert_eq!(found(&there, &damaged, waiting), "");
        failed.note(&there, &damaged, &EndpointError::new(Fault::Denied, "no"));
        assert_eq!(found(&there, &damaged, waiting), "");
        // A disk is asked again: it costs nothing.
        let disk = Place::local("disk", None);
        failed.note(&disk, &damaged, &EndpointError::new(Fault::Corrupt, "wrong"));
        assert_eq!(found(&disk, &damaged, waiting), "");
    }
}
