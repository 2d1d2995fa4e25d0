//! The requirements of the OCI distribution specification 1.1, each as a test with the words of the official
//! conformance suite, which is a program that has to be fetched and so is not run here.
//!
//! Every one is also put to Debian's registry, so that a test that asks for the wrong thing is noticed; and those that
//! only read are put to a bundle.

mod sample;

use hod_oci::Digest;
use serde_json::json;

use self::sample::{ask, is, manifest, place, push_blob, push_manifest, push_sample, sample, send, with_digest};
use super::command::Served;
use super::push::{INDEX, MANIFEST, registry};
use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::hod;
use crate::support::raw::Request;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const BLOB: &[u8] = b"the content of a layer";
const NAME: &str = "conformance/app";
const OTHER: &str = "conformance/other";
const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Makes a test of each requirement, and a list of all of them.
macro_rules! requirements {
    ($list:ident, $setup:expr, $module:ident: $(fn $name:ident($host:ident) $body:block)*) => {
        mod $module {
            use super::*;
            $(pub fn $name($host: &str) $body)*
        }
        $(
            #[test]
            fn $name() {
                let (serving, _root) = registry();
                let host = serving.address.to_string();
                $setup(&host);
                $module::$name(&host);
            }
        )*
        const $list: &[(&str, fn(&str))] = &[$((stringify!($name), $module::$name)),*];
    };
}

