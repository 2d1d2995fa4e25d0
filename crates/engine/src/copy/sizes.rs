//! Content whose manifest gives it a wrong length.
//!
//! The digest decides what content is; skopeo, podman and registries do not mind what a manifest says of its length. So
//! a place that knows the length is believed, within a bound: who announces a layer of 1 KiB must not fill a disk.

use std::collections::HashMap;

use super::Engine;
use crate::endpoint::{EndpointError, Fault, Mismatch, Source};
use crate::observe::Event;
use hod_oci::{Descriptor, Graph};

/// How many bytes longer than its manifest says content may be.
const SLACK: u64 = 64 * 1024 * 1024;

impl Engine {
    /// The content with its real length, where `error` means that the manifest gives a wrong one.
    pub(super) async fn corrected(
        &self,
        source: &dyn Source,
        content: &Descriptor,
        error: &EndpointError,
    ) -> Option<Descriptor> {
        let is_length = matches!(error.cause().downcast_ref(), Some(Mismatch::Short { .. } | Mismatch::Long { .. }));
        if error.fault() != Fault::Corrupt || !is_length {
            return None;
        }
        let what = format!("the length of {} in {}", content.digest, source.place());
        let found = self.question(&what, source.place(), || source.size(content)).await.ok()??;
        if found == content.size || found > content.size.saturating_add(SLACK) {
            return None;
        }
        self.observer.on(&Event::Notice(&format!(
            "{} has {found} bytes in {}, and its manifest says {}: the digest decides",
            content.digest,
            source.place(),
            content.size
        )));
        Some(Descriptor { size: found, ..content.clone() })
    }
}

/// Gives what a graph names the lengths that a place at hand knows.
///
/// Places that are written in one go keep room for content before it comes. A registry is asked only where a length
/// turns out to be wrong.
pub async fn correct_sizes(source: &dyn Source, graph: &mut Graph) -> Result<(), EndpointError> {
    if source.place().is_remote() {
        return Ok(());
    }
    let mut sizes = HashMap::new();
    for blob in graph.blobs() {
        sizes.extend(source.size(blob).await?.map(|size| (blob.digest, size)));
    }
    graph.correct_sizes(&sizes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::copy::{Limits, RetryPolicy};
    use crate::endpoint::{BlobReader, Place, Result};
    use crate::observe::SilentObserver;
    use hod_oci::{MediaType, Version};

    struct Sized(Place, Option<u64>);

    #[async_trait]
    impl Source for Sized {
        fn place(&self) -> &Place {
            &self.0
        }

        async fn manifest(&self, _: &Version) -> Result<(Descriptor, Bytes)> {
            Err(EndpointError::new(Fault::Missing, "no"))
        }

        async fn open(&self, _: &Descriptor, _: u64) -> Result<BlobReader> {
            Err(EndpointError::new(Fault::Missing, "no"))
        }

        async fn size(&self, _: &Descriptor) -> Result<Option<u64>> {
            Ok(self.1)
        }
    }

    #[tokio::test]
    async fn a_place_is_believed_within_a_bound() {
        let engine = Engine::new(Limits::for_jobs(1), RetryPolicy::default(), Arc::new(SilentObserver));
        let content = Descriptor::new(MediaType::parse("x"), hod_oci::Digest::sha256(b"x"), 1000);
        let (digest, size) = (content.digest, content.size);
        let short = || EndpointError::new(Fault::Corrupt, Mismatch::Short { digest, size, got: 1 });
        for (told, believed) in [
            (None, None),
            (Some(1000), None),
            (Some(999), Some(999)),
            (Some(1001), Some(1001)),
            (Some(1000 + SLACK), Some(1000 + SLACK)),
            (Some(1001 + SLACK), None),
        ] {
            let source = Sized(Place::registry("host", &"a".parse().unwrap()), told);
            let found = engine.corrected(&source, &content, &short()).await;
            assert_eq!(found.map(|found| found.size), believed, "{told:?}");
        }
        let source = Sized(Place::registry("host", &"a".parse().unwrap()), Some(999));
        let other = Mismatch::Digest { expected: digest, found: digest };
        for error in [EndpointError::new(Fault::Corrupt, other), EndpointError::new(Fault::Unreachable, "gone")] {
            assert!(engine.corrected(&source, &content, &error).await.is_none());
        }
    }
}
