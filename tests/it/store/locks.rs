//! File systems that refuse every lock, as NFS without a lock service and Lustre without `flock` do.

use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::job::assert_clean;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_file_system_without_locks_is_named_and_may_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let from = format!("oci:{}", fixtures::folder().join("images").display());
    let refuse = |error: &str, words: &[&str]| {
        let inject = format!("inject=flock:error={error}");
        let run = hod(words).in_folder(here);
        run.by_way_of(&["strace", "-f", "-qq", "-e", "trace=flock", "-e", &inject, "-o"]).0
    };
    for (number, error) in ["ENOLCK", "ENOSYS", "EOPNOTSUPP"].into_iter().enumerate() {
        let store = format!("store{number}");
        let pull = ["pull", &from, "--store", &store];
        for (words, place) in [
            (&pull as &[&str], store.as_str()),
            (&["copy", &format!("{from}:pause:3.9"), "oci:layout:web"], "layout"),
            (&["unpack-image", &format!("{from}:pause:3.9"), "files"], "files"),
        ] {
            let refused = refuse(error, words);
            assert_eq!(refused.code, Some(1), "{words:?}: {}", refused.stderr);
            for said in ["has no locks", place, "--no-locks"] {
                assert!(refused.stderr.contains(said), "{words:?} does not say {said}: {}", refused.stderr);
            }
            assert!(!refused.stderr.contains("another process"), "{words:?}: {}", refused.stderr);
        }
        let taken = refuse(error, &[&pull as &[&str], &["--no-locks"]].concat());
        assert_eq!(taken.code, Some(0), "{}", taken.stderr);
        assert_clean(&here.join(&store));
        let collected = refuse(error, &["gc", &store, "--no-locks"]);
        assert_eq!(collected.code, Some(0), "{}", collected.stderr);
        // Looking needs no lock.
        assert_eq!(refuse(error, &["verify", &store]).code, Some(0));
    }
}
