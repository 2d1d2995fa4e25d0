//! Archives as runtimes load and save them: every image keeps its complete name.

use std::path::Path;

use fs_err as fs;

use crate::support::daemons::Daemon;
use crate::support::fixtures;
use crate::support::hod::hod;

/// The complete names of the two images of the list.
const NAMES: [&str; 2] = ["docker.io/described/app:1.0", "quay.io/web:1.0"];

/// Two images of one tag, of which one is Docker Hub's.
fn list(folder: &Path) {
    fs::write(folder.join("list"), "quay.io/web:1.0\ndescribed/app:1.0\n").unwrap();
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().filter(|line| !line.contains('@')).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn containerd_names_what_it_imports_and_hod_what_containerd_exports() {
    let Some(containerd) = Daemon::containerd() else { return };
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    list(here);
    let store = format!("store:{}", fixtures::root().display());
    for kind in ["oci-archive", "docker-archive"] {
        let file = here.join(format!("{kind}.tar"));
        let to = format!("{kind}:{}", file.display());
        let words = ["copy", "--file", "list", "--platform", "linux/amd64", &store, &to];
        hod(words).in_folder(here).ok();
        let list = hod(["copy", "--file", "list", "--platform", "linux/amd64", &to, "oci:again"]);
        list.in_folder(here).ok();
        containerd.run(&["images", "import", "--no-unpack", file.to_str().unwrap()]);
        assert_eq!(sorted(&containerd.run(&["images", "list", "--quiet"])), NAMES, "{kind}");
        let saved = here.join(format!("{kind}-saved.tar"));
        containerd.run(&[&["images", "export", saved.to_str().unwrap()][..], &NAMES].concat());
        let saved = format!("oci-archive:{}", saved.display());
        let store = here.join(format!("{kind}-store"));
        let words = ["pull", &saved, "--names", "with-host", "--platform", "linux/amd64", "--store"];
        hod(words).arg(&store).in_folder(here).ok();
        let found = hod(["ls", "--json"]).arg(&store).ok().json()["images"].clone();
        let mut found: Vec<&str> = found.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, NAMES);
        let ambiguous = hod(["copy", &format!("{saved}:1.0"), "dir:x"]).in_folder(here).code(1).stderr;
        assert!(ambiguous.contains("described/app:1.0") && ambiguous.contains("quay.io/web:1.0"), "{ambiguous}");
        containerd.run(&[&["images", "remove", "--sync"][..], &NAMES].concat());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_loads_the_names_of_the_list() {
    let Some(docker) = Daemon::docker(None) else { return };
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    list(here);
    let store = format!("store:{}", fixtures::root().display());
    let words = ["copy", "--file", "list", "--platform", "linux/amd64", &store, "docker-archive:a.tar"];
    hod(words).in_folder(here).ok();
    docker.run(&["load", "--input", here.join("a.tar").to_str().unwrap()]);
    let names = docker.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(sorted(&names), ["described/app:1.0", "quay.io/web:1.0"]);
}
