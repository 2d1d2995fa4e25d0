//! Each fault seen to work, by a client that hides nothing.

use hyper::Method;

use super::*;
use crate::support::images::{Blob, image, index, layer, random};
use crate::support::raw::{End, Request, Response, get};
use crate::support::skopeo;

/// A registry with one image of a large layer, and the paths of layer and manifest.
fn with(prepare: impl FnOnce(Faulty, &Blob) -> Faulty) -> (Running, Blob, String, String) {
    let layer = Blob::new("application/octet-stream", random(1, 3_000_000));
    let image = image("linux/amd64", std::slice::from_ref(&layer));
    let registry = prepare(Faulty::new(Content::default().with("a/b:1", &image)), &layer).start();
    let blob = format!("/v2/a/b/blobs/{}", layer.digest());
    (registry, layer, blob, "/v2/a/b/manifests/1".to_owned())
}

fn error_code(response: &Response) -> String {
    response.json()["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn without_faults_it_is_a_registry() {
    let (registry, layer, blob, manifest) = with(|faulty, _| faulty);
    assert_eq!(get(registry.host(), "/v2/").status, 200);
    let whole = get(registry.host(), &blob);
    assert_eq!((whole.status, &whole.body[..]), (200, &layer.bytes[..]));
    let part = Request::get(&blob).header("Range", "bytes=1000-").send(registry.host());
    assert_eq!((part.status, &part.body[..]), (206, &layer.bytes[1000..]));
    assert_eq!(part.header("content-range"), "bytes 1000-2999999/3000000");
    assert_eq!(Request::get(&blob).header("Range", "bytes=3000000-").send(registry.host()).status, 416);
    let head = Request::new("HEAD", &blob).send(registry.host());
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "3000000", 0));
    assert_eq!(get(registry.host(), "/v2/a/b/manifests/2").status, 404);
    assert_eq!(get(registry.host(), "/v2/a/b/tags/list").json()["tags"], serde_json::json!(["1"]));
    assert_eq!(get(registry.host(), "/v2/a/b/referrers/x").status, 404);
    let digest = skopeo::digest(&format!("{}/a/b:1", registry.host())).to_string();
    assert_eq!(get(registry.host(), &manifest).header("docker-content-digest"), digest);
    assert_eq!(registry.count(|seen| seen.is_blob(&layer.digest())), 3);
}

#[test]
fn lists_come_in_pages() {
    let image = image("linux/amd64", &[]);
    let content = ["a:1", "b:1", "c:1"].iter().fold(Content::default(), |content, name| content.with(name, &image));
    let registry = Faulty::new(content).start();
    let first = get(registry.host(), "/v2/_catalog?n=2");
    assert_eq!(first.json()["repositories"], serde_json::json!(["a", "b"]));
    assert_eq!(first.header("link"), "</v2/_catalog?n=2&last=b>; rel=\"next\"");
    let second = get(registry.host(), "/v2/_catalog?n=2&last=b");
    assert_eq!((second.json()["repositories"].to_string(), second.header("link")), ("[\"c\"]".to_owned(), ""));
}

#[test]
fn cuts_at_the_byte_and_as_often_as_it_should() {
    for after in [0, 1, 1000, 2_900_000] {
        let (registry, layer, blob, _) =
            with(|faulty, layer| faulty.fault(On::blob(&layer.digest()).skip(1).times(2), Effect::Cut { after }));
        let lengths: Vec<usize> = (0..4).map(|_| get(registry.host(), &blob).body.len()).collect();
        assert_eq!(lengths, [3_000_000, after, after, 3_000_000]);
        assert_eq!(registry.requests()[1].status, Some(200));
        registry.fault(On::any_blob(), Effect::Cut { after });
        let cut = Request::get(&blob).header("Range", "bytes=10-").send(registry.host());
        assert_eq!((cut.status, cut.end), (206, End::Closed));
        assert_eq!(cut.body, layer.bytes[10..10 + after]);
    }
}

#[test]
fn stalls_and_resets() {
    let (registry, _, blob, manifest) = with(|faulty, _| {
        faulty.fault(On::any_blob(), Effect::Stall { after: 5 }).fault(On::manifest("1").once(), Effect::Reset)
    });
    let stalled = Request::get(&blob).until_silent().send(registry.host());
    assert_eq!((stalled.status, stalled.body.len(), stalled.end), (200, 5, End::Silent));
    let reset = get(registry.host(), &manifest);
    assert_eq!((reset.status, reset.end), (0, End::Reset));
    assert_eq!(get(registry.host(), &manifest).status, 200);
}

