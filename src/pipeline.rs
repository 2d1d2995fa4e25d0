//! The steps of the job, one file each, every step taking what the one before it made:
//!
//! ```text
//! list ─▶ resolve ─▶ fetch ─▶ (store) ─▶ pack ═▶ unpack ─▶ (registry root)
//!           │                     └────────────────┴▶ push ─▶ (registry)
//!           └▶ lock                └▶ verify, contents
//! ```
//!
//! Steps report to an observer, return receipts, and never print.

pub mod contents;
pub mod fetch;
pub mod finding;
pub mod list;
pub mod lock;
pub mod resolve;
pub mod verify;
