//! Opens the image that a command reads, by the command's flags.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::{UsedRegistries, input, media, trust};
use crate::args::{RegistryArgs, TrustArgs};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use hod_bundle::Trust;
use hod_image::open::{OpenSource, Places};
use hod_transport::Location;

/// The place that an argument names.
pub(super) fn location(text: &str) -> Result<Location, Failure> {
    text.parse().map_err(|error| Failure::of(Kind::Usage, error))
}

/// Registries and places on this machine, for a command that reads one image; `daemon` is the daemon that was named.
pub(super) fn places(
    context: &Context,
    location: &Location,
    daemon: Option<&String>,
    registry: &RegistryArgs,
) -> Result<Places, Failure> {
    let registries = context.registries(registry, &UsedRegistries::of([location]))?;
    Ok(Places::new(registries).with_local(context.local(daemon, registry)?))
}

/// What becomes of the images of bundles.
pub(super) enum Purpose<'a> {
    /// They are told about: it does not matter who made them.
    Look,
    /// They go to where they are used, if this says that their bundle is one to take.
    Take(&'a TrustArgs),
}

/// The same places, with the bundles that these locations are in: each is opened once, and shows once who signed it.
pub(super) async fn with_bundles<'a>(
    context: &Context,
    mut places: Places,
    locations: impl IntoIterator<Item = &'a Location>,
    purpose: Purpose<'_>,
) -> Result<Places, Failure> {
    let in_bundle =
        |location: &Location| if let Location::Bundle(path, _) = location { Some(path.clone()) } else { None };
    let paths: BTreeSet<PathBuf> = locations.into_iter().filter_map(in_bundle).collect();
    for path in paths {
        let trusted = match purpose {
            Purpose::Look => Trust::default(),
            Purpose::Take(args) => trust::trust(context, args, &media::whole(&path, &[]))?,
        };
        let file = path.clone();
        let opened = input::blocking(move || media::open(&file, &[], &trusted));
        let (bundle, signed) = opened.await?;
        trust::say(context, signed.as_ref());
        places = places.with_bundle(&path, bundle);
    }
    Ok(places)
}

/// Opens an image of those places.
pub(super) async fn open(places: &Arc<Places>, location: &Location) -> Result<OpenSource, Failure> {
    let (places, location) = (places.clone(), location.clone());
    input::blocking(move || places.source(&location).map_err(|error| Failure::of(Kind::Failed, error))).await
}
