//! The program that libFuzzer drives: it feeds one of the entrances, which HOD_FUZZ names.

#![no_main]
#![allow(clippy::disallowed_types, reason = "the macro of libFuzzer opens a file")]

use std::sync::LazyLock;

mod entrances;

static ENTRANCE: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("HOD_FUZZ").expect("HOD_FUZZ names an entrance");
    let known = entrances::ENTRANCES.iter().find(|(name, _)| *name == wanted);
    known.unwrap_or_else(|| panic!("there is no entrance {wanted}")).1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ENTRANCE(bytes));
