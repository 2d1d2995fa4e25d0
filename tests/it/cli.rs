//! The command line itself: help, streams, quiet and JSON, and what mistakes are answered with.

use std::path::Path;
use std::process::Command;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::fixtures;
use crate::support::hod::{Output, hod};
use crate::support::images::{Content, image, index, layer};
use crate::support::job::{pack, pull, push, text, unpack};

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = hod(["--help"]).ok().text();
    let list = help.split("\nCarry:\n").nth(1).unwrap().split("\nOptions:\n").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_explains_itself_with_examples() {
    let commands = commands();
    for command in ["pull", "pack", "unpack", "push", "serve", "verify", "ls"] {
        assert!(commands.iter().any(|known| known == command), "{commands:?}");
    }
    for command in &commands {
        let long = hod([command, "--help"]).ok();
        assert!(
            long.text().contains("EXAMPLES:") && long.text().contains(&format!("hod {command} ")),
            "{}",
            long.text()
        );
        assert_eq!(long.stderr, "");
        assert!(hod([command, "-h"]).ok().text().contains("Usage:"));
    }
    let usage = hod([""; 0]).code(2);
    assert!(usage.stderr.contains("\nCarry:\n") && usage.text().is_empty(), "{}", usage.stderr);
    assert!(hod(["--version"]).ok().text().starts_with("hod "));
    hod(["pul"]).code(2);
}

