//! The limits of the walk from an image's root to its children.
//!
//! Whoever builds a [`Graph`](super::Graph) begins with [`Walk::default`] at the root and goes into every manifest by
//! it, so that all agree on what is too much and on what is then said. Indexes that name each other in a circle are too
//! deep like others. Who visits each manifest once and keeps no graph needs no limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::weight::{WEIGHT_LIMIT, weight};
use super::{Manifest, ManifestError, MediaType};

/// How many indexes may lie one in another. Two is what tools write; registries have no limit.
pub(crate) const NESTING_LIMIT: usize = 8;
/// How many manifests the indexes of one image may name in all, each counted as often as it is named. Real images have
/// some dozens; indexes that name each other many times would be walked for ever, few as they are.
pub const GRAPH_LIMIT: usize = 10_000;

/// What the manifests of one image may take in memory, by estimate. So many as an image may name take half of it.
const GRAPH_WEIGHT: u64 = 2 * WEIGHT_LIMIT;

/// The errors of a manifest that cannot be part of a graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// It is none, or not what it was announced as. The cause says it all, and is looked for as such.
    #[error("{0}")]
    Manifest(#[source] ManifestError),
    /// The indexes of the image name more manifests than any image needs.
    #[error("it and the indexes around it name more than {GRAPH_LIMIT} manifests: use their images one by one")]
    Wide,
    /// Manifests with more in them than any image needs.
    #[error("it and the manifests before it take more than {} MiB of memory: use the images one by one", GRAPH_WEIGHT >> 20)]
    Heavy,
    /// An index in more indexes than any tool writes.
    #[error("it is an index nested in {NESTING_LIMIT} others, which is the limit: use its images one by one")]
    Deep,
}

/// How far a walk has come. Clones go on within the same image, side by side if need be.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// Indexes around the manifest that is gone into next.
    around: usize,
    /// Manifests that the indexes of the image have named so far.
    named: Arc<AtomicUsize>,
    /// What its manifests take in memory so far.
    weight: Arc<AtomicU64>,
}

impl Walk {
    /// Returns true if the next manifest is the root.
    pub const fn is_at_root(&self) -> bool {
        self.around == 0
    }

    /// Reads a manifest that was announced as `announced`; with the walk by which to go into its children.
    pub fn read(&self, announced: &MediaType, bytes: &[u8]) -> Result<(Manifest, Self), GraphError> {
        let manifest = Manifest::parse_proven(announced, bytes).map_err(GraphError::Manifest)?;
        let own = weight(bytes);
        if self.weight.fetch_add(own, Ordering::Relaxed).saturating_add(own) > GRAPH_WEIGHT {
            return Err(GraphError::Heavy);
        }
        let below = self.enter(&manifest)?;
        Ok((manifest, below))
    }

    /// The walk by which to go into the children of a manifest that was read before.
    pub fn enter(&self, manifest: &Manifest) -> Result<Self, GraphError> {
        if manifest.media_type.is_index() && self.around >= NESTING_LIMIT {
            return Err(GraphError::Deep);
        }
        let count = manifest.children().len();
        if self.named.fetch_add(count, Ordering::Relaxed).saturating_add(count) > GRAPH_LIMIT {
            return Err(GraphError::Wide);
        }
        Ok(Self { around: self.around + 1, named: self.named.clone(), weight: self.weight.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Descriptor, Digest};
    use super::*;

    fn index(children: usize) -> Manifest {
        let child = Descriptor::new(MediaType::OciManifest, Digest::sha256(b""), 0);
        let index = json!({"schemaVersion": 2, "manifests": vec![child; children]}).to_string();
        Manifest::parse(&MediaType::OciIndex, index.as_bytes()).unwrap()
    }

    #[test]
    fn every_index_counts_within_its_image() {
        let root = Walk::default();
        let below = root.enter(&index(GRAPH_LIMIT - 1)).unwrap();
        assert!(root.is_at_root() && !below.is_at_root());
        below.enter(&index(1)).unwrap();
        assert!(matches!(below.clone().enter(&index(1)), Err(GraphError::Wide)));
        // Another image begins anew.
        Walk::default().enter(&index(GRAPH_LIMIT)).unwrap();
        assert!(matches!(Walk::default().enter(&index(GRAPH_LIMIT + 1)), Err(GraphError::Wide)));
    }

    #[test]
    fn the_innermost_index_may_hold_images() {
        let inside = (0..NESTING_LIMIT).fold(Walk::default(), |walk, _| walk.enter(&index(1)).unwrap());
        let image = format!(r#"{{"schemaVersion":2,"config":{}}}"#, json!(index(1).children()[0]));
        inside.read(&MediaType::OciManifest, image.as_bytes()).unwrap();
        assert!(matches!(inside.enter(&index(0)), Err(GraphError::Deep)));
    }

    #[test]
    fn the_cause_is_found_and_said_once() {
        let error = Walk::default().read(&MediaType::OciManifest, br#"{"schemaVersion":1}"#).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap();
        assert!(matches!(cause.downcast_ref(), Some(ManifestError::Schema1)));
        assert_eq!(error.to_string(), cause.to_string());
    }
}
