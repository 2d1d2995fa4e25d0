//! The steps of the job, a file or directory each: pull ([`fetch`]), [`lock`], [`plan`], [`pack`], [`bundle`], [`unpack`], [`push`], [`select`], [`gc`], [`verify`], [`sync`].
//!
//! * **For**: what a command does, without its arguments and its output.
//! * **Must stay true**: each step takes what the one before it returns. A step that is killed leaves nothing wrong, and goes on when it is
//!   run again.
//! * **Does not**: print, read the environment, or choose exit codes.
//!
//! ```
//! use hod_steps::pack;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let header = pack::header(&[], 0)?;
//! assert!(header.blobs().is_empty());
//! # Ok(())
//! # }
//! ```

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
