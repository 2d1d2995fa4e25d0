//! What people set out to do, from end to end, judged by the tools that they use today.
//!
//! The numbers are those of a list of scenarios that hod has to master. What is tested elsewhere is named in
//! [`ELSEWHERE`] and not repeated.

use std::collections::BTreeSet;
use std::process::Command;

use fs_err as fs;

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::engine::Engine;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Content, image, layer};
use crate::support::job::{self, text};
use crate::support::skopeo::{self, skopeo};
use crate::support::tls::Certificates;
use crate::support::tree;

/// Scenarios that other files test.
const ELSEWHERE: [(&str, &[&str]); 9] = [
    ("02 a list selects from a root in use", &["select::a_list_of_a_root_in_use_becomes_a_root_of_its_own"]),
    ("03 a registry root goes into a second registry", &["push::from_a_store_a_bundle_and_standard_input"]),
    ("06 an image becomes a bundle that runs", &["unpack_image::a_runtime_runs_the_bundle"]),
    ("07 what upper layers delete is gone", &["unpack_image::layers::whiteouts"]),
    (
        "08 repositories, folders and files are synchronised",
        &[
            "sync::folders_are_those_of_skopeo_and_skopeo_syncs_them_back",
            "sync::registries_and_files_give_what_skopeo_gives",
        ],
    ),
    ("10 deleted tags are listed no more", &["inspect::what_is_deleted_is_gone_with_all_its_tags"]),
    (
        "11 and 12 images are described to the byte, and sums agree",
        &["inspect::the_fields_are_skopeos", "inspect::raw_and_config_are_what_their_digests_say"],
    ),
    ("13 the files of image-syncer are understood", &["sync::image_syncer::namespaces_comments_and_variables"]),
    ("14 an index of two architectures is made", &["index::an_index_of_two_images_is_pushed_whole"]),
];

/// Fails where there is no such test.
#[track_caller]
pub fn assert_exists(test: &str) {
    let (module, name) = test.rsplit_once("::").unwrap();
    let file = format!("{}/tests/it/{}.rs", env!("CARGO_MANIFEST_DIR"), module.replace("::", "/"));
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{test}: {error}"));
    assert!(text.contains(&format!("fn {name}(")), "{test} is not in {file}");
}

#[test]
fn what_is_tested_elsewhere_is_tested() {
    ELSEWHERE.iter().flat_map(|(_, tests)| *tests).for_each(|test| assert_exists(test));
}

/// How many scenarios the list has.
const SCENARIOS: usize = 14;

#[test]
fn no_scenario_is_left_out() {
    let titles = ELSEWHERE.iter().flat_map(|(title, _)| title.split_whitespace().take(3));
    let elsewhere = titles.filter_map(|word| word.parse::<usize>().ok());
    let names = include_str!("scenarios.rs").lines().filter_map(|line| line.strip_prefix("fn scenario_"));
    let here = names.map(|name| name.get(..2).unwrap().parse().unwrap());
    let mut all: Vec<usize> = here.chain(elsewhere).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=SCENARIOS).collect::<Vec<_>>(), "each is tested, and in one place");
}

/// A list as a product has it: groups, 143 images, names with and without a namespace.
const LIST: &str = include_str!("scenarios/images-list.txt");

