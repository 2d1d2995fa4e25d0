//! Who may pull: passwords and tokens reach the registry that they are for, and nobody else, and no screen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use serde_json::json;

use super::{content, large};
use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On, Route, Seen};
use crate::support::fixtures;
use crate::support::hod::{Hod, Output, hod};
use crate::support::images::{Content, image, layer};
use crate::support::job::{names, pull, text};
use crate::support::tls::Certificates;

const USER: &str = "robot";
const PASSWORD: &str = "pa55:w0rd-äö";

fn creds() -> String {
    format!("{USER}:{PASSWORD}")
}

fn encoded() -> String {
    STANDARD.encode(creds())
}

/// Fails where any of the secrets of a run can be read in what it printed.
#[track_caller]
fn assert_no_secrets(output: &Output) {
    let printed = format!("{}{}", output.text(), output.stderr);
    for secret in [PASSWORD, &encoded(), "pa55", "token-0", "token-1", "signature=secret", "Bearer t", "Basic "] {
        assert!(!printed.contains(secret), "{secret} was printed:\n{printed}");
    }
}

/// Several images in two repositories, so that several tokens are needed.
fn apps() -> Content {
    let app = |seed| image("linux/amd64", &[layer(1, 5000), layer(seed, 100)]);
    (2..6).fold(Content::default(), |content, seed| content.with(&format!("team{}/app:{seed}", seed % 2), &app(seed)))
}

const APPS: [&str; 4] = ["team0/app:2", "team0/app:4", "team1/app:3", "team1/app:5"];

#[test]
fn every_way_to_ask_for_a_password_and_no_secret_is_printed() {
    let registries = [
        ("basic", Faulty::new(apps()).basic(USER, PASSWORD)),
        ("bearer", Faulty::new(apps()).bearer(USER, PASSWORD)),
        ("tokens from elsewhere", Faulty::new(apps()).bearer(USER, PASSWORD).tokens_elsewhere()),
        ("anonymous", Faulty::new(apps()).anonymous_tokens()),
        ("blobs from elsewhere", Faulty::new(apps()).bearer(USER, PASSWORD).fault(On::any_blob(), Effect::Redirect)),
        (
            "blobs from elsewhere, basic",
            Faulty::new(apps()).basic(USER, PASSWORD).fault(On::any_blob(), Effect::Redirect),
        ),
        (
            "blobs from elsewhere, cut",
            Faulty::new(apps())
                .basic(USER, PASSWORD)
                .fault(On::any_blob(), Effect::Redirect)
                .fault(On::storage().times(2), Effect::Cut { after: 30 }),
        ),
    ];
    for (name, registry) in registries {
        let registry = registry.start();
        let folder = tempfile::tempdir().unwrap();
        let creds = creds();
        let words = APPS.into_iter().chain(["--creds", &creds, "--debug", "-vv"]);
        let output = pull(registry.host(), folder.path(), words).env("HOD_LOG", "trace").ok();
        assert_eq!(names(folder.path()), APPS, "{name}");
        assert_no_secrets(&output);
        for seen in registry.requests().iter().filter(|seen| seen.on_other_host && seen.route != Route::Token) {
            assert_eq!(seen.header("authorization"), "", "{name}: {seen:#?}");
            assert!(matches!(seen.route, Route::Storage(_)), "{name}: {seen:#?}");
        }
        if name.starts_with("blobs") {
            assert!(registry.count(|seen| seen.on_other_host) >= 9, "{name}");
        }
    }
}

#[test]
fn tokens_that_expire_are_fetched_anew() {
    let layers: Vec<_> = (1..6).map(|seed| layer(seed, 1000)).collect();
    let content = Content::default().with("app:1", &image("linux/amd64", &layers));
    let registry = Faulty::new(content).bearer(USER, PASSWORD).token_uses(1).start();
    let folder = tempfile::tempdir().unwrap();
    let creds = creds();
    // One request at a time: nobody else uses a token up.
    pull(registry.host(), folder.path(), ["app:1", "--creds", &creds, "--jobs", "1"]).ok();
    assert!(registry.count(|seen| seen.route == Route::Token) >= 7);
    let manifest = |seen: &Seen| seen.is_manifest("1");
    assert_eq!(registry.count(|seen| manifest(seen) && seen.status == Some(200)), 1);
    assert!(registry.count(|seen| seen.status == Some(401)) >= 6);
}

#[test]
fn a_wrong_password_is_said_and_not_shown() {
    for registry in [Faulty::new(apps()).basic(USER, "right"), Faulty::new(apps()).bearer(USER, "right")] {
        let registry = registry.start();
        let folder = tempfile::tempdir().unwrap();
        let creds = creds();
        let output = pull(registry.host(), folder.path(), [APPS[0], "--creds", &creds, "--debug"]).code(1);
        assert!(output.stderr.contains("401"), "{}", output.stderr);
        assert!(output.stderr.contains("--creds"), "{}", output.stderr);
        assert_no_secrets(&output);
        assert!(registry.requests().len() <= 4, "{:#?}", registry.requests());
        let output = pull(registry.host(), folder.path(), [APPS[0]]).code(1);
        assert!(output.stderr.contains("hint: check the credentials"), "{}", output.stderr);
    }
}

/// A way to hand over credentials: prepares a run.
type Way = fn(Hod, &str) -> Hod;

fn auths(host: &str) -> String {
    json!({"auths": {host: {"auth": encoded()}}}).to_string()
}

