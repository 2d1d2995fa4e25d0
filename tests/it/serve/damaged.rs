//! Damage on disks and media: no wrong byte ends well, and clients learn what is wrong.

use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;
use hod_store::Entry;

use super::serving::{Serving, code, plant_blob, plant_manifest};
use super::stored;
use crate::support::fixtures;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn damaged_content_never_ends_well() {
    let root = tempfile::tempdir().unwrap();
    let good = vec![7; 3 << 20];
    let mut bad = good.clone();
    bad[5] = 8;
    let (large, small, short) = (Digest::sha256(&good), Digest::sha256(b"brick"), Digest::sha256(&good[1..]));
    plant_blob(root.path(), "a", &large, &bad);
    plant_blob(root.path(), "a", &small, b"brack");
    plant_blob(root.path(), "a", &short, &good[2..]);
    let index = fixtures::digest("base/busybox:1.35");
    let altered = String::from_utf8(stored(&index)).unwrap().replace("amd64", "arm64");
    plant_manifest(root.path(), "a", "1", &index, altered.as_bytes());
    plant_manifest(root.path(), "a", "2", &Digest::sha256(b"{}"), b"{}");
    let serving = Serving::root(root.path());

    // A part proves nothing about the whole and is sent as it is.
    let part = serving.request("GET", &format!("/v2/a/blobs/{large}?part"), &[("Range", "bytes=4-6")]);
    assert_eq!(part.body, [7, 8, 7]);
    for (digest, size) in [(large, 3 << 20), (short, (3 << 20) - 2)] {
        let target = format!("/v2/a/blobs/{digest}");
        let curl = Command::new("curl").args(["-sS", "-o", "/dev/null", &serving.url(&target)]).output().unwrap();
        assert_eq!(curl.status.code(), Some(18), "curl must see that the transfer is not whole");
        let line = serving.journal.line(&format!("GET {target}"));
        assert!(!line.complete && line.sent < size, "{line:?}");
        assert!(line.failure.unwrap().contains("have the digest"));
    }
    for (target, message) in [
        (format!("/v2/a/blobs/{small}"), "damaged"),
        ("/v2/a/manifests/1".to_owned(), "damaged"),
        (format!("/v2/a/manifests/{index}"), "damaged"),
        ("/v2/a/manifests/2".to_owned(), "cannot read manifest"),
    ] {
        let response = serving.get(&target);
        assert_eq!((response.status, &*code(&response)), (500, "UNKNOWN"), "{target}");
        let text = response.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(text.contains(message) && !text.contains(&*root.path().to_string_lossy()), "{text}");
        assert!(serving.journal.line(&format!("GET {target}")).failure.is_some());
    }
}

#[test]
fn who_asks_again_for_a_damaged_blob_is_told_so() {
    let root = tempfile::tempdir().unwrap();
    let good = vec![7; 3 << 20];
    let mut bad = good.clone();
    bad[5] = 8;
    let digest = Digest::sha256(&good);
    plant_blob(root.path(), "a", &digest, &bad);
    let serving = Serving::root(root.path());
    let target = format!("/v2/a/blobs/{digest}");
    let first = serving.get(&target);
    assert!(first.status == 200 && first.body.len() < good.len(), "{}", first.body.len());
    for headers in [&[][..], &[("Range", "bytes=3000000-")]] {
        let again = serving.request("GET", &target, headers);
        assert_eq!((again.status, &*code(&again)), (500, "UNKNOWN"));
        let message = again.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("damaged") && message.contains(&digest.to_string()), "{message}");
    }
    assert_eq!(serving.request("HEAD", &target, &[]).status, 500);
    // Another file in its place is another chance.
    let path = Entry::Data(digest).under(root.path());
    fs::write(root.path().join("good"), &good).unwrap();
    fs::rename(root.path().join("good"), &path).unwrap();
    assert_eq!(serving.request("HEAD", &target, &[]).status, 200);
    assert!(serving.get(&target).body == good);
}
