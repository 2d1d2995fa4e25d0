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
#![allow(
    clippy::similar_names,
    clippy::items_after_statements,
    clippy::type_complexity,
    reason = "a test reads from top to bottom, with its table beside what is done with it"
)]
#![allow(unreachable_pub, reason = "nothing outside this binary can reach anything")]

mod architecture;
mod archives;
mod book;
mod bundle;
mod carry;
mod cli;
mod coming_from_skopeo;
mod complete_names;
mod conformance;
mod convert;
mod copy;
mod copy_list;
mod costs;
mod credentials;
mod daemon;
mod damage;
mod damaged_sources;
mod delta;
mod errors;
mod failed_copy;
mod faults;
mod foreign;
mod foreign_layers;
mod hints;
mod index;
mod inspect;
mod installer;
mod json;
mod kill;
#[cfg(target_arch = "x86_64")]
mod kill_points;
mod layer;
mod limits;
mod listed_places;
mod lock;
mod manage;
mod official_images;
mod one_pass;
mod outputs;
mod places;
mod plan;
mod policy;
mod pull;
mod push;
mod readme;
mod referrers;
mod registries_conf;
mod registry;
mod same_image;
mod scenarios;
mod schema1;
mod select;
mod serve;
mod shell_scripts;
mod signatures;
mod skopeo_flags;
mod storage;
mod store;
mod support;
mod sync;
mod templates;
mod torture;
mod trust;
mod unpack_image;
mod untyped;
mod verify_places;
mod volumes;
mod walks;
mod wrong_sizes;
