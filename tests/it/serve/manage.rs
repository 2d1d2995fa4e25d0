//! Content management and referrers of distribution-spec 1.1, a test per requirement.

use hod_oci::{Descriptor, Digest, MediaType, ReferrerIndex, referrers_tag};
use hod_store::Store;
use serde_json::{Value, json};

use super::push::{INDEX, MANIFEST, image, push_image, registry};
use super::serving::{Serving, code};
use crate::support::docker_registry::DockerRegistry;
use crate::support::raw::Request;

const SIGNATURE: &str = "application/vnd.example.signature";

/// The fields of a manifest about another.
fn about(subject: &Digest, artifact_type: &str) -> Value {
    json!({
        "subject": { "mediaType": MANIFEST, "digest": subject, "size": 1 },
        "artifactType": artifact_type,
        "annotations": { "note": artifact_type },
    })
}

fn referrers(serving: &Serving, subject: &Digest, query: &str) -> Vec<Value> {
    let response = serving.get(&format!("/v2/a/referrers/{subject}{query}"));
    assert_eq!((response.status, response.header("content-type")), (200, INDEX));
    let filtered = if query.contains("artifactType") { "artifactType" } else { "" };
    assert_eq!(response.header("oci-filters-applied"), filtered);
    let index = response.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(INDEX)));
    index["manifests"].as_array().unwrap().clone()
}

#[test]
fn a_tag_is_deleted_and_its_manifest_stays() {
    let (serving, _root) = registry();
    let digest = push_image(&serving, "a", "1", b"{}", &json!({}));
    assert_eq!(serving.send("DELETE", "/v2/a/manifests/1", &[], b"").status, 202);
    assert_eq!(serving.get("/v2/a/manifests/1").status, 404);
    assert_eq!(serving.get(&format!("/v2/a/manifests/{digest}")).status, 200);
    assert_eq!(serving.get("/v2/a/tags/list").json()["tags"], json!([]));
    let again = serving.send("DELETE", "/v2/a/manifests/1", &[], b"");
    assert_eq!((again.status, &*code(&again)), (404, "MANIFEST_UNKNOWN"));
}

#[test]
fn a_manifest_is_deleted_with_its_tags() {
    let (serving, _root) = registry();
    let digest = push_image(&serving, "a", "1", b"{}", &json!({}));
    push_image(&serving, "a", "2", b"{}", &json!({}));
    let other = push_image(&serving, "a", "3", b"{ }", &json!({}));
    let target = format!("/v2/a/manifests/{digest}");
    assert_eq!(serving.send("DELETE", &target, &[], b"").status, 202);
    assert_eq!(serving.get(&target).status, 404);
    assert_eq!(serving.get("/v2/a/tags/list").json()["tags"], json!(["3"]));
    assert_eq!(serving.get(&format!("/v2/a/manifests/{other}")).status, 200);
    assert_eq!(serving.send("DELETE", &target, &[], b"").status, 404);
    // It can come back.
    push_image(&serving, "a", "1", b"{}", &json!({}));
    assert_eq!(serving.get(&target).status, 200);
}

#[test]
fn a_blob_is_deleted_from_its_repository_alone() {
    let (serving, _root) = registry();
    let digest = serving.push_blob("a", b"brick");
    serving.push_blob("b", b"brick");
    let target = format!("/v2/a/blobs/{digest}");
    assert_eq!(serving.send("DELETE", &target, &[], b"").status, 202);
    assert_eq!(serving.get(&target).status, 404);
    let again = serving.send("DELETE", &target, &[], b"");
    assert_eq!((again.status, &*code(&again)), (404, "BLOB_UNKNOWN"));
    assert_eq!(serving.get(&format!("/v2/b/blobs/{digest}")).body, b"brick");
}

