//! The steps of the job: each takes what the one before it returns.

pub mod bundle;
pub mod diff;
pub mod fetch;
pub mod finding;
pub mod gc;
mod hashing;
pub mod incoming;
pub mod lock;
pub mod pack;
pub mod plan;
mod processors;
pub mod push;
pub mod push_base;
mod push_chosen;
mod push_referrers;
pub mod push_stream;
pub mod reach;
pub mod room;
pub mod select;
pub mod select_into;
pub mod sync;
pub mod unpack;
pub mod untag;
pub mod verify;
pub mod verify_bundle;
pub mod verify_place;
pub mod verify_volumes;
