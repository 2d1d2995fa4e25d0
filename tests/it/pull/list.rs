//! The list: what may stand in it, what it does, and what is said when it is wrong.

use fs_err as fs;
use tempfile::TempDir;

use crate::support::faulty::{Faulty, Running};
use crate::support::hod::hod;
use crate::support::images::{Content, Image, image, layer};
use crate::support::job::{ls, names, pull, text};

fn app(seed: u64) -> Image {
    image("linux/amd64", &[layer(seed, 1000)])
}

/// A registry with a handful of images, and a folder for a list and a store.
fn setup() -> (Running, TempDir) {
    let images = ["app:1", "app:latest", "coreos/etcd:v3.5", "library/alpine:3", "alpine:3", "web:1"];
    let with = |content: Content, (seed, name): (u64, &&str)| content.with(name, &app(seed));
    let content = (1..).zip(images.iter()).fold(Content::default(), with);
    (Faulty::new(content).start(), tempfile::tempdir().unwrap())
}

#[test]
#[ignore = "takes long"]
fn what_may_stand_in_a_list_and_which_names_it_gives() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("app:1", &[], &["app:1"]),
        ("\u{feff}##base\r\napp:1\r\n\r\n  # note\r\n\tweb:1   # why\r\n", &[], &["app:1", "web:1"]),
        (
            "##base\napp:1\n##more\nweb:1\ncoreos/etcd:v3.5\n##\nalpine:3",
            &["--group", "more"],
            &["coreos/etcd:v3.5", "web:1"],
        ),
        ("##a\napp:1\n##b\nweb:1\n##c\nalpine:3", &["--group", "a", "--group", "c"], &["alpine:3", "app:1"]),
        ("app:1\napp:1\nweb:1\napp:1", &[], &["app:1", "web:1"]),
        ("app", &[], &["app:latest"]),
        ("app:1 as=other/name:2\nweb:1 as=renamed", &[], &["other/name:2", "renamed:1"]),
        ("app:1 platform=linux/amd64", &["--platform", "linux/arm64"], &["app:1"]),
        ("alpine:3\ncoreos/etcd:v3.5", &["--names", "as-listed"], &["alpine:3", "coreos/etcd:v3.5"]),
        ("alpine:3\ncoreos/etcd:v3.5", &["--names", "library"], &["coreos/etcd:v3.5", "library/alpine:3"]),
        ("alpine:3", &["--names", "with-host"], &["HOST/alpine:3"]),
        ("HOST_COLON/coreos/etcd:v3.5", &[], &["coreos/etcd:v3.5"]),
        ("HOST_COLON/coreos/etcd:v3.5", &["--names", "with-host"], &["HOST/coreos/etcd:v3.5"]),
    ];
    let (registry, folder) = setup();
    let stored_host = registry.host().replace(':', "-");
    for (number, (content, words, expected)) in cases.iter().enumerate() {
        let content = content.replace("HOST_COLON", registry.host());
        let expected: Vec<_> = expected.iter().map(|name| name.replace("HOST", &stored_host)).collect();
        for (form, standard_input) in [("file", false), ("stdin", true)] {
            let store = folder.path().join(format!("{number}-{form}"));
            let list = folder.path().join("list.txt");
            fs::write(&list, &content).unwrap();
            let file = if standard_input { "-" } else { text(&list) };
            let words = words.iter().copied().chain(["-f", file]);
            pull(registry.host(), &store, words).input(if standard_input { &*content } else { "" }).ok();
            assert_eq!(names(&store), expected, "{content:?}");
        }
    }
}

#[test]
fn several_lists_and_arguments_are_one_list() {
    let (registry, folder) = setup();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    fs::write(&one, "app:1\n").unwrap();
    fs::write(&two, "web:1\napp:1\n").unwrap();
    let store = folder.path().join("store");
    let output = pull(registry.host(), &store, ["alpine:3", "-f", text(&one), "-f", text(&two)]).ok();
    assert_eq!(names(&store), ["alpine:3", "app:1", "web:1"]);
    let notice = format!("{}:2: app:1 is already in the list, at {}:1", two.display(), one.display());
    assert!(output.stderr.contains(&notice), "{}", output.stderr);
}

