//! The client of the distribution API, against Debian's registry; skopeo is the judge of what it pushes.

mod faults;

use std::error::Error as _;
use std::path::Path;

use bytes::Bytes;
use fs_err as fs;
use futures_util::TryStreamExt as _;
use hod_engine::endpoint::{EndpointError, Fault, Placement, Sink as _, Source as _, Verified};
use hod_oci::{Descriptor, Graph, Manifest, Node, Tag, Version};
use hod_registry::{CredentialSources, Credentials, Registries, Repository, Settings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::support::docker_registry::DockerRegistry;
use crate::support::images::{self, Content, Image, image, index, layer};
use crate::support::skopeo;
use crate::support::tls::Certificates;

/// Two platforms with a layer in common, one of them too large for one piece.
fn sample() -> Image {
    let base = layer(1, 300_000);
    index(&[image("linux/amd64", &[base.clone(), layer(2, 10)]), image("linux/arm64", &[base])])
}

/// A registry that holds the sample as `app:1.0`.
fn filled(folder: &Path) -> DockerRegistry {
    Content::default().with("app:1.0", &sample()).write_root(folder);
    DockerRegistry::over(folder)
}

fn tag(text: &str) -> Version {
    Version::Tag(text.parse().unwrap())
}

fn repository(settings: Settings, host: &str, name: &str) -> Repository {
    Registries::new(settings).repository(host, &name.parse().unwrap())
}

fn with_password(password: &str) -> Settings {
    let given = Some(Credentials::from_flag(&format!("me:{password}")));
    Settings { credentials: CredentialSources { given, ..CredentialSources::default() }, ..Settings::default() }
}

fn node(image: &Image) -> Node {
    let manifest = Manifest::parse(&image.descriptor.media_type, &image.bytes).unwrap();
    let children = image.children.iter().map(node).collect();
    Node::new(image.descriptor.clone(), image.bytes.clone(), manifest, children, Vec::new())
}

/// Puts everything below a manifest, children first, as the engine does.
async fn put_below(sink: &Repository, image: &Image) -> Result<(), EndpointError> {
    for blob in &image.blobs {
        let placed = sink.put(&blob.descriptor, Verified::bytes(&blob.descriptor, blob.bytes.clone())).await?;
        assert_eq!(placed, Placement::Written);
    }
    for child in &image.children {
        Box::pin(put_below(sink, child)).await?;
        sink.put(&child.descriptor, Verified::bytes(&child.descriptor, child.bytes.clone())).await?;
    }
    Ok(())
}

async fn push(sink: &Repository, image: &Image, tags: &[Tag]) -> Result<(), EndpointError> {
    put_below(sink, image).await?;
    sink.publish(&image.descriptor, image.bytes.clone(), tags).await
}

/// Everything that an image consists of, as a source delivers it.
async fn read_all(source: &Repository, image: &Image) -> Result<(), EndpointError> {
    for blob in &image.blobs {
        let body: Vec<Bytes> = source.open(&blob.descriptor, 0).await?.try_collect().await?;
        assert_eq!(body.concat(), blob.bytes);
        let rest: Vec<Bytes> = source.open(&blob.descriptor, blob.descriptor.size / 2).await?.try_collect().await?;
        assert_eq!(rest.concat(), blob.bytes[blob.bytes.len() / 2..]);
    }
    for child in &image.children {
        let body: Vec<Bytes> = source.open(&child.descriptor, 10).await?.try_collect().await?;
        assert_eq!(body.concat(), child.bytes[10..]);
        Box::pin(read_all(source, child)).await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn reads_what_a_registry_holds() {
    let (folder, sample) = (tempfile::tempdir().unwrap(), sample());
    let registry = filled(folder.path());
    let source = repository(Settings::default(), registry.host(), "app");
    let plain = |image: &Image| Descriptor::of(image.descriptor.media_type.clone(), &image.bytes);
    assert_eq!(source.resolve(&tag("1.0")).await.unwrap(), plain(&sample));
    assert_eq!(source.manifest(&tag("1.0")).await.unwrap(), (plain(&sample), sample.bytes.clone()));
    let child = &sample.children[1];
    assert_eq!(source.resolve(&Version::Digest(child.digest())).await.unwrap(), plain(child));
    read_all(&source, &sample).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn what_is_pushed_is_what_skopeo_pulls() {
    let registry = DockerRegistry::empty();
    let sample = sample();
    let sink = repository(Settings::default(), registry.host(), "team/app");
    let graph = Graph { root: node(&sample) };
    let tags: Vec<Tag> = vec!["1.0".parse().unwrap(), "latest".parse().unwrap()];
    assert!(!sink.published(&graph, &tags).await.unwrap());
    assert!(!sink.contains(&sample.children[0].blobs[0].descriptor).await.unwrap());
    push(&sink, &sample, &tags).await.unwrap();
    for tag in &tags {
        let image = format!("{}/team/app:{tag}", registry.host());
        assert_eq!(skopeo::manifest(&image), sample.bytes);
        let copy = tempfile::tempdir().unwrap();
        skopeo::copy_all(&format!("docker://{image}"), &format!("dir:{}", copy.path().display()));
    }
    assert!(sink.published(&graph, &tags).await.unwrap());
    assert!(sink.published(&graph, &[]).await.unwrap());
    assert!(!sink.published(&graph, &["2.0".parse().unwrap()]).await.unwrap());
    assert!(sink.contains(&sample.children[0].blobs[0].descriptor).await.unwrap());
    assert!(sink.contains(&sample.children[0].descriptor).await.unwrap());
    let other = image("linux/s390x", &[]);
    assert!(!sink.published(&Graph { root: node(&other) }, &tags[..1]).await.unwrap());
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn an_image_without_tags_is_there_by_digest() {
    let registry = DockerRegistry::empty();
    let sample = sample();
    let sink = repository(Settings::default(), registry.host(), "app");
    push(&sink, &sample, &[]).await.unwrap();
    let image = format!("{}/app@{}", registry.host(), sample.digest());
    assert_eq!(skopeo::manifest(&image), sample.bytes);
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_blob_is_mounted_and_not_sent_twice() {
    let (folder, sample) = (tempfile::tempdir().unwrap(), sample());
    let registry = filled(folder.path());
    let sink = repository(Settings::default(), registry.host(), "other");
    let amd64 = &sample.children[0];
    for blob in &amd64.blobs {
        let app = "app".parse().unwrap();
        assert_eq!(sink.adopt(&blob.descriptor, Some(&app)).await.unwrap(), Some(Placement::Mounted));
    }
    sink.publish(&amd64.descriptor, amd64.bytes.clone(), &[Tag::latest()]).await.unwrap();
    assert_eq!(skopeo::manifest(&format!("{}/other:latest", registry.host())), amd64.bytes);
    let absent = layer(7, 100);
    assert_eq!(sink.adopt(&absent.descriptor, Some(&"app".parse().unwrap())).await.unwrap(), None);
    sink.put(&absent.descriptor, Verified::bytes(&absent.descriptor, absent.bytes.clone())).await.unwrap();
    assert!(sink.contains(&absent.descriptor).await.unwrap());
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_registry_refuses_an_image_with_holes() {
    let registry = DockerRegistry::empty();
    let sample = sample();
    let sink = repository(Settings::default(), registry.host(), "app");
    let error = sink.publish(&sample.descriptor, sample.bytes.clone(), &[Tag::latest()]).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Incomplete, "{error}");
    push(&sink, &sample, &[Tag::latest()]).await.unwrap();
    let (other, child) = (sample.digest(), &sample.children[0]);
    let misnamed = Descriptor { digest: other, ..child.descriptor.clone() };
    let error = sink.publish(&misnamed, child.bytes.clone(), &[]).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Rejected, "{error}");
    let error = sink.publish(&misnamed, child.bytes.clone(), &["2.0".parse().unwrap()]).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corrupt, "{error}");
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_body_that_lies_leaves_nothing() {
    let registry = DockerRegistry::empty();
    let sink = repository(Settings::default(), registry.host(), "app");
    let good = layer(3, 300_000);
    let bad = Bytes::from(images::random(9, good.bytes.len()));
    let error = sink.put(&good.descriptor, Verified::bytes(&good.descriptor, bad)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corrupt, "{error}");
    assert!(!sink.contains(&good.descriptor).await.unwrap());
    // The registry writes its log when it has answered.
    let begun = std::time::Instant::now();
    while !registry.log().contains("DELETE") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the upload is not cancelled");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    sink.put(&good.descriptor, Verified::bytes(&good.descriptor, good.bytes.clone())).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let registry = filled(folder.path());
    let host = registry.host();
    let source = repository(Settings::default(), host, "app");
    for missing in [source.resolve(&tag("9.9")).await, source.manifest(&tag("9.9")).await.map(|(found, _)| found)] {
        let error = missing.unwrap_err();
        assert_eq!(error.fault(), Fault::Missing);
        assert!(error.to_string().starts_with(&format!("tag 9.9 in {host}/app does not exist: ")), "{error}");
    }
    let blob = layer(77, 10).descriptor;
    let error = source.open(&blob, 0).await.err().unwrap();
    assert_eq!(error.fault(), Fault::Missing);
    assert!(error.to_string().starts_with(&format!("blob {} in {host}/app does not exist: ", blob.digest)), "{error}");
    let error = Registries::new(Settings::default()).tags(host, &"nothing".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Missing);
    assert!(error.to_string().contains("NAME_UNKNOWN"), "{error}");
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn lists_and_deletes() {
    let registry = DockerRegistry::options().deletes().start();
    let (one, two) = (image("linux/amd64", &[layer(1, 10)]), image("linux/arm64", &[layer(2, 10)]));
    let registries = Registries::new(Settings::default());
    let name = "a/b/c".parse().unwrap();
    let sink = registries.repository(registry.host(), &name);
    push(&sink, &one, &["1".parse().unwrap(), "2".parse().unwrap()]).await.unwrap();
    push(&sink, &two, &["3".parse().unwrap()]).await.unwrap();
    let tags = async || {
        let mut tags = registries.tags(registry.host(), &name).await.unwrap();
        tags.sort();
        tags.iter().map(Tag::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(tags().await, "1 2 3");
    assert_eq!(registries.catalog(registry.host()).await.unwrap(), std::slice::from_ref(&name));
    sink.delete(&one.digest()).await.unwrap();
    assert_eq!(tags().await, "3");
    assert_eq!(sink.delete(&one.digest()).await.unwrap_err().fault(), Fault::Missing);
    assert_eq!(sink.resolve(&tag("1")).await.unwrap_err().fault(), Fault::Missing);
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_password_opens_a_registry() {
    let registry = DockerRegistry::options().user("me", "hunter2").start();
    let sample = sample();
    let host = registry.host();
    push(&repository(with_password("hunter2"), host, "app"), &sample, &[Tag::latest()]).await.unwrap();
    read_all(&repository(with_password("hunter2"), host, "app"), &sample).await.unwrap();
    Registries::new(with_password("hunter2")).ping(host).await.unwrap();
    let (wrong, none) = (with_password("hunter3"), Settings::default());
    for (settings, words) in [(wrong, "credentials from the command line"), (none, "no credentials were found")] {
        let registries = Registries::new(settings);
        let error = EndpointError::from(registries.ping(host).await.unwrap_err());
        assert_eq!(error.fault(), Fault::Denied);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter3"), "{error:?}");
        let repository = registries.repository(host, &"app".parse().unwrap());
        assert_eq!(repository.resolve(&tag("latest")).await.unwrap_err().fault(), Fault::Denied);
        assert_eq!(push(&repository, &sample, &[]).await.unwrap_err().fault(), Fault::Denied);
    }
}

/// What skopeo writes at a login is what we read.
#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_login_of_skopeo_counts() {
    let registry = DockerRegistry::options().user("me", "hunter2").start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    let scopes = [registry.host().to_owned(), format!("{}/team", registry.host())];
    for scope in scopes {
        let authfile = file.to_str().unwrap();
        skopeo::skopeo(["login", "--tls-verify=false", "--authfile", authfile, "-u", "me", "-p", "hunter2", &scope]);
        let credentials = CredentialSources { authfile: Some(file.clone()), ..CredentialSources::default() };
        let settings = Settings { credentials, ..Settings::default() };
        let error = repository(settings.clone(), registry.host(), "team/app").resolve(&tag("1")).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Missing, "{error}");
        let elsewhere = repository(settings, registry.host(), "other/app").resolve(&tag("1")).await.unwrap_err();
        let whole_host = scope == registry.host();
        assert_eq!(elsewhere.fault(), if whole_host { Fault::Missing } else { Fault::Denied }, "{elsewhere}");
        fs::remove_file(&file).unwrap();
    }
    let credentials = CredentialSources { authfile: Some(file), ..CredentialSources::default() };
    let error =
        repository(Settings { credentials, ..Settings::default() }, registry.host(), "a").resolve(&tag("1")).await;
    assert_eq!(error.unwrap_err().fault(), Fault::Other, "a file that was named has to be there");
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn certificates_are_checked() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    Content::default().with("app:1.0", &sample()).write_root(folder.path());
    let registry = DockerRegistry::options().root(folder.path()).tls(&certificates).start();
    let resolved = async |settings| repository(settings, registry.host(), "app").resolve(&tag("1.0")).await;
    let error = resolved(Settings::default()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Other, "{error}");
    assert!(error.to_string().contains(&format!("the certificate of {}", registry.host())), "{error}");
    let below = tempfile::tempdir().unwrap();
    let own = below.path().join(registry.host());
    fs::create_dir(&own).unwrap();
    fs::copy(certificates.authority(), own.join("ca.crt")).unwrap();
    let trusting = [
        Settings { certs_d: vec![below.path().to_owned()], ..Settings::default() },
        Settings { ssl_cert_file: Some(certificates.authority()), ..Settings::default() },
        Settings { ssl_cert_dirs: vec![own], ..Settings::default() },
        Settings { cert_dir: Some(certificates.folder().to_owned()), tls_verify: Some(true), ..Settings::default() },
        Settings { tls_verify: Some(false), ..Settings::default() },
    ];
    for settings in trusting {
        let shown = format!("{settings:?}");
        resolved(settings).await.unwrap_or_else(|error| panic!("{error} {:?} under {shown}", error.source()));
    }
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn client_certificates_are_shown() {
    let certificates = Certificates::new();
    let registry = DockerRegistry::options().mutual_tls(&certificates).start();
    let with = Settings { cert_dir: Some(certificates.folder().to_owned()), ..Settings::default() };
    Registries::new(with).ping(registry.host()).await.unwrap();
    let without = Settings { ssl_cert_file: Some(certificates.authority()), ..Settings::default() };
    let error = Registries::new(without).ping(registry.host()).await.unwrap_err();
    assert!(error.to_string().contains(registry.host()), "{error}");
}

/// What `openssl req -x509` makes is a CA that stands as a server's certificate.
#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn a_trusted_certificate_may_be_its_own_authority() {
    let certificates = Certificates::new();
    let own = |name: &str| {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pair = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&pair).unwrap().pem();
        fs::write(certificates.server_certificate(), &pem).unwrap();
        fs::write(certificates.server_key(), pair.serialize_pem()).unwrap();
        let file = certificates.folder().join(name);
        fs::write(&file, pem).unwrap();
        let registry = DockerRegistry::options().tls(&certificates).start();
        (registry, Settings { ssl_cert_file: Some(file), ..Settings::default() })
    };
    let (registry, settings) = own("127.0.0.1");
    Registries::new(settings.clone()).ping(registry.host()).await.unwrap();
    let (other, for_other_name) = own("r.example");
    for settings in [settings, for_other_name] {
        let error = Registries::new(settings).ping(other.host()).await.unwrap_err();
        assert!(error.to_string().contains("is not trusted"), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn plain_http_is_for_loopback_alone() {
    let registry = DockerRegistry::empty();
    let strict = Settings { tls_verify: Some(true), ..Settings::default() };
    let error = Registries::new(strict).ping(registry.host()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Other);
    assert!(error.to_string().contains("the TLS connection to"), "{error}");
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(why, "it answered in plain HTTP, without encryption");
    Registries::new(Settings { tls_verify: Some(false), ..Settings::default() }).ping(registry.host()).await.unwrap();
    let localhost = registry.host().replace("127.0.0.1", "localhost");
    Registries::new(Settings::default()).ping(&localhost).await.unwrap();
}
