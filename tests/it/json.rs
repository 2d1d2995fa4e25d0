//! `--json`: whatever a command comes to, standard output is one document, or data and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use serde_json::Value;

use crate::signatures::Keyring;
use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On, Route};
use crate::support::fixtures;
use crate::support::hod::{Hod, Output, hod};
use crate::support::images::{Content, image, layer};
use crate::support::job::text;

/// Runs commands in one folder, and keeps their names.
struct Runs<'a> {
    folder: &'a Path,
    host: &'a str,
    good: BTreeSet<String>,
    bad: BTreeSet<String>,
}

impl Runs<'_> {
    /// A command, in words between blanks; `HOST` is the registry.
    fn command(&self, line: &str) -> Hod {
        let words = line.split_whitespace().map(|word| word.replace("HOST", self.host));
        hod(words).arg("--json").in_folder(self.folder)
    }

    /// The command's name, those below others with two words.
    fn name(line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let count = if matches!(words[0], "index" | "layer") { 2 } else { 1 };
        words[..count].join(" ")
    }

    /// What a command prints that succeeds.
    #[track_caller]
    fn good(&mut self, line: &str) -> Value {
        let output = self.command(line).ok();
        self.good.insert(Self::name(line));
        document(line, &output)
    }

    /// What a command prints that fails with this code: a receipt, or why.
    #[track_caller]
    fn bad(&mut self, line: &str, code: i32) -> Value {
        let output = self.command(line).code(code);
        self.bad.insert(Self::name(line));
        let document = document(line, &output);
        if document.get("error").is_some() {
            assert_told(&document, &output);
        }
        document
    }

    /// Why a command fails with this code.
    #[track_caller]
    fn error(&mut self, line: &str, code: i32) -> Value {
        let document = self.bad(line, code);
        assert!(document.get("error").is_some(), "{line}: {document:#}");
        document
    }
}

/// Standard output as the one document that it is.
#[track_caller]
fn document(line: &str, output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{line}: {error} in {:?}; stderr: {}", output.text(), output.stderr));
    assert!(document.is_object() && output.stdout.ends_with(b"\n"), "{line}: {document}");
    document
}

/// An error in a document is the one that standard error tells of.
#[track_caller]
fn assert_told(document: &Value, output: &Output) {
    let error = &document["error"];
    assert_eq!(error["exitCode"].as_i64().map(|code| i32::try_from(code).unwrap()), output.code, "{document:#}");
    let told = |start: &str, text: &Value| {
        let line = format!("{start}{}\n", text.as_str().unwrap());
        assert!(output.stderr.contains(&line), "{line:?} is not in {}", output.stderr);
    };
    told("error: ", &error["message"]);
    error["causes"].as_array().unwrap().iter().for_each(|cause| told("  caused by: ", cause));
    error["hints"].as_array().unwrap().iter().for_each(|hint| told("hint: ", hint));
    document["failed"].as_array().unwrap().iter().for_each(|failed| told("error: ", &failed["message"]));
}