#[test]
fn every_bad_line_is_named_before_any_request() {
    let (registry, folder) = setup();
    let lines: &[(&[u8], &str)] = &[
        (b"app:1", ""),
        (b"UPPER:1", "UPPER"),
        (b"app:1 web:1", "web:1"),
        (b"app:1 platform=amd64", "amd64"),
        (b"app:1 platform=linux/amd64 platform=linux/arm64", "twice"),
        (b"app:1 as=Name", "Name"),
        (b"app:1 as=name@sha256:0", "name"),
        (b"app@sha256:0123", "sha256"),
        (b"app:", "app:"),
        (b"app:1#comment", "#"),
        (b"\xff\xfe", "UTF-8"),
        (b"docker://app:1", "docker"),
        (b"bundle:x.tar:app:1", "use hod unpack for a bundle"),
        (b"store:/srv/registry:app:1", "hod select for a store"),
        (b"web:1", ""),
    ];
    let list = folder.path().join("list.txt");
    let content: Vec<u8> = lines.iter().flat_map(|(line, _)| [*line, b"\r\n"].concat()).collect();
    fs::write(&list, &content).unwrap();
    let store = folder.path().join("store");
    let output = pull(registry.host(), &store, ["-f", text(&list), "also/BAD:1"]).code(2);
    for (number, (line, words)) in lines.iter().enumerate() {
        let origin = format!("{}:{}: ", list.display(), number + 1);
        let said = output.stderr.lines().find(|text| text.contains(&origin));
        match said {
            Some(said) => assert!(!words.is_empty() && said.contains(words), "{said}"),
            None => assert!(words.is_empty(), "nothing about {:?}: {}", String::from_utf8_lossy(line), output.stderr),
        }
    }
    assert!(output.stderr.contains("argument 1: also/BAD:1"), "{}", output.stderr);
    assert!(output.stderr.contains("14 lines of the list cannot be used"), "{}", output.stderr);
    assert!(registry.requests().is_empty());
    assert!(!store.exists());
}

#[test]
fn lists_without_images_are_errors() {
    let (registry, folder) = setup();
    let cases: &[(&str, &[&str], &str)] = &[
        ("", &[], "no images"),
        ("# nothing\n##group\n\n", &[], "no images"),
        ("##base\napp:1", &["--group", "bas"], "base"),
    ];
    for (content, words, expected) in cases {
        let store = folder.path().join("store");
        let output = pull(registry.host(), &store, words.iter().copied().chain(["-f", "-"])).input(*content).code(2);
        assert!(output.stderr.contains(expected), "{content:?}: {}", output.stderr);
    }
    let output = pull(registry.host(), folder.path(), ["-f", "/nowhere/list"]).code(2);
    assert!(output.stderr.contains("/nowhere/list"), "{}", output.stderr);
    let output = pull(registry.host(), folder.path(), []).code(2);
    assert!(output.stderr.contains("no images"), "{}", output.stderr);
    assert!(registry.requests().is_empty());
}

#[test]
fn two_images_cannot_have_one_name() {
    let (registry, folder) = setup();
    let store = folder.path().join("store");
    let list = "alpine:3 as=x:1\nweb:1\nlibrary/alpine:3 as=x:1\nalpine:3 as=x:1 platform=linux/amd64\n";
    let output = pull(registry.host(), &store, ["-f", "-"]).input(list).code(3);
    let said = output.stderr.lines().find(|line| line.contains("-:3")).unwrap_or_default();
    assert!(
        said.contains("library/alpine:3") && said.contains("x:1 is already the name of -:1 (alpine:3)"),
        "{}",
        output.stderr
    );
    assert_eq!(names(&store), ["web:1", "x:1"]);
    assert_eq!(ls(&store)["images"][1]["digest"], app(5).digest().to_string());
}

#[test]
fn what_failed_is_a_list_to_try_again() {
    let (registry, folder) = setup();
    let (store, failed) = (folder.path().join("store"), folder.path().join("again.txt"));
    let list = "##a\napp:1\ngone:1   platform=linux/amd64 as=there/gone:7 # later\n##b\nweb:9\nweb:1\n";
    let words = ["-f", "-", "--failed", text(&failed)];
    let output = pull(registry.host(), &store, words).input(list).code(3);
    assert!(output.stderr.contains("2 of 4 images failed"), "{}", output.stderr);
    assert!(output.stderr.contains("-:3: gone:1") && output.stderr.contains("-:5: web:9"), "{}", output.stderr);
    assert_eq!(names(&store), ["app:1", "web:1"]);

    let content = registry.content().with("gone:1", &app(40)).with("web:9", &app(41));
    registry.change(|held| *held = content);
    let before = registry.requests().len();
    pull(registry.host(), &store, ["-f", text(&failed), "--group", "a", "--failed", text(&failed)]).ok();
    assert_eq!(names(&store), ["app:1", "there/gone:7", "web:1"]);
    assert!(registry.requests()[before..].iter().all(|seen| seen.route.repository().is_none_or(|name| name == "gone")));
    assert_eq!(fs::read_to_string(&failed).unwrap(), "");
}