#[test]
fn help_is_a_command_too() {
    assert_eq!(hod(["help"]).ok().text(), hod(["--help"]).ok().text());
    for command in commands() {
        assert_eq!(hod(["help", &command]).ok().text(), hod([&*command, "--help"]).ok().text(), "{command}");
    }
    let create = hod(["index", "create", "--help"]).ok().text();
    assert_eq!(hod(["help", "index", "create"]).ok().text(), create);
    assert_eq!(hod(["index", "help", "create"]).ok().text(), create);
    let of_help = hod(["help", "help"]).ok().text();
    assert!(of_help.contains("Usage: hod help [COMMAND]..."), "{of_help}");
    for words in [&["help", "--help"][..], &["help", "-h"], &["-q", "help", "--help"]] {
        assert_eq!(hod(words).ok().text(), of_help, "{words:?}");
    }
    assert!(hod(["index", "help", "--help"]).ok().text().contains("Usage: hod index help [COMMAND]..."));
    assert_eq!(hod(["help", "index", "create", "--help"]).ok().text(), create);
    assert!(hod(["help", "pul"]).code(2).stderr.contains("'pul'"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn flags_may_follow_anything_and_have_variables() {
    let root = text(fixtures::root());
    let json = hod(["ls", root, "--json"]).ok().json();
    assert_eq!(hod(["--json", "ls", root]).ok().json(), json);
    assert_eq!(hod(["ls", "--json", root]).ok().json(), json);
    assert_eq!(hod(["ls", root]).env("HOD_JSON", "1").ok().json(), json);
    assert!(hod(["ls", root]).env("HOD_JSON", "0").ok().text().starts_with("IMAGE"));
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::over(fixtures::root());
    let run = hod(["pull", "pause:3.9"]).env("HOD_STORE", folder.path()).env("HOD_FROM", registry.host());
    run.env("HOD_PLATFORM", "linux/arm64").ok();
    assert_eq!(
        hod(["ls", text(folder.path()), "--json"]).ok().json()["images"][0]["platforms"],
        serde_json::json!(["linux/arm64"])
    );
}

/// Runs the whole job, each command with these words; gives what each has printed.
fn job(words: &[&str]) -> Vec<(&'static str, Output)> {
    let registry = DockerRegistry::over(fixtures::root());
    let target = DockerRegistry::empty();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let words = || words.iter().copied();
    let images = ["web:1.0", "pause:3.9", "--platform", "linux/amd64"];
    let (store, bundle, root) = (path("store"), path("x.tar.zst"), path("root"));
    vec![
        ("pull", pull(registry.host(), &store, images.into_iter().chain(words())).ok()),
        ("pack", pack(&store, &bundle, words()).ok()),
        ("unpack", unpack(&bundle, &root, words()).ok()),
        ("verify", hod(["verify", text(&root)].into_iter().chain(words())).ok()),
        ("ls", hod(["ls", text(&bundle)].into_iter().chain(words())).ok()),
        ("push", push(&bundle, target.host(), ["--index", "child"].into_iter().chain(words())).ok()),
    ]
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn json_is_one_document_and_quiet_is_quiet() {
    for (command, output) in job(&["--json"]) {
        assert!(output.json().is_object(), "{command}");
    }
    for (command, output) in job(&["--json", "-q"]) {
        assert!(output.json().is_object(), "{command}");
        assert_eq!(output.stderr, "", "{command}");
    }
    for (command, output) in job(&["--quiet"]) {
        assert_eq!(output.stderr, "", "{command}");
        // What a command is asked for is no noise.
        assert_eq!(output.text().is_empty(), command != "ls", "{command}: {}", output.text());
    }
    for (command, output) in job(&["--no-progress", "-vv"]) {
        let escapes = |text: &str| text.contains('\x1b');
        assert!(!escapes(&output.text()) && !escapes(&output.stderr), "{command}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let script = "set -o pipefail; \"$0\" ls \"$1\" | head -1; echo \"ended ${PIPESTATUS[0]}\"";
    // More than a pipe holds, so that the writer meets the closed end.
    let root = tempfile::tempdir().unwrap();
    let image = image("linux/amd64", &[layer(1, 10)]);
    let content = (0..900).fold(Content::default(), |content, number| {
        content.with(&format!("team/a-name-that-is-rather-long-for-a-repository-of-images:{number}"), &image)
    });
    content.write_root(root.path());
    for command in ["ls", "pack"] {
        let script =
            if command == "ls" { script.to_owned() } else { script.replace("ls \"$1\"", "pack --store \"$1\" -o -") };
        let script = script.replace("head -1", "head -c 100 | wc -c");
        let output =
            Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_hod"), text(root.path())]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if command == "ls" {
            assert!(printed.ends_with("ended 0\n"), "{printed} {said}");
            assert_eq!(said, "");
        } else {
            // A bundle that nobody has read to its end is not one.
            assert!(printed.ends_with("ended 1\n"), "{printed} {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn completions_and_manual() {
    for shell in ["bash", "zsh", "fish"] {
        let script = hod(["completions", shell]).ok().text();
        assert!(script.contains("unpack") && script.contains("hod"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("hod.bash");
    fs::write(&script, hod(["completions", "bash"]).ok().stdout).unwrap();
    assert!(Command::new("bash").args(["-n", text(&script)]).status().unwrap().success());
    assert!(hod(["man"]).ok().text().contains(".TH hod 1"));
    hod(["man", "--output", text(folder.path())]).ok();
    for command in commands() {
        let page = fs::read_to_string(folder.path().join(format!("hod-{command}.1"))).unwrap();
        assert!(
            page.contains("\n.SH EXAMPLES\n.nf\n") && page.contains(&format!("\nhod {}", command.replace('-', "\\-"))),
            "{page}"
        );
        assert!(!page.contains("EXTRA") && !page.contains("EXAMPLES:"), "{page}");
    }
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(page("hod.1"), hod(["man"]).ok().text());
    assert!(page("hod.1").contains("\n.SH \"EXIT STATUS\"\n.nf\n0    done\n"), "{}", page("hod.1"));
    assert!(page("hod-copy.1").contains("\n.SH PLACES\n.nf\ndocker://HOST"), "{}", page("hod-copy.1"));
    assert!(page("hod-index-create.1").contains("\n.SH EXAMPLES\n"), "{}", page("hod-index-create.1"));
    // Help is one more command, and has no page.
    assert!(!page("hod.1").contains("help(1)") && !folder.path().join("hod-help.1").exists());
    hod(["completions", "cmd"]).code(2);
}

#[test]
fn mistakes_are_named() {
    let root = text(fixtures::root());
    let cases: &[(&[&str], i32, &str)] = &[
        (&["ls", "/nowhere"], 1, "/nowhere"),
        (&["verify", "/nowhere"], 1, "/nowhere"),
        (&["ls", "/etc"], 2, "/etc contains neither"),
        (&["verify", "/etc/passwd"], 1, "/etc/passwd"),
        (&["push", root, "registry:5000"], 2, "docker://"),
        (&["push", root, "docker://registry"], 2, "docker://registry"),
        (&["push", root, "docker://127.0.0.1:1/x:1"], 2, "names one image"),
        (&["push", "/nowhere", "docker://127.0.0.1:1"], 1, "/nowhere"),
        (&["pull", "app:1"], 2, "--store"),
        (&["pull", "app:1", "--store", "s", "--platform", "amd64"], 2, "os/architecture"),
        (&["pull", "app:1", "--store", "s", "--from", "nodots"], 2, "nodots"),
        (&["pull", "app:1", "--store", "s", "--names", "short"], 2, "as-listed"),
        (&["pull", "app:1", "--store", "s", "--command-timeout", "soon"], 2, "soon"),
        (&["pull", "app:1", "--store", "s", "--jobs", "0"], 2, "--jobs"),
        (&["pull", "app:1", "--store", "/dev/null/s"], 1, "/dev/null"),
        (&["pack", "--store", root, "-o", "x.rar"], 2, "x.rar"),
        (&["unpack", "/etc/passwd", "--root", "r"], 1, "/etc/passwd"),
        (&["serve", root, "--listen", "here"], 2, "HOST:PORT"),
        (&["serve", root, "--listen", "192.0.2.1:1"], 1, "192.0.2.1:1"),
    ];
    for (words, code, said) in cases {
        let output = hod(words.iter().copied()).code(*code);
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
        assert_eq!(output.text(), "", "{words:?}");
    }
}

/// What a run has said, without what differs from run to run.
fn settled(output: &Output, names: &[(&str, &str)]) -> String {
    names.iter().fold(output.stderr.clone(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn errors_as_they_are_read() {
    let amd64 = image("linux/amd64", &[layer(1, 100)]);
    let content = Content::default().with("app:1", &index(&[amd64]));
    let registry = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let names = [(registry.host(), "HOST"), (text(folder.path()), "FOLDER")];

    let output = pull(registry.host(), &store, ["app:1", "gone:1", "--platform", "linux/arm64", "-q"]).code(1);
    insta::assert_snapshot!(settled(&output, &names), @r#"
    error: argument 1: app:1: cannot select the requested platforms
      caused by: no linux/arm64 in the image: it has linux/amd64
      hint: choose one of these with --platform, or with platform=… in the list
    error: argument 2: gone:1: cannot get the manifest of 1 from HOST/gone
      caused by: tag 1 in HOST/gone does not exist: GET http://HOST/v2/gone/manifests/1 answered 404 Not Found (MANIFEST_UNKNOWN: manifest unknown)
      hint: check the name and the tag; names without a registry host are looked up in --from
    error: 2 of 2 images failed
    "#);
    let output = pull(registry.host(), &store, ["-f", "-"]).input("app:1\nBad:1\napp:1 platforms=x\n").code(2);
    insta::assert_snapshot!(settled(&output, &names), @r#"
    error: -:2: Bad:1: repository name "Bad" has upper-case letters: registries accept lower case only
    error: -:3: app:1 platforms=x: "platforms=x" is not an option: only platform=…, as=…, referrers=… and, for images on this machine, digest=… may follow the image; comments start with '#'
    error: 2 lines of the list cannot be used
    hint: no image was resolved; correct these lines and run the same command again
    "#);
    let output = hod(["ls", text(&folder.path().join("absent.tar"))]).code(1);
    insta::assert_snapshot!(settled(&output, &names), @"error: FOLDER/absent.tar does not exist");
    fs::write(folder.path().join("x.tar"), "{}").unwrap();
    let output = unpack(&folder.path().join("x.tar"), Path::new("root"), []).code(1);
    insta::assert_snapshot!(settled(&output, &names), @r#"
    error: cannot use the bundle FOLDER/x.tar
      caused by: not a bundle: a JSON document
    "#);
    let output = hod(["push", text(fixtures::root()), "registry.site:5000"]).code(2);
    insta::assert_snapshot!(settled(&output, &names), @r#"error: "registry.site:5000" is not a registry: write docker://HOST[:PORT][/PREFIX]"#);
}

#[test]
fn what_is_typed_counts_more_than_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let image = image("linux/amd64", &[layer(1, 100)]);
    let registry = Faulty::new(Content::default().with("app:1", &index(&[image]))).start();
    let with = |words: &[&str]| {
        let store = folder.path().join("store");
        hod(["pull", "app:1", "--from", registry.host(), "--store", text(&store)]).args(words.iter().copied())
    };
    for (variable, value, word) in [
        ("HOD_PLATFORM", "linux/s390x", "--all-platforms"),
        ("HOD_ALL_PLATFORMS", "1", "--platform=linux/amd64"),
        ("HOD_FAIL_FAST", "1", "--keep-going"),
        ("HOD_KEEP_GOING", "1", "--fail-fast"),
        ("HOD_CREDS", "me:secret", "--no-creds"),
        ("HOD_NO_REFERRERS", "1", "--referrers"),
    ] {
        with(&[word]).env(variable, value).ok();
    }
    let both = with(&["--all-platforms", "--platform=linux/amd64"]).code(2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
    let environment = with(&[]).env("HOD_ALL_PLATFORMS", "1").env("HOD_PLATFORM", "linux/amd64").code(2);
    assert!(environment.stderr.contains("cannot be used with"), "{}", environment.stderr);
}

/// What every command has comes behind what is its own, in help and on manual pages.
#[test]
fn common_options_come_last() {
    let folder = tempfile::tempdir().unwrap();
    hod(["man", "--output", text(folder.path())]).ok();
    for command in ["pull", "pack", "copy", "sync", "serve", "inspect", "index create", "layer extract"] {
        let words: Vec<&str> = command.split(' ').collect();
        for flag in ["--help", "-h"] {
            let help = hod(words.iter().copied().chain([flag])).ok().text();
            let headings: Vec<&str> =
                help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
            let end = headings.iter().position(|it| *it == "Common options:").unwrap();
            // What moves nothing between registries heeds none of skopeo's options.
            let is_local = ["pack", "serve"].contains(&command);
            let rest: Vec<&str> = headings[end + 1..].to_vec();
            let rest = if is_local { &rest[..] } else { rest.strip_prefix(&["Options as in skopeo:"]).unwrap() };
            assert!(matches!(rest, ["PLACES:" | "EXAMPLES:", ..]), "{command}: {headings:?}");
        }
        let page = fs_err::read_to_string(folder.path().join(format!("hod-{}.1", words.join("-")))).unwrap();
        let (common, own) = (page.rfind("\\-\\-json").unwrap(), page.rfind("retry\\-times"));
        assert!(own.is_none_or(|own| own < common), "{command}");
    }
}

#[test]
fn a_store_is_named_in_the_same_way_everywhere() {
    let root = fixtures::root();
    let store = text(root);
    let far = Faulty::new(Content::default()).start();
    let to = format!("docker://{}", far.host());
    for words in [&["ls"] as &[&str], &["verify"], &["inventory"], &["gc", "--dry-run"]] {
        let named = hod(words).arg(store).ok();
        assert!(!named.stdout.is_empty() || !named.stderr.is_empty());
        assert_eq!(hod(words).args(["--store", store]).ok().stdout, named.stdout, "{words:?}");
        assert_eq!(hod(words).env("HOD_STORE", store).ok().stdout, named.stdout, "{words:?}");
        // What is typed counts more, and without either it is said what is missing.
        assert_eq!(hod(words).arg(store).env("HOD_STORE", "nowhere").ok().stdout, named.stdout, "{words:?}");
        assert!(hod(words).code(2).stderr.contains("TARGET"), "{words:?}");
    }
    hod(["push", "--store", store, &to, "web:1.0"]).ok();
    hod(["push", store, &to, "web:1.1"]).env("HOD_STORE", "nowhere").ok();
    hod(["push", &to, "pause:3.9"]).env("HOD_STORE", store).ok();
    let pushed: Vec<String> = far.content().repositories.keys().map(ToString::to_string).collect();
    assert_eq!(pushed, ["pause", "web"]);
    assert_eq!(far.content().repositories["web"].tags.len(), 2);
    hod(["push", &to]).code(2);
    for listen in ["localhost:0", ":0", "0"] {
        let mut serving = hod(["serve", "--store", store, "--listen", listen]).spawn();
        serving.until_printed("listening on http://");
        serving.kill();
    }
}

/// Behind `hod help index` a shell offers what is below.
#[test]
fn completions_know_what_is_below_a_command() {
    let script = hod(["completions", "bash"]).ok().text();
    let offered = |case: &str| {
        let start = script.find(&format!("        {case})\n")).unwrap_or_else(|| panic!("no {case}"));
        let rest = &script[start..];
        rest[rest.find("opts=\"").unwrap() + 6..].split('"').next().unwrap().to_owned()
    };
    assert_eq!(offered("hod__subcmd__help__subcmd__index").trim(), "create add remove inspect");
    assert!(offered("hod__subcmd__index").contains("create add remove inspect help"));
    assert!(offered("hod__subcmd__index__subcmd__create").contains("--annotation"));
    assert!(offered("hod__subcmd__pull").contains("--store"));
}

/// Each action of `hod index` shows what it heeds, and takes what it took.
#[test]
fn actions_of_index_have_flags_of_their_own() {
    let help = |action: &str| hod(["index", action, "--help"]).ok().text();
    for (action, has, has_not) in [
        ("create", vec!["[IMAGE]...", "--annotation", "--replace", "--src-creds", "--dest-creds", "--key "], vec![]),
        ("add", vec!["[IMAGE]...", "--annotation", "--replace", "--src-creds", "--dest-creds", "--key "], vec![]),
        (
            "remove",
            vec!["[IMAGE]...", "--annotation", "--format", "--dest-creds"],
            vec!["--replace", "--platform", "--src-", "--key ", "--signature", "TRANSPORT:PLACE[="],
        ),
        (
            "inspect",
            vec!["--src-creds", "--retry-times"],
            vec!["[IMAGE]", "--annotation", "--format", "--replace", "--platform", "--dest-", "--key "],
        ),
    ] {
        let help = help(action);
        for flag in has {
            assert!(help.contains(flag), "{action} lacks {flag}");
        }
        for flag in has_not {
            assert!(!help.contains(flag), "{action} has {flag}");
        }
    }
    let everything =
        ["--replace", "--annotation", "a=b", "--platform", "linux/amd64", "--src-no-creds", "--dest-no-creds"];
    let folder = tempfile::tempdir().unwrap();
    let image = format!("store:{}:web:1.0", fixtures::root().display());
    for words in [
        &["index", "create", "oci:layout:x", &image][..],
        &["index", "inspect", "oci:layout:x", "--no-key"],
        &["index", "remove", "oci:layout:x", "linux/amd64", "--no-key"],
    ] {
        hod(words).args(everything).in_folder(folder.path()).ok();
    }
}
