//! Docker's first format of manifests, which skopeo writes and Debian's registry serves.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fs_err as fs;
use hod_oci::{Digest, signed_digest};
use serde_json::{Value, json};

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Content, Image, image, layer};
use crate::support::skopeo::{self, skopeo};

fn fixture(name: &str) -> String {
    format!("oci:{}:{name}", fixtures::folder().join("images").display())
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path.as_ref()).unwrap()).unwrap()
}

/// Lets skopeo write an image in the first format.
fn old(to: &str) {
    skopeo([
        "--override-arch",
        "amd64",
        "copy",
        "--dest-tls-verify=false",
        "--format",
        "v2s1",
        &fixture("web:1.0"),
        to,
    ]);
}

/// What `inspect` says, without what older versions of skopeo leave out.
fn comparable(bytes: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(bytes).unwrap();
    value.as_object_mut().unwrap().remove("LayersData");
    value
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_old_image_becomes_the_one_that_skopeo_makes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let at = |name: &str| format!("dir:{}", path(name).display());
    old(&at("old"));
    skopeo(["copy", "--format", "v2s2", &at("old"), &at("theirs")]);
    let output = hod(["copy", &at("old"), &at("ours")]).ok();
    assert!(output.stderr.contains("has a new digest: "), "{}", output.stderr);
    let (ours, theirs) = (json(path("ours/manifest.json")), json(path("theirs/manifest.json")));
    assert_eq!(ours, theirs, "the same config, byte for byte, and the same layers");
    skopeo(["copy", &at("ours"), &at("checked")]);

    // Without its signature it is the same image.
    let mut unsigned = json(path("old/manifest.json"));
    unsigned.as_object_mut().unwrap().remove("signatures");
    fs::write(path("old/manifest.json"), unsigned.to_string()).unwrap();
    hod(["copy", "--format", "oci", &at("old"), &at("oci")]).ok();
    assert_eq!(json(path("oci/manifest.json"))["config"]["digest"], theirs["config"]["digest"]);
    assert_eq!(json(path("oci/manifest.json"))["mediaType"], "application/vnd.oci.image.manifest.v1+json");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_serves_an_old_image() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::options().schema1().start();
    let image = format!("docker://{}/old:1", registry.host());
    old(&image);
    let theirs = skopeo(["inspect", "--tls-verify=false", &image]);
    let ours = hod(["inspect", &image]).ok();
    assert_eq!(comparable(&ours.stdout), comparable(&theirs));
    assert!(ours.json()["LayersData"][0]["Size"].as_u64().unwrap() > 1000, "{}", ours.text());
    // The registry signs anew whenever it is asked.
    let raw = hod(["inspect", "--raw", &image]).ok().stdout;
    assert_eq!(signed_digest(&raw), signed_digest(&skopeo(["inspect", "--tls-verify=false", "--raw", &image])));
    assert_eq!(signed_digest(&raw).to_string(), ours.json()["Digest"]);
    let digest = ours.json()["Digest"].as_str().unwrap().to_owned();
    let by_digest = format!("docker://{}/old@{digest}", registry.host());
    let layout = format!("oci:{}:x", folder.path().join("layout").display());
    let copied = hod(["copy", "--json", "--format", "oci", &by_digest, &layout]).ok().json();
    assert_eq!(copied["images"][0]["sourceDigest"], digest);
    assert_eq!(copied["images"][0]["digest"], Digest::sha256(&skopeo(["inspect", "--raw", &layout])).to_string());
    // Registries of today take what comes of it.
    let new = format!("docker://{}/new:1", registry.host());
    hod(["copy", &image, &new]).ok();
    let manifest: Value = serde_json::from_slice(&skopeo(["inspect", "--tls-verify=false", "--raw", &new])).unwrap();
    assert_eq!(manifest["schemaVersion"], 2);

    let preserved = hod(["copy", "--preserve-digests", &image, &layout]).code(1);
    assert!(preserved.stderr.contains("schema 1 format, which hod must convert"), "{}", preserved.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_pull_converts_what_no_registry_of_today_takes() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::options().schema1().start();
    let image = format!("docker://{}/old:1", registry.host());
    old(&image);
    let at = format!("dir:{}", folder.path().join("theirs").display());
    skopeo(["copy", "--src-tls-verify=false", "--format", "v2s2", &image, &at]);
    let theirs = json(folder.path().join("theirs/manifest.json"));
    let beside = format!("dir:{} as=beside:1", folder.path().join("beside").display());
    old(beside.split(' ').next().unwrap());
    let pull = |store: &str| {
        let command = hod(["pull", "old:1", &beside, "--from", registry.host(), "--json", "--store", store]);
        command.in_folder(folder.path())
    };
    let pulled = pull("store").args(["--lock", "lock"]).ok();
    assert!(
        pulled.stderr.contains("old:1 was in the Docker schema 1 format and has a new digest: "),
        "{}",
        pulled.stderr
    );
    assert!(pulled.stderr.contains("leaves out 2 converted images"), "{}", pulled.stderr);
    assert!(!fs::read_to_string(folder.path().join("lock")).unwrap().contains("old"));
    // What came of it is the same image everywhere, and the same as skopeo's.
    let digests: Vec<Value> =
        pulled.json()["images"].as_array().unwrap().iter().map(|image| image["digest"].clone()).collect();
    assert_eq!(digests[0], digests[1]);
    let store = folder.path().join("store");
    hod(["verify".as_ref(), store.as_os_str()]).ok();
    let served = DockerRegistry::over(&store);
    for name in ["old:1", "beside:1"] {
        let manifest: Value = serde_json::from_slice(&skopeo::manifest(&format!("{}/{name}", served.host()))).unwrap();
        assert_eq!((&manifest["config"], &manifest["layers"]), (&theirs["config"], &theirs["layers"]), "{name}");
    }
    assert_eq!(pull("store").ok().json()["images"][0]["unchanged"], true);
    // Who asks for nothing but digests moves no layers, and says what to do.
    for arguments in [&["lock", "old:1", "-o", "other"][..], &["bundle", "old:1", "-o", "b.tar"], &["plan", "old:1"]] {
        let refused = hod(arguments).args(["--from", registry.host()]).in_folder(folder.path()).code(1);
        assert!(refused.stderr.contains("convert it with hod pull or hod copy"), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn an_old_image_cannot_stand_for_another() {
    let (wanted, evil) = (image("linux/amd64", &[layer(1, 100)]), layer(2, 100));
    // The signature says that it is about no byte of the file, and about all of the other one.
    let tail = URL_SAFE_NO_PAD.encode(&wanted.bytes);
    let protected = URL_SAFE_NO_PAD.encode(json!({"formatLength": 0, "formatTail": tail}).to_string());
    let forged = json!({
        "schemaVersion": 1, "name": "app", "tag": "1", "architecture": "amd64",
        "fsLayers": [{"blobSum": evil.digest()}],
        "history": [{"v1Compatibility": r#"{"id":"1","os":"linux","architecture":"amd64"}"#}],
        "signatures": [{"header": {}, "signature": "", "protected": protected}],
    });
    let mut image = Image::of_bytes("application/vnd.docker.distribution.manifest.v1+prettyjws", forged.to_string());
    assert_eq!(signed_digest(&image.bytes), Digest::sha256(&image.bytes));
    image.descriptor.digest = wanted.digest();
    image.blobs = vec![evil];
    let registry = Faulty::new(Content::default().with("app", &image)).start();
    let folder = tempfile::tempdir().unwrap();
    let pinned = format!("docker://{}/app@{}", registry.host(), wanted.digest());
    let refused = hod(["copy", "--retry-times", "0", &pinned, "dir:new"]).in_folder(folder.path()).code(4);
    assert!(refused.stderr.contains(&wanted.digest().to_string()), "{}", refused.stderr);
    assert!(!folder.path().join("new/manifest.json").exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_old_image_is_held_to_the_digest_of_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("dir:{}", folder.path().join("old").display());
    old(&place);
    let pull = |digest: &Digest| {
        let line = format!("{place} as=old:1 digest={digest}");
        hod(["pull", &line, "--json", "--store", "store"]).in_folder(folder.path())
    };
    let refused = pull(&Digest::sha256(b"another image")).code(1);
    let here = signed_digest(&fs::read(folder.path().join("old/manifest.json")).unwrap());
    let says = format!("{place} contains {here}, but the list requires {}", Digest::sha256(b"another image"));
    assert!(refused.stderr.contains(&says), "{}", refused.stderr);
    pull(&here).ok();
    // That is known before any layer is read.
    let manifest = json(folder.path().join("old/manifest.json"));
    let blob = manifest["fsLayers"][0]["blobSum"].as_str().unwrap().trim_start_matches("sha256:");
    fs::write(folder.path().join("old").join(blob), "damaged").unwrap();
    let refused = pull(&Digest::sha256(b"another image")).code(1);
    assert!(refused.stderr.contains(&says), "{}", refused.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_old_image_that_is_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old");
    let from = format!("dir:{}", path.display());
    let to = format!("dir:{}", folder.path().join("new").display());
    old(&from);
    let manifest = json(path.join("manifest.json"));
    let write = |manifest: &Value| fs::write(path.join("manifest.json"), manifest.to_string()).unwrap();
    for (field, value, says) in [
        ("history", json!([]), "no entry of the history for each layer"),
        (
            "history",
            json!([{"v1Compatibility": "x"}, {"v1Compatibility": "{}"}, {"v1Compatibility": "{}"}]),
            "not valid JSON",
        ),
        ("fsLayers", json!(null), "not valid JSON"),
    ] {
        let mut bad = manifest.clone();
        bad[field] = value;
        write(&bad);
        let refused = hod(["copy", &from, &to]).code(4);
        assert!(refused.stderr.contains(says), "{field}: {}", refused.stderr);
    }
    write(&manifest);
    let blob = manifest["fsLayers"][0]["blobSum"].as_str().unwrap().trim_start_matches("sha256:");
    let mut bytes = fs::read(path.join(blob)).unwrap();
    bytes[20] ^= 1;
    fs::write(path.join(blob), bytes).unwrap();
    let refused = hod(["copy", &from, &to]).code(4);
    assert!(refused.stderr.contains(blob), "{}", refused.stderr);
    assert!(!folder.path().join("new/manifest.json").exists());
}
