//! The commands: each turns its arguments into a call of the library, and the result into text.

pub(super) mod bundle;
mod bundle_failure;
pub(super) mod copy;
pub(super) mod delete;
pub(super) mod diff;
pub(super) mod gc;
pub(super) mod index;
pub(super) mod inspect;
pub(super) mod inventory;
pub(super) mod keygen;
pub(super) mod layer;
pub(super) mod list_tags;
pub(super) mod lock;
pub(super) mod login;
pub(super) mod ls;
pub(super) mod manifest_digest;
pub(super) mod pack;
pub(super) mod plan;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod rm;
pub(super) mod select;
pub(super) mod serve;
pub(super) mod shell;
pub(super) mod sign;
pub(super) mod standalone;
pub(super) mod stat;
pub(super) mod sync;
pub(super) mod tag;
pub(super) mod unpack;
pub(super) mod unpack_image;
pub(super) mod verify;

mod admission;
mod epoch;
mod holding;
mod incoming;
pub(super) mod init;
mod input;
mod layers;
mod media;
mod named;
mod opening;
mod registries;
mod resolving;
mod signing;
mod trust;

pub(super) use registries::{UsedRegistries, registries};

use hod_image::batch::OnFailure;

/// What `--fail-fast` says about the other images of a run.
const fn on_failure(fail_fast: bool) -> OnFailure {
    if fail_fast { OnFailure::Stop } else { OnFailure::KeepGoing }
}