/// The images of the list.
fn listed() -> Vec<&'static str> {
    LIST.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn scenario_01_a_products_list_is_pulled_packed_unpacked_and_served() {
    let listed = listed();
    let unique: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
    assert!(unique.len() > 130, "{}", unique.len());
    let base = layer(1, 2000);
    let with = |content: Content, (seed, name): (u64, &String)| {
        content.with(name, &image("linux/amd64", &[base.clone(), layer(seed, 100)]))
    };
    let source = tempfile::tempdir().unwrap();
    (2..).zip(&unique).fold(Content::default(), with).write_root(source.path());
    let registry = DockerRegistry::over(source.path());
    let folder = tempfile::tempdir().unwrap();
    let (store, bundle, root) = (folder.path().join("s"), folder.path().join("b.tar.zst"), folder.path().join("r"));
    job::pull(registry.host(), &store, ["--platform", "linux/amd64", "-f", "-"]).input(LIST).ok();
    job::pack(&store, &bundle, []).ok();
    job::assert_clean(&bundle);
    job::unpack(&bundle, &root, []).ok();
    tree::assert_same(&source.path().join("docker"), &root.join("docker"));
    assert_eq!(job::names(&root).into_iter().collect::<BTreeSet<_>>(), unique);
    assert_no_garbage(&root);
    let served = DockerRegistry::over(&root);
    let curl = Command::new("curl").args(["-sS", &format!("http://{}/v2/_catalog?n=1000", served.host())]).output();
    let catalog: serde_json::Value = serde_json::from_slice(&curl.unwrap().stdout).unwrap();
    let expected: BTreeSet<&str> = unique.iter().map(|name| name.rsplit_once(':').unwrap().0).collect();
    assert_eq!(catalog["repositories"], serde_json::json!(expected));
    for name in unique.iter().step_by(20) {
        let digest = |host: &str| skopeo::digest(&format!("{host}/{name}"));
        assert_eq!(digest(served.host()), digest(registry.host()), "{name}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn scenario_04_an_image_goes_from_registry_to_registry_to_a_directory_and_into_an_engine() {
    let (first, second) = (DockerRegistry::over(fixtures::root()), DockerRegistry::empty());
    let engine = Engine::podman();
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let at = |registry: &DockerRegistry, name: &str| format!("docker://{}/{name}", registry.host());
    // The index and all that it names, with one digest on both sides.
    hod(["copy", "--all", &at(&first, "web:1.0"), &at(&second, "mirror/web:1.0")]).ok();
    let digest = |registry: &DockerRegistry, name: &str| skopeo::digest(&format!("{}/{name}", registry.host()));
    assert_eq!(digest(&second, "mirror/web:1.0"), digest(&first, "web:1.0"));
    for architecture in ["amd64", "arm64"] {
        skopeo(["--override-arch", architecture, "inspect", "--tls-verify=false", &at(&second, "mirror/web:1.0")]);
    }
    // One platform as files, byte for byte as skopeo writes them.
    let directory = |path: &std::path::Path| format!("dir:{}", path.display());
    hod(["--override-arch", "amd64", "copy", &at(&second, "mirror/web:1.0"), &directory(&ours)]).ok();
    let from = at(&first, "web:1.0");
    skopeo(["--override-arch", "amd64", "copy", "--src-tls-verify=false", &from, &directory(&theirs)]);
    tree::assert_same(&theirs, &ours);
    // The engine has the image that the directory has.
    let (host, name) = (engine.host(), "docker-daemon:mirror/web:1.0");
    hod(["copy", "--dest-daemon-host", &host, &directory(&ours), name]).ok();
    let in_engine = skopeo(["inspect", "--daemon-host", &host, "--config", "--raw", name]);
    assert_eq!(in_engine, skopeo(["inspect", "--config", "--raw", &directory(&theirs)]));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn scenario_05_pause_goes_to_a_directory_with_a_colon_and_to_a_layout_without_a_name() {
    let registry = DockerRegistry::over(fixtures::root());
    let pause = format!("docker://{}/pause:3.9", registry.host());
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for to in ["dir:pause:3.3", "oci:images"] {
        hod(["copy", "--format", "oci", &pause, to]).in_folder(ours.path()).ok();
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--format", "oci", "--src-tls-verify=false", &pause, to]);
        assert!(command.current_dir(theirs.path()).status().unwrap().success());
    }
    assert!(ours.path().join("pause:3.3/version").exists());
    let index = |folder: &std::path::Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join("images/index.json")).unwrap()).unwrap()
    };
    let (own, other) = (index(ours.path()), index(theirs.path()));
    for found in [&own, &other] {
        assert_eq!(found["manifests"].as_array().unwrap().len(), 1);
        assert!(found["manifests"][0].get("annotations").is_none(), "no name, no annotation: {found}");
    }
    let again = format!("dir:{}", ours.path().join("again").display());
    skopeo(["copy", &format!("oci:{}", ours.path().join("images").display()), &again]);
    let layers = |folder: &std::path::Path| -> serde_json::Value {
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        manifest["layers"].clone()
    };
    assert_eq!(layers(&ours.path().join("again")), layers(&ours.path().join("pause:3.3")));
    assert_eq!(layers(&ours.path().join("again")), layers(&theirs.path().join("pause:3.3")));
    // A second image without a name: which one is meant has to be said.
    let web = format!("docker://{}/web:1.0", registry.host());
    hod(["copy", "--format", "oci", &web, "oci:images"]).in_folder(ours.path()).ok();
    hod(["inspect", "oci:images"]).in_folder(ours.path()).code(1);
    hod(["inspect", "oci:images:@1"]).in_folder(ours.path()).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn scenario_09_a_login_and_a_folder_of_certificates_open_a_private_registry() {
    let certificates = Certificates::new();
    let registry = DockerRegistry::options().tls(&certificates).user("me", "secret").root(fixtures::root()).start();
    let home = tempfile::tempdir().unwrap();
    let image = format!("docker://{}/web:1.0", registry.host());
    let run = |arguments: &[&str]| hod(arguments).env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    let strange = run(&["inspect", &image, "--retry-times", "0"]).code(1);
    assert!(strange.stderr.contains("certificate"), "{}", strange.stderr);
    let folder = home.path().join(".config/containers/certs.d").join(registry.host());
    fs::create_dir_all(&folder).unwrap();
    fs::copy(certificates.authority(), folder.join("ca.crt")).unwrap();
    let nobody = run(&["inspect", &image]).code(1);
    assert!(nobody.stderr.contains("no credentials were found"), "{}", nobody.stderr);
    run(&["login", "-u", "me", "--password-stdin", registry.host()]).input("wrong").code(1);
    run(&["login", "-u", "me", "--password-stdin", registry.host()]).input("secret").ok();
    assert_eq!(run(&["login", "--get-login", registry.host()]).ok().text(), "me\n");
    let ours = run(&["inspect", "--raw", &image]).ok().stdout;
    // skopeo finds what hod has written, and the same certificates.
    let mut theirs = Command::new("skopeo");
    theirs.args(["inspect", "--raw", &image]).env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    let theirs = theirs.output().unwrap();
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    assert_eq!(ours, theirs.stdout);
    let store = home.path().join("store");
    run(&["pull", "web:1.0", "--from", registry.host(), "--store", text(&store)]).ok();
    run(&["logout", registry.host()]).ok();
    run(&["inspect", &image]).code(1);
}
