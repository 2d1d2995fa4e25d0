//! The registry's HTTP side, judged by skopeo and curl and by the bytes on the wire.

mod clients;
mod command;
mod conformance;
mod daemons;
mod damaged;
mod guarded;
mod hostile;
mod kill;
mod manage;
mod mirror;
mod page;
mod page_commands;
mod push;
mod secure;
mod server;
mod serving;

use std::io::Write as _;
use std::process::Command;

use fs_err as fs;
use hod_oci::{Algorithm, Digest, Manifest, MediaType};
use hod_store::Entry;

use crate::support::{fixtures, skopeo};
use serving::{Serving, code, plant, plant_blob, plant_manifest};

fn stored(digest: &Digest) -> Vec<u8> {
    fs::read(Entry::Data(*digest).under(fixtures::root())).unwrap()
}

fn manifest(digest: &Digest) -> Manifest {
    Manifest::parse(&MediaType::parse(""), &stored(digest)).unwrap()
}

/// The largest layer of `base/busybox`, for its amd64 platform.
fn busybox_layer() -> Digest {
    let index = manifest(&fixtures::digest("base/busybox:1.35"));
    let image = manifest(&index.children()[0].digest);
    image.blobs().max_by_key(|blob| blob.size).unwrap().digest
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_copies_every_image() {
    let serving = Serving::root(fixtures::root());
    for (name, root) in fixtures::names() {
        assert_eq!(skopeo::manifest(&format!("{}/{name}", serving.address)), stored(&root), "{name}");
        // skopeo copies no index of indexes.
        if name == "suite/complete:1" {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        skopeo::copy_all(&format!("docker://{}/{name}", serving.address), &format!("dir:{}", folder.path().display()));
        for child in manifest(&root).children() {
            let file = folder.path().join(format!("{}.manifest.json", child.digest.hex()));
            assert_eq!(fs::read(file).unwrap(), stored(&child.digest), "{name}");
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_reads_by_digest_and_by_child_digest() {
    let serving = Serving::root(fixtures::root());
    let root = fixtures::digest("pause:3.9");
    for digest in [root, manifest(&root).children()[1].digest] {
        assert_eq!(skopeo::manifest(&format!("{}/pause@{digest}", serving.address)), stored(&digest));
    }
    let tags =
        skopeo::skopeo(["list-tags", "--tls-verify=false", &format!("docker://{}/base/busybox", serving.address)]);
    let tags: serde_json::Value = serde_json::from_slice(&tags).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["1.35", "latest"]));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_is_told_why_it_cannot_push() {
    let serving = Serving::root(fixtures::root());
    let mut copy = Command::new("skopeo");
    copy.args(["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    copy.args(["2.4", "new"].map(|tag| format!("docker://{}/jobs/backup:{tag}", serving.address)));
    let output = copy.output().unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("this registry is read-only"), "{stderr}");
}

#[test]
fn manifests_come_as_they_are_stored() {
    let serving = Serving::root(fixtures::root());
    for (repository, tag, media_type) in [
        ("base/busybox", "1.35", MediaType::OciIndex),
        ("pause", "3.9", MediaType::DockerList),
        ("legacy/shell", "2.0", MediaType::DockerManifest),
        ("jobs/backup", "2.4", MediaType::OciManifest),
        ("suite/complete", "1", MediaType::OciIndex),
    ] {
        let digest = fixtures::digest(&format!("{repository}:{tag}"));
        for version in [tag.to_owned(), digest.to_string(), digest.to_string().replace(':', "%3a")] {
            let target = format!("/v2/{repository}/manifests/{version}");
            // A client that takes only one form gets what there is, as its digest promises.
            let accept = ("Accept", "application/vnd.docker.distribution.manifest.v2+json");
            let get = serving.request("GET", &target, &[accept]);
            assert_eq!(get.status, 200, "{target}");
            assert_eq!(get.body, stored(&digest));
            let head = serving.request("HEAD", &target, &[]);
            assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
            for response in [&get, &head] {
                assert_eq!(response.header("content-type"), media_type.as_str());
                assert_eq!(response.header("docker-content-digest"), digest.to_string());
                assert_eq!(response.header("etag"), format!("\"{digest}\""));
                assert_eq!(response.header("content-length"), get.body.len().to_string());
                assert_eq!(response.header("docker-distribution-api-version"), "registry/2.0");
            }
            let known = serving.request("GET", &target, &[("If-None-Match", &format!("\"{digest}\""))]);
            assert_eq!((known.status, known.body.len()), (304, 0));
        }
    }
}

#[test]
fn a_blob_comes_whole_or_in_part() {
    let serving = Serving::root(fixtures::root());
    let digest = busybox_layer();
    let bytes = stored(&digest);
    let size = bytes.len();
    let target = format!("/v2/base/busybox/blobs/{digest}");
    let tag = format!("\"{digest}\"");
    let get = |headers: &[(&str, &str)]| serving.request("GET", &target, headers);

    let whole = get(&[]);
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    let head = serving.request("HEAD", &target, &[("Range", "bytes=0-1")]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    for response in [&whole, &head] {
        assert_eq!(response.header("content-type"), "application/octet-stream");
        assert_eq!(response.header("docker-content-digest"), digest.to_string());
        assert_eq!(response.header("content-length"), size.to_string());
        assert_eq!(response.header("accept-ranges"), "bytes");
        assert_eq!(response.header("etag"), tag);
    }
    let last = size - 1;
    for (range, first, end) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=10-".to_owned(), 10, last),
        ("bytes=-10".to_owned(), size - 10, last),
        ("bytes=0-".to_owned(), 0, last),
        (format!("bytes=5-{size}"), 5, last),
    ] {
        for headers in [vec![("Range", &*range)], vec![("Range", &*range), ("If-Range", &*tag)]] {
            let part = get(&headers);
            assert_eq!((part.status, &*part.body), (206, &bytes[first..=end]), "{range}");
            assert_eq!(part.header("content-range"), format!("bytes {first}-{end}/{size}"));
        }
    }
    let past = get(&[("Range", &format!("bytes={size}-"))]);
    assert_eq!((past.status, &*code(&past)), (416, "RANGE_INVALID"));
    assert_eq!(past.header("content-range"), format!("bytes */{size}"));
    for ignored in [[("Range", "bytes=1-2"), ("If-Range", "\"other\"")], [("Range", "bytes=1-2,4-5"), ("X", "x")]] {
        assert_eq!(get(&ignored).body, bytes, "{ignored:?}");
    }
    assert_eq!(get(&[("If-None-Match", &tag)]).status, 304);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn curl_resumes_a_blob() {
    let serving = Serving::root(fixtures::root());
    let digest = busybox_layer();
    let bytes = stored(&digest);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layer");
    fs::File::create(&file).unwrap().write_all(&bytes[..1000]).unwrap();
    let url = serving.url(&format!("/v2/base/busybox/blobs/{digest}"));
    let curl = Command::new("curl").args(["-sSf", "-C", "-", "-o"]).arg(&file).arg(url).status().unwrap();
    assert!(curl.success());
    assert_eq!(fs::read(file).unwrap(), bytes);
}

#[test]
fn only_what_a_repository_links_is_to_be_had_from_it() {
    let serving = Serving::root(fixtures::root());
    let layer = busybox_layer();
    let index = fixtures::digest("base/busybox:1.35");
    assert_eq!(serving.get(&format!("/v2/base/busybox/blobs/{layer}")).status, 200);
    for (target, expected) in [
        (format!("/v2/base/klibc/blobs/{layer}"), "BLOB_UNKNOWN"),
        (format!("/v2/none/blobs/{layer}"), "BLOB_UNKNOWN"),
        (format!("/v2/base/busybox/blobs/{index}"), "BLOB_UNKNOWN"),
        (format!("/v2/base/busybox/manifests/{layer}"), "MANIFEST_UNKNOWN"),
        (format!("/v2/base/klibc/manifests/{index}"), "MANIFEST_UNKNOWN"),
        ("/v2/base/busybox/manifests/none".to_owned(), "MANIFEST_UNKNOWN"),
        ("/v2/base/manifests/1.35".to_owned(), "MANIFEST_UNKNOWN"),
        ("/v2/base/tags/list".to_owned(), "NAME_UNKNOWN"),
    ] {
        let response = serving.get(&target);
        assert_eq!((response.status, &*code(&response)), (404, expected), "{target}");
        let head = serving.request("HEAD", &target, &[]);
        assert_eq!((head.status, head.body.len()), (404, 0), "{target}");
    }
}

#[test]
fn sha512_is_served_as_well() {
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::of(Algorithm::Sha512, b"brick");
    plant_blob(root.path(), "a", &digest, b"brick");
    let serving = Serving::root(root.path());
    assert_eq!(serving.get(&format!("/v2/a/blobs/{digest}")).body, b"brick");
}

#[test]
fn a_live_root_shows_what_is_there_now() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::root(root.path());
    assert_eq!(serving.get("/v2/_catalog").json(), serde_json::json!({ "repositories": [] }));
    assert_eq!(serving.get("/v2/a/b/manifests/1").status, 404);

    let digest = fixtures::digest("jobs/backup:2.4");
    plant_manifest(root.path(), "a/b", "1", &digest, &stored(&digest));
    assert_eq!(serving.get("/v2/_catalog").json(), serde_json::json!({ "repositories": ["a/b"] }));
    assert_eq!(serving.get("/v2/a/b/manifests/1").body, stored(&digest));

    let other = fixtures::digest("edge/sensor:1.0");
    plant_manifest(root.path(), "a/b", "1", &other, &stored(&other));
    assert_eq!(serving.get("/v2/a/b/manifests/1").body, stored(&other));
}

#[test]
fn lists_come_in_pages() {
    let root = tempfile::tempdir().unwrap();
    let digest = fixtures::digest("jobs/backup:2.4");
    for tag in ["b", "A", "a", "C", "1.0"] {
        plant_manifest(root.path(), "x/y", tag, &digest, &stored(&digest));
    }
    plant_manifest(root.path(), "x", "1", &digest, &stored(&digest));
    plant(root.path(), &Entry::TagIndex("x".parse().unwrap(), "gone".parse().unwrap(), digest), b"");
    let serving = Serving::root(root.path());

    let mut target = "/v2/x/y/tags/list?n=2".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = serving.get(&target);
        let json = page.json();
        assert_eq!(json["name"], "x/y");
        pages.push(json["tags"].clone());
        let link = page.header("link");
        if link.is_empty() {
            break;
        }
        target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(pages, [serde_json::json!(["1.0", "A"]), serde_json::json!(["a", "b"]), serde_json::json!(["C"])]);

    let all = serving.get("/v2/x/y/tags/list");
    assert_eq!((all.json()["tags"].as_array().unwrap().len(), all.header("link")), (5, ""));
    assert_eq!(serving.get("/v2/x/tags/list").json()["tags"], serde_json::json!(["1"]));
    let none = serving.get("/v2/x/y/tags/list?n=0");
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (serde_json::json!([]), ""));
    for query in ["n=x", "n=-1", "n="] {
        let response = serving.get(&format!("/v2/x/y/tags/list?{query}"));
        assert_eq!((response.status, &*code(&response)), (400, "PAGINATION_NUMBER_INVALID"));
    }

    let first = serving.get("/v2/_catalog?n=1");
    assert_eq!(first.json()["repositories"], serde_json::json!(["x"]));
    assert_eq!(first.header("link"), "</v2/_catalog?n=1&last=x>; rel=\"next\"");
    let second = serving.get("/v2/_catalog?n=1&last=x");
    assert_eq!((second.json()["repositories"].clone(), second.header("link")), (serde_json::json!(["x/y"]), ""));
}

#[test]
fn a_client_finds_a_registry() {
    let serving = Serving::root(fixtures::root());
    for (method, target) in [("GET", "/v2/"), ("GET", "/v2"), ("HEAD", "/v2/")] {
        let response = serving.request(method, target, &[]);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(response.header("content-type"), "application/json");
    }
}

#[test]
fn writes_are_refused() {
    let serving = Serving::root(fixtures::root());
    let digest = busybox_layer();
    for (method, target) in [
        ("POST", "/v2/a/blobs/uploads/".to_owned()),
        ("POST", format!("/v2/a/blobs/uploads/?mount={digest}&from=base/busybox")),
        ("GET", "/v2/a/blobs/uploads/x".to_owned()),
        ("PATCH", "/v2/a/blobs/uploads/x".to_owned()),
        ("PUT", format!("/v2/a/blobs/uploads/x?digest={digest}")),
        ("DELETE", "/v2/a/blobs/uploads/x".to_owned()),
        ("PUT", "/v2/a/manifests/1".to_owned()),
        ("DELETE", "/v2/base/busybox/manifests/1.35".to_owned()),
        ("DELETE", format!("/v2/base/busybox/blobs/{digest}")),
    ] {
        let response = serving.request(method, &target, &[("Content-Length", "0")]);
        assert_eq!((response.status, &*code(&response)), (405, "UNSUPPORTED"), "{method} {target}");
        assert_eq!(response.header("allow"), "GET, HEAD");
    }
    assert_eq!(serving.request("POST", "/v2/_catalog", &[]).status, 405);
    assert_eq!(serving.request("BREW", "/v2/", &[]).status, 405);
}

#[test]
fn paths_cannot_leave_the_repositories() {
    let root = fixtures::copy();
    fs::write(root.path().join("secret"), "secret").unwrap();
    let serving = Serving::root(root.path());
    let digest = busybox_layer();
    for target in [
        "//".to_owned(),
        "/secret".to_owned(),
        "//v2/_catalog".to_owned(),
        "/v2//base/busybox/manifests/1.35".to_owned(),
        "/v2/base//busybox/manifests/1.35".to_owned(),
        "/v2/./base/busybox/manifests/1.35".to_owned(),
        "/v2/x/../base/busybox/manifests/1.35".to_owned(),
        "/v2/%2e%2e/%2e%2e/secret".to_owned(),
        "/v2/base%2fbusybox/manifests/1.35".to_owned(),
        "/v2/base/busybox/manifests/..%2f..%2flink".to_owned(),
        "/v2/base/busybox/manifests/../tags/list".to_owned(),
        "/v2/base/busybox/manifests/1.35%00".to_owned(),
        "/v2/base/busybox/manifests/%ff".to_owned(),
        "/v2/base/busybox/_manifests/tags/1.35/current/link".to_owned(),
        "/v2/BASE/busybox/manifests/1.35".to_owned(),
        format!("/v2/base/busybox/blobs/{}", digest.to_string().to_uppercase()),
        format!("/v2/base/busybox/blobs/{}", digest.hex()),
        "/v2/base/busybox/blobs/sha256:../../../secret".to_owned(),
    ] {
        let response = serving.get(&target);
        assert!(matches!(response.status, 400 | 404), "{target}: {}", response.status);
        code(&response);
    }
}

#[test]
fn symbolic_links_do_not_lead_out_of_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let secret = folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let digest = Digest::sha256(b"secret");
    plant_blob(&root, "a", &digest, b"");
    let data = Entry::Data(digest).under(&root);
    fs::remove_file(&data).unwrap();
    fs_err::os::unix::fs::symlink(&secret, &data).unwrap();
    let serving = Serving::root(&root);
    let response = serving.get(&format!("/v2/a/blobs/{digest}"));
    assert_eq!((response.status, &*code(&response)), (500, "UNKNOWN"));
}

#[test]
fn a_broken_link_is_an_error_and_not_an_absence() {
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"brick");
    plant_blob(root.path(), "a", &digest, b"brick");
    plant(root.path(), &Entry::Layer("a".parse().unwrap(), digest), format!("{digest}\n").as_bytes());
    plant(root.path(), &Entry::TagCurrent("a".parse().unwrap(), "1".parse().unwrap()), b"");
    let serving = Serving::root(root.path());
    for target in [format!("/v2/a/blobs/{digest}"), "/v2/a/manifests/1".to_owned()] {
        assert_eq!(serving.get(&target).status, 500, "{target}");
    }
}