#[test]
fn nothing_is_deleted_without_leave() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::with(root.path(), |options| options.writable = true);
    let digest = push_image(&serving, "a", "1", b"{}", &json!({}));
    for target in [
        "/v2/a/manifests/1".to_owned(),
        format!("/v2/a/manifests/{digest}"),
        format!("/v2/a/blobs/{}", Digest::sha256(b"{}")),
    ] {
        let response = serving.send("DELETE", &target, &[], b"");
        assert_eq!((response.status, &*code(&response)), (405, "UNSUPPORTED"), "{target}");
        assert_eq!(serving.get(&target).status, 200);
    }
}

#[test]
fn referrers_are_listed_with_what_they_say_of_themselves() {
    let (serving, _root) = registry();
    let subject = push_image(&serving, "a", "1", b"{}", &json!({}));
    assert_eq!(referrers(&serving, &subject, ""), Vec::<Value>::new());

    serving.push_blob("a", b"sig");
    let signature = image(b"sig", &about(&subject, SIGNATURE));
    let digest = Digest::sha256(&signature);
    let pushed = serving.push_manifest("a", &digest.to_string(), MANIFEST, &signature);
    assert_eq!((pushed.status, pushed.header("oci-subject")), (201, &*subject.to_string()));
    let entry = json!({
        "mediaType": MANIFEST, "digest": digest, "size": signature.len(),
        "artifactType": SIGNATURE, "annotations": { "note": SIGNATURE },
    });
    assert_eq!(referrers(&serving, &subject, ""), [entry]);

    // Without a type of its own, an image's is its config's, and an index has none.
    let plain = image(b"sig", &json!({ "subject": about(&subject, "")["subject"] }));
    serving.push_manifest("a", "plain", MANIFEST, &plain);
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": about(&subject, "")["subject"] });
    serving.push_manifest("a", "index", INDEX, index.to_string().as_bytes());
    let all = referrers(&serving, &subject, "");
    assert_eq!(all.len(), 3);
    let types: Vec<&Value> = all.iter().map(|entry| &entry["artifactType"]).collect();
    assert!(types.contains(&&json!("application/vnd.oci.image.config.v1+json")) && types.contains(&&Value::Null));
}

#[test]
fn a_referrer_does_not_take_the_tag_of_something_else() {
    let (serving, root) = registry();
    let subject = push_image(&serving, "a", "1", b"{}", &json!({}));
    let tag = referrers_tag(&subject).unwrap().to_string();
    let there = push_image(&serving, "a", &tag, b"other", &json!({}));
    serving.push_blob("a", b"sig");
    let signature = image(b"sig", &about(&subject, SIGNATURE));
    let digest = Digest::sha256(&signature);
    let refused = serving.push_manifest("a", &digest.to_string(), MANIFEST, &signature);
    assert_eq!((refused.status, &*code(&refused)), (409, "MANIFEST_INVALID"));
    let text = String::from_utf8(refused.body).unwrap();
    assert!(text.contains(&format!("a:{tag}")) && text.contains(&format!("an image ({there})")), "{text}");
    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.tag(&"a".parse().unwrap(), &tag.parse().unwrap()).unwrap(), Some(there));
    assert_eq!(serving.get(&format!("/v2/a/manifests/{digest}")).status, 404);
}

#[test]
fn referrers_are_filtered_by_artifact_type() {
    let (serving, _root) = registry();
    let subject = push_image(&serving, "a", "1", b"{}", &json!({}));
    let signature = push_image(&serving, "a", "s", b"sig", &about(&subject, SIGNATURE));
    push_image(&serving, "a", "b", b"bom", &about(&subject, "application/spdx+json"));
    let found = referrers(&serving, &subject, &format!("?artifactType={}", SIGNATURE.replace('/', "%2F")));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["digest"], json!(signature));
    assert!(referrers(&serving, &subject, "?artifactType=none").is_empty());
    assert_eq!(referrers(&serving, &subject, "").len(), 2);
}

