//! TLS, judged by curl, openssl and skopeo.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;
use hod_oci::Digest;
use hod_serve::{Options, ServeError, Server, Tls};
use hod_store::Store;

use super::serving::{Serving, plant_blob};
use crate::support::fixtures;
use crate::support::tls::Certificates;

fn curl(authority: &Path, url: &str) -> Output {
    Command::new("curl").args(["-sSf", "--cacert"]).arg(authority).arg(url).output().unwrap()
}

fn files(certificates: &Certificates) -> Tls {
    Tls::Files { certificate: certificates.server_certificate(), key: certificates.server_key() }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn clients_that_trust_the_authority_pull() {
    let certificates = Certificates::new();
    let serving = Serving::with(fixtures::root(), |options| options.tls = Some(files(&certificates)));
    let url = format!("https://{}/v2/_catalog", serving.address);
    let output = curl(&certificates.authority(), &url);
    assert!(output.status.success(), "{output:?}");
    let nobody = Certificates::new();
    // 60 or 35, after how far the check of a certificate by another key of the same name comes.
    assert!(matches!(curl(&nobody.authority(), &url).status.code(), Some(35 | 60)), "curl must not trust it");
    let mut skopeo = Command::new("skopeo");
    let image = format!("docker://{}/base/busybox:1.35", serving.address);
    let inspect =
        skopeo.args(["inspect", "--raw", "--cert-dir"]).arg(certificates.folder()).arg(image).output().unwrap();
    assert_eq!(Digest::sha256(&inspect.stdout), fixtures::digest("base/busybox:1.35"), "{inspect:?}");
    // Who speaks HTTP to it gets no answer and harms nobody.
    assert_eq!(serving.get("/v2/").status, 0);
    assert!(curl(&certificates.authority(), &url).status.success());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_large_blob_comes_whole_over_tls() {
    let root = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..8_u32 << 20).map(|position| (position % 251) as u8).collect();
    let digest = Digest::sha256(&bytes);
    plant_blob(root.path(), "a", &digest, &bytes);
    let certificates = Certificates::new();
    let serving = Serving::with(root.path(), |options| options.tls = Some(files(&certificates)));
    let output = curl(&certificates.authority(), &format!("https://{}/v2/a/blobs/{digest}", serving.address));
    assert!(output.stdout == bytes);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_new_certificate_counts_without_a_restart() {
    let (old, new) = (Certificates::new(), Certificates::new());
    let serving = Serving::with(fixtures::root(), |options| options.tls = Some(files(&old)));
    let url = format!("https://{}/v2/", serving.address);
    assert!(curl(&old.authority(), &url).status.success());
    // Between the two writes they do not match, and the old pair goes on to count.
    fs::copy(new.server_certificate(), old.server_certificate()).unwrap();
    assert!(curl(&old.authority(), &url).status.success());
    fs::copy(new.server_key(), old.server_key()).unwrap();
    assert!(curl(&new.authority(), &url).status.success());
    assert!(!curl(&old.authority(), &url).status.success());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_authority_of_its_own_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Store::create(&folder.path().join("store")).unwrap().private("tls").unwrap();
    let names = vec!["registry.site".to_owned(), "10.1.2.3".to_owned()];
    let start = || {
        let tls = Tls::SelfSigned { names: names.clone(), keep: Some(keep.clone()) };
        Serving::with(fixtures::root(), |options| options.tls = Some(tls))
    };
    let first = start();
    let authority = folder.path().join("trusted.crt");
    fs::write(&authority, first.authority.as_ref().unwrap()).unwrap();
    let trusted = |serving: &Serving, host: &str| {
        let port = serving.address.port();
        let resolve = format!("{host}:{port}:127.0.0.1");
        let url = format!("https://{host}:{port}/v2/");
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--noproxy", "*", "--resolve", &resolve, "--cacert"]).arg(&authority).arg(url);
        curl.output().unwrap().status.success()
    };
    for host in ["127.0.0.1", "localhost", "registry.site", "10.1.2.3"] {
        assert!(trusted(&first, host), "{host}");
    }
    assert!(!trusted(&first, "other.site"));
    let second = start();
    assert_eq!(second.authority, first.authority);
    assert!(trusted(&second, "registry.site"), "what was trusted before the restart is trusted after it");
    assert_eq!(fs::metadata(keep.path().join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);

    let other = Serving::with(fixtures::root(), |options| {
        options.tls = Some(Tls::SelfSigned { names: Vec::new(), keep: None });
    });
    assert!(!trusted(&other, "127.0.0.1"));
}

#[tokio::test]
async fn bad_certificates_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(Store::create(folder.path()).unwrap());
    let (one, other) = (Certificates::new(), Certificates::new());
    let bind = |certificate: &Path, key: &Path| {
        let tls = Some(Tls::Files { certificate: certificate.to_owned(), key: key.to_owned() });
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        Server::bind(store.clone(), Options { listen, tls, ..Options::default() })
    };
    let absent = folder.path().join("none");
    assert!(matches!(bind(&absent, &one.server_key()).await, Err(ServeError::Certificate(_))));
    assert!(matches!(bind(&one.server_key(), &one.server_key()).await, Err(ServeError::NoCertificate(_))));
    let swapped = bind(&one.server_certificate(), &one.server_certificate()).await;
    assert!(matches!(swapped, Err(ServeError::NoKey(_))));
    assert!(matches!(bind(&one.server_certificate(), &other.server_key()).await, Err(ServeError::Tls(_))));
    bind(&one.server_certificate(), &one.server_key()).await.unwrap();
}
