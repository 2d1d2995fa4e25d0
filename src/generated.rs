//! Generated files of the repository: a test compares each with what the code gives, or writes it anew.

use std::path::Path;

/// Compares a file below the root of the repository with its right text. With `HOD_UPDATE` set, writes it first.
pub(crate) fn assert_current(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("HOD_UPDATE").is_some() {
        fs_err::write(&path, expected).unwrap();
    }
    let found = fs_err::read_to_string(&path).unwrap_or_default();
    let differs = || found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{file} is out of date: run HOD_UPDATE=1 cargo test --lib\n{:?}", differs());
}