#[test]
fn a_subject_need_not_be_there() {
    let (serving, _root) = registry();
    let subject = Digest::sha256(b"not yet");
    assert!(referrers(&serving, &subject, "").is_empty());
    push_image(&serving, "a", "s", b"sig", &about(&subject, SIGNATURE));
    assert_eq!(referrers(&serving, &subject, "").len(), 1);
    let invalid = serving.get("/v2/a/referrers/sha256:abc");
    assert_eq!((invalid.status, &*code(&invalid)), (400, "DIGEST_INVALID"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn referrers_that_another_registry_has_lost_come_back() {
    let (serving, root) = registry();
    let beside = DockerRegistry::over(root.path());
    let subject = push_image(&serving, "a", "1", b"{}", &json!({}));
    let tag = format!("/v2/a/manifests/sha256-{}", subject.hex());
    push_image(&serving, "a", "first", b"first", &about(&subject, SIGNATURE));
    let second = push_image(&serving, "a", "second", b"second", &about(&subject, SIGNATURE));
    // A client that keeps the list itself, and has read it before the first one was there.
    let size = serving.get(&format!("/v2/a/manifests/{second}")).body.len();
    let entry = json!({ "mediaType": MANIFEST, "digest": second, "size": size, "theirs": "kept" });
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let request = Request::new("PUT", &tag).header("Content-Type", INDEX).body(list);
    assert_eq!(request.send(beside.host()).status, 201);
    assert_eq!(serving.get(&tag).json()["manifests"].as_array().unwrap().len(), 1);
    push_image(&serving, "a", "third", b"third", &about(&subject, SIGNATURE));
    let listed = serving.get(&tag).json()["manifests"].clone();
    let entries = listed.as_array().unwrap();
    assert!(entries.len() == 3 && entries.contains(&entry), "{listed}");
    let seen = Request::get(&tag).header("Accept", INDEX).send(beside.host());
    assert_eq!(seen.json()["manifests"], listed);
}

#[test]
fn bundles_may_be_unpacked_below_a_running_registry() {
    let (serving, root) = registry();
    let subject = push_image(&serving, "a", "1", b"{}", &json!({}));
    let tag = referrers_tag(&subject).unwrap();
    std::thread::scope(|scope| {
        for client in 0..6_u8 {
            let (serving, subject, tag, root) = (&serving, &subject, &tag, root.path());
            scope.spawn(move || push_image(serving, "a", &format!("s{client}"), &[client], &about(subject, SIGNATURE)));
            scope.spawn(move || {
                let mut index = ReferrerIndex::default();
                index.add(&Descriptor::of(MediaType::OciManifest, &[100 + client]));
                Store::create(root).unwrap().merge_referrers(&"a".parse().unwrap(), tag, &index.to_bytes()).unwrap();
            });
        }
    });
    let listed = serving.get(&format!("/v2/a/manifests/{tag}")).json()["manifests"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 12, "{listed}");
}

#[test]
fn the_fallback_tag_lists_what_the_api_lists() {
    let (serving, _root) = registry();
    let subject = push_image(&serving, "a", "1", b"{}", &json!({}));
    let tag = format!("/v2/a/manifests/sha256-{}", subject.hex());
    assert_eq!(serving.get(&tag).status, 404);
    let fallback = || {
        let mut entries = serving.get(&tag).json()["manifests"].as_array().unwrap().clone();
        entries.sort_by_key(|entry| entry["digest"].as_str().unwrap().to_owned());
        entries
    };
    std::thread::scope(|scope| {
        for client in 0..6_u8 {
            let (serving, subject) = (&serving, &subject);
            scope.spawn(move || push_image(serving, "a", &format!("s{client}"), &[client], &about(subject, SIGNATURE)));
        }
    });
    assert_eq!(fallback().len(), 6);
    assert_eq!(fallback(), referrers(&serving, &subject, ""));

    let gone = referrers(&serving, &subject, "")[2]["digest"].as_str().unwrap().to_owned();
    assert_eq!(serving.send("DELETE", &format!("/v2/a/manifests/{gone}"), &[], b"").status, 202);
    assert_eq!(fallback().len(), 5);
    assert_eq!(fallback(), referrers(&serving, &subject, ""));
}
