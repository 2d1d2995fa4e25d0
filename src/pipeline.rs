//! The steps of the job, one file each, every step taking what the one before it made:
//!
//! ```text
//! list ─▶ resolve ─▶ fetch ─▶ (store) ─▶ pack ═▶ unpack ─▶ (registry root)
//!           │                     └────────────────┴▶ push ─▶ (registry)
//!           └▶ lock                └▶ verify, contents
//! ```
//!
//! Steps report to an observer, return receipts, and never print.

pub mod admission;
pub mod attached;
pub mod base;
pub mod bundle;
pub mod catalog;
pub mod contents;
pub mod convert;
pub mod copy_image;
pub mod copy_list;
pub mod diff;
pub mod elsewhere;
pub mod fetch;
pub mod finding;
pub mod forced;
pub mod gathered;
pub mod gc;
mod hashing;
pub mod incoming;
pub mod index;
pub mod index_policy;
pub mod inspect;
pub mod inventory;
pub mod list;
pub mod listing;
pub mod lock;
pub mod merge;
mod multi_arch;
pub mod new_image;
pub mod open;
pub mod pack;
pub mod places;
pub mod plan;
mod processors;
pub mod push;
pub mod push_base;
mod push_chosen;
mod push_referrers;
pub mod push_stream;
pub mod reach;
pub mod recompress;
pub mod resolve;
pub mod room;
pub mod schema1;
pub mod select;
pub mod select_into;
pub mod signing;
pub mod stat;
pub mod sync;
pub mod unpack;
pub mod unpack_image;
pub mod untag;
pub mod verify;
pub mod verify_bundle;
pub mod verify_place;
pub mod verify_volumes;
pub mod whole;
mod workshop;

/// `1 tag`, `2 tags`: a number with its noun, for messages.
fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