#[test]
fn a_lock_of_a_run_with_failures_is_refused_until_a_retry_completes_it() {
    let (registry, folder) = setup();
    let at = |name: &str| folder.path().join(name);
    let (store, lock, failed) = (at("store"), at("release.lock"), at("again.txt"));
    let list = "##a\napp:1\ngone:1   platform=linux/amd64 as=there/gone:7\n##b\nweb:9\nweb:1\n";
    fs::write(at("list"), list).unwrap();
    let words = ["--lock", text(&lock), "--failed", text(&failed)];
    pull(registry.host(), &store, words).args(["-f", text(&at("list"))]).code(3);
    let begun = fs::read_to_string(&lock).unwrap();
    let lines: Vec<&str> = begun.lines().filter(|line| line.starts_with("# failed: ")).collect();
    assert_eq!(lines, ["# failed: gone:1   platform=linux/amd64 as=there/gone:7", "# failed: web:9"]);

    // Who carries on with such a lock would miss the images at the far side.
    let bundle = at("release.tar");
    for command in [
        hod(["pack", "--store", text(&store), "-o", text(&bundle), "-f", text(&lock)]),
        hod(["bundle", "-o", text(&bundle), "-f", text(&lock)]),
        hod(["select", "--store", text(&store), "--to", text(&at("other")), "-f", text(&lock)]),
        pull(registry.host(), &store, ["-f", text(&lock)]),
    ] {
        let refused = command.code(2);
        for part in ["web:9: this image failed when the lock was written", "2 lines of the list", "same --lock"] {
            assert!(refused.stderr.contains(part), "no {part:?} in {}", refused.stderr);
        }
    }
    assert!(!bundle.exists());

    // One of the two comes with the list of what failed; the lock keeps what it has, and the line that still lacks.
    let content = registry.content().with("gone:1", &app(40));
    registry.change(|held| *held = content);
    let again = ["-f", text(&failed), "--lock", text(&lock), "--failed", text(&failed)];
    pull(registry.host(), &store, again).code(3);
    let later = fs::read_to_string(&lock).unwrap();
    assert_eq!(later.lines().count(), begun.lines().count());
    assert!(later.contains("as=there/gone:7 referrers=none\n") && later.contains("# failed: web:9\n"), "{later}");
    assert!(begun.lines().filter(|line| !line.contains("gone:1")).all(|line| later.contains(line)), "{later}");

    // The other by its name.
    let content = registry.content().with("web:9", &app(41));
    registry.change(|held| *held = content);
    pull(registry.host(), &store, ["web:9", "--lock", text(&lock)]).ok();
    assert!(!fs::read_to_string(&lock).unwrap().contains("failed"));
    hod(["pack", "--store", text(&store), "-o", text(&bundle), "-f", text(&lock)]).ok();
    let packed = hod(["ls", text(&bundle), "--json"]).ok().json();
    assert_eq!(packed["images"].as_array().unwrap().len(), 4);

    // A run about other images writes a lock of its own, and one that ends early writes none.
    pull(registry.host(), &store, ["app:1", "--lock", text(&lock)]).ok();
    assert_eq!(fs::read_to_string(&lock).unwrap().lines().count(), 2);
    pull(registry.host(), &store, ["absent:1", "web:1", "--fail-fast", "--lock", text(&at("none.lock"))]).code(1);
    assert!(!at("none.lock").exists());
}

#[test]
fn when_all_fail_or_the_first_must_not() {
    let (registry, folder) = setup();
    let output = pull(registry.host(), &folder.path().join("a"), ["gone:1", "gone:2"]).code(1);
    assert!(output.stderr.contains("2 of 2 images failed"), "{}", output.stderr);
    let store = folder.path().join("b");
    let output = pull(registry.host(), &store, ["gone:1", "app:1", "--fail-fast"]).code(1);
    assert!(output.stderr.contains("--fail-fast"), "{}", output.stderr);
    assert_eq!(names(&store), Vec::<String>::new());
    pull(registry.host(), &store, ["gone:1", "app:1", "--keep-going"]).code(3);
    assert_eq!(names(&store), ["app:1"]);
}

#[test]
fn a_lock_gives_the_same_when_tags_have_moved() {
    let (registry, folder) = setup();
    let lock = folder.path().join("release.lock");
    let words = ["app:1", "coreos/etcd:v3.5", "--names", "with-host", "--lock", text(&lock)];
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    pull(registry.host(), &first, words).ok();
    let content = registry.content().with("app:1", &app(50));
    registry.change(|held| *held = content);
    // The lock knows registry, digest and name: nothing else needs to be said.
    let again = folder.path().join("again.lock");
    let words = ["-f", text(&lock), "--from", "nowhere.invalid", "--lock", text(&again)];
    let fixed = ["pull", "--store", text(&second)];
    hod(fixed.into_iter().chain(words)).ok();
    assert_eq!(ls(&first), ls(&second));
    assert_eq!(ls(&second)["images"][0]["digest"], app(1).digest().to_string());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("release.lock"), read("again.lock"));
    pull(registry.host(), &first, ["app:1", "--names", "with-host"]).ok();
    assert_eq!(ls(&first)["images"][0]["digest"], app(50).digest().to_string());
}
