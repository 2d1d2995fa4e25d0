//! `hod index`: lists that registries take and skopeo follows.

use hod_oci::Digest;
use serde_json::Value;

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::skopeo::{self, skopeo};

fn part(folder: &std::path::Path, name: &str, architecture: &str) -> String {
    let place = format!("dir:{}", folder.join(format!("{}-{architecture}", name.replace([':', '/'], "-"))).display());
    let image = format!("oci:{}:{name}", fixtures::folder().join("images").display());
    hod(["copy", "--override-arch", architecture, &image, &place]).ok();
    place
}

fn digest(place: &str) -> Digest {
    Digest::sha256(&skopeo(["inspect", "--raw", place]))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_index_of_two_images_is_pushed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [amd64, arm64] = ["amd64", "arm64"].map(|architecture| part(folder.path(), "web:1.0", architecture));
    let registry = DockerRegistry::empty();
    let index = format!("docker://{}/team/web:1.0", registry.host());
    let printed = hod(["index", "create", &index, &amd64, &arm64]).ok().text();
    assert_eq!(printed.trim(), skopeo::digest(&format!("{}/team/web:1.0", registry.host())).to_string());
    for (architecture, image) in [("amd64", &amd64), ("arm64", &arm64)] {
        let back = format!("dir:{}", folder.path().join(format!("back-{architecture}")).display());
        skopeo(["--override-arch", architecture, "copy", "--src-tls-verify=false", &index, &back]);
        assert_eq!(digest(&back), digest(image), "{architecture}");
    }
    let shown = hod(["index", "inspect", &index]).ok().json();
    assert_eq!(shown["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(shown["manifests"][1]["platform"], serde_json::json!({"architecture": "arm64", "os": "linux"}));
    assert_no_garbage(registry.root());
    // The same again gives the same bytes.
    let layout = format!("oci:{}:x", folder.path().join("l").display());
    assert_eq!(hod(["index", "create", &layout, &amd64, &arm64]).ok().text(), printed);
    skopeo::copy_all(&layout, &format!("dir:{}", folder.path().join("whole").display()));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn images_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let [amd64, arm64] = ["amd64", "arm64"].map(|architecture| part(folder.path(), "web:1.0", architecture));
    let other = part(folder.path(), "web:1.1", "amd64");
    let index = format!("oci:{}:x", folder.path().join("l").display());
    hod(["index", "create", &index, &amd64]).ok();
    hod(["index", "add", &index, &arm64]).ok();
    let manifests = || hod(["index", "inspect", &index]).ok().json()["manifests"].as_array().unwrap().clone();
    let digests = || manifests().iter().map(|it| it["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(digests(), [digest(&amd64).to_string(), digest(&arm64).to_string()]);
    let twice = hod(["index", "add", &index, &other]).code(1);
    assert!(twice.stderr.contains("are both for linux/amd64"), "{}", twice.stderr);
    hod(["index", "add", "--replace", &index, &other]).ok();
    assert_eq!(digests(), [digest(&other).to_string(), digest(&arm64).to_string()]);
    hod(["index", "remove", &index, "linux/amd64"]).ok();
    assert_eq!(digests(), [digest(&arm64).to_string()]);
    assert!(hod(["index", "remove", &index, "linux/s390x"]).code(1).stderr.contains("has no linux/s390x"));
    let named = format!("{arm64}=linux/arm/v6");
    hod(["index", "create", &index, &named, "--annotation", "a=b", "--format", "v2s2"]).ok();
    let shown: Value = hod(["index", "inspect", &index]).ok().json();
    assert_eq!(shown["manifests"][0]["platform"]["variant"], "v6");
    assert_eq!(
        (&shown["annotations"]["a"], shown["mediaType"].as_str().unwrap().contains("docker")),
        (&"b".into(), true)
    );
    // The images of an index, or some of them.
    let whole = format!("oci:{}:web:1.0", fixtures::folder().join("images").display());
    hod(["index", "create", &index, &whole, "--platform", "linux/arm64"]).ok();
    assert_eq!(digests(), [digest(&arm64).to_string()]);
    assert!(hod(["index", "inspect", &amd64]).code(1).stderr.contains("not an index"));
}