#[test]
fn lies_about_bytes_and_lengths() {
    let (registry, layer, blob, _) = with(|faulty, layer| {
        let on = |skip| On::blob(&layer.digest()).skip(skip).once();
        faulty.fault(on(0), Effect::WrongByte).fault(on(0), Effect::Short(10)).fault(on(0), Effect::Long(b"more"))
    });
    let wrong = get(registry.host(), &blob);
    assert_eq!(wrong.body.len(), layer.bytes.len());
    assert_ne!(wrong.body, layer.bytes);
    let short = get(registry.host(), &blob);
    assert_eq!((short.header("content-length"), short.body.len()), ("10", 10));
    assert_eq!(get(registry.host(), &blob).body.len(), 3_000_004);
    assert_eq!(get(registry.host(), &blob).body, layer.bytes);
}

#[test]
fn lies_about_manifests() {
    let other = Digest::sha256(b"other");
    let (registry, _, _, manifest) = with(|faulty, _| {
        let on = || On::manifest("1").once();
        faulty
            .fault(on(), Effect::Digest(other))
            .fault(on(), Effect::NoDigest)
            .fault(on(), Effect::Type("application/json"))
            .fault(on(), Effect::Body(vec![b' '; 5 << 20].into()))
    });
    assert_eq!(get(registry.host(), &manifest).header("docker-content-digest"), other.to_string());
    assert!(!get(registry.host(), &manifest).head.to_lowercase().contains("docker-content-digest"));
    assert_eq!(get(registry.host(), &manifest).header("content-type"), "application/json");
    assert_eq!(get(registry.host(), &manifest).body.len(), 5 << 20);
}

#[test]
fn serves_what_is_no_manifest() {
    let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let content = Content::default().with("old:1", &Image::of_bytes(schema1, "{\"schemaVersion\":1,\"fsLayers\":[]}"));
    let registry = Faulty::new(content).start();
    assert_eq!(get(registry.host(), "/v2/old/manifests/1").header("content-type"), schema1);
}

#[test]
fn fails_for_a_while() {
    let (registry, _, blob, manifest) = with(|faulty, _| {
        let later = |status, after: &str| Effect::Later { status, after: after.to_owned() };
        faulty
            .fault(On::manifest("1").once(), later(429, "1"))
            .fault(On::manifest("1").once(), later(503, "Wed, 21 Oct 2015 07:28:00 GMT"))
            .fault(On::any_blob().times(2), Effect::Status(500))
            .fault(On::ping(), Effect::Status(404))
    });
    let busy = get(registry.host(), &manifest);
    assert_eq!((busy.status, busy.header("retry-after")), (429, "1"));
    assert_eq!(error_code(&busy), "TOOMANYREQUESTS");
    assert_eq!(get(registry.host(), &manifest).header("retry-after"), "Wed, 21 Oct 2015 07:28:00 GMT");
    assert_eq!(get(registry.host(), &manifest).status, 200);
    let statuses: Vec<u16> = (0..3).map(|_| get(registry.host(), &blob).status).collect();
    assert_eq!(statuses, [500, 500, 200]);
    assert_eq!(get(registry.host(), "/v2/").status, 404);
}