/// The names of all commands, those below others with two words.
fn all_commands() -> BTreeSet<String> {
    let below = |words: &[&str]| {
        let help = hod([words, &["--help"]].concat()).ok().text();
        // The commands of hod stand in groups.
        let (first, end) =
            if help.contains("\nCarry:\n") { ("Carry:\n", "\nOptions:\n") } else { ("Commands:\n", "\n\n") };
        let list = help.split(first).nth(1).unwrap_or_default().split(end).next().unwrap().to_owned();
        let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut all = BTreeSet::new();
    for name in below(&[]).into_iter().filter(|name| name != "help") {
        let actions = if matches!(&*name, "index" | "layer") { below(&[&name]) } else { Vec::new() };
        if actions.is_empty() {
            all.insert(name);
        } else {
            all.extend(actions.iter().filter(|action| *action != "help").map(|action| format!("{name} {action}")));
        }
    }
    all
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn every_command_prints_one_document_however_it_ends() {
    let root = fixtures::copy();
    let registry = DockerRegistry::options().deletes().root(root.path()).start();
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Runs { folder: folder.path(), host: registry.host(), good: BTreeSet::new(), bad: BTreeSet::new() };
    lists_and_stores(&mut runs);
    bundles(&mut runs);
    names_and_places(&mut runs);
    images(&mut runs);
    indexes_and_deletions(&mut runs);
    signatures(&mut runs);
    credentials(&mut runs);
    servers_and_pages(&mut runs);
    let mut all = all_commands();
    // It does nothing but print a script.
    assert!(all.remove("completions"));
    assert_eq!((&runs.good, &runs.bad), (&all, &all));
}

fn lists_and_stores(runs: &mut Runs<'_>) {
    runs.good("pull web:1.0 edge/sensor:1.0 --from HOST --store store --all-platforms");
    let receipt = runs.bad("pull web:1.0 nope:1 --from HOST --store store", 3);
    assert_eq!(receipt["failed"][0]["reference"], "nope:1");
    fs::write(runs.folder.join("bad.txt"), "web:1.0\nBad:1\nweb:1.0 platforms=x\n").unwrap();
    let unread = runs.error("pull -f bad.txt --from HOST --store store", 2);
    assert_eq!(unread["failed"].as_array().unwrap().len(), 2, "{unread:#}");
    assert!(unread["failed"][0]["message"].as_str().unwrap().starts_with("bad.txt:2: Bad:1: "), "{unread:#}");
    runs.good("lock web:1.0 --from HOST -o web.lock");
    let unlocked = runs.error("lock nope:1 --from HOST -o other.lock", 1);
    let causes = &unlocked["failed"][0]["causes"];
    assert!(causes[0].as_str().unwrap().contains("does not exist: "), "{unlocked:#}");
    runs.good("plan web:1.0 --from HOST");
    runs.bad("plan nope:1 --from HOST", 1);
    runs.error("plan --store nowhere", 1);
}

fn bundles(runs: &mut Runs<'_>) {
    runs.good("pack --store store -o release.tar");
    runs.good("pack --store store --dry-run -o -");
    runs.error("pack --store nowhere -o x.tar", 1);
    runs.good("bundle web:1.0 --from HOST -o web.tar");
    let refused = runs.error("bundle web:1.0 --from HOST -o web.zip", 2);
    assert_eq!(refused["error"]["exitCode"], 2);
    runs.error("bundle nope:1 --from HOST -o nope.tar", 1);
    runs.good("unpack release.tar --root root");
    runs.error("unpack nowhere.tar --root root", 1);
    runs.good("push release.tar docker://HOST/again");
    runs.error("push release.tar HOST", 2);
    runs.bad("push release.tar docker://127.0.0.1:1 --retry-times 0", 1);
    runs.good("select --store store --to other web:1.0");
    runs.error("select --store store --to other nope:1", 1);
    runs.good("verify release.tar");
    runs.error("verify nowhere", 1);
    fs::write(runs.folder.join("damaged.tar"), "no tar").unwrap();
    runs.bad("verify damaged.tar", 1);
    runs.good("ls store");
    runs.error("ls nowhere", 1);
    runs.good("inventory store");
    let written = runs.good("inventory store -o site.json");
    assert_eq!((&written["inventory"], &written["images"]), (&Value::from("site.json"), &Value::from(2)));
    assert_eq!(written["bytes"], fs::metadata(runs.folder.join("site.json")).unwrap().len());
    let minimal = runs.good("inventory store --minimal -o minimal.json");
    assert!(minimal["manifests"].as_u64() > Some(1), "{minimal}");
    runs.error("inventory nowhere -o x.json", 1);
    runs.good("diff site.json store");
    runs.error("diff site.json nowhere", 1);

    runs.good("keygen release --no-passphrase");
    runs.error("keygen release --no-passphrase", 2);
    runs.good("sign web.tar --sign release.key");
    runs.error("sign nowhere.tar --sign release.key", 1);
}

fn names_and_places(runs: &mut Runs<'_>) {
    runs.good("tag web:1.0 stable --store store");
    runs.error("tag nope:1 stable --store store", 1);
    assert_eq!(runs.good("init oci:layout")["place"], "oci:layout");
    runs.good("init store:empty");
    runs.error("init dir:x", 2);
    runs.good("new oci:layout:scratch");
    runs.error("new oci:layout:scratch --platform linux/s390x", 1);
    runs.error("init oci:layout", 1);
    runs.good("rm web:stable --store store");
    runs.error("rm web:stable --store store", 1);
    runs.good("gc --store store");
    runs.error("gc --store nowhere", 1);
}

fn images(runs: &mut Runs<'_>) {
    let image = "docker://HOST/web:1.0";
    runs.good(&format!("copy {image} dir:web"));
    runs.bad("copy docker://HOST/nope:1 dir:nope", 1);
    runs.error("copy nothing:x dir:nope", 2);
    runs.good("sync --src docker --dest dir HOST/web synced");
    runs.error("sync --src docker --dest dir HOST/nope synced", 1);
    runs.good("unpack-image oci:layout:scratch unpacked");
    let configuration = runs.good("unpack-image oci:layout:scratch --rootfs unpacked/rootfs --config-only config.json");
    assert_eq!(configuration["config"], "config.json");
    runs.error("unpack-image oci:layout:nope unpacked-too", 1);
    runs.good(&format!("layer extract {image} 1 layer"));
    runs.error(&format!("layer extract {image} 99 layer-too"), 1);
    runs.good(&format!("inspect {image}"));
    runs.good(&format!("inspect --config {image}"));
    runs.good(&format!("inspect --format json {image}"));
    runs.error("inspect docker://HOST/nope:1", 1);
    runs.good(&format!("stat {image}"));
    runs.error("stat docker://HOST/nope:1", 1);
    runs.good("list-tags docker://HOST/web");
    runs.error("list-tags docker://HOST/nope", 1);
}

fn indexes_and_deletions(runs: &mut Runs<'_>) {
    let made = runs.good("index create oci:layout:index docker://HOST/web:1.0");
    assert!(made["digest"].as_str().unwrap().starts_with("sha256:"), "{made}");
    runs.error("index create oci:layout:index", 2);
    runs.good("index add --replace oci:layout:index dir:web");
    runs.error("index add oci:layout:nope dir:web", 1);
    runs.good("index inspect oci:layout:index");
    runs.error("index inspect oci:layout:scratch", 1);
    runs.good("index remove oci:layout:index linux/arm64");
    runs.error("index remove oci:layout:index linux/mips", 1);
    let digest = runs.good("manifest-digest web/manifest.json");
    assert!(digest["digest"].as_str().unwrap().starts_with("sha256:"), "{digest}");
    runs.error("manifest-digest nowhere", 1);
    let deleted = runs.good("delete docker://HOST/certs:2023");
    assert_eq!(deleted["deleted"][0]["name"], format!("docker://{}/certs:2023", runs.host));
    let undeleted = runs.bad("delete docker://HOST/again/web:1.0 docker://HOST/nope:1", 3);
    assert_eq!(undeleted["deleted"].as_array().unwrap().len(), 1, "{undeleted:#}");
    assert_eq!(undeleted["failed"][0]["name"], format!("docker://{}/nope:1", runs.host));
    assert!(undeleted["failed"][0]["causes"][0].is_string(), "{undeleted:#}");
    runs.error("delete dir:web", 2);
}

fn signatures(runs: &mut Runs<'_>) {
    let keys = Keyring::new("ed25519", "sign", "");
    let key = text(&keys.path("secret.asc")).to_owned();
    let fingerprint = keys.fingerprint.clone();
    let signed = format!("web/manifest.json site/web:1.0 {fingerprint}");
    runs.good(&format!("standalone-sign {signed} -o web.signature --sign-key {key}"));
    runs.error(&format!("standalone-sign nowhere site/web:1.0 {fingerprint} -o x --sign-key {key}"), 2);
    let public = format!("--public-key-file {}", text(&keys.public()));
    runs.good(&format!("standalone-verify {signed} web.signature {public}"));
    runs.error(&format!("standalone-verify web/manifest.json site/web:2.0 {fingerprint} web.signature {public}"), 4);
}

fn credentials(runs: &mut Runs<'_>) {
    let locked = DockerRegistry::options().user("me", "secret").root(fixtures::root()).start();
    let login = format!("login -u me --authfile auth.json {}", locked.host());
    let document = runs.good(&format!("{login} -p secret"));
    assert_eq!((&document["registry"], &document["username"]), (&Value::from(locked.host()), &Value::from("me")));
    runs.good(&format!("login --authfile auth.json {}", locked.host()));
    assert_eq!(runs.good(&format!("login --authfile auth.json --get-login {}", locked.host()))["username"], "me");
    runs.error(&format!("{login} -p hunter2"), 1);
    assert_eq!(runs.good(&format!("logout --authfile auth.json {}", locked.host()))["registry"], locked.host());
    runs.error(&format!("logout --authfile auth.json {}", locked.host()), 1);
    assert_eq!(runs.good("logout --authfile auth.json --all")["registry"], Value::Null);
}

fn servers_and_pages(runs: &mut Runs<'_>) {
    let mut server = runs.command("serve store --listen 127.0.0.1:0").spawn();
    server.until_printed("\n");
    let ready: Value = serde_json::from_str(&server.printed()).unwrap();
    let address = ready["addresses"][0].as_str().unwrap().to_owned();
    assert!(address.starts_with("http://127.0.0.1:") && ready["writable"] == false, "{ready}");
    hod(["inspect", &format!("docker://{}/web:1.0", address.trim_start_matches("http://"))]).ok();
    server.interrupt();
    let served = server.wait();
    assert_eq!((served.code, document_of(&served)), (Some(0), ready));
    runs.good.insert("serve".to_owned());
    runs.error("serve nowhere", 1);
    let pages = runs.good("man --output pages");
    assert_eq!(pages["pages"], fs::read_dir(runs.folder.join("pages")).unwrap().count());
    runs.error("man --output site.json/pages", 1);
}

fn document_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whoever asks for data at standard output gets it as it is, and nothing else, whatever else was asked for.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn where_standard_output_is_for_data_no_document_is_among_it() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let root = text(fixtures::root());
    let host = registry.host();
    let run = |line: &str| {
        let words = line.split_whitespace().map(|word| word.replace("HOST", host).replace("ROOT", root));
        hod(words.collect::<Vec<_>>()).in_folder(folder.path())
    };
    for line in [
        "completions bash",
        "man",
        "pack --store ROOT -o - web:1.0",
        "copy docker://HOST/web:1.0 docker-archive:/dev/stdout:web:1.0",
        "copy --digestfile - store:ROOT:web:1.0 dir:image",
        "pull web:1.0 --from HOST --store store --lock -",
        "lock web:1.0 --from HOST -o -",
        "inventory ROOT -o -",
        "inspect --raw docker://HOST/web:1.0",
        "inspect --format {{.Digest}} docker://HOST/web:1.0",
        "layer extract docker://HOST/web:1.0 1",
        "unpack-image store:ROOT:pause:3.9 --config-only -",
    ] {
        let text = run(line).ok();
        let json = run(line).arg("--json").ok();
        // Layers come into an archive in the order in which they arrive, so its bytes differ, and their number does not.
        let (expected, got) = (text.stdout.len(), json.stdout.len());
        assert!(got > 0 && expected == got, "{line}: {expected} and {got} bytes");
    }
    for (line, code) in [
        ("pack --store nowhere -o -", 1),
        ("pack --store ROOT -o - nope:1", 1),
        ("copy docker://HOST/nope:1 docker-archive:/dev/stdout", 1),
        ("copy docker://HOST/nope:1 oci-archive:/dev/stdout", 1),
        ("lock nope:1 --from HOST -o -", 1),
        ("inventory nowhere -o -", 1),
        ("inspect --raw docker://HOST/nope:1", 1),
        ("layer extract docker://HOST/web:1.0 99", 1),
        ("unpack-image oci:nowhere --config-only -", 1),
    ] {
        let output = run(line).arg("--json").code(code);
        assert_eq!((output.text().as_str(), output.stderr.is_empty()), ("", false), "{line}");
    }
}

/// What is typed as a secret is in no document, whoever refuses it.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn no_secret_is_in_a_document() {
    let registry = DockerRegistry::options().user("me", "right").root(fixtures::root()).start();
    let folder = tempfile::tempdir().unwrap();
    let image = format!("docker://{}/web:1.0", registry.host());
    for words in [
        vec!["inspect", "--creds", "me:hunter2", &image],
        vec!["inspect", "--registry-token", "hunter2", &image],
        vec!["copy", "--src-creds", "me:hunter2", &image, "dir:x"],
        vec!["delete", "--username", "me", "--password", "hunter2", &image],
        vec!["login", "-u", "me", "-p", "hunter2", registry.host()],
    ] {
        let output = hod(&words).arg("--json").in_folder(folder.path()).run();
        assert!(matches!(output.code, Some(1 | 2)), "{words:?}: {:?}", output.code);
        document(&words.join(" "), &output);
        let said = output.text() + &output.stderr;
        assert!(!said.contains("hunter2"), "{words:?}: {said}");
    }
}

/// A command that is ended from outside says that it was, too.
#[test]
fn a_run_that_is_ended_says_so() {
    let content = Content::default().with("app:1", &image("linux/amd64", &[layer(1, 1000)]));
    let registry = Faulty::new(content).fault(On::any_blob(), Effect::Stall { after: 10 }).start();
    let pull = || hod(["pull", "app:1", "--from", registry.host(), "--store", "s", "--json"]);
    let running = pull().spawn();
    registry.wait_for(|seen| matches!(seen.route, Route::Blob(..)));
    running.interrupt();
    let timed = pull().args(["--command-timeout", "300ms"]).run();
    for (output, code, message) in [(running.wait(), 130, "interrupted"), (timed, 1, "the time given with")] {
        let document = document(message, &output);
        assert_eq!(output.code, Some(code), "{}", output.stderr);
        assert!(document["error"]["message"].as_str().unwrap().starts_with(message), "{document:#}");
        assert_told(&document, &output);
    }
}
