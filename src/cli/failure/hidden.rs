//! Errors that stand behind others which only pass them on, and so hide them from whoever looks for a type.

use std::error::Error;
use std::io;

use crate::pipeline::bundle::BundlingError;
use crate::pipeline::fetch::FetchError;
use crate::pipeline::incoming::IncomingError;
use crate::pipeline::pack::PackError;
use crate::pipeline::reach::ReachError;
use crate::pipeline::resolve::ImageError;
use crate::pipeline::room::RoomError;
use crate::pipeline::unpack::UnpackError;
use crate::pipeline::unpack_image::UnpackImageError;
use crate::store::StoreError;
use crate::transport::TransportError;

/// That something has no room, also where errors that are transparent hide it.
pub(super) fn room_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a RoomError> {
    if let Some(FetchError::Room(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(IncomingError::Room(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(BundlingError::Room(error)) = error.downcast_ref() {
        return Some(error);
    }
    error.downcast_ref()
}

/// The error of a store, also where errors that are transparent hide it.
pub(super) fn store_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
    if let Some(FetchError::Store(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(UnpackError::Store(error) | UnpackError::Incoming(IncomingError::Store(error))) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(IncomingError::Store(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(PackError::Store(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(ReachError::Store(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(ImageError::Store(error)) = error.downcast_ref() {
        return Some(error);
    }
    error.downcast_ref()
}

/// The error of the system, also where errors that are transparent hide it.
pub(super) fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    if let Some(TransportError::Io(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(UnpackImageError::Io(error)) = error.downcast_ref() {
        return Some(error);
    }
    match store_error(error) {
        Some(StoreError::Io(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}