#[test]
fn ignores_ranges() {
    let (registry, layer, blob, _) = with(|faulty, _| faulty.fault(On::any_blob(), Effect::IgnoreRange));
    let whole = Request::get(&blob).header("Range", "bytes=10-").send(registry.host());
    assert_eq!((whole.status, whole.body.len()), (200, layer.bytes.len()));
    assert_eq!(registry.requests()[0].header("range"), "bytes=10-");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn redirects_to_a_host_that_wants_no_credentials() {
    let (registry, layer, blob, _) = with(|faulty, _| {
        faulty.fault(On::any_blob(), Effect::Redirect).fault(On::storage().skip(1).once(), Effect::Cut { after: 7 })
    });
    let response = get(registry.host(), &blob);
    let location = response.header("location").strip_prefix("http://").unwrap();
    let (host, path) = location.split_at(location.find('/').unwrap());
    assert_eq!((response.status, host), (307, registry.other_host()));
    assert_eq!(get(host, path).body, layer.bytes);
    assert_eq!(get(host, path).body, layer.bytes[..7]);
    assert_eq!(Request::get(path).header("Authorization", "Bearer x").send(host).status, 400);
    assert_eq!(get(host, path.split('?').next().unwrap()).status, 403);
    assert_eq!(registry.count(|seen| seen.on_other_host && !seen.header("authorization").is_empty()), 1);
    let folder = tempfile::tempdir().unwrap();
    skopeo::copy_all(&format!("docker://{}/a/b:1", registry.host()), &format!("dir:{}", folder.path().display()));
}

#[test]
fn asks_for_basic() {
    let (registry, _, _, manifest) = with(|faulty, _| faulty.basic("me", "secret"));
    let refused = get(registry.host(), &manifest);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Basic realm=\"faulty\""));
    let wrong = Request::get(&manifest).header("Authorization", "Basic bWU6d3Jvbmc=").send(registry.host());
    assert_eq!(wrong.status, 401);
    let right = Request::get(&manifest).header("Authorization", "Basic bWU6c2VjcmV0").send(registry.host());
    assert_eq!(right.status, 200);
}