requirements! { READS, push_sample, reads:
    fn pull_head_request_to_nonexistent_blob_should_result_in_404_response(host) {
        is(&ask(host, "HEAD", &format!("{NAME}/blobs/{ABSENT}")), 404);
    }
    fn pull_head_request_to_existing_blob_should_yield_200(host) {
        let digest = Digest::sha256(BLOB);
        let head = ask(host, "HEAD", &format!("{NAME}/blobs/{digest}"));
        is(&head, 200);
        assert_eq!(head.header("docker-content-digest"), digest.to_string());
        assert_eq!(head.header("content-length"), BLOB.len().to_string());
    }
    fn pull_get_nonexistent_blob_should_result_in_404_response(host) {
        is(&ask(host, "GET", &format!("{NAME}/blobs/{ABSENT}")), 404);
    }
    fn pull_get_request_to_existing_blob_url_should_yield_200(host) {
        let got = ask(host, "GET", &format!("{NAME}/blobs/{}", Digest::sha256(BLOB)));
        is(&got, 200);
        assert_eq!(got.body, BLOB);
    }
    fn pull_a_part_of_a_blob_by_range_should_yield_206(host) {
        let path = format!("/v2/{NAME}/blobs/{}", Digest::sha256(BLOB));
        let got = Request::get(&path).header("Range", "bytes=4-10").send(host);
        is(&got, 206);
        assert_eq!(got.body, &BLOB[4..=10]);
    }
    fn pull_head_request_to_nonexistent_manifest_should_return_404(host) {
        is(&ask(host, "HEAD", &format!("{NAME}/manifests/.INVALID_MANIFEST_NAME")), 404);
        is(&ask(host, "HEAD", &format!("{NAME}/manifests/{ABSENT}")), 404);
    }
    fn pull_head_request_to_manifest_path_by_digest_should_yield_200_response(host) {
        for digest in [sample().0, sample().1] {
            let path = format!("/v2/{NAME}/manifests/{digest}");
            let head = Request::new("HEAD", &path).header("Accept", MANIFEST).send(host);
            is(&head, 200);
            assert_eq!(head.header("docker-content-digest"), digest.to_string());
        }
    }
    fn pull_head_request_to_manifest_path_by_tag_should_yield_200_response(host) {
        let head = Request::new("HEAD", &format!("/v2/{NAME}/manifests/test0")).header("Accept", MANIFEST).send(host);
        is(&head, 200);
        assert_eq!(head.header("docker-content-digest"), sample().0.to_string());
    }
    fn pull_get_nonexistent_manifest_should_return_404(host) {
        is(&ask(host, "GET", &format!("{NAME}/manifests/.INVALID_MANIFEST_NAME")), 404);
        is(&ask(host, "GET", &format!("{NAME}/manifests/absent")), 404);
    }
    fn pull_get_request_to_manifest_path_by_digest_should_yield_200_response(host) {
        for digest in [sample().0, sample().1] {
            let got = Request::get(&format!("/v2/{NAME}/manifests/{digest}")).header("Accept", MANIFEST).send(host);
            is(&got, 200);
            assert_eq!((Digest::sha256(&got.body), got.header("content-type")), (digest, MANIFEST));
        }
    }
    fn pull_get_request_to_manifest_path_by_tag_should_yield_200_response(host) {
        let got = Request::get(&format!("/v2/{NAME}/manifests/test0")).header("Accept", MANIFEST).send(host);
        is(&got, 200);
        assert_eq!(Digest::sha256(&got.body), sample().0);
    }
    fn pull_error_response_body_should_contain_oci_conforming_json_message(host) {
        let got = ask(host, "GET", &format!("{NAME}/manifests/absent"));
        let errors = got.json()["errors"].as_array().unwrap().clone();
        assert_eq!(errors[0]["code"], "MANIFEST_UNKNOWN");
        assert!(errors[0]["message"].is_string());
    }
    fn the_api_version_check_should_yield_200(host) {
        is(&ask(host, "GET", ""), 200);
    }
    fn discovery_get_request_to_list_tags_should_yield_200_response(host) {
        let got = ask(host, "GET", &format!("{NAME}/tags/list"));
        is(&got, 200);
        let list = got.json();
        assert_eq!(list["name"], NAME);
        let tags: Vec<&str> = list["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let own: Vec<&str> = tags.iter().copied().filter(|tag| tag.starts_with("test")).collect();
        assert_eq!(own, ["test0", "test1", "test2", "test3"], "in lexical order");
    }
    fn discovery_tags_of_a_nonexistent_repository_should_result_in_404(host) {
        is(&ask(host, "GET", "conformance/absent/tags/list"), 404);
    }
    fn discovery_get_number_of_tags_should_be_limitable_by_n_query_parameter(host) {
        let got = ask(host, "GET", &format!("{NAME}/tags/list?n=2&last=test0"));
        is(&got, 200);
        assert_eq!(got.json()["tags"], json!(["test1", "test2"]));
    }
    fn discovery_get_start_of_tag_is_set_by_last_query_parameter(host) {
        let got = ask(host, "GET", &format!("{NAME}/tags/list?n=9&last=test1"));
        is(&got, 200);
        assert_eq!(got.json()["tags"], json!(["test2", "test3"]));
    }
    fn discovery_a_page_of_tags_should_link_to_the_next(host) {
        let got = ask(host, "GET", &format!("{NAME}/tags/list?n=1&last=test0"));
        let link = got.header("link").to_owned();
        assert!(link.contains("rel=\"next\""), "{got:?}");
        let next = link.trim_start_matches('<').split('>').next().unwrap().split_once("/v2/").unwrap().1.to_owned();
        assert_eq!(ask(host, "GET", &next).json()["tags"][0], "test2");
    }
}

requirements! { REFERRERS, push_sample, referrers:
    fn discovery_get_request_to_nonexistent_referrers_should_yield_200_with_empty_index(host) {
        let got = ask(host, "GET", &format!("{NAME}/referrers/{ABSENT}"));
        is(&got, 200);
        assert_eq!(got.header("content-type"), INDEX);
        assert_eq!(got.json()["manifests"], json!([]));
    }
    fn discovery_get_request_to_existing_referrers_should_yield_200(host) {
        let got = ask(host, "GET", &format!("{NAME}/referrers/{}", sample().0));
        is(&got, 200);
        assert_eq!(got.header("content-type"), INDEX);
        let manifests = got.json()["manifests"].as_array().unwrap().clone();
        assert_eq!(manifests.len(), 3);
        // The type of the config stands for an artifact type that is not there; annotations come along.
        let kinds: Vec<&str> = manifests.iter().map(|it| it["artifactType"].as_str().unwrap()).collect();
        for kind in ["application/vnd.test.a", "application/vnd.test.b", CONFIG] {
            assert!(kinds.contains(&kind), "{kinds:?}");
        }
        assert!(manifests.iter().all(|it| it["annotations"]["org.test"].is_string()));
    }
    fn discovery_get_request_to_existing_referrers_with_filter_should_yield_200(host) {
        let query = "artifactType=application%2Fvnd.test.b";
        let got = ask(host, "GET", &format!("{NAME}/referrers/{}?{query}", sample().0));
        is(&got, 200);
        assert_eq!(got.header("oci-filters-applied"), "artifactType");
        let manifests = got.json()["manifests"].as_array().unwrap().clone();
        assert_eq!((manifests.len(), &manifests[0]["artifactType"]), (1, &json!("application/vnd.test.b")));
    }
    fn discovery_referrers_of_an_invalid_digest_should_yield_400(host) {
        is(&ask(host, "GET", &format!("{NAME}/referrers/sha256:abc")), 400);
    }
}

requirements! { REFERRER_PUSHES, |_: &str| (), referrer_pushes:
    fn push_registry_should_accept_a_manifest_with_a_missing_subject_and_say_so(host) {
        let subject = json!({ "mediaType": MANIFEST, "digest": ABSENT, "size": 1 });
        let referrer = manifest(host, "early", &json!({ "subject": subject, "artifactType": "application/vnd.test.a" }));
        let put = push_manifest(host, &Digest::sha256(&referrer).to_string(), &referrer);
        assert_eq!(put.header("oci-subject"), ABSENT);
        assert_eq!(ask(host, "GET", &format!("{NAME}/referrers/{ABSENT}")).json()["manifests"].as_array().unwrap().len(), 1);
    }
}

requirements! { WRITES, |_: &str| (), writes:
    fn push_patch_request_with_blob_in_body_should_yield_202_response(host) {
        let begun = ask(host, "POST", &format!("{NAME}/blobs/uploads/"));
        is(&begun, 202);
        let patched = send(host, "PATCH", &place(&begun), "application/octet-stream", BLOB);
        is(&patched, 202);
        let put = ask(host, "PUT", &with_digest(&place(&patched), BLOB));
        is(&put, 201);
        is(&ask(host, "GET", &place(&put)), 200);
    }
    fn push_get_nonexistent_blob_should_result_in_404_response(host) {
        is(&ask(host, "GET", &format!("{NAME}/blobs/{ABSENT}")), 404);
    }
    fn push_post_request_with_digest_and_blob_should_yield_a_201_or_202(host) {
        let path = with_digest(&format!("{NAME}/blobs/uploads/"), BLOB);
        let posted = send(host, "POST", &path, "application/octet-stream", BLOB);
        assert!(matches!(posted.status, 201 | 202), "{posted:?}");
        if posted.status == 201 {
            assert_eq!(ask(host, "GET", &place(&posted)).body, BLOB);
        } else {
            let put = send(host, "PUT", &with_digest(&place(&posted), BLOB), "application/octet-stream", BLOB);
            is(&put, 201);
        }
        is(&ask(host, "GET", &format!("{NAME}/blobs/{}", Digest::sha256(BLOB))), 200);
    }
    fn push_put_upload_of_a_blob_should_yield_a_201_response_with_location(host) {
        let begun = ask(host, "POST", &format!("{NAME}/blobs/uploads/"));
        let put = send(host, "PUT", &with_digest(&place(&begun), BLOB), "application/octet-stream", BLOB);
        is(&put, 201);
        assert_eq!(place(&put), format!("{NAME}/blobs/{}", Digest::sha256(BLOB)));
        assert_eq!(ask(host, "GET", &place(&put)).body, BLOB);
    }
    fn push_out_of_order_blob_upload_should_return_416(host) {
        let begun = ask(host, "POST", &format!("{NAME}/blobs/uploads/"));
        let request = Request::new("PATCH", &format!("/v2/{}", place(&begun)));
        let request = request.header("Content-Type", "application/octet-stream").header("Content-Range", "9-21");
        is(&request.body(&BLOB[9..]).send(host), 416);
    }
    fn push_chunks_should_be_accepted_in_order_and_a_stale_one_return_416(host) {
        let begun = ask(host, "POST", &format!("{NAME}/blobs/uploads/"));
        let chunk = |place: &str, range: &str, body: &[u8]| {
            let request = Request::new("PATCH", &format!("/v2/{place}")).header("Content-Range", range);
            request.header("Content-Type", "application/octet-stream").body(body).send(host)
        };
        let first = chunk(&place(&begun), "0-8", &BLOB[..9]);
        is(&first, 202);
        assert_eq!(first.header("range"), "0-8");
        is(&chunk(&place(&first), "0-8", &BLOB[..9]), 416);
        let stale = ask(host, "GET", &place(&first));
        is(&stale, 204);
        assert_eq!(stale.header("range"), "0-8");
        let put = Request::new("PUT", &format!("/v2/{}", with_digest(&place(&stale), BLOB)));
        let put = put.header("Content-Range", "9-21").header("Content-Type", "application/octet-stream");
        is(&put.body(&BLOB[9..]).send(host), 201);
        assert_eq!(ask(host, "GET", &format!("{NAME}/blobs/{}", Digest::sha256(BLOB))).body, BLOB);
    }
    fn push_an_upload_can_be_cancelled(host) {
        let begun = ask(host, "POST", &format!("{NAME}/blobs/uploads/"));
        is(&ask(host, "DELETE", &place(&begun)), 204);
        is(&ask(host, "GET", &place(&begun)), 404);
    }
    fn push_a_blob_with_another_digest_should_be_refused(host) {
        let begun = ask(host, "POST", &format!("{NAME}/blobs/uploads/"));
        let put = send(host, "PUT", &with_digest(&place(&begun), b"other"), "application/octet-stream", BLOB);
        is(&put, 400);
        assert_eq!(put.json()["errors"][0]["code"], "DIGEST_INVALID");
    }
    fn push_cross_mounting_of_a_blob_should_return_201_or_202(host) {
        push_blob(host, NAME, BLOB);
        let digest = Digest::sha256(BLOB);
        let mounted = ask(host, "POST", &format!("{OTHER}/blobs/uploads/?mount={digest}&from={NAME}"));
        assert!(matches!(mounted.status, 201 | 202), "{mounted:?}");
        if mounted.status == 201 {
            assert_eq!(place(&mounted), format!("{OTHER}/blobs/{digest}"));
            assert_eq!(ask(host, "GET", &place(&mounted)).body, BLOB);
        }
    }
    fn push_cross_mounting_of_nonexistent_blob_should_yield_session_id(host) {
        push_blob(host, NAME, BLOB);
        let asked = ask(host, "POST", &format!("{OTHER}/blobs/uploads/?mount={ABSENT}&from={NAME}"));
        is(&asked, 202);
        assert!(place(&asked).starts_with(&format!("{OTHER}/blobs/uploads/")));
    }
    fn push_cross_mounting_without_from_should_return_201_or_202(host) {
        push_blob(host, NAME, BLOB);
        let asked = ask(host, "POST", &format!("{OTHER}/blobs/uploads/?mount={}", Digest::sha256(BLOB)));
        assert!(matches!(asked.status, 201 | 202), "{asked:?}");
    }
    fn push_get_nonexistent_manifest_should_return_404(host) {
        is(&ask(host, "GET", &format!("{NAME}/manifests/.INVALID_MANIFEST_NAME")), 404);
    }
    fn push_put_should_accept_a_manifest_upload(host) {
        let content = manifest(host, "pushed", &json!({}));
        let digest = Digest::sha256(&content);
        for version in ["test0", "another.tag_1", &digest.to_string()] {
            let put = push_manifest(host, version, &content);
            assert_eq!(put.header("docker-content-digest"), digest.to_string());
            assert!(place(&put).starts_with(&format!("{NAME}/manifests/")));
            let got = Request::get(&format!("/v2/{NAME}/manifests/{version}")).header("Accept", MANIFEST).send(host);
            assert_eq!(got.body, content);
        }
    }
    fn push_registry_should_accept_a_manifest_upload_with_no_layers(host) {
        let content = manifest(host, "empty", &json!({ "layers": [] }));
        push_manifest(host, "emptylayer", &content);
    }
    fn push_a_manifest_that_is_none_should_return_400(host) {
        let put = send(host, "PUT", &format!("{NAME}/manifests/sha256:totallywrong"), MANIFEST, b"blablabla");
        assert!(matches!(put.status, 400 | 404), "{put:?}");
        let put = send(host, "PUT", &format!("{NAME}/manifests/test0"), MANIFEST, b"blablabla");
        is(&put, 400);
        assert!(put.json()["errors"][0]["code"].is_string());
    }
    fn push_a_manifest_whose_blobs_are_not_there_should_be_refused(host) {
        let content = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": { "mediaType": CONFIG, "digest": ABSENT, "size": 1 } });
        let put = send(host, "PUT", &format!("{NAME}/manifests/test0"), MANIFEST, content.to_string().as_bytes());
        assert!(matches!(put.status, 400 | 404), "{put:?}");
        assert_eq!(put.json()["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN");
    }
    fn management_delete_request_to_manifest_digest_should_yield_202(host) {
        let content = manifest(host, "deleted", &json!({}));
        let digest = Digest::sha256(&content);
        push_manifest(host, "test0", &content);
        is(&ask(host, "DELETE", &format!("{NAME}/manifests/{digest}")), 202);
        is(&ask(host, "GET", &format!("{NAME}/manifests/{digest}")), 404);
        is(&ask(host, "GET", &format!("{NAME}/manifests/test0")), 404);
        let tags = ask(host, "GET", &format!("{NAME}/tags/list"));
        assert!(tags.status == 404 || !tags.json()["tags"].to_string().contains("test0"), "{tags:?}");
    }
    fn management_delete_request_to_blob_url_should_yield_202(host) {
        push_blob(host, NAME, BLOB);
        let path = format!("{NAME}/blobs/{}", Digest::sha256(BLOB));
        is(&ask(host, "DELETE", &path), 202);
        is(&ask(host, "GET", &path), 404);
    }
    fn management_delete_of_what_is_not_there_should_yield_404(host) {
        push_blob(host, NAME, BLOB);
        is(&ask(host, "DELETE", &format!("{NAME}/blobs/{ABSENT}")), 404);
        is(&ask(host, "DELETE", &format!("{NAME}/manifests/{ABSENT}")), 404);
    }
}

requirements! { TAG_DELETES, |_: &str| (), tag_deletes:
    fn management_delete_request_to_manifest_tag_should_yield_202(host) {
        let content = manifest(host, "tagged", &json!({}));
        push_manifest(host, "test0", &content);
        is(&ask(host, "DELETE", &format!("{NAME}/manifests/test0")), 202);
        is(&ask(host, "GET", &format!("{NAME}/manifests/test0")), 404);
        is(&ask(host, "GET", &format!("{NAME}/manifests/{}", Digest::sha256(&content))), 200);
    }
}

/// What Debian's registry, which is older than this version of the specification, does in another way: tags come in
/// any order and all at once, and chunks are taken in any order.
const OTHERWISE: &[&str] = &[
    "discovery_get_request_to_list_tags_should_yield_200_response",
    "discovery_get_number_of_tags_should_be_limitable_by_n_query_parameter",
    "discovery_get_start_of_tag_is_set_by_last_query_parameter",
    "discovery_a_page_of_tags_should_link_to_the_next",
    "push_out_of_order_blob_upload_should_return_416",
    "push_chunks_should_be_accepted_in_order_and_a_stale_one_return_416",
];

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn another_registry_meets_the_same_requirements() {
    let is_met = |check: fn(&str), setup: fn(&str)| {
        let registry = DockerRegistry::options().deletes().start();
        setup(registry.host());
        let host = registry.host().to_owned();
        std::panic::catch_unwind(|| check(&host)).is_ok()
    };
    let reads = READS.iter().filter(|(_, check)| !is_met(*check, push_sample));
    let writes = WRITES.iter().filter(|(_, check)| !is_met(*check, |_| ()));
    let unmet: Vec<&str> = reads.chain(writes).map(|(name, _)| *name).collect();
    assert_eq!(unmet, OTHERWISE);
    // It lists no referrers and deletes no tags.
    assert_eq!((REFERRERS.len(), REFERRER_PUSHES.len(), TAG_DELETES.len()), (4, 1, 1));
}

#[test]
fn a_bundle_meets_what_is_required_of_reading() {
    let (serving, root) = registry();
    push_sample(&serving.address.to_string());
    drop(serving);
    for name in ["all.tar", "all.tar.zst"] {
        let bundle = root.path().join(name);
        hod(["pack", "-q", "--store", root.path().to_str().unwrap(), "-o", bundle.to_str().unwrap()]).ok();
        let served = Served::start([&bundle]);
        for (_, check) in READS.iter().chain(REFERRERS) {
            check(&served.host);
        }
        for (method, path) in
            [("POST", format!("{NAME}/blobs/uploads/")), ("DELETE", format!("{NAME}/manifests/test0"))]
        {
            is(&ask(&served.host, method, &path), 405);
        }
    }
}
