//! `registries.conf`: mirrors, rewritten names, insecure and blocked registries; skopeo with the same file is the judge.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On, Running};
use crate::support::fixtures;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Content, Image, image, layer};
use crate::support::tls::Certificates;
use crate::support::{job, skopeo, tree};

/// Nobody listens on the port of tcpmux.
const DOWN: &str = "127.0.0.1:1";

/// A home with a configuration.
struct Conf {
    home: tempfile::TempDir,
}

impl Conf {
    fn new(text: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let conf = Self { home };
        fs::create_dir_all(conf.containers().join("registries.conf.d")).unwrap();
        fs::write(conf.file(), text).unwrap();
        conf
    }

    fn containers(&self) -> PathBuf {
        self.home.path().join(".config/containers")
    }

    fn file(&self) -> PathBuf {
        self.containers().join("registries.conf")
    }

    fn add(self, name: &str, text: &str) -> Self {
        fs::write(self.containers().join("registries.conf.d").join(name), text).unwrap();
        self
    }

    fn hod(&self, arguments: &[&str]) -> Hod {
        hod(arguments).env("HOME", self.home.path())
    }

    /// What skopeo makes of it: what it prints, or `None` where it fails.
    fn skopeo(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let mut command = Command::new("skopeo");
        command.arg("--insecure-policy").args(arguments).env("HOME", self.home.path());
        let output = command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME").output().unwrap();
        output.status.success().then_some(output.stdout)
    }

    /// The digest of what a name stands for by both tools, which must agree.
    #[track_caller]
    fn digest(&self, name: &str) -> Option<Digest> {
        let arguments = ["inspect", "--raw", &format!("docker://{name}")];
        let theirs = self.skopeo(&arguments);
        let ours = self.hod(&arguments).args(["--retry-times", "0"]).run();
        let conf = fs::read_to_string(self.file()).unwrap();
        assert_eq!((ours.code == Some(0)).then_some(ours.stdout), theirs, "{name}: {}\n{conf}", ours.stderr);
        theirs.map(|bytes| Digest::sha256(&bytes))
    }
}

/// A table of a registry, with its mirrors.
fn registry(head: &str, mirrors: &[&str]) -> String {
    let mirrors = mirrors.iter().map(|mirror| format!("[[registry.mirror]]\ninsecure = true\n{mirror}\n"));
    format!("[[registry]]\n{head}\n{}", mirrors.collect::<Vec<_>>().concat())
}

