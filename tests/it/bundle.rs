//! Bundles: what is written is read back, by hod and by others, and nothing else is.

mod damage;
mod golden;
pub(crate) mod hostile;
mod interop;
mod random_access;
mod round_trip;
pub(crate) mod sample;
mod volumes;
