//! The commands of the README and of pages of the documentation, run as written and in their order.

use std::path::Path;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::page::blocks;

/// The lines of a page's shell blocks that call hod, each with the lines that continue it.
fn commands(page: &str) -> Vec<String> {
    let script = blocks(page, "sh").concat().replace("\\\n", " ");
    let lines = script.lines().filter(|line| line.starts_with("hod "));
    lines.map(|line| line.split(" #").next().unwrap().to_owned()).collect()
}

/// What a page of a task begins with.
const PULL: &str = "hod pull -f images-list.txt --store store";
const PACK: &str = "hod pack --store store -o release.tar";

/// Writes the lists that the pages name: each is that of the fixtures, and the first release lacks an image.
fn write_lists(folder: &Path) {
    let list = fs::read_to_string(fixtures::list()).unwrap();
    for name in ["images-list.txt", "release-1.1.txt", "cluster.txt"] {
        fs::write(folder.join(name), &list).unwrap();
    }
    fs::write(folder.join("release-1.0.txt"), list.replace("web:1.1\n", "")).unwrap();
}

/// Runs the commands of a page after some others. The places of a reader are replaced by places in one directory and by
/// free ports.
fn follow(page: &str, before: &[&str], at_least: usize) {
    let (upstream, site) = (DockerRegistry::over(fixtures::root()), DockerRegistry::empty());
    let folder = tempfile::tempdir().unwrap();
    write_lists(folder.path());
    let places = ["/var/lib/registry", "/media/usb", "/var/lib/images", "/etc/hod"];
    for place in places {
        fs::create_dir_all(folder.path().join(&place[1..])).unwrap();
    }
    let of_page = commands(page);
    assert!(of_page.len() >= at_least, "{page}: {of_page:?}");
    for line in before.iter().copied().chain(of_page.iter().map(String::as_str)) {
        let mut here = line.replace("registry.site:5000", site.host());
        for place in places {
            here = here.replace(place, &format!("{}{place}", folder.path().display()));
        }
        for address in ["127.0.0.1:5000", "0.0.0.0:5000"] {
            here = here.replace(address, "127.0.0.1:0");
        }
        let words = here.split_whitespace().skip(1);
        let command = hod(words).in_folder(folder.path());
        let command = command.env("HOD_FROM", upstream.host()).env("HOD_PASSPHRASE", "open sesame");
        if line.starts_with("hod serve") {
            let mut server = command.spawn();
            server.until_printed("listening on");
            server.interrupt();
            assert_eq!(server.wait().code, Some(0), "{page}: {line}");
        } else {
            let output = command.run();
            assert_eq!(output.code, Some(0), "{page}: {line}: {}", output.stderr);
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_first_ten_minutes() {
    follow("README.md", &[], 8);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_worked_month() {
    follow("docs/month.md", &[], 12);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn from_charts_to_a_cluster() {
    follow("docs/cluster.md", &[], 5);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_chinese_start_page() {
    follow("docs/zh/start.md", &[], 7);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn installing_at_the_far_side() {
    follow("docs/far-side.md", &[PULL, PACK], 6);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn plans_deltas_and_stores() {
    follow("docs/plan.md", &[PULL], 2);
    follow("docs/store.md", &[PULL], 5);
    follow("docs/registries.md", &[PULL, PACK], 1);
    let site = "hod select --store store --to /var/lib/registry base/busybox:1.35";
    follow("docs/deltas.md", &[PULL, site], 4);
}