fn write(run: &Hod, path: &str, content: &str) -> std::path::PathBuf {
    let path = run.home().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn credentials_are_found_where_people_keep_them() {
    let ways: &[(&str, Way)] = &[
        ("HOD_CREDS", |run, _| run.env("HOD_CREDS", creds())),
        ("HOD_AUTHFILE", |run, host| {
            let file = write(&run, "auth.json", &auths(host));
            run.env("HOD_AUTHFILE", file)
        }),
        ("REGISTRY_AUTH_FILE", |run, host| {
            let file = write(&run, "auth.json", &auths(host));
            run.env("REGISTRY_AUTH_FILE", file)
        }),
        ("docker's file", |run, host| {
            write(&run, ".docker/config.json", &auths(host));
            run
        }),
        ("DOCKER_CONFIG", |run, host| {
            let file = write(&run, "elsewhere/config.json", &auths(host));
            run.env("DOCKER_CONFIG", file.parent().unwrap())
        }),
        ("podman's file", |run, host| {
            let file = write(&run, "run/containers/auth.json", &auths(host));
            run.env("XDG_RUNTIME_DIR", file.parent().unwrap().parent().unwrap())
        }),
        ("a helper", |run, host| {
            write(&run, ".docker/config.json", &json!({"credHelpers": {host: "test"}}).to_string());
            let answer = json!({"ServerURL": host, "Username": USER, "Secret": PASSWORD});
            let script =
                write(&run, "bin/docker-credential-test", &format!("#!/bin/sh\ncat >/dev/null\necho '{answer}'\n"));
            fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let path = format!("{}:/usr/bin:/bin", script.parent().unwrap().display());
            run.env("PATH", path)
        }),
    ];
    for (name, way) in ways {
        let registry = Faulty::new(apps()).bearer(USER, PASSWORD).start();
        let folder = tempfile::tempdir().unwrap();
        let run = way(pull(registry.host(), folder.path(), [APPS[0], "--debug"]), registry.host());
        let output = run.run();
        assert_eq!(output.code, Some(0), "{name}: {}", output.stderr);
        assert_no_secrets(&output);
        let run = way(pull(registry.host(), folder.path(), [APPS[1], "--no-creds"]), registry.host());
        // What is typed counts more than the variable.
        run.code(1);
    }
}

#[test]
fn a_token_that_is_given_is_sent_as_it_is() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), folder.path(), ["app:1", "--registry-token", "pa55-token", "--debug"]).ok();
    let about = |seen: &&Seen| seen.route.repository().is_some();
    assert!(registry.requests().iter().filter(about).all(|seen| seen.header("authorization") == "Bearer pa55-token"));
    assert_no_secrets(&output);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn certificates_are_checked_unless_somebody_says_not_to() {
    let (known, stranger) = (Certificates::new(), Certificates::new());
    let registry = DockerRegistry::options().tls(&known).root(fixtures::root()).start();
    let mutual = DockerRegistry::options().mutual_tls(&known).root(fixtures::root()).start();
    let authority = known.authority();
    let alone = tempfile::tempdir().unwrap();
    fs::copy(&authority, alone.path().join("ca.crt")).unwrap();
    let cases: &[(&DockerRegistry, &[&str], i32, &str)] = &[
        (&registry, &["--cert-dir", text(known.folder())], 0, ""),
        (&registry, &["--tls-verify=false"], 0, ""),
        (&registry, &[], 1, "certificate"),
        (&registry, &["--cert-dir", text(stranger.folder())], 1, "certificate"),
        (&mutual, &["--cert-dir", text(known.folder())], 0, ""),
        (&mutual, &["--cert-dir", text(alone.path())], 1, ""),
        (&registry, &["--cert-dir", "/nowhere"], 2, "/nowhere"),
    ];
    for (registry, words, code, said) in cases {
        let folder = tempfile::tempdir().unwrap();
        let fixed = ["web:1.0", "--platform", "linux/amd64", "--retry-times", "1"];
        let output = pull(registry.host(), folder.path(), fixed.into_iter().chain(words.iter().copied())).code(*code);
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
    }
    let folder = tempfile::tempdir().unwrap();
    let words = ["web:1.0", "--platform", "linux/amd64"];
    pull(registry.host(), folder.path(), words).env("SSL_CERT_FILE", &authority).ok();
    let run = pull(mutual.host(), folder.path(), words);
    let certs = run.home().join(".config/containers/certs.d").join(mutual.host());
    fs::create_dir_all(&certs).unwrap();
    for file in ["ca.crt", "client.cert", "client.key"] {
        fs::copy(known.folder().join(file), certs.join(file)).unwrap();
    }
    run.ok();
}

#[test]
fn proxies_are_those_of_the_environment() {
    let proxy = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("http://{}", proxy.host());
    let words = ["app:1", "--tls-verify=false", "--retry-times", "0"];
    let fixed = ["pull", "--from", "registry.invalid:5000", "--store", text(folder.path())];
    let run = || hod(fixed.into_iter().chain(words));
    let output = run().code(1);
    assert!(output.stderr.contains("registry.invalid"), "{}", output.stderr);
    run().env("http_proxy", &address).env("no_proxy", "registry.invalid").code(1);
    assert_eq!(proxy.requests().len(), 0);
    run().env("http_proxy", &address).ok();
    assert_eq!(names(folder.path()), ["app:1"]);
    assert!(proxy.count(|seen| seen.is_blob(&large().0.digest())) == 1);
}

#[test]
fn plain_http_is_for_loopback() {
    let registry = Faulty::new(content()).start();
    let folder = tempfile::tempdir().unwrap();
    // A name that no one would take for loopback leads there.
    let fixed =
        ["pull", "--store", text(folder.path()), "--retry-times", "0", "--from", "registry.invalid:5000", "app:1"];
    let output = hod(fixed).env("http_proxy", format!("http://{}", registry.host())).code(1);
    assert_eq!(registry.requests().len(), 0, "{}", output.stderr);
}
