//! One repository of a store as an endpoint: one value for one image on its way in or out.
//!
//! What is put or adopted is remembered and becomes part of the repository when the image is
//! published, all at once. File work runs on blocking threads.

mod reader;
mod sink;
mod source;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ingest::POLL;
use super::{Attempt, Ingest, Links, Result, Store, StoreError};
use hod_engine::endpoint::{self, Place};
use hod_oci::{Descriptor, Digest, Manifest, RepositoryName};

/// A repository of a store: a source and a sink.
pub struct Repository {
    store: Store,
    name: RepositoryName,
    place: Place,
    pending: Mutex<Pending>,
}

/// What becomes part of the repository when its image is published.
#[derive(Default)]
struct Pending {
    layers: Vec<Digest>,
    revisions: Vec<Digest>,
    /// Unfinished content whose kept bytes were hashed.
    parked: HashMap<Digest, Ingest>,
}

impl Store {
    /// A repository of this store, which need not exist yet, for one image to be read or written.
    pub fn repository(&self, name: &RepositoryName) -> Repository {
        Repository::new(self.clone(), name.clone())
    }
}

impl Repository {
    pub(super) fn new(store: Store, name: RepositoryName) -> Self {
        let place = Place::local(&store.root().display().to_string(), Some(&name));
        Self { store, name, place, pending: Mutex::default() }
    }

    /// Its name in the store.
    pub const fn name(&self) -> &RepositoryName {
        &self.name
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers content for the commit.
    fn remember(&self, content: &Descriptor) {
        let mut pending = self.pending();
        let list = if content.media_type.is_manifest() { &mut pending.revisions } else { &mut pending.layers };
        if !list.contains(&content.digest) {
            list.push(content.digest);
        }
    }

    fn is_pending(&self, content: &Descriptor) -> bool {
        let pending = self.pending();
        let list = if content.media_type.is_manifest() { &pending.revisions } else { &pending.layers };
        list.contains(&content.digest)
    }

    /// What is remembered, as links.
    fn links(&self) -> Links {
        let pending = self.pending();
        Links { layers: pending.layers.clone(), revisions: pending.revisions.clone(), ..Links::none(self.name.clone()) }
    }

    /// Refuses a manifest that registries could not serve, or one whose config and layers have
    /// not all come.
    async fn check_manifest(&self, content: &Descriptor, bytes: &[u8]) -> endpoint::Result<()> {
        let digest = content.digest;
        let manifest =
            Manifest::parse(&content.media_type, bytes).map_err(|source| StoreError::Manifest { digest, source })?;
        let mut blobs: Vec<Digest> = Vec::new();
        {
            let pending = self.pending();
            let carried = manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer());
            blobs.extend(carried.map(|blob| blob.digest).filter(|digest| !pending.layers.contains(digest)));
        }
        let (store, name) = (self.store.clone(), self.name.clone());
        blocking(move || {
            for blob in blobs {
                if !has_layer(&store, &name, &blob)? || store.size(&blob)?.is_none() {
                    return Err(StoreError::Incomplete { name, manifest: Box::new(digest), digest: blob });
                }
            }
            Ok(())
        })
        .await
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Whether a repository has a layer. A link that registries cannot read is one to be written again.
fn has_layer(store: &Store, name: &RepositoryName, digest: &Digest) -> Result<bool> {
    readable(store.has_layer(name, digest))
}

/// Whether a repository has a manifest, likewise.
fn has_revision(store: &Store, name: &RepositoryName, digest: &Digest) -> Result<bool> {
    readable(store.has_revision(name, digest))
}

fn readable(found: Result<bool>) -> Result<bool> {
    match found {
        Err(StoreError::Link { .. }) => Ok(false),
        found => found,
    }
}

/// Runs file work where it may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> endpoint::Result<T> {
    endpoint::blocking(work).await
}

/// Begins to write some content; waits while another process does. `None` where the store has it.
async fn begin(store: &Store, digest: Digest, size: u64) -> endpoint::Result<Option<Ingest>> {
    loop {
        let store = store.clone();
        match blocking(move || store.try_ingest(&digest, size)).await? {
            Attempt::There => return Ok(None),
            Attempt::Begun(ingest) => return Ok(Some(ingest)),
            // Waiting here and not on a blocking thread: the runtime could not stop that one.
            Attempt::Busy => tokio::time::sleep(POLL).await,
        }
    }
}
