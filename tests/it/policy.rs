//! `policy.json`: which images are taken from where. skopeo under the same policy is the judge.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::{Hod, hod};
use crate::support::job;

const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
const REJECT: &str = r#"[{"type":"reject"}]"#;

/// A folder with a policy, and images in every kind of place.
struct Site {
    folder: tempfile::TempDir,
    registry: DockerRegistry,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder, registry: DockerRegistry::over(fixtures::root()) };
        let web = format!("docker://{}/web:1.0", site.registry.host());
        let at = |name: &str| site.path(name).display().to_string();
        for to in [
            format!("dir:{}", at("dir/web")),
            format!("oci:{}:web:1.0", at("oci/images")),
            format!("oci-archive:{}:web:1.0", at("web.tar")),
            format!("docker-archive:{}:web:1.0", at("load.tar")),
        ] {
            fs::create_dir_all(site.path("dir")).unwrap();
            fs::create_dir_all(site.path("oci")).unwrap();
            hod(["copy", &web, &to]).ok();
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn policy(&self, text: &str) -> PathBuf {
        let path = self.path("policy.json");
        fs::write(&path, text).unwrap();
        path
    }

    /// Whether both tools take an image under a policy, which they must agree on.
    #[track_caller]
    fn takes(&self, policy: &str, image: &str) -> bool {
        let file = self.policy(policy);
        let out = tempfile::tempdir().unwrap();
        let to = |name: &str| format!("dir:{}", out.path().join(name).display());
        let mut skopeo = Command::new("skopeo");
        skopeo.arg("--policy").arg(&file).args(["copy", "--src-tls-verify=false", image, &to("theirs")]);
        let theirs = skopeo.env("HOME", self.folder.path()).env_remove("XDG_RUNTIME_DIR").output().unwrap();
        let ours = hod(["--policy", job::text(&file), "copy", image, &to("ours")]).run();
        let said = format!("{policy}\n{image}\n{}\n{}", String::from_utf8_lossy(&theirs.stderr), ours.stderr);
        assert_eq!(ours.code == Some(0), theirs.status.success(), "{said}");
        assert!(ours.code == Some(0) || ours.code == Some(1), "{said}");
        assert_eq!(ours.code == Some(0), out.path().join("ours/manifest.json").exists(), "{said}");
        ours.code == Some(0)
    }
}

