//! A sink that makes something of each layer that the engine brings, with its patience and its progress, and keeps what
//! was made by the layer's digest.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use hod_engine::endpoint::{EndpointError, Fault, Place, Placed, Result, Sink, Verified};
use hod_oci::{Descriptor, Digest, Graph, Tag};

/// What is done with the bytes of a layer.
type Work<T> = dyn Fn(Verified) -> BoxFuture<'static, Result<T>> + Send + Sync;

/// Makes something of layers.
pub(super) struct Workshop<T> {
    place: Place,
    work: Box<Work<T>>,
    made: Mutex<HashMap<Digest, T>>,
}

impl<T> Workshop<T> {
    /// A workshop of that name.
    pub(super) fn new(
        name: &str,
        work: impl Fn(Verified) -> BoxFuture<'static, Result<T>> + Send + Sync + 'static,
    ) -> Self {
        Self { place: Place::local(name, None), work: Box::new(work), made: Mutex::default() }
    }

    /// What was made so far.
    pub(super) fn made(&self) -> MutexGuard<'_, HashMap<Digest, T>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> std::fmt::Debug for Workshop<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("place", &self.place).finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: Send> Sink for Workshop<T> {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, _: &Graph, _: &[Tag]) -> Result<bool> {
        Ok(false)
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        Ok(self.made().contains_key(&content.digest))
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placed> {
        let made = (self.work)(body).await?;
        self.made().insert(content.digest, made);
        Ok(Placed::Written)
    }

    async fn publish(&self, root: &Descriptor, _: Bytes, _: &[Tag]) -> Result<()> {
        Err(EndpointError::new(Fault::Rejected, format!("{} is no layer", root.digest)))
    }
}
