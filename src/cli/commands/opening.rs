//! The image that a command reads: its place, opened as the command's flags say.

use std::sync::Arc;

use super::input;
use crate::cli::args::RegistryArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::pipeline::open::{OpenSource, Places};
use crate::transport::Location;

/// The place that an argument names.
pub(super) fn location(text: &str) -> Result<Location, Failure> {
    text.parse().map_err(|error| Failure::of(Kind::Usage, error))
}

/// Registries and places on this machine, for a command with one side; `daemon` is the daemon that was named.
pub(super) fn places(context: &Context, daemon: Option<&String>, registry: &RegistryArgs) -> Result<Places, Failure> {
    Ok(Places::new(context.registries(registry)?).with_local(context.local(daemon, registry)?))
}

/// Opens an image of those places.
pub(super) async fn open(places: &Arc<Places>, location: &Location) -> Result<OpenSource, Failure> {
    let (places, location) = (places.clone(), location.clone());
    input::blocking(move || places.source(&location).map_err(|error| Failure::of(Kind::Failed, error))).await
}
