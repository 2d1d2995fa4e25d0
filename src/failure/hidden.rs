//! Errors that stand behind others which only pass them on, and so hide them from whoever looks for a type.

use std::error::Error;
use std::io;

use hod_image::resolve::ImageError;
use hod_rootfs::UnpackImageError;
use hod_steps::bundle::BundlingError;
use hod_steps::fetch::FetchError;
use hod_steps::incoming::IncomingError;
use hod_steps::pack::PackError;
use hod_steps::reach::ReachError;
use hod_steps::room::RoomError;
use hod_steps::unpack::UnpackError;
use hod_store::StoreError;
use hod_transport::TransportError;

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
