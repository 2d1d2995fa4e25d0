//! Users and their rights, with curl, skopeo and podman as clients who know some password.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use fs_err as fs;
use hod_serve::{Admission, Options, ServeError, Server};
use hod_store::Store;
use serde_json::json;

use super::push::push_image;
use super::serving::{Serving, code};
use crate::support::daemons::Daemon;
use crate::support::raw::Response;
use crate::support::{fixtures, tree};

/// Writes a file of users, each with a password of the same letters backwards.
fn users(folder: &Path, name: &str, users: &[&str]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, "").unwrap();
    for user in users {
        let password: String = user.chars().rev().collect();
        let mut htpasswd = Command::new("htpasswd");
        let status = htpasswd.args(["-Bb", "-C", "4"]).arg(&path).args([*user, &password]).output().unwrap().status;
        assert!(status.success());
    }
    path
}

/// A writable registry for ann, who may write, and bob, who may read.
fn guarded(anonymous_read: bool) -> (Serving, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let writers = Some(users(folder.path(), "writers", &["ann"]));
    let readers = Some(users(folder.path(), "readers", &["bob"]));
    let root = folder.path().join("root");
    tree::copy(fixtures::root(), &root);
    let serving = Serving::with(&root, |options| {
        (options.writable, options.deletes) = (true, true);
        options.admission = Admission { writers, readers, anonymous_read };
    });
    (serving, folder)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn as_user(serving: &Serving, method: &'static str, target: &str, authorization: &str) -> Response {
    serving.send(method, target, &[("Authorization", authorization)], b"")
}

const READ: &str = "/v2/base/busybox/manifests/1.35";
const WRITE: &str = "/v2/base/busybox/blobs/uploads/";

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn readers_read_and_writers_write() {
    let (serving, _folder) = guarded(false);
    for (user, password, read, write) in [
        ("ann", "nna", 200, 202),
        ("bob", "bob", 200, 403),
        ("bob", "nna", 401, 401),
        ("eve", "eve", 401, 401),
        ("", "", 401, 401),
    ] {
        let authorization = basic(user, password);
        // The second time the password is known.
        for _ in 0..2 {
            assert_eq!(as_user(&serving, "GET", READ, &authorization).status, read, "{user}");
            assert_eq!(as_user(&serving, "POST", WRITE, &authorization).status, write, "{user}");
        }
    }
    for target in ["/v2/", READ, "/v2/_catalog", "/metrics"] {
        let response = serving.get(target);
        assert_eq!((response.status, &*code(&response)), (401, "UNAUTHORIZED"), "{target}");
        assert_eq!(response.header("www-authenticate"), "Basic realm=\"hod\"");
    }
    for nonsense in ["", "Basic", "Basic !", "Digest x", "Bearer x", "Bearer x.y", "basic YQ=="] {
        assert_eq!(as_user(&serving, "GET", READ, nonsense).status, 401, "{nonsense}");
    }
    let denied = as_user(&serving, "DELETE", READ, &basic("bob", "bob"));
    assert_eq!((denied.status, &*code(&denied)), (403, "DENIED"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_client_without_a_name_gets_a_token_to_read() {
    let (serving, _folder) = guarded(true);
    assert_eq!(serving.get(READ).status, 200, "who asks for content at once needs no token");
    let challenge = serving.get("/v2/");
    assert_eq!(challenge.status, 401);
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"hod\"", serving.address);
    assert_eq!(challenge.header("www-authenticate"), realm);
    let write = serving.send("POST", WRITE, &[], b"");
    assert_eq!(write.status, 401);
    let scope = format!("{realm},scope=\"repository:base/busybox:pull,push\"");
    assert_eq!(write.header("www-authenticate"), scope);

    let token = |headers: &[(&str, &str)]| {
        let response = serving.request("GET", "/token?service=hod&scope=repository:x:pull", headers);
        assert_eq!(response.status, 200, "{response:?}");
        format!("Bearer {}", response.json()["token"].as_str().unwrap())
    };
    let anybody = token(&[]);
    assert_eq!(as_user(&serving, "GET", "/v2/", &anybody).status, 200);
    assert_eq!(as_user(&serving, "GET", READ, &anybody).status, 200);
    assert_eq!(as_user(&serving, "POST", WRITE, &anybody).status, 401);
    let ann = token(&[("Authorization", &basic("ann", "nna"))]);
    assert_eq!(as_user(&serving, "POST", WRITE, &ann).status, 202);
    assert_eq!(as_user(&serving, "POST", WRITE, &basic("ann", "nna")).status, 202);
    let wrong = serving.request("GET", "/token", &[("Authorization", &basic("ann", "x"))]);
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "Basic realm=\"hod\""));

    // Whoever changes a token, or has one of another server, has none.
    let (claims, tag) = anybody.split_once('.').unwrap();
    let more = json!({ "user": null, "writes": true, "until": u64::MAX }).to_string();
    let forged = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(more);
    for token in [format!("Bearer {forged}.{tag}"), format!("{claims}.AAAA"), claims.to_owned()] {
        assert_eq!(as_user(&serving, "GET", READ, &token).status, 401);
    }
    let (other, _folder) = guarded(true);
    assert_eq!(as_user(&other, "GET", READ, &ann).status, 401);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_token_dies_with_its_password() {
    let (serving, folder) = guarded(true);
    let token = |user: &str, password: &str| {
        let response = serving.request("GET", "/token", &[("Authorization", &basic(user, password))]);
        assert_eq!(response.status, 200, "{response:?}");
        format!("Bearer {}", response.json()["token"].as_str().unwrap())
    };
    let (ann, bob) = (token("ann", "nna"), token("bob", "bob"));
    assert_eq!(as_user(&serving, "POST", WRITE, &ann).status, 202);
    let mut htpasswd = Command::new("htpasswd");
    let status = htpasswd.args(["-Bb", "-C", "4"]).arg(folder.path().join("writers")).args(["ann", "new"]);
    assert!(status.output().unwrap().status.success());
    assert_eq!(as_user(&serving, "POST", WRITE, &ann).status, 401);
    assert_eq!(as_user(&serving, "GET", READ, &ann).status, 401);
    assert_eq!(as_user(&serving, "GET", READ, &bob).status, 200);
    assert_eq!(as_user(&serving, "POST", WRITE, &token("ann", "new")).status, 202);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn metrics_are_for_users_even_where_everybody_may_pull() {
    let (serving, _folder) = guarded(true);
    assert_eq!(serving.get("/").status, 200, "the page shows what everybody may pull");
    let anybody = format!("Bearer {}", serving.get("/token").json()["token"].as_str().unwrap());
    for response in [serving.get("/metrics"), as_user(&serving, "GET", "/metrics", &anybody)] {
        assert_eq!((response.status, response.header("www-authenticate")), (401, "Basic realm=\"hod\""));
    }
    for (user, password) in [("bob", "bob"), ("ann", "nna")] {
        assert_eq!(as_user(&serving, "GET", "/metrics", &basic(user, password)).status, 200, "{user}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn uploads_of_one_user_leave_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let writers = Some(users(folder.path(), "writers", &["ann", "kim"]));
    let serving = Serving::with(&folder.path().join("root"), |options| {
        (options.writable, options.uploads) = (true, 4);
        options.admission = Admission { writers, ..Admission::default() };
    });
    let begin = |user: &str, password: &str| as_user(&serving, "POST", WRITE, &basic(user, password));
    assert_eq!([begin("ann", "nna").status, begin("ann", "nna").status], [202, 202]);
    let refused = begin("ann", "nna");
    assert_eq!((refused.status, &*code(&refused)), (429, "TOOMANYREQUESTS"));
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(begin("kim", "mik").status, 202);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn who_posts_a_password_in_a_form_is_told_to_ask_again() {
    for anonymous_read in [false, true] {
        let (serving, _folder) = guarded(anonymous_read);
        let form = b"grant_type=password&service=hod&client_id=containerd-client&username=ann&password=nna";
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        for method in ["POST", "PUT", "DELETE"] {
            let response = serving.send(method, "/token", &headers, form);
            assert_eq!((response.status, response.header("allow")), (405, "GET, HEAD"), "{method}");
            assert_eq!(code(&response), "UNSUPPORTED");
        }
        let head = serving.request("HEAD", "/token", &[("Authorization", &basic("ann", "nna"))]);
        assert_eq!(head.status, 200);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn containerd_pushes_with_a_password_and_pulls_without() {
    let Some(containerd) = Daemon::containerd() else { return };
    let (serving, _folder) = guarded(true);
    let image = |name: &str| format!("{}/{name}", serving.address);
    let (from, to) = (image("base/busybox:1.35"), image("own/busybox:1"));
    containerd.run(&["images", "pull", "--snapshotter", "native", "--plain-http", &from]);
    let words = ["images", "push", "--plain-http", "--platform", "linux/amd64", "--user", "ann:nna", &to, &from];
    containerd.run(&words);
    let manifest = serving.get("/v2/own/busybox/manifests/1");
    assert_eq!(manifest.status, 200);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn users_come_and_go_while_it_runs() {
    let (serving, folder) = guarded(false);
    assert_eq!(as_user(&serving, "GET", READ, &basic("ann", "nna")).status, 200);
    users(folder.path(), "writers", &["zoe", "kim"]);
    assert_eq!(as_user(&serving, "GET", READ, &basic("ann", "nna")).status, 401);
    assert_eq!(as_user(&serving, "POST", WRITE, &basic("zoe", "eoz")).status, 202);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn who_it_was_is_logged_and_no_password() {
    let (serving, _folder) = guarded(false);
    as_user(&serving, "POST", WRITE, &basic("ann", "nna"));
    let line = serving.journal.line(&format!("POST {WRITE}"));
    assert_eq!(line.user.as_deref(), Some("ann"));
    assert!(!format!("{line:?}").contains("nna"));
}

#[tokio::test]
async fn a_bad_file_of_users_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let store = std::sync::Arc::new(Store::create(folder.path()).unwrap());
    let bind = || {
        let admission = Admission { writers: Some(path.clone()), ..Admission::default() };
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        Server::bind(store.clone(), Options { listen, admission, ..Options::default() })
    };
    assert!(matches!(bind().await.unwrap_err(), ServeError::Htpasswd(_)));
    fs::write(&path, "ann:geheim\n").unwrap();
    let error = bind().await.unwrap_err().to_string();
    assert!(error.contains("line 1") && !error.contains("geheim"), "{error}");
}

/// skopeo copies one image, with or without somebody's password.
fn copy(from: &str, to: &str, user: &[&str]) -> Output {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"]).args(user);
    command.args([from, to]).env("HOME", env!("CARGO_TARGET_TMPDIR")).env_remove("XDG_RUNTIME_DIR").output().unwrap()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_pushes_with_a_password_and_pulls_with_or_without() {
    for anonymous_read in [false, true] {
        let (serving, _folder) = guarded(anonymous_read);
        let image = |name: &str| format!("docker://{}/{name}", serving.address);
        let from = format!("dir:{}", copy_of_an_image().display());
        let works = |output: Output| output.status.success();
        assert!(works(copy(&from, &image("new:1"), &["--dest-creds=ann:nna"])), "anonymous_read={anonymous_read}");
        for wrong in [&["--dest-creds=bob:bob"][..], &["--dest-creds=ann:x"], &["--dest-no-creds"]] {
            assert!(!works(copy(&from, &image("other:1"), wrong)), "{wrong:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let to = |name: &str| format!("dir:{}", folder.path().join(name).display());
        assert!(works(copy(&image("new:1"), &to("a"), &["--src-creds=ann:nna"])));
        assert!(works(copy(&image("new:1"), &to("b"), &["--src-creds=bob:bob"])));
        assert_eq!(works(copy(&image("new:1"), &to("c"), &["--src-no-creds"])), anonymous_read);
    }
}

/// Any image in a folder.
fn copy_of_an_image() -> PathBuf {
    static FOLDER: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = Serving::writable(folder.path());
        push_image(&source, "a", "1", b"{}", &json!({}));
        let to = format!("dir:{}", folder.path().join("image").display());
        let output = copy(&format!("docker://{}/a:1", source.address), &to, &[]);
        assert!(output.status.success(), "{output:?}");
        folder
    });
    folder.path().join("image")
}
