//! `--creds` and its like where a command deals with several registries: each password goes to its own.

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On, Running};
use crate::support::fixtures;
use crate::support::hod::{Output, hod};
use crate::support::images::{Content, image, layer};
use crate::support::job::{names, pull, text};

/// A registry that wants this password, which has what a password may have.
fn guarded(user: &str) -> Running {
    Faulty::new(content()).basic(user, &password(user)).start()
}

fn password(user: &str) -> String {
    format!("p=w:{user}==")
}

fn creds(user: &str) -> String {
    format!("{user}:{}", password(user))
}

fn scoped(registry: &Running, user: &str) -> String {
    format!("{}={}", registry.host(), creds(user))
}

fn content() -> Content {
    Content::default().with("app:1", &image("linux/amd64", &[layer(1, 1000)]))
}

/// Asserts that a command ended as a mistake in what was typed, and said which registries there are.
#[track_caller]
fn assert_refused(output: &Output, flag: &str, registries: &[&Running]) {
    let first = output.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    let says = format!("error: {flag} does not say which of {} registries it is for: ", registries.len());
    assert!(first.starts_with(&says), "{}", output.stderr);
    for registry in registries {
        assert!(first.contains(registry.host()), "{first}");
        assert!(registry.requests().is_empty(), "{:#?}", registry.requests());
    }
    assert!(output.stderr.contains("creds HOST=USER:PASSWORD for each registry"), "{}", output.stderr);
    assert!(!output.stderr.contains("p=w"), "{}", output.stderr);
}

/// CI systems give the content of Docker's `config.json` in a variable.
#[test]
fn credentials_may_be_in_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let registry = guarded("one");
    let auth = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, creds("one"));
    // As `base64` prints it.
    let auth = format!("{}\\n{}", &auth[..8], &auth[8..]);
    let config = format!(r#"{{"auths":{{"{}/v2/":{{"auth":"{auth}"}}}}}}"#, registry.host());
    let command = || pull(registry.host(), folder.path(), ["app:1"]);
    command().code(1);
    command().env("DOCKER_AUTH_CONFIG", &config).ok();
    // A file that is named counts alone.
    fs::write(folder.path().join("auth.json"), "{}").unwrap();
    let named =
        ["--authfile", text(&folder.path().join("auth.json")), "--no-referrers", "--lock", "x"].map(str::to_owned);
    let other = folder.path().join("other");
    pull(registry.host(), &other, ["app:1"]).args(named).env("DOCKER_AUTH_CONFIG", &config).code(1);
    let said = command().env("DOCKER_AUTH_CONFIG", "{hunter2").code(1).stderr;
    assert!(said.contains("DOCKER_AUTH_CONFIG") && !said.contains("hunter2"), "{said}");
}

/// A login that hod does not know is named, and not taken for a wrong password.
#[test]
fn a_login_that_is_not_supported_is_named() {
    let registry = Faulty::new(content());
    let offer = Effect::Unauthorized("Negotiate, NTLM");
    let registry = registry.fault(On::everything(), offer).start();
    let folder = tempfile::tempdir().unwrap();
    let said = pull(registry.host(), folder.path(), ["app:1"]).code(1).stderr;
    assert!(said.contains("hod does not support the login that it asks for: Negotiate, NTLM"), "{said}");
}

#[test]
fn credentials_without_a_registry_are_refused_where_there_are_several() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (guarded("one"), guarded("two"));
    let name = |registry: &Running| format!("{}/app:1", registry.host());
    let (of_one, of_two) = (name(&one), name(&two));
    let place = |name: &str| format!("docker://{name}");
    fs::write(folder.path().join("list"), format!("{of_one}\n{of_two} as=other:1\n")).unwrap();
    let yaml = |registry: &Running| format!("{}:\n  images:\n    app: [\"1\"]\n", registry.host());
    fs::write(folder.path().join("sync.yaml"), format!("{}{}", yaml(&one), yaml(&two))).unwrap();
    fs::write(folder.path().join("images.yaml"), format!("{of_one}: {}/app\n", two.host())).unwrap();
    let (image_of_one, image_of_two) = (place(&of_one), place(&of_two));
    for (prefix, words) in [
        ("", &["pull", "-f", "list", "--store", "s"][..]),
        ("", &["pull", &of_one, &of_two, "--store", "s", "--dry-run"]),
        ("", &["plan", "-f", "list"]),
        ("", &["lock", "-f", "list", "-o", "lock"]),
        ("", &["lock", "--check", "list"]),
        ("", &["bundle", "-f", "list", "-o", "x.tar"]),
        ("", &["delete", &image_of_one, &image_of_two]),
        ("src-", &["copy", "-q", "--file", "list", "docker://", "dir:x"]),
        ("dest-", &["copy", "-q", "--file", "list", "oci:x", "docker://"]),
        ("src-", &["sync", "--src", "yaml", "--dest", "dir", "sync.yaml", "x"]),
        ("src-", &["sync", "--image-syncer", "--images", "images.yaml"]),
        ("src-", &["index", "create", "oci:x:1", &image_of_one, &image_of_two]),
    ] {
        let creds = creds("one");
        let flag = format!("--{prefix}creds");
        let run = |flags: &[&str]| hod([words, flags].concat()).in_folder(folder.path()).code(2);
        assert_refused(&run(&[&flag, &creds]), &flag, &[&one, &two]);
        let token = format!("--{prefix}registry-token");
        assert_refused(&run(&[&token, "p=w"]), &token, &[&one, &two]);
        let user = format!("--{prefix}username");
        assert_refused(&run(&[&user, "one", &format!("--{prefix}password"), "p=w"]), &user, &[&one, &two]);
        let variable = format!("HOD_{}CREDS", prefix.replace('-', "_").to_uppercase());
        let output = hod(words).in_folder(folder.path()).env(&variable, &creds).code(2);
        assert_refused(&output, &flag, &[&one, &two]);
    }
}

