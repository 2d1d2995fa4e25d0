//! Bundles: what is written is read back, by hod and by others, and nothing else is.

mod damage;
mod golden;
mod hostile;
mod interop;
mod random_access;
mod round_trip;
mod sample;
mod volumes;