/// A policy with scopes for one transport.
fn policy(default: &str, transport: &str, scopes: &[(&str, &str)]) -> String {
    let scopes: Vec<String> = scopes.iter().map(|(scope, list)| format!("{scope:?}:{list}")).collect();
    format!(r#"{{"default":{default},"transports":{{"{transport}":{{{}}}}}}}"#, scopes.join(","))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn scopes_rule_as_they_do_for_skopeo() {
    let site = Site::new();
    let host = site.registry.host();
    let (web, busybox) = (format!("docker://{host}/web:1.0"), format!("docker://{host}/base/busybox:1.35"));
    let by_digest = format!("docker://{host}/web@{}", fixtures::digest("web:1.0"));
    assert!(site.takes(&format!(r#"{{"default":{ACCEPT}}}"#), &web));
    assert!(!site.takes(&format!(r#"{{"default":{REJECT}}}"#), &web));
    for (scope, image, inside) in [
        (format!("{host}/web:1.0"), &web, true),
        (format!("{host}/web:1.1"), &web, false),
        (format!("{host}/web"), &web, true),
        (format!("{host}/web"), &by_digest, true),
        (format!("{host}/web@{}", fixtures::digest("web:1.0")), &by_digest, true),
        (format!("{host}/web:1.0"), &by_digest, false),
        (format!("{host}/base"), &busybox, true),
        (format!("{host}/bas"), &busybox, false),
        (host.to_owned(), &busybox, true),
        ("*.0.0.1".to_owned(), &busybox, true),
        (String::new(), &busybox, true),
        ("another.example".to_owned(), &busybox, false),
    ] {
        assert_eq!(site.takes(&policy(REJECT, "docker", &[(&scope, ACCEPT)]), image), inside, "{scope}");
        assert_eq!(site.takes(&policy(ACCEPT, "docker", &[(&scope, REJECT)]), image), !inside, "{scope}");
    }
    let narrow = policy(ACCEPT, "docker", &[(host, REJECT), (&format!("{host}/web"), ACCEPT)]);
    assert!(site.takes(&narrow, &web) && !site.takes(&narrow, &busybox));
    let both = policy(ACCEPT, "docker", &[("", r#"[{"type":"insecureAcceptAnything"},{"type":"reject"}]"#)]);
    assert!(!site.takes(&both, &web), "all requirements must be met");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn files_have_scopes_too() {
    let site = Site::new();
    let at = |name: &str| site.path(name).display().to_string();
    std::os::unix::fs::symlink(site.path("dir"), site.path("link")).unwrap();
    for (image, transport, scope, inside) in [
        (format!("dir:{}", at("dir/web")), "dir", at("dir/web"), true),
        (format!("dir:{}", at("dir/web")), "dir", at("dir"), true),
        (format!("dir:{}", at("link/web")), "dir", at("dir"), true),
        (format!("dir:{}", at("dir/web")), "dir", at("di"), false),
        (format!("dir:{}", at("dir/web")), "oci", at("dir"), false),
        (format!("oci:{}:web:1.0", at("oci/images")), "oci", at("oci/images"), true),
        (format!("oci:{}:web:1.0", at("oci/images")), "oci", at("oci"), true),
        (format!("oci-archive:{}", at("web.tar")), "oci-archive", at("web.tar"), true),
        (format!("docker-archive:{}", at("load.tar")), "docker-archive", String::new(), true),
        (format!("docker-archive:{}", at("load.tar")), "dir", String::new(), false),
    ] {
        assert_eq!(site.takes(&policy(REJECT, transport, &[(&scope, ACCEPT)]), &image), inside, "{image} {scope}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_policy_that_is_not_understood_forbids_everything() {
    let site = Site::new();
    let web = format!("docker://{}/web:1.0", site.registry.host());
    for text in [
        "{".to_owned(),
        "{}".to_owned(),
        r#"{"default":[]}"#.to_owned(),
        format!(r#"{{"default":{ACCEPT},"more":1}}"#),
        r#"{"default":[{"type":"acceptMaybe"}]}"#.to_owned(),
        r#"{"default":[{"type":"insecureAcceptAnything","keyPath":"/x"}]}"#.to_owned(),
        policy(ACCEPT, "dir", &[("relative", ACCEPT)]),
        policy(ACCEPT, "dir", &[("/", ACCEPT)]),
        policy(ACCEPT, "docker", &[("a", ACCEPT), ("a", REJECT)]),
        r#"{"default":[{"type":"signedBy","keyType":"GPGKeys"}]}"#.to_owned(),
        r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/nowhere"}]}"#.to_owned(),
        r#"{"default":[{"type":"sigstoreSigned","keyPath":"/nowhere"}]}"#.to_owned(),
    ] {
        assert!(!site.takes(&text, &web), "{text}");
    }
    let absent = hod(["--policy", "/nowhere/policy.json", "copy", &web, "dir:x"]).code(1);
    assert!(absent.stderr.contains("/nowhere/policy.json"), "{}", absent.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_whole_job_heeds_it_and_only_at_the_source() {
    let site = Site::new();
    let host = site.registry.host().to_owned();
    let rejecting = site.policy(&policy(ACCEPT, "docker", &[(&format!("{host}/web"), REJECT)]));
    let with = |arguments: &[&str]| hod(arguments).env("HOD_POLICY", &rejecting).in_folder(site.folder.path());
    let pulled = with(&["pull", "--from", &host, "web:1.0", "base/busybox:1.35", "--store", "store"]).code(3);
    let says = format!("docker://{host}/web:1.0 is refused by the trust policy {}", rejecting.display());
    assert!(pulled.stderr.contains(&says), "{}", pulled.stderr);
    assert_eq!(job::names(&site.path("store")), ["base/busybox:1.35"]);
    with(&["bundle", "--from", &host, "web:1.0", "-o", "b.tar"]).code(1);
    assert!(!site.path("b.tar").exists());
    with(&["index", "create", "oci:index:web", &format!("docker://{host}/web:1.0")]).code(1);
    // Looking is not taking, and a destination is no source.
    with(&["inspect", &format!("docker://{host}/web:1.0")]).ok();
    let writable = DockerRegistry::empty();
    let refuses = site.policy(&policy(ACCEPT, "docker", &[("", REJECT)]));
    let to = format!("docker://{}/web:1", writable.host());
    hod(["copy", &format!("dir:{}", site.path("dir/web").display()), &to]).env("HOD_POLICY", &refuses).ok();
    with(&["--insecure-policy", "copy", &format!("docker://{host}/web:1.0"), "dir:taken"]).ok();
    let required = hod(["--require-signed", "copy", &format!("docker://{host}/web:1.0"), "dir:x"]).code(1);
    assert!(required.stderr.contains("a signature is required"), "{}", required.stderr);
    hod(["--require-signed", "--insecure-policy", "copy", &format!("docker://{host}/web:1.0"), "dir:x"]).code(2);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_policy_is_found_where_the_containers_tools_look() {
    let registry = DockerRegistry::over(fixtures::root());
    let web = format!("docker://{}/web:1.0", registry.host());
    let rejecting = format!(r#"{{"default":{REJECT}}}"#);
    let write = |home: &Path, name: &str| {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &rejecting).unwrap();
        path
    };
    let copy = || hod(["copy", &web, "dir:web"]);
    let run = copy();
    write(run.home(), ".config/containers/policy.json");
    run.code(1);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = write(elsewhere.path(), "containers/policy.json");
    copy().env("XDG_CONFIG_HOME", elsewhere.path()).code(1);
    copy().env("CONTAINERS_POLICY_JSON", &file).code(1);
    let flag_wins: fn(Hod) -> Hod = |run| run.arg("--insecure-policy");
    flag_wins(copy().env("CONTAINERS_POLICY_JSON", &file)).ok();
    if !Path::new("/etc/containers/policy.json").exists() && !Path::new("/usr/share/containers/policy.json").exists() {
        let quiet = copy().ok();
        assert!(!quiet.stderr.contains("trust policy"), "{}", quiet.stderr);
        assert!(copy().arg("-v").ok().stderr.contains("no trust policy (policy.json) exists"));
    }
}
