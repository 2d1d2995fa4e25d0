//! Roots that are not as they should be: every command says the same about them.

use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::{chown, symlink};

use crate::support::fixtures;
use crate::support::hod::{Output, hod};
use crate::support::job::text;
use crate::support::skipped::is_root_for;
use crate::support::tree;

/// Runs every command that reads or changes a root, in a folder with the root `root`.
fn all_commands(here: &Path, run: impl Fn(&[&str]) -> Output) -> Vec<(String, Output)> {
    let images = format!("oci:{}", fixtures::folder().join("images").display());
    [
        "ls root",
        "verify root",
        "inventory root",
        "inventory root --minimal",
        "pack --store root -o b.tar",
        "gc root --dry-run",
        "gc root",
        "select --store root --to other",
        "push root docker://127.0.0.1:1",
        "serve root --listen 0",
        "rm --store root pause:3.9",
        "tag --store root web:1.0 new",
        "diff root root",
        "inspect store:root:pause:3.9",
        "copy store:root:pause:3.9 dir:copy",
        "copy IMAGES:web:1.0 store:root:new:1",
        "pull IMAGES:web:1.0 --store root",
    ]
    .into_iter()
    .map(|words| {
        let words = words.replace("IMAGES", &images);
        let output = run(&words.split(' ').collect::<Vec<_>>());
        assert!(!here.join("b.tar").exists() && !here.join("copy").exists(), "{words}");
        (words, output)
    })
    .collect()
}

#[test]
fn a_link_to_another_disk_is_said_alike_by_all_commands() {
    for linked in ["docker", "docker/registry/v2/blobs", "docker/registry/v2/repositories"] {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        tree::copy(fixtures::root(), &here.join("root"));
        fs::create_dir(here.join("disk")).unwrap();
        fs::rename(here.join("root").join(linked), here.join("disk/moved")).unwrap();
        symlink(here.join("disk/moved"), here.join("root").join(linked)).unwrap();
        let said = format!("root/{linked} is a symbolic link that leads out of the store, to ");
        for (words, output) in all_commands(here, |words| hod(words).in_folder(here).run()) {
            assert_eq!(output.code, Some(1), "{words}: {}", output.stderr);
            assert!(output.stderr.contains(&said), "{words}: {}", output.stderr);
            assert_eq!(output.text(), "", "{words}");
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_root_that_cannot_be_read_is_no_bundle() {
    if !is_root_for("files of other users") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    tree::copy(fixtures::root(), &here.join("root"));
    chown(here.join("root"), Some(4711), Some(4712)).unwrap();
    std::fs::set_permissions(here.join("root"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for (words, output) in all_commands(here, |words| hod(words).in_folder(here).unprivileged()) {
        assert_eq!(output.code, Some(1), "{words}: {}", output.stderr);
        assert!(output.stderr.contains("Permission denied"), "{words}: {}", output.stderr);
        assert!(!output.stderr.contains("bundle"), "{words}: {}", output.stderr);
    }
}

#[test]
fn one_dangling_tag_does_not_hide_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    tree::copy(fixtures::root(), &root);
    let before = hod(["ls", text(&root)]).ok().text();
    let link = root.join("docker/registry/v2/repositories/web/_manifests/tags/1.0/current/link");
    fs::write(link, format!("sha256:{}", "0".repeat(64))).unwrap();
    let listed = hod(["ls", text(&root)]).code(4);
    // The image itself is there, and has lost its tag.
    assert_eq!(listed.text().lines().count(), before.lines().count(), "{}", listed.text());
    assert!(listed.text().contains("\nweb@sha256:") && !listed.text().contains("\nweb:1.0 "), "{}", listed.text());
    assert!(listed.stderr.contains("web:1.0 points to sha256:0000"), "{}", listed.stderr);
    let document = hod(["ls", text(&root), "--json"]).code(4);
    assert!(!document.json()["images"].as_array().unwrap().is_empty());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_system_that_refuses_threads_is_an_error() {
    let root = fixtures::root();
    for error in ["EPERM", "EAGAIN"] {
        let inject = format!("inject=clone,clone3:error={error}");
        let run = hod(["ls", text(root)]);
        let (output, _) = run.by_way_of(&["strace", "-f", "-qq", "-e", "trace=clone,clone3", "-e", &inject, "-o"]);
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        assert!(output.stderr.contains("cannot start a thread"), "{}", output.stderr);
        assert!(output.stderr.contains("seccomp") && !output.stderr.contains("panic"), "{}", output.stderr);
    }
}