/// A registry whose `web:1.0` is what elsewhere is `web:1.1`.
fn other() -> (tempfile::TempDir, DockerRegistry) {
    let root = fixtures::copy();
    let image = format!("oci:{}:web:1.1", fixtures::folder().join("images").display());
    let registry = DockerRegistry::options().root(root.path()).start();
    skopeo::copy_all(&image, &format!("docker://{}/web:1.0", registry.host()));
    (root, registry)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn mirrors_are_asked_in_their_order_and_then_the_registry() {
    let full = DockerRegistry::over(fixtures::root());
    let empty = DockerRegistry::empty();
    let (_root, other) = other();
    let (web, changed) = (fixtures::digest("web:1.0"), skopeo::digest(&format!("{}/web:1.0", other.host())));
    assert_ne!(web, changed);
    let at = |host: &str| format!("location = \"{host}\"");
    let own = |host: &str| format!("prefix = \"site.example/team\"\nlocation = \"{host}\"\ninsecure = true");
    for (own_host, mirrors, expected) in [
        (full.host(), vec![], Some(web)),
        (DOWN, vec![full.host()], Some(web)),
        (full.host(), vec![DOWN], Some(web)),
        (full.host(), vec![empty.host()], Some(web)),
        (other.host(), vec![full.host()], Some(web)),
        (full.host(), vec![other.host()], Some(changed)),
        (other.host(), vec![DOWN, empty.host(), full.host()], Some(web)),
        (DOWN, vec![empty.host()], None),
    ] {
        let mirrors: Vec<String> = mirrors.iter().map(|host| at(host)).collect();
        let mirrors: Vec<&str> = mirrors.iter().map(String::as_str).collect();
        let conf = Conf::new(&registry(&own(own_host), &mirrors));
        assert_eq!(conf.digest("site.example/team/web:1.0"), expected, "{own_host} {mirrors:?}");
    }
    let conf = Conf::new(&registry(&own(DOWN), &[&at(empty.host())]));
    let neither = conf.hod(&["inspect", "docker://site.example/team/web:1.0", "--retry-times", "0"]).code(1);
    for says in ["all mirrors failed", empty.host(), DOWN] {
        assert!(neither.stderr.contains(says), "{says}: {}", neither.stderr);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_mirror_that_is_down_is_told_of_in_a_sentence() {
    let full = DockerRegistry::over(fixtures::root());
    let own = format!("prefix = \"site.example\"\nlocation = \"{}\"\ninsecure = true", full.host());
    let conf = Conf::new(&registry(&own, &[&format!("location = \"{DOWN}\"")]));
    let inspect =
        |more: &[&str]| conf.hod(&["inspect", "--raw", "docker://site.example/web:1.0"]).args(more).ok().stderr;
    let said = inspect(&[]);
    let note = format!("note: cannot read {DOWN}/web, trying the next place: ");
    assert!(said.starts_with(&note) && said.lines().count() == 1, "{said}");
    assert_eq!(inspect(&["--quiet"]), "");
    // Who asks for the log gets lines of a log.
    assert!(inspect(&["-vv"]).contains("Z  WARN "), "{}", inspect(&["-vv"]));
    // What the registry itself says is said once, as the error.
    let conf = Conf::new(&registry(&format!("prefix = \"site.example\"\nlocation = \"{DOWN}\""), &[]));
    let neither = conf.hod(&["inspect", "docker://site.example/web:1.0", "--retry-times", "0"]).code(1).stderr;
    assert!(!neither.contains("WARN") && !neither.contains("note: "), "{neither}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_mirror_may_be_for_tags_or_for_digests() {
    let full = DockerRegistry::over(fixtures::root());
    let (_root, other) = other();
    let (web, changed) = (fixtures::digest("web:1.0"), skopeo::digest(&format!("{}/web:1.0", other.host())));
    let by_digest = format!("site.example/web@{web}");
    for (setting, mirror_setting, by_tag) in [
        ("mirror-by-digest-only = true", "", changed),
        ("", "pull-from-mirror = \"digest-only\"", changed),
        ("", "pull-from-mirror = \"tag-only\"", web),
        ("", "pull-from-mirror = \"all\"", web),
    ] {
        let own = format!("prefix = \"site.example\"\nlocation = \"{}\"\ninsecure = true\n{setting}", other.host());
        let mirror = format!("location = \"{}\"\n{mirror_setting}", full.host());
        let conf = Conf::new(&registry(&own, &[&mirror]));
        assert_eq!(conf.digest("site.example/web:1.0"), Some(by_tag), "{setting} {mirror_setting}");
        assert_eq!(conf.digest(&by_digest), Some(web), "{setting} {mirror_setting}");
    }
    // The registry itself does not have it, and the mirror is for tags alone.
    let own = format!("prefix = \"site.example\"\nlocation = \"{}\"\ninsecure = true", DockerRegistry::empty().host());
    let mirror = format!("location = \"{}\"\npull-from-mirror = \"tag-only\"", full.host());
    assert_eq!(Conf::new(&registry(&own, &[&mirror])).digest(&by_digest), None);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn prefixes_wildcards_and_drop_ins_rewrite_names() {
    let full = DockerRegistry::over(fixtures::root());
    let (web, busybox) = (fixtures::digest("web:1.0"), fixtures::digest("base/busybox:1.35"));
    let to = |prefix: &str, location: &str| {
        registry(&format!("prefix = \"{prefix}\"\nlocation = \"{location}\"\ninsecure = true"), &[])
    };
    let host = full.host();
    let conf = Conf::new(
        &[
            to("one.example", DOWN),
            to("one.example/deep", host),
            to("one.example/deep/app", &format!("{host}/base/busybox/")),
            to("*.two.example", host),
            to("docker.io/library", host),
            to("replaced.example", DOWN),
        ]
        .concat(),
    )
    .add("10-site.conf", &to("replaced.example", host))
    .add("20-not.txt", &to("replaced.example", DOWN));
    for (name, digest) in [
        ("one.example/web:1.0", None),
        ("one.example/deep/web:1.0", Some(web)),
        ("one.example/deep/app:1.35", Some(busybox)),
        ("a.two.example/web:1.0", Some(web)),
        ("b.a.two.example/base/busybox:1.35", Some(busybox)),
        ("web:1.0", Some(web)),
        ("docker.io/library/web:1.0", Some(web)),
        ("replaced.example/web:1.0", Some(web)),
    ] {
        assert_eq!(conf.digest(name), digest, "{name}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_blocked_is_neither_read_nor_written() {
    let full = DockerRegistry::over(fixtures::root());
    let host = full.host();
    let blocked = |prefix: &str| {
        registry(&format!("prefix = \"{prefix}\"\nlocation = \"{DOWN}\"\nblocked = true\ninsecure = true"), &[])
    };
    let open = registry(&format!("location = \"{host}\"\ninsecure = true"), &[]);
    let conf = Conf::new(&(blocked("site.example/secret") + &blocked(&format!("{host}/web")) + &open));
    assert_eq!(conf.digest("site.example/secret/web:1.0"), None);
    assert_eq!(conf.digest(&format!("{host}/web:1.0")), None);
    assert_eq!(conf.digest(&format!("{host}/base/busybox:1.35")), Some(fixtures::digest("base/busybox:1.35")));
    let folder = tempfile::tempdir().unwrap();
    let from = format!("oci:{}:web:1.0", fixtures::folder().join("images").display());
    let to = format!("docker://{host}/web:2");
    for arguments in [
        vec!["copy", &from, &to],
        vec!["list-tags", &format!("docker://{host}/web")],
        vec!["delete", &format!("docker://{host}/web:1.0")],
        vec!["pull", &format!("{host}/web:1.0"), "--store", job::text(folder.path())],
    ] {
        let refused = conf.hod(&arguments).code(1);
        let says = format!("{host}/web is blocked by {}", conf.file().display());
        assert!(refused.stderr.contains(&says), "{arguments:?}: {}", refused.stderr);
    }
    assert_eq!(conf.skopeo(&["copy", &from, &to]), None);
    assert!(!full.log().contains("/v2/web/"), "{}", full.log());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_insecure_registry_may_show_any_certificate() {
    let certificates = Certificates::new();
    let registry_of = |line: &str| {
        let full = DockerRegistry::options().tls(&certificates).root(fixtures::root()).start();
        let conf = Conf::new(&registry(&format!("location = \"{}\"\n{line}", full.host()), &[]));
        (full, conf)
    };
    let (strict, conf) = registry_of("");
    assert_eq!(conf.digest(&format!("{}/web:1.0", strict.host())), None);
    let (lax, conf) = registry_of("insecure = true");
    assert_eq!(conf.digest(&format!("{}/web:1.0", lax.host())), Some(fixtures::digest("web:1.0")));
    let image = format!("docker://{}/web:1.0", lax.host());
    let checked = ["inspect", "--raw", "--tls-verify=true", &image];
    assert_eq!(conf.skopeo(&checked), None, "what is typed counts more");
    conf.hod(&checked).code(1);
    let target = DockerRegistry::options().tls(&certificates).start();
    let insecure = |host: &str| registry(&format!("location = \"{host}\"\ninsecure = true"), &[]);
    let conf = Conf::new(&[insecure(lax.host()), insecure(target.host())].concat());
    // Writing heeds it too.
    conf.hod(&["copy", &image, &format!("docker://{}/copied:1", target.host())]).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_job_is_done_from_a_mirror_and_names_stay() {
    let full = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let conf = Conf::new(&registry(
        &format!("prefix = \"registry.example\"\nlocation = \"{DOWN}\"\ninsecure = true"),
        &[&format!("location = \"{}\"", full.host())],
    ));
    let (store, bundle) = (folder.path().join("s"), folder.path().join("b.tar"));
    let list = fs::read_to_string(fixtures::list()).unwrap();
    let pull = ["pull", "--from", "registry.example", "--all-platforms", "-f", "-", "--store", job::text(&store)];
    let output = conf.hod(&pull).args(["--retry-times", "0"]).input(list.clone()).ok();
    job::assert_sound(&store);
    let one_pass = ["bundle", "--from", "registry.example", "web:1.0", "--all-platforms", "-o", job::text(&bundle)];
    conf.hod(&one_pass).ok();
    assert_eq!(job::names(&bundle), ["web:1.0"]);
    assert!(job::ls(&bundle).to_string().contains("registry.example/web"), "{}", job::ls(&bundle));
    let direct = folder.path().join("direct");
    job::pull(full.host(), &direct, ["--all-platforms", "-f", "-"]).input(list).ok();
    tree::assert_same(&direct.join("docker"), &store.join("docker"));
    assert!(!output.stderr.contains("error"), "{}", output.stderr);
    let tags = conf.hod(&["list-tags", "docker://registry.example/web"]).ok().json();
    assert_eq!(tags["Tags"].as_array().unwrap().len(), 2, "{tags}");
    let inspected = conf.hod(&["inspect", "docker://registry.example/web:1.0"]).ok().json();
    assert_eq!(inspected["Name"], "registry.example/web");
    // A copy to the registry goes to the registry, which is not there, and not to its mirror.
    let to = ["copy", "docker://registry.example/web:1.0", "docker://registry.example/new:1", "--retry-times", "0"];
    conf.hod(&to).code(1);
    assert!(!full.log().contains("/v2/new/"), "{}", full.log());
}

/// A mirror with an image, and the image.
fn mirror() -> (Faulty, Image) {
    let app = image("linux/amd64", &[layer(1, 1000)]);
    (Faulty::new(Content::default().with("app:1", &app)), app)
}

fn with_mirror(mirror: &Running, own: &str) -> Conf {
    Conf::new(&registry(
        &format!("prefix = \"registry.example\"\nlocation = \"{own}\"\ninsecure = true"),
        &[&format!("location = \"{}\"", mirror.host())],
    ))
}

#[test]
fn wrong_content_of_a_mirror_is_refused() {
    let (faulty, app) = mirror();
    let digest = app.digest().to_string();
    let lying = faulty.fault(On::manifest(&digest), Effect::WrongByte).start();
    let honest = mirror().0.start();
    let folder = tempfile::tempdir().unwrap();
    let name = format!("docker://registry.example/app@{digest}");
    let to = |name: &str| format!("dir:{}", folder.path().join(name).display());
    let copy = |conf: &Conf, folder: &str| {
        conf.hod(&["copy", &name, &to(folder), "--retry-times", "1", "--retry-delay", "1ms"])
    };
    let alone = copy(&with_mirror(&lying, DOWN), "alone").code(1);
    assert!(alone.stderr.contains(&digest), "{}", alone.stderr);
    assert!(!folder.path().join("alone/manifest.json").exists());
    copy(&with_mirror(&lying, honest.host()), "saved").ok();
    assert_eq!(fs::read(folder.path().join("saved/manifest.json")).unwrap(), app.bytes);

    let (faulty, app) = mirror();
    let blob = app.blobs.last().unwrap().digest();
    let lying = faulty.fault(On::blob(&blob), Effect::WrongByte).start();
    let refused = copy(&with_mirror(&lying, DOWN), "blob").code(4);
    assert!(refused.stderr.contains(&blob.to_string()), "{}", refused.stderr);
    assert!(!folder.path().join("blob").join(blob.hex()).exists());
}

#[test]
fn what_was_given_for_the_registry_is_not_for_its_mirror() {
    let mirror = mirror().0.basic("me", "secret").start();
    let conf = with_mirror(&mirror, DOWN);
    let inspect = ["inspect", "--raw", "docker://registry.example/app:1", "--retry-times", "0"];
    for given in ["--creds=me:secret", "--registry-token=secret"] {
        conf.hod(&inspect).arg(given).code(1);
    }
    assert!(mirror.requests().iter().all(|seen| seen.header("authorization").is_empty()));
    let auth = conf.home.path().join("auth.json");
    let entry = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#, mirror.host());
    fs::write(&auth, entry).unwrap();
    conf.hod(&inspect).args(["--authfile", job::text(&auth)]).ok();
}

#[test]
fn a_mirror_that_is_down_is_not_asked_for_every_image() {
    let (one, two) = (image("linux/amd64", &[layer(1, 10)]), image("linux/amd64", &[layer(2, 10)]));
    let content = Content::default().with("one:1", &one).with("two:1", &two);
    let broken = Faulty::new(content.clone()).fault(On::everything(), Effect::Status(502)).start();
    let full = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let conf = with_mirror(&broken, full.host());
    let pull = ["pull", "--from", "registry.example", "-j1", "one:1", "two:1", "--no-referrers", "--store"];
    conf.hod(&pull).arg(folder.path()).ok();
    let asked = broken.count(|seen| seen.route.repository().is_some());
    assert!((1..=2).contains(&asked), "{asked} requests to a mirror that is down");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn files_are_found_where_the_containers_tools_look() {
    let full = DockerRegistry::over(fixtures::root());
    let text = registry(&format!("prefix = \"site.example\"\nlocation = \"{}\"\ninsecure = true", full.host()), &[]);
    let conf = Conf::new(&text);
    let inspect = ["inspect", "--raw", "docker://site.example/web:1.0"];
    let write = |home: &Path, name: &str| {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &text).unwrap();
    };
    hod(inspect).env("CONTAINERS_REGISTRIES_CONF", conf.file()).ok();
    hod(inspect).env("HOD_REGISTRIES_CONF", conf.file()).ok();
    for name in [".config/containers/registries.conf", ".config/containers/registries.conf.d/site.conf"] {
        let run = hod(inspect);
        write(run.home(), name);
        run.ok();
    }
    let elsewhere = tempfile::tempdir().unwrap();
    write(elsewhere.path(), "containers/registries.conf");
    hod(inspect).env("XDG_CONFIG_HOME", elsewhere.path()).ok();
    hod(inspect).arg("--registries-conf").arg(conf.file()).ok();
    let drop_ins = elsewhere.path().join("containers");
    hod(inspect).args(["--registries-conf-dir", job::text(&drop_ins)]).ok();
    let absent = hod(inspect).env("CONTAINERS_REGISTRIES_CONF", "/nowhere/registries.conf").code(1);
    assert!(absent.stderr.contains("/nowhere/registries.conf"), "{}", absent.stderr);
}

#[test]
fn the_first_version_of_the_format_is_an_error_and_local_copies_do_not_care() {
    let conf = Conf::new("[registries.insecure]\nregistries = [\"r.example\"]\n");
    let refused = conf.hod(&["inspect", "docker://r.example/web:1.0"]).code(1);
    assert!(refused.stderr.contains("version 1 of the format"), "{}", refused.stderr);
    let folder = tempfile::tempdir().unwrap();
    let from = format!("oci:{}:web:1.0", fixtures::folder().join("images").display());
    conf.hod(&["copy", &from, &format!("dir:{}", folder.path().join("web").display())]).ok();
}
