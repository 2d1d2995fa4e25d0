//! Layouts with links in them: nothing outside is deleted.

use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use super::layout;
use crate::support::hod::hod;
use crate::support::job::text;
use crate::support::{fixtures, tree};

#[test]
fn gc_deletes_nothing_behind_a_link() {
    for at in ["blobs", "blobs/sha256"] {
        let (folder, outside) = (layout(), tempfile::tempdir().unwrap());
        let (place, elsewhere) = (folder.path().join(at), outside.path().join("blobs"));
        fs::create_dir_all(folder.path().join("blobs/sha512")).unwrap();
        fs::rename(&place, &elsewhere).unwrap();
        symlink(&elsewhere, &place).unwrap();
        // What no image of the layout needs, but somebody else may.
        let unneeded = "f".repeat(64);
        let within = if at == "blobs" { elsewhere.join("sha256") } else { elsewhere.clone() };
        fs::write(within.join(&unneeded), "of somebody else").unwrap();
        let before = tree::listing(outside.path());
        for more in [&[][..], &["--dry-run"]] {
            let output = hod([&["gc", &format!("oci:{}", text(folder.path()))], more].concat()).code(1);
            assert!(
                output.stderr.contains(text(&place)) && output.stderr.contains("symbolic link"),
                "{}",
                output.stderr
            );
        }
        assert_eq!(tree::listing(outside.path()), before);
    }
}

#[test]
fn gc_removes_what_killed_runs_have_left_in_a_layout() {
    let folder = layout();
    let hex = "0".repeat(64);
    for left in [
        format!("blobs/.sha256-{hex}.partial"),
        format!("blobs/.sha256-{hex}.1.partial"),
        format!("blobs/.sha256-{hex}.4711-0.partial"),
        format!("blobs/sha256/.{hex}.tmp"),
    ] {
        fs::write(folder.path().join(left), "half").unwrap();
    }
    let before = tree::listing(&fixtures::folder().join("images"));
    let done = hod(["gc", &format!("oci:{}", text(folder.path())), "--json"]).ok().json();
    assert_eq!(done["unfinished"]["count"], 4, "{done:#}");
    assert!(tree::listing(folder.path()).keys().all(|path| before.contains_key(path)), "{done:#}");
}
