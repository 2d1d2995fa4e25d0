//! The client against a registry that misbehaves: what each fault becomes, and what it costs.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use hod_engine::endpoint::{EndpointError, Fault, Sink as _, Source as _, Verified};
use hod_oci::Digest;
use hod_registry::Settings;
use hyper::Method;

use super::{push, read_all, repository, tag, with_password};
use crate::support::faulty::{Effect, Faulty, On, Route, Running};
use crate::support::images::{Content, Image, image, layer};

fn sample() -> Image {
    image("linux/amd64", &[layer(1, 300_000)])
}

fn holding(image: &Image) -> Faulty {
    Faulty::new(Content::default().with("app:1.0", image))
}

/// What comes of reading the sample's layer while an effect is on it.
async fn blob_under(effect: Effect) -> Result<Bytes, EndpointError> {
    let sample = sample();
    let layer = &sample.blobs[1].descriptor;
    let registry = holding(&sample).fault(On::blob(&layer.digest), effect).start();
    let settings = Settings { stall_timeout: std::time::Duration::from_millis(300), ..Settings::default() };
    let source = repository(settings, registry.host(), "app");
    let body: Vec<Bytes> = source.open(layer, 0).await?.try_collect().await?;
    Ok(body.concat().into())
}

async fn manifest_under(effect: Effect) -> Result<Digest, EndpointError> {
    let sample = sample();
    let registry = holding(&sample).fault(On::manifest("1.0"), effect).start();
    let source = repository(Settings::default(), registry.host(), "app");
    Ok(source.manifest(&tag("1.0")).await?.0.digest)
}

#[tokio::test]
async fn blobs_under_faults() {
    let fault = async |effect: Effect| blob_under(effect).await.unwrap_err().fault();
    assert_eq!(fault(Effect::Status(404)).await, Fault::Missing);
    assert_eq!(fault(Effect::Status(500)).await, Fault::Unreachable);
    assert_eq!(fault(Effect::Status(403)).await, Fault::Denied);
    let seconds = std::time::Duration::from_secs(3);
    let later = |status| Effect::Later { status, after: "3".to_owned() };
    assert_eq!(fault(later(429)).await, Fault::Busy(Some(seconds)));
    assert_eq!(fault(later(503)).await, Fault::Busy(Some(seconds)));
    assert_eq!(fault(Effect::Reset).await, Fault::Unreachable);
    assert_eq!(fault(Effect::Cut { after: 1000 }).await, Fault::Unreachable);
    assert_eq!(fault(Effect::Stall { after: 1000 }).await, Fault::Unreachable);
    assert_eq!(blob_under(Effect::Redirect).await.unwrap(), sample().blobs[1].bytes);
    // Whether the bytes are right is not for a source to say.
    assert_eq!(blob_under(Effect::Short(10)).await.unwrap().len(), 10);
}

#[tokio::test]
async fn manifests_under_faults() {
    let fault = async |effect: Effect| manifest_under(effect).await.unwrap_err().fault();
    assert_eq!(fault(Effect::WrongByte).await, Fault::Corrupt);
    assert_eq!(fault(Effect::Digest(Digest::sha256(b""))).await, Fault::Corrupt);
    assert_eq!(fault(Effect::Cut { after: 10 }).await, Fault::Unreachable);
    assert_eq!(fault(Effect::Body(Bytes::from(vec![b' '; 5 << 20]))).await, Fault::Rejected);
    let right = sample().digest();
    assert_eq!(manifest_under(Effect::NoDigest).await.unwrap(), right);
    assert_eq!(manifest_under(Effect::Type("text/plain")).await.unwrap(), right);
}

#[tokio::test]
async fn tokens_are_had_and_renewed() {
    let sample = sample();
    let registry = holding(&sample).bearer("me", "hunter2").token_uses(3).tokens_elsewhere().start();
    let repository = repository(with_password("hunter2"), registry.host(), "app");
    for _ in 0..4 {
        read_all(&repository, &sample).await.unwrap();
    }
    let tokens = registry.count(|seen| seen.route == Route::Token);
    assert!(tokens >= 2, "{:#?}", registry.requests());
    // A body that is gone cannot be sent again with the new token: that is for the next try.
    let mut tries = 0;
    while let Err(error) = push(&repository, &sample, &["2.0".parse().unwrap()]).await {
        assert_eq!(error.fault(), Fault::Unreachable, "{error}");
        tries += 1;
        assert!(tries < 4, "{error}");
    }
    assert_eq!(repository.resolve(&tag("2.0")).await.unwrap().digest, sample.digest());
}

#[tokio::test]
async fn a_storage_host_sees_no_credentials() {
    let sample = sample();
    let registry = holding(&sample).basic("me", "hunter2").fault(On::any_blob(), Effect::Redirect).start();
    read_all(&repository(with_password("hunter2"), registry.host(), "app"), &sample).await.unwrap();
    let stored = |seen: &crate::support::faulty::Seen| matches!(seen.route, Route::Storage(_));
    assert!(registry.count(stored) > 0);
    assert_eq!(registry.count(|seen| stored(seen) && seen.headers.contains_key("authorization")), 0);
}

/// What the storage behind a registry refuses may be had again with the next address.
#[tokio::test]
async fn an_address_that_has_expired_is_a_passing_fault() {
    let sample = sample();
    let registry =
        holding(&sample).fault(On::any_blob(), Effect::Redirect).fault(On::storage(), Effect::Status(403)).start();
    let source = repository(Settings::default(), registry.host(), "app");
    let error = source.open(&sample.blobs[1].descriptor, 0).await.err().unwrap();
    assert_eq!(error.fault(), Fault::Unreachable);
    assert!(error.to_string().contains("/storage/") && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn pushes_under_faults() {
    let sample = sample();
    let layer = &sample.blobs[1];
    let put = async |registry: &Running| {
        let sink = repository(Settings::default(), registry.host(), "app");
        sink.put(&layer.descriptor, Verified::bytes(&layer.descriptor, layer.bytes.clone())).await
    };
    for (method, effect, fault) in [
        (Method::POST, Effect::Status(403), Fault::Denied),
        (Method::POST, Effect::Status(500), Fault::Unreachable),
        (Method::PUT, Effect::Status(502), Fault::Unreachable),
        (Method::PUT, Effect::Status(400), Fault::Rejected),
        (Method::PUT, Effect::Reset, Fault::Unreachable),
        (Method::PUT, Effect::Digest(Digest::sha256(b"")), Fault::Corrupt),
    ] {
        let registry = Faulty::new(Content::default()).fault(On::upload(method.clone()).once(), effect.clone()).start();
        assert_eq!(put(&registry).await.unwrap_err().fault(), fault, "{method} {effect:?}");
        put(&registry).await.unwrap();
    }
}
