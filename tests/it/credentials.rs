//! `hod login` and `logout`: files that are byte for byte those of skopeo, and that each can use of the other.

mod given;
mod passwords;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::{Hod, hod};

fn skopeo(file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("skopeo");
    command.args(&arguments[..1]).arg("--authfile").arg(file).args(&arguments[1..]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn with(file: &Path, arguments: &[&str]) -> Hod {
    hod(arguments).args(["--authfile".as_ref(), file.as_os_str()])
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn files_are_byte_for_byte_those_of_skopeo() {
    let registries: Vec<_> = ["one", "two"]
        .map(|password| DockerRegistry::options().user("me", password).root(fixtures::root()).start())
        .into_iter()
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("deep/ours.json"), folder.path().join("theirs.json"));
    let same = |what: &str| {
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&ours), read(&theirs), "{what}");
    };
    for (registry, password) in registries.iter().zip(["one", "two"]) {
        let host = registry.host();
        let output = with(&ours, &["login", "-u", "me", "--password-stdin", host]).input(password).ok();
        let said = skopeo(&theirs, &["login", "--tls-verify=false", "-u", "me", "-p", password, host]);
        assert_eq!(output.text(), said);
        same("after login");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&ours), mode(&folder.path().join("deep"))), (0o600, 0o700));
    let host = registries[0].host();
    let image = format!("docker://{host}/web:1.0");
    with(&theirs, &["inspect", &image]).ok();
    skopeo(&ours, &["inspect", "--tls-verify=false", "--raw", &image]);
    assert_eq!(
        with(&ours, &["login", "--get-login", host]).ok().text(),
        skopeo(&ours, &["login", "--get-login", host])
    );

    assert_eq!(with(&ours, &["logout", host]).ok().text(), skopeo(&theirs, &["logout", host]));
    same("after logout");
    let again = with(&ours, &["logout", host]).code(1);
    assert!(again.stderr.contains(&format!("not logged into {host}")), "{}", again.stderr);
    assert_eq!(with(&ours, &["logout", "--all"]).ok().text(), skopeo(&theirs, &["logout", "--all"]));
    same("after logout --all");
    with(&ours, &["inspect", &image]).code(1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_wrong_password_is_not_kept() {
    let registry = DockerRegistry::options().user("me", "right").start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    let wrong = with(&file, &["login", "-u", "me", "-p", "wrong", registry.host()]).code(1);
    let says = format!("logging into {:?}: invalid username/password", registry.host());
    assert!(wrong.stderr.contains(&says) && !wrong.stderr.contains("wrong password"), "{}", wrong.stderr);
    assert!(!file.exists());
    let nobody = with(&file, &["login", registry.host()]).code(2);
    assert!(nobody.stderr.contains("--password-stdin"), "{}", nobody.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn of_a_url_the_host_is_meant() {
    let registry = DockerRegistry::options().user("me", "secret").root(fixtures::root()).start();
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.json"), folder.path().join("theirs.json"));
    let host = registry.host();
    for url in [format!("https://{host}/v2/"), format!("http://{host}"), format!("https://{host}/")] {
        with(&ours, &["login", "-u", "me", "-p", "secret", &url]).ok();
        skopeo(&theirs, &["login", "--tls-verify=false", "-u", "me", "-p", "secret", &url]);
        assert_eq!(fs::read(&ours).unwrap(), fs::read(&theirs).unwrap(), "{url}");
        with(&ours, &["inspect", &format!("docker://{host}/web:1.0")]).ok();
        assert_eq!(with(&ours, &["login", "--get-login", &url]).ok().text(), "me\n");
        assert_eq!(with(&ours, &["logout", &url]).ok().text(), skopeo(&theirs, &["logout", &url]));
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn who_is_logged_in_is_not_asked_again() {
    let registry = DockerRegistry::options().user("me", "secret").start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    let host = registry.host();
    with(&file, &["login", "-u", "me", "-p", "secret", host]).ok();
    let written = fs::read(&file).unwrap();
    let again = with(&file, &["login", host]).ok().text();
    assert_eq!(again, skopeo(&file, &["login", "--tls-verify=false", host]));
    assert_eq!(fs::read(&file).unwrap(), written);
    // Credentials that are none any more.
    let other = DockerRegistry::options().user("me", "changed").start();
    fs::write(&file, String::from_utf8(written).unwrap().replace(host, other.host())).unwrap();
    let refused = with(&file, &["login", other.host()]).code(2);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("Existing credentials are invalid"));
    assert!(refused.stderr.contains("--password-stdin"), "{}", refused.stderr);
}

#[test]
fn nobody_logs_out_of_a_file_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    for registry in ["--all", "r.example"] {
        let refused = with(&file, &["logout", registry]).code(1);
        assert!(refused.stderr.contains("auth.json does not exist"), "{}", refused.stderr);
    }
    assert!(!file.exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn dockers_file_keeps_what_else_it_holds() {
    let registry = DockerRegistry::options().user("me", "secret").start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, r#"{"psFormat":"x","credHelpers":{"gcr.io":"gcloud"}}"#).unwrap();
    let host = registry.host();
    let namespaced = format!("{host}/team/");
    let output = hod(["login", "-u", "me", "-p", "secret", "-v", &namespaced]).env("DOCKER_CONFIG", folder.path()).ok();
    assert_eq!(output.text(), format!("Used:  {}\nLogin Succeeded!\n", file.display()));
    let content: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(content["psFormat"], "x");
    assert_eq!(content["auths"][format!("{host}/team")]["auth"], "bWU6c2VjcmV0");
    let compat = hod(["login", "-u", "me", "-p", "secret", host, "--compat-auth-file"]).args([file.as_os_str()]).ok();
    assert_eq!(compat.text(), "Login Succeeded!\n");
    fs::write(&file, format!(r#"{{"credHelpers":{{"{host}":"pass"}}}}"#)).unwrap();
    let helper = with(&file, &["login", "-u", "me", "-p", "secret", host]).code(1);
    assert!(helper.stderr.contains("docker-credential-pass"), "{}", helper.stderr);
    assert!(!helper.stderr.contains("secret"), "{}", helper.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn helpers_of_registries_conf_are_asked_as_skopeo_asks_them() {
    let registry = DockerRegistry::options().user("me", "secret").root(fixtures::root()).start();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Written by another process: had this one the file open, a fork elsewhere could keep it busy.
    for (name, answer) in [
        ("good", r#"printf '{"Username":"me","Secret":"secret"}'"#),
        ("empty", "echo credentials not found in native keychain; exit 1"),
        ("broken", "echo locked; exit 2"),
    ] {
        let script = format!("#!/bin/sh\nread server; {answer}\n");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"printf %s "$1" > "$0" && chmod 755 "$0""#])
            .arg(path(&format!("docker-credential-{name}")));
        assert!(shell.arg(script).status().unwrap().success());
    }
    let auth = path("auth.json");
    with(&auth, &["login", "-u", "me", "-p", "secret", registry.host()]).ok();
    fs::write(path("none.json"), "{}").unwrap();
    let search = std::env::join_paths(
        std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    let conf = path("registries.conf");
    let image = format!("docker://{}/web:1.0", registry.host());
    let inspect = ["--registries-conf", conf.to_str().unwrap(), "inspect", "--raw", "--tls-verify=false", &image];
    for (helpers, file, good) in [
        (r#"["good"]"#, "none.json", true),
        (r#"["empty", "good"]"#, "none.json", true),
        (r#"["broken", "containers-auth.json"]"#, "auth.json", true),
        (r#"["empty", "containers-auth.json"]"#, "none.json", false),
        (r#"["empty"]"#, "auth.json", false),
        (r#"["absent"]"#, "auth.json", false),
    ] {
        fs::write(&conf, format!("credential-helpers = {helpers}\n")).unwrap();
        let mut theirs = Command::new("skopeo");
        let theirs = theirs.args(inspect).env("PATH", &search).env("REGISTRY_AUTH_FILE", path(file)).output().unwrap();
        let ours = hod(inspect).env("PATH", &search).env("REGISTRY_AUTH_FILE", path(file)).run();
        let said = format!("{helpers}\n{}\n{}", String::from_utf8_lossy(&theirs.stderr), ours.stderr);
        assert_eq!((ours.code == Some(0), theirs.status.success()), (good, good), "{said}");
        assert_eq!(ours.stdout, theirs.stdout, "{helpers}");
    }
    // What nobody reads is not written.
    let login = hod(["login", "-u", "me", "-p", "secret", registry.host()]);
    let refused = login.env("CONTAINERS_REGISTRIES_CONF", path("registries.conf")).code(1);
    assert!(refused.stderr.contains("leaves all credentials to helpers"), "{}", refused.stderr);
}

/// A name has no place for a password; where somebody has typed one all the same, it is not repeated.
#[test]
fn a_password_in_a_name_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let name = "me:hunter2@h.example/app:1";
    let image = format!("docker://{name}");
    fs_err::write(folder.path().join("list"), format!("{name}\n")).unwrap();
    fs_err::write(folder.path().join("sync.yaml"), "me:hunter2@h.example:\n  images:\n    app: []\n").unwrap();
    for words in [
        &["pull", name, "--store", "s"][..],
        &["pull", "-f", "list", "--store", "s"],
        &["pull", "app:1", "--from", "me:hunter2@h.example", "--store", "s"],
        &["push", "dir:x", &image],
        &["copy", &image, "dir:x"],
        &["copy", "dir:x", &image],
        &["copy", "--file", "list", "docker://", "dir:x"],
        &["sync", "--src", "docker", "--dest", "dir", name, "x"],
        &["sync", "--src", "yaml", "--dest", "dir", "sync.yaml", "x"],
        &["inspect", &image],
        &["list-tags", &image],
        &["delete", &image],
        &["inventory", "docker://me:hunter2@h.example", "-o", "x"],
        &["index", "create", "oci:a:b", &image],
        &["unpack-image", &image, "x"],
        &["login", "-u", "me", "-p", "x", "me:hunter2@h.example"],
        &["logout", "me:hunter2@h.example"],
    ] {
        for json in [&[][..], &["--json"]] {
            let output = hod([words, json].concat()).in_folder(folder.path()).run();
            assert!(output.code.is_some_and(|code| code > 0), "{words:?}");
            let said = format!("{}{}", output.text(), output.stderr);
            assert!(!said.contains("hunter2"), "{words:?}: {said}");
        }
    }
}
