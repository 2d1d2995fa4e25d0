//! `hod pull`, judged by Debian's registry, skopeo, and the requests that it makes.

mod images;
mod list;
mod requests;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::job::{assert_sound, ls, manifest, names, pull, reach, text};
use crate::support::{fixtures, skopeo};

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_list_of_fixtures_comes_over_whole() {
    let upstream = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path();
    let list = fixtures::list();
    pull(upstream.host(), store, ["-f", text(&list), "--platform", "linux/amd64,linux/arm64"]).ok();
    assert_sound(store);

    let served = DockerRegistry::over(store);
    let held = names(store);
    for name in &held {
        let image = format!("{}/{name}", served.host());
        assert_eq!(skopeo::digest(&image), fixtures::digest(name), "{name} by its tag");
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let digest = fixtures::digest(name);
        let reached = reach(served.host(), repository, tag);
        assert_eq!(reached, reach(served.host(), repository, &digest.to_string()), "{name} by its digest");
        for child in &reached.manifests {
            let (here, there) = (served.host(), upstream.host());
            let bytes = |host: &str| skopeo::manifest(&format!("{host}/{repository}@{child}"));
            assert_eq!(bytes(here), bytes(there), "{name}@{child}");
        }
        // What is left out are whole platforms that nobody asked for.
        for absent in &reached.absent {
            assert_eq!(manifest(upstream.host(), repository, &absent.to_string()).status, 200);
        }
    }
    let listed: Vec<String> = fixtures::names().into_iter().map(|(name, _)| name).collect();
    assert!(held.len() >= 16 && held.iter().all(|name| listed.contains(name)), "{held:?}");
    for image in ["base/busybox:1.35", "legacy/shell:2.0", "charts/web:0.1.0", "docs/handbook:1.0"] {
        let target = format!("dir:{}", folder.path().join("copied").display());
        skopeo::skopeo([
            "copy",
            "--quiet",
            "--override-arch=amd64",
            "--src-tls-verify=false",
            &format!("docker://{}/{image}", served.host()),
            &target,
        ]);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn all_platforms_of_the_fixtures_are_all_of_them() {
    let upstream = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = fixtures::names().into_iter().map(|(name, _)| name).collect();
    let words = ["--all-platforms"].into_iter().chain(names.iter().map(String::as_str));
    pull(upstream.host(), folder.path(), words).ok();
    assert_sound(folder.path());
    let served = DockerRegistry::over(folder.path());
    for name in &names {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let reached = reach(served.host(), repository, tag);
        assert_eq!(reached, reach(upstream.host(), repository, tag), "{name}");
        assert!(reached.absent.is_empty(), "{name}: {reached:?}");
        skopeo::manifest(&format!("{}/{name}", served.host()));
    }
    let listing = ls(folder.path());
    let sizes = |field: &str| {
        listing["images"].as_array().unwrap().iter().map(|image| image[field].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(sizes("size"), listing["bytesOfImages"].as_u64().unwrap());
    assert!(listing["bytesUnique"].as_u64().unwrap() < sizes("size"));
    assert!(sizes("unique") < listing["bytesUnique"].as_u64().unwrap());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_summary_and_the_lock_say_what_was_done() {
    let upstream = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let (store, lock) = (folder.path().join("store"), folder.path().join("release.lock"));
    let words = ["web:1.0", "web:1.1", "--platform", "linux/amd64", "--lock", text(&lock)];
    let output = pull(upstream.host(), &store, words).ok();
    let short = |tag: &str| fixtures::digest(&format!("web:{tag}")).short();
    assert_eq!(output.text(), format!("web:1.0  {}  new\nweb:1.1  {}  new\n", short("1.0"), short("1.1")));
    for part in ["2 images (2 new or moved)", "saved by sharing", "fetched in"] {
        assert!(output.stderr.contains(part), "{part} is not in {}", output.stderr);
    }
    let document = pull(upstream.host(), &store, ["web:1.0", "--platform", "linux/amd64", "--json"]).ok().json();
    assert_eq!(document["images"][0]["unchanged"], true);
    assert_eq!((document["bytesFetched"].as_u64(), document["failed"].as_array().unwrap().len()), (Some(0), 0));
    let lines: Vec<String> = fs::read_to_string(&lock).unwrap().lines().skip(1).map(str::to_owned).collect();
    let host = upstream.host();
    let line = |tag: &str| {
        format!(
            "{host}/web:{tag}@{} platform=linux/amd64 as=web:{tag} referrers=none",
            fixtures::digest(&format!("web:{tag}"))
        )
    };
    assert_eq!(lines, [line("1.0"), line("1.1")]);
}
