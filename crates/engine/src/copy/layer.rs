//! Layers that are made into something: they come as all content does, and go to no place.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{CopyError, Engine, Side};
use crate::endpoint::{EndpointError, Fault, Place, Placement, Result, Sink, Source, Verified};
use hod_oci::{Descriptor, Graph, Tag};

/// Takes one layer.
struct LayerSink<W, T> {
    place: Place,
    work: W,
    made: Mutex<Option<T>>,
}

impl Engine {
    /// Makes something of a layer, with the patience and the limits of this run. `name` stands for the place that takes
    /// it.
    ///
    /// A failure that may pass has the layer come once more, to another `work`; [`Fault::Rejected`] is final.
    pub async fn read_layer<T, F>(
        &self,
        source: &Arc<dyn Source>,
        name: &str,
        layer: &Descriptor,
        work: impl Fn(Verified) -> F + Send + Sync,
    ) -> std::result::Result<T, CopyError>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let sink = LayerSink { place: Place::local(name, None), work, made: Mutex::default() };
        self.place(source, &sink, layer).await?;
        let made = sink.made.into_inner().unwrap_or_else(PoisonError::into_inner);
        made.ok_or_else(|| {
            let nothing = EndpointError::new(Fault::Other, "nothing was made of the layer");
            CopyError::content(layer, Side::Destination, &sink.place, nothing)
        })
    }
}

#[async_trait]
impl<W, F, T> Sink for LayerSink<W, T>
where
    W: Fn(Verified) -> F + Send + Sync,
    F: Future<Output = Result<T>> + Send,
    T: Send,
{
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, _: &Graph, _: &[Tag]) -> Result<bool> {
        Ok(false)
    }

    async fn contains(&self, _: &Descriptor) -> Result<bool> {
        Ok(false)
    }

    async fn put(&self, _: &Descriptor, body: Verified) -> Result<Placement> {
        let made = (self.work)(body).await?;
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(Placement::Written)
    }

    async fn publish(&self, root: &Descriptor, _: Bytes, _: &[Tag]) -> Result<()> {
        Err(EndpointError::new(Fault::Rejected, format!("{} is not a layer", root.digest)))
    }
}
