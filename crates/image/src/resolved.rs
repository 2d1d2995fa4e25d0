//! A resolved image of a list.

use std::fmt;
use std::sync::Arc;

use super::attached::Attachment;
use super::list::{Line, StoredName};
use hod_engine::endpoint::Source;
use hod_oci::{Digest, Graph, Platforms, Reference};
use hod_transport::Location;

/// An image that is known now.
#[derive(Clone)]
pub struct ResolvedImage {
    /// The line that asked for it.
    pub line: Line,
    /// Other lines that mean it, and whose platforms it has too.
    pub also: Vec<Line>,
    /// The name that means the same everywhere: with host, and with the digest it had.
    pub source_name: Reference,
    /// Its destination in the store.
    pub name: StoredName,
    /// Which of its platforms were chosen.
    pub platforms: Platforms,
    /// The source of its content.
    pub source: Arc<dyn Source>,
    /// The content to copy.
    pub graph: Arc<Graph>,
    /// Its referrers.
    pub attached: Vec<Attachment>,
    /// The place on this machine that it is taken from, where that is no registry.
    pub place: Option<Box<Location>>,
    /// The digest that it has there, where it was made out of Docker's first format.
    pub converted_from: Option<Digest>,
}

impl fmt::Debug for ResolvedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedImage")
            .field("source", &self.source_name)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