#[test]
fn each_registry_gets_its_own() {
    let (one, two, open) = (guarded("one"), guarded("two"), Faulty::new(content()).start());
    let images = [&one, &two, &open].map(|registry| format!("{}/app:1", registry.host()));
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let lines = images.iter().zip(["a", "b", "c"]).map(|(image, name)| format!("{image} as={name}:1\n"));
    fs::write(&list, lines.collect::<String>()).unwrap();
    let (first, second) = (scoped(&one, "one"), scoped(&two, "two"));
    let run = |store: &str| {
        let store = folder.path().join(store);
        hod(["pull", "-f", text(&list), "--store", text(&store), "--retry-times", "0"])
    };
    run("flags").args(["--creds", &first, "--creds", &second]).ok();
    assert_eq!(names(&folder.path().join("flags")), ["a:1", "b:1", "c:1"]);
    run("variable").env("HOD_CREDS", format!("{first}\n{second}")).ok();
    // Of those for --from alone the others hear nothing.
    let output = run("from").args(["--from", one.host(), "--creds", &creds("one")]).code(3);
    assert_eq!(names(&folder.path().join("from")), ["a:1", "c:1"]);
    assert!(output.stderr.contains("no credentials were found"), "{}", output.stderr);
    let both = [&*first, &*second].map(|creds| format!("--src-creds={creds}"));
    let copied = folder.path().join("copied");
    hod(["copy", "--file", text(&list), "docker://", &format!("dir:{}", text(&copied))]).args(both).ok();
    for registry in [&one, &two, &open] {
        let sent: std::collections::BTreeSet<_> =
            registry.requests().iter().map(|seen| seen.header("authorization").to_owned()).collect();
        let expected = if registry.host() == open.host() { 1 } else { 2 };
        assert_eq!(sent.len(), expected, "{sent:?}");
    }
}

#[test]
fn one_registry_needs_no_name() {
    let (one, two) = (guarded("one"), guarded("two"));
    let folder = tempfile::tempdir().unwrap();
    pull(one.host(), folder.path(), ["app:1", "--creds", &creds("one")]).ok();
    // --from is not asked where the list has registries of its own.
    let of_two = format!("{}/app:1", two.host());
    pull(one.host(), folder.path(), [&*of_two, "--creds", &creds("two")]).ok();
    let store = folder.path().join("s");
    hod(["pull", &of_two, "--store", text(&store), "--creds", &scoped(&two, "two")]).ok();
    let place = format!("docker://{of_two}");
    hod(["inspect", &place, "--creds", &scoped(&two, "two")]).ok();
    hod(["list-tags", &format!("docker://{}/app", two.host()), "--creds", &creds("two")]).ok();
    let denied = hod(["inspect", &place, "--creds", &scoped(&one, "one")]).code(1);
    assert!(denied.stderr.contains("no credentials were found"), "{}", denied.stderr);
}

#[test]
fn a_mirror_gets_what_has_its_name() {
    let (mirror, own) = (guarded("mirror"), guarded("own"));
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("registries.conf");
    let (named, insecure) = (own.host(), mirror.host());
    let entry = format!("[[registry]]\nlocation = {named:?}\n[[registry.mirror]]\nlocation = {insecure:?}\n");
    fs::write(&conf, entry).unwrap();
    let image = format!("{named}/app:1");
    let run = |store: &str, given: &[&str]| {
        let store = folder.path().join(store);
        let run = hod(["pull", &image, "--store", text(&store)]).args(given);
        run.env("CONTAINERS_REGISTRIES_CONF", text(&conf)).ok();
    };
    run("own", &["--creds", &creds("own")]);
    assert!(mirror.requests().iter().all(|seen| seen.header("authorization").is_empty()));
    let before = own.requests().len();
    run("mirror", &["--creds", &creds("own"), "--creds", &scoped(&mirror, "mirror")]);
    assert_eq!(own.requests().len(), before, "the mirror has given everything");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn real_registries_take_them() {
    let start = |user: &str| DockerRegistry::options().user(user, &password(user)).root(fixtures::root()).start();
    let (one, two) = (start("one"), start("two"));
    let creds = |registry: &DockerRegistry, user: &str| format!("{}={}", registry.host(), creds(user));
    let folder = tempfile::tempdir().unwrap();
    let tags = |registry: &DockerRegistry, user: &str| {
        let output = hod(["inventory", &format!("docker://{}", registry.host()), "--creds", &creds(registry, user)]);
        output.ok().json()["images"].as_array().unwrap()[0]["name"].as_str().unwrap().to_owned()
    };
    let name = tags(&one, "one");
    let list = format!("{}/{name} as=one:1\n{}/{name} as=two:1\n", one.host(), two.host());
    fs::write(folder.path().join("list"), list).unwrap();
    let pulled = hod(["pull", "-f", "list", "--store", "s", "--creds", &creds(&one, "one")]);
    pulled.args(["--creds", &creds(&two, "two")]).in_folder(folder.path()).ok();
    assert_eq!(names(&folder.path().join("s")), ["one:1", "two:1"]);
}
