//! A medium with a delta: it says so, and what it builds on must be there before anybody is asked.

use fs_err as fs;

use super::{DockerRegistry, Root, assert_no_garbage, fixtures, hod, may_change_root, skopeo, static_hod};

/// A root with a bundle of one image in `/media/may`, and a delta that adds another one in `/media`. Returns the root and
/// how the base is described.
fn with_delta() -> (Root, String) {
    let root = Root::busybox();
    let media = root.path("media");
    fs::create_dir_all(media.join("may")).unwrap();
    let store = fixtures::root().to_str().unwrap();
    let installer = ["--with-installer", "--installer-binary", static_hod().to_str().unwrap()];
    // 2026-05-01.
    let words = ["pack", "web:1.0", "--store", store, "-o", "may/may.tar"];
    hod(words).args(installer).env("SOURCE_DATE_EPOCH", "1777593600").in_folder(&media).ok();
    let words = ["pack", "web:1.0", "base/busybox:1.35", "--store", store, "-o", "june.tar", "--have", "may/may.tar"];
    hod(words).args(installer).in_folder(&media).ok();
    let id = hod(["ls", "may/may.tar", "--json"]).in_folder(&media).ok().json()["bundle"].as_str().unwrap().to_owned();
    (root, format!("bundle may.tar of 2026-05-01, {id}"))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_base_of_a_delta_is_checked_before_the_confirmation() {
    if !may_change_root() {
        return;
    }
    let (root, may) = with_delta();
    let before = root.listing();
    // Nobody is asked: without a terminal, the question would end with 1.
    for words in [&[][..], &["--yes"], &["--dry-run"]] {
        let said = root.install(words).code(5);
        for part in [
            &format!("\n  this bundle is a DELTA: it builds on {may}\n"),
            "hint: unpack or push may.tar first, and then this bundle; or ask the sender for a whole bundle",
            "install.sh: nothing was changed\n",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("This will:"), "{said}");
    }
    assert_eq!(root.listing(), before);
    // With its base, it is a bundle like any other.
    let said = root.run(&["/bin/sh", "/media/may/install.sh", "--yes"], false).ok();
    assert!(!said.contains("DELTA"), "{said}");
    assert!(root.install(&[]).code(1).contains("give --yes"));
    let said = root.install(&["--yes"]).ok();
    assert!(said.contains(&format!("\n  this bundle is a DELTA: it builds on {may}\n")), "{said}");
    assert_no_garbage(&root.path("var/lib/registry"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_base_is_looked_for_in_a_registry_too() {
    if !may_change_root() {
        return;
    }
    let (root, may) = with_delta();
    let registry = DockerRegistry::empty();
    let to = format!("docker://{}/team", registry.host());
    let said = root.run(&["/bin/sh", "/media/install.sh", "--push", &to], true).code(5);
    assert!(said.contains(&may) && !said.contains("This will:"), "{said}");
    assert!(!registry.root().join("docker/registry/v2/repositories").exists());
    root.run(&["/bin/sh", "/media/may/install.sh", "--push", &to, "--yes"], true).ok();
    root.run(&["/bin/sh", "/media/install.sh", "--push", &to, "--yes"], true).ok();
    let image = format!("{}/team/base/busybox:1.35", registry.host());
    assert_eq!(skopeo::digest(&image), fixtures::digest("base/busybox:1.35"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_page_of_a_delta_says_what_it_builds_on() {
    let (root, may) = with_delta();
    let page = fs::read_to_string(root.path("media/README.txt")).unwrap();
    let begin = "\nThis bundle is a DELTA. It leaves out ";
    let end = format!(
        ") that its target must have:\nit builds on {may}.\nUnpack or push may.tar first, and then this bundle; or ask the \
         sender for a whole bundle, packed without --have.\n"
    );
    assert!(page.contains(begin) && page.contains(&end), "{page}");
    let page = fs::read_to_string(root.path("media/may/README.txt")).unwrap();
    assert!(!page.contains("DELTA"), "{page}");
}
