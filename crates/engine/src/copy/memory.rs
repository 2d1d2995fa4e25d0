//! The manifests of a run, so that each is asked for once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::endpoint::{EndpointError, Fault, Place};
use hod_oci::{Descriptor, Digest};

/// The most that is kept of the manifests and configs of one registry, in bytes: those of many thousand images.
const MEMORY_LIMIT: u64 = 128 * 1024 * 1024;

/// A manifest that is being asked for, or has been.
pub(super) type Answer = Arc<OnceCell<(Descriptor, Bytes)>>;

/// Manifests of this run, so that each is asked for once however many images share it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) manifests: Mutex<HashMap<Digest, Answer>>,
    /// The bytes that each registry has given.
    bytes: Mutex<HashMap<Box<str>, u64>>,
}

/// A registry that gives more manifests than a run keeps.
#[derive(Debug, thiserror::Error)]
#[error("{host} sent more than {} MiB of manifests and configs in this run", MEMORY_LIMIT >> 20)]
struct TooMuch {
    host: Box<str>,
}

impl Memory {
    /// Counts bytes that are kept from now on.
    pub(super) fn admit(&self, place: &Place, bytes: &Bytes) -> Result<(), EndpointError> {
        if !place.is_remote() {
            return Ok(());
        }
        let mut all = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match all.get_mut(place.domain()) {
            Some(sum) => sum,
            None => all.entry(place.domain().into()).or_default(),
        };
        *sum = sum.saturating_add(bytes.len() as u64);
        if *sum > MEMORY_LIMIT {
            return Err(EndpointError::new(Fault::Rejected, TooMuch { host: place.domain().into() }));
        }
        Ok(())
    }
}
