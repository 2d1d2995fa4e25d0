//! The commands: each turns its arguments into a call of the pipeline, and the result into text.

pub(super) mod copy;
pub(super) mod keygen;
pub(super) mod lock;
pub(super) mod ls;
pub(super) mod pack;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod serve;
pub(super) mod shell;
pub(super) mod sign;
pub(super) mod unpack;
pub(super) mod verify;

mod input;
mod registries;
mod trust;

pub(super) use registries::registries;