#[test]
fn asks_for_tokens_that_expire_and_bind() {
    let (registry, _, blob, manifest) = with(|faulty, _| {
        faulty.bearer("me", "secret").token_uses(2).tokens_elsewhere().fault(On::token().skip(2), Effect::Status(500))
    });
    let refused = get(registry.host(), &manifest);
    let realm = format!("http://{}/token", registry.other_host());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"faulty\",scope=\"repository:a/b:pull\"");
    assert_eq!(refused.header("www-authenticate"), challenge);
    let path = "/token?service=faulty&scope=repository%3Aa%2Fb%3Apull";
    assert_eq!(get(registry.other_host(), path).status, 401);
    let given = Request::get(path).header("Authorization", "Basic bWU6c2VjcmV0").send(registry.other_host());
    let bearer = format!("Bearer {}", given.json()["token"].as_str().unwrap());
    let with_token =
        |method, path: &str| Request::new(method, path).header("Authorization", &bearer).send(registry.host());
    assert_eq!(with_token("GET", &manifest).status, 200);
    assert!(with_token("POST", "/v2/a/b/blobs/uploads/").header("www-authenticate").contains("insufficient_scope"));
    assert!(with_token("GET", "/v2/other/manifests/1").header("www-authenticate").contains("insufficient_scope"));
    assert_eq!(with_token("HEAD", &blob).status, 200);
    assert!(with_token("GET", &manifest).header("www-authenticate").contains("invalid_token"));
    assert_eq!(get(registry.other_host(), path).status, 500);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn gives_tokens_to_skopeo_and_to_forms() {
    let (registry, _, _, _) = with(|faulty, _| faulty.bearer("me", "secret").token_uses(3));
    let folder = tempfile::tempdir().unwrap();
    let from = format!("docker://{}/a/b:1", registry.host());
    let to = format!("dir:{}", folder.path().display());
    skopeo::skopeo(["copy", "-q", "--src-creds", "me:secret", "--src-tls-verify=false", &from, &to]);
    let form = "grant_type=refresh_token&refresh_token=secret&service=faulty&scope=repository:a/b:pull";
    let given = Request::new("POST", "/token").body(form).send(registry.host());
    assert!(given.json()["access_token"].is_string());
    assert_eq!(Request::new("POST", "/token").body("refresh_token=x").send(registry.host()).status, 401);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_pushes_to_it() {
    let amd64 = image("linux/amd64", &[layer(1, 100_000)]);
    let both = index(&[amd64, image("linux/arm64", &[layer(1, 100_000), layer(2, 10)])]);
    let source = Faulty::new(Content::default().with("a:1", &both)).start();
    let target = Faulty::new(Content::default()).anonymous_tokens().refuse_sparse().start();
    skopeo::copy_all(&format!("docker://{}/a:1", source.host()), &format!("docker://{}/b/c:2", target.host()));
    let pushed = &target.content().repositories["b/c"];
    assert_eq!(pushed.tags["2"], both.digest());
    assert_eq!(pushed.manifests, source.content().repositories["a"].manifests);
    assert_eq!(pushed.blobs, source.content().repositories["a"].blobs);
}

#[test]
fn takes_chunks_mounts_and_refuses_what_is_wrong() {
    let (registry, layer, _, _) = with(|faulty, _| faulty);
    let send = |method, path: &str, body: &[u8]| Request::new(method, path).body(body).send(registry.host());
    let digest = Digest::sha256(b"hello world");
    let begun = send("POST", "/v2/x/blobs/uploads/", b"");
    assert_eq!(begun.status, 202);
    let more = send("PATCH", begun.header("location"), b"hello ");
    assert_eq!((more.status, more.header("range")), (202, "0-5"));
    assert_eq!(send("PATCH", begun.header("location"), b"again").status, 400, "an old address");
    let done = send("PUT", &format!("{}&digest={digest}", more.header("location")), b"world");
    assert_eq!((done.status, done.header("docker-content-digest")), (201, &*digest.to_string()));
    assert_eq!(send("POST", &format!("/v2/x/blobs/uploads/?digest={digest}"), b"hello world").status, 201);
    assert_eq!(error_code(&send("POST", &format!("/v2/x/blobs/uploads/?digest={digest}"), b"other")), "DIGEST_INVALID");
    let mount = |from: &str| send("POST", &format!("/v2/x/blobs/uploads/?mount={}&from={from}", layer.digest()), b"");
    assert_eq!((mount("a/b").status, mount("nowhere").status), (201, 202));
    assert_eq!(send("DELETE", mount("nowhere").header("location"), b"").status, 204);
    assert_eq!(registry.count(Seen::is_write), 10);
}

#[test]
fn refuses_incomplete_manifests() {
    let amd64 = image("linux/amd64", &[layer(1, 10)]);
    let both = index(&[amd64.clone(), image("linux/arm64", &[layer(2, 10)])]);
    let put = |registry: &Running, image: &Image| {
        let request = Request::new("PUT", "/v2/a/manifests/1").body(image.bytes.to_vec());
        request.header("Content-Type", image.descriptor.media_type.as_str()).send(registry.host())
    };
    let strict = Faulty::new(Content::default()).refuse_sparse().phantom(&amd64).start();
    assert_eq!(error_code(&put(&strict, &amd64)), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(error_code(&put(&strict, &both)), "MANIFEST_BLOB_UNKNOWN");
    let path = format!("/v2/a/manifests/{}", amd64.digest());
    assert_eq!(Request::new("HEAD", &path).send(strict.host()).status, 200, "the phantom");
    assert_eq!(get(strict.host(), &path).status, 404);
    let lenient = Faulty::new(Content::default()).start();
    assert_eq!(put(&lenient, &both).status, 201);
    let wrong = Request::new("PUT", "/v2/a/manifests/1").body("{}").header("Content-Type", "x/y").send(strict.host());
    assert_eq!(wrong.status, 201, "what it does not know it takes");
}

#[test]
fn fails_uploads() {
    let registry = Faulty::new(Content::default())
        .fault(On::upload(Method::POST).once(), Effect::Status(503))
        .fault(On::upload(Method::PATCH), Effect::Reset)
        .fault(On::put_manifest(), Effect::Status(500))
        .start();
    let send = |method, path: &str| Request::new(method, path).body("x").send(registry.host());
    assert_eq!(send("POST", "/v2/x/blobs/uploads/").status, 503);
    let begun = send("POST", "/v2/x/blobs/uploads/");
    assert_eq!(send("PATCH", begun.header("location")).status, 0);
    assert_eq!(send("PUT", "/v2/x/manifests/1").status, 500);
    assert_eq!(registry.requests()[2].status, None);
    assert!(registry.content().repositories.is_empty(), "a fault prevents what was asked for");
}

#[test]
fn requests_can_be_waited_for() {
    let (registry, layer, blob, _) = with(|faulty, _| faulty.fault(On::any_blob(), Effect::Stall { after: 0 }));
    let host = registry.host().to_owned();
    let client = std::thread::spawn(move || Request::get(&blob).until_silent().send(&host));
    registry.wait_for(|seen| seen.is_blob(&layer.digest()));
    assert_eq!(client.join().unwrap().end, End::Silent);
    registry.fault(On::everything().once(), Effect::Status(418));
    assert_eq!(get(registry.host(), "/v2/").status, 418);
    registry.change(|content| content.repositories.clear());
    assert_eq!(get(registry.host(), "/v2/a/b/manifests/1").status, 404);
}
