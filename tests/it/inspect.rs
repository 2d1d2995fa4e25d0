//! `hod inspect`, `list-tags`, `manifest-digest` and `delete`, field by field as skopeo has them.

use std::path::Path;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::{Hod, hod};
use crate::support::skopeo::{self, skopeo};

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Images of every kind of config and manifest, served.
const IMAGES: [&str; 5] = ["web:1.0", "legacy/shell:2.0", "pause:3.9", "base/busybox:1.35", "edge/sensor:1.0"];

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_fields_are_skopeos() {
    let registry = DockerRegistry::over(fixtures::root());
    for image in IMAGES {
        let image = format!("docker://{}/{image}", registry.host());
        let theirs = skopeo(["inspect", "--tls-verify=false", &image]);
        let ours = hod(["inspect", &image]).ok();
        let mut found = ours.json();
        let data = found.as_object_mut().unwrap().remove("LayersData").unwrap();
        assert_eq!(found, value(&theirs), "{image}");
        let digests: Vec<&Value> = data.as_array().unwrap().iter().map(|layer| &layer["Digest"]).collect();
        assert_eq!(digests, found["Layers"].as_array().unwrap().iter().collect::<Vec<_>>());
        // The bytes too, but for the field that Debian's version does not have.
        let text = ours.text();
        let (before, rest) = text.split_once("    \"LayersData\": [").unwrap();
        let after = rest.split_once("\n    ],\n").unwrap().1;
        assert_eq!(format!("{before}{after}"), String::from_utf8(theirs).unwrap());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn raw_and_config_are_what_their_digests_say() {
    let registry = DockerRegistry::over(fixtures::root());
    for image in IMAGES {
        let image = format!("docker://{}/{image}", registry.host());
        let raw = hod(["inspect", "--raw", &image]).ok().stdout;
        assert_eq!(raw, skopeo(["inspect", "--tls-verify=false", "--raw", &image]));
        let config = hod(["inspect", "--raw", "--config", &image]).ok().stdout;
        assert_eq!(config, skopeo(["inspect", "--tls-verify=false", "--raw", "--config", &image]));
        let readable = hod(["inspect", "--config", &image]).ok().stdout;
        let theirs = skopeo(["inspect", "--tls-verify=false", "--config", &image]);
        assert_eq!(String::from_utf8_lossy(&readable), String::from_utf8_lossy(&theirs), "{image}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn templates_and_platforms() {
    let registry = DockerRegistry::over(fixtures::root());
    let image = format!("docker://{}/web:1.0", registry.host());
    for template in [
        "Name: {{.Name}} Digest: {{.Digest}}",
        "{{.Architecture}} {{.Layers}}",
        "{{range .RepoTags}}{{.}},{{end}}",
        "{{.Created}}",
        "{{printf \"%s %q\" .Name .Os}}",
        "{{.Os}}\\n",
        "{{range .Layers}}{{println .}}{{end}}",
        "{{range .Layers}}{{.}}\\n{{end}}",
    ] {
        let ours = hod(["inspect", "--format", template, &image]).ok().text();
        let theirs = skopeo(["inspect", "--tls-verify=false", "--format", template, &image]);
        assert_eq!(ours, String::from_utf8(theirs).unwrap());
    }
    let arm = hod(["--override-arch", "arm64", "inspect", "--format", "{{.Architecture}}", &image]).ok().text();
    assert_eq!(arm, "arm64\n");
    let none = hod(["inspect", "--no-tags", "--format", "{{len .RepoTags}}", &image]).ok().text();
    assert_eq!(none, "0\n");
    let wrong = hod(["inspect", "--format", "{{.Nmae}}", &image]).code(2);
    assert!(wrong.stderr.contains("field .Nmae does not exist"), "{}", wrong.stderr);
}

#[test]
fn every_place_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("store:{}:web:1.0", fixtures::root().display());
    let want = fixtures::digest("web:1.0").to_string();
    let bundle = folder.path().join("b.tar");
    hod(["pack", "web:1.0", "--all-platforms", "--store"])
        .args([fixtures::root().as_os_str(), "-o".as_ref(), bundle.as_os_str()])
        .ok();
    for (place, digest) in [
        (store.clone(), want.clone()),
        (format!("bundle:{}:web:1.0", bundle.display()), want.clone()),
        (format!("oci:{}:web:1.0", fixtures::folder().join("images").display()), want.clone()),
    ] {
        let found = hod(["inspect", &place]).ok().json();
        assert_eq!(found["Digest"], digest, "{place}");
        assert_eq!((found.get("Name"), &found["RepoTags"]), (None, &Value::Array(Vec::new())));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn tags_are_listed_as_skopeo_lists_them() {
    let registry = DockerRegistry::over(fixtures::root());
    let repository = format!("docker://{}/web", registry.host());
    let ours = hod(["list-tags", &repository]).ok().text();
    assert_eq!(ours, String::from_utf8(skopeo(["list-tags", "--tls-verify=false", &repository])).unwrap());
    assert!(hod(["list-tags", &format!("{repository}:1.0")]).code(2).stderr.contains("name the repository alone"));
    let folder = tempfile::tempdir().unwrap();
    let archive = format!("docker-archive:{}", folder.path().join("a.tar").display());
    hod(["copy", &format!("{repository}:1.0"), &format!("{archive}:web:1.0")]).ok();
    let ours = hod(["list-tags", &archive]).ok().text();
    assert_eq!(ours, String::from_utf8(skopeo(["list-tags", &archive])).unwrap());
    let layout = format!("oci:{}", fixtures::folder().join("images").display());
    let tags = hod(["list-tags", &layout]).ok().json();
    assert_eq!(tags["Tags"].as_array().unwrap().len(), fixtures::names().len());
    let store = hod(["list-tags", &format!("store:{}:web", fixtures::root().display())]).ok().json();
    assert_eq!(store, serde_json::json!({"Repository": "web", "Tags": ["1.0", "1.1"]}));
    hod(["list-tags", &format!("docker://{}/nothing", registry.host())]).code(1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn manifests_have_the_digest_that_skopeo_computes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.json");
    let file_text = file.to_str().unwrap();
    fs::write(
        &file,
        skopeo(["inspect", "--raw", &format!("oci:{}:web:1.0", fixtures::folder().join("images").display())]),
    )
    .unwrap();
    assert_eq!(hod(["manifest-digest", file_text]).ok().stdout, skopeo(["manifest-digest", file_text]));
    hod(["manifest-digest", "nowhere"]).code(1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_deleted_is_gone_with_all_its_tags() {
    let root = fixtures::copy();
    let registry = DockerRegistry::options().root(root.path()).deletes().start();
    let image = |name: &str| format!("docker://{}/{name}", registry.host());
    let output = hod(["delete", &image("base/busybox:1.35"), &image("web:1.0")]).ok();
    assert!(output.stderr.contains("every tag with that digest is deleted"), "{}", output.stderr);
    let tags = value(&skopeo(["list-tags", "--tls-verify=false", &image("base/busybox")]));
    assert_eq!(tags["Tags"], serde_json::json!([]), "both tags had the same digest");
    assert_eq!(hod(["list-tags", &image("web")]).ok().json()["Tags"], serde_json::json!(["1.1"]));
    hod(["delete", &image("web:1.0")]).code(1);
    let partly = hod(["delete", &image("web:1.0"), &image("web:1.1")]).code(3);
    assert!(partly.stderr.contains("1 of 2 images not deleted"), "{}", partly.stderr);
    let tag = hod(["delete", "--tag-only", &image("certs:2023")]).code(1);
    assert!(tag.stderr.contains("some registries cannot delete a single tag"), "{}", tag.stderr);
    assert_eq!(skopeo::digest(&format!("{}/certs:2023", registry.host())), fixtures::digest("certs:2023"));
    let kept = DockerRegistry::over(fixtures::root());
    let refused = hod(["delete", &format!("docker://{}/web:1.0", kept.host())]).code(1);
    assert!(refused.stderr.contains("REGISTRY_STORAGE_DELETE_ENABLED"), "{}", refused.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_layout_loses_an_image_and_nothing_that_others_need() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("l");
    let at = |name: &str| format!("oci:{}:{name}", layout.display());
    let from = |name: &str| format!("oci:{}:{name}", fixtures::folder().join("images").display());
    for name in ["web:1.0", "web:1.1"] {
        hod(["copy", "--all", &from(name), &at(name)]).ok();
    }
    hod(["delete", &at("web:1.0")]).ok();
    let alone = folder.path().join("alone");
    hod(["copy", "--all", &from("web:1.1"), &format!("oci:{}:web:1.1", alone.display())]).ok();
    assert_eq!(blobs(&layout), blobs(&alone));
    skopeo::copy_all(&at("web:1.1"), &format!("dir:{}", folder.path().join("d").display()));
    hod(["delete", &at("web:1.0")]).code(1);
}

fn blobs(layout: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.iter().all(|hex| Digest::from_parts(hod_oci::Algorithm::Sha256, hex).is_ok()), "{names:?}");
    names
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn user_and_password_may_be_two_flags_or_variables() {
    let registry = DockerRegistry::options().user("me", "secret").root(fixtures::root()).deletes().start();
    let (host, web) = (registry.host(), format!("docker://{}/web:1.0", registry.host()));
    let theirs = skopeo(["inspect", "--tls-verify=false", "--raw", "--username", "me", "--password", "secret", &web]);
    let with = |arguments: &[&str]| hod(arguments).args(["--username", "me", "--password", "secret"]);
    assert_eq!(with(&["inspect", "--raw", &web]).ok().stdout, theirs);
    with(&["list-tags", &format!("docker://{host}/web")]).ok();
    let variables = [("HOD_USERNAME", "me"), ("HOD_PASSWORD", "secret")];
    let set = |run: Hod| variables.iter().fold(run, |run, (name, value)| run.env(name, value));
    assert_eq!(set(hod(["inspect", "--raw", &web])).ok().stdout, theirs);
    let source = [("HOD_SRC_USERNAME", "me"), ("HOD_SRC_PASSWORD", "secret")];
    let copy = hod(["copy", &web, "dir:web"]);
    source.iter().fold(copy, |run, (name, value)| run.env(name, value)).ok();
    hod(["inspect", "--username", "me", &web]).code(2);
    hod(["inspect", "--username", "me", "--password", "secret", "--creds", "me:secret", &web]).code(2);
    let wrong = hod(["inspect", "--username", "me", "--password", "wrong", &web]).code(1);
    assert!(wrong.stderr.contains("access denied with the credentials from the command line"), "{}", wrong.stderr);
    with(&["delete", &format!("docker://{host}/nothing:1")]).code(1);
}
