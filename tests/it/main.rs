//! Integration tests, one file a subject, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test stops at the first thing that is not as it should be"
)]
#![allow(unreachable_pub, reason = "nothing outside this binary can reach anything")]

mod architecture;
mod bundle;
mod faults;
mod lock;
mod pull;
mod referrers;
mod registry;
mod serve;
mod store;
mod support;
mod trust;
