//! Resolves arguments and lists to images with digests.

use std::sync::Arc;

use super::input::{self, ImagesAndPlaces};
use crate::context::Context;
use crate::failure::Failure;
use hod_engine::copy::Engine;
use hod_image::admission::Admission;
use hod_image::list::{ImageList, Origin};
use hod_image::open::{LocalSettings, Places};
use hod_image::places::{PlaceImage, resolve_places};
use hod_image::resolve::{Resolution, ResolveOptions, resolve};
use hod_registry::Registries;
use hod_store::Store;

/// The images that were named: those that registries are asked for, and those in places on this machine.
pub(super) struct RequestedImages {
    list: ImageList,
    in_places: Vec<PlaceImage>,
    order: Vec<Origin>,
}

impl RequestedImages {
    /// Images of registries alone.
    pub(super) const fn of_registries(list: ImageList) -> Self {
        Self { list, in_places: Vec::new(), order: Vec::new() }
    }

    /// Opens places; what cannot be used ends the command before anything is looked up or made.
    pub(super) async fn open(
        context: &Context,
        named: ImagesAndPlaces,
        registries: &Registries,
        local: LocalSettings,
        admission: Option<Arc<Admission>>,
    ) -> Result<Self, Failure> {
        let ImagesAndPlaces { images: list, places: asked, order } = named;
        let places = Places::new(registries.clone()).with_local(local);
        let places = match admission {
            Some(admission) => places.admitting(admission),
            None => places,
        };
        let in_places = input::open_places(context, &Arc::new(places), &asked).await?;
        Ok(Self { list, in_places, order })
    }

    /// Finds out what they are; with the number of images that were named, each counted once.
    pub(super) async fn resolve(
        self,
        engine: &Engine,
        registries: &Registries,
        store: Option<&Store>,
        options: &ResolveOptions,
    ) -> (Resolution, usize) {
        let lines = self.list.lines.len() + self.in_places.len();
        let mut resolution = Resolution::default();
        if !self.list.lines.is_empty() {
            resolution = resolve(engine, registries, store, self.list, options).await;
        }
        resolve_places(engine, self.in_places, &self.order, options, &mut resolution).await;
        let listed = lines - resolution.repeats();
        (resolution, listed)
    }
}
